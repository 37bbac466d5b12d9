"""Local functions, as the dynamo exporter writes them, expanded where they are called."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnx.inliner

from onnxplain.errors import ModelError
from onnxplain.ir.edit import subgraphs
from onnxplain.passes.tidy import tidy
from onnxplain.passes.weights import without_weights

__all__ = ["inline_functions"]


def inline_functions(model: onnx.ModelProto) -> bool:
    """Inline every model-local function."""
    if not model.functions:
        return False
    with without_weights(model) as skeleton:
        _write_defaults(skeleton)
        try:
            inlined = onnx.inliner.inline_local_functions(skeleton, convert_version=True)
        except Exception as error:
            raise ModelError(f"the model's local functions cannot be inlined: {error}") from error
        skeleton.CopyFrom(inlined)
        del skeleton.functions[:]
    tidy(model)
    return True


def _write_defaults(model: onnx.ModelProto) -> None:
    """Write a function's defaults onto every node that leaves the attribute out, within functions and subgraphs too.

    onnx's inliner takes an attribute that a node leaves out for one that the body does not have.
    """
    defaults = {(f.domain, f.name, f.overload): list(f.attribute_proto) for f in model.functions if f.attribute_proto}
    if not defaults:
        return
    graphs: list[Iterable[onnx.NodeProto]] = [model.graph.node, *(f.node for f in model.functions)]
    for nodes in graphs:
        for node in nodes:
            given = {a.name for a in node.attribute}
            missing = [a for a in defaults.get((node.domain, node.op_type, node.overload), ()) if a.name not in given]
            node.attribute.extend(missing)
            graphs += [graph.node for graph in subgraphs(node)]
