"""Local functions, as the dynamo exporter writes them, expanded where they are called."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnx.inliner

from onnxplain.errors import ModelError
from onnxplain.ir.edit import Names, subgraphs
from onnxplain.passes.expand import fill_attributes
from onnxplain.passes.tidy import tidy
from onnxplain.passes.weights import without_weights

__all__ = ["inline_functions"]


def inline_functions(model: onnx.ModelProto) -> bool:
    """Inline every model-local function."""
    if not model.functions:
        return False
    with without_weights(model) as skeleton:
        _bind_attributes(skeleton)
        try:
            inlined = onnx.inliner.inline_local_functions(skeleton, convert_version=True)
        except Exception as error:
            raise ModelError(f"the model's local functions cannot be inlined: {error}") from error
        skeleton.CopyFrom(inlined)
        del skeleton.functions[:]
    tidy(model)
    return True


def _bind_attributes(model: onnx.ModelProto) -> None:
    """Give every call a function of its own that takes no attributes: it has those of the call, defaults for what the call leaves
    out, and nothing where there is no default, so that the operator in the body has its own.

    onnx's inliner takes an attribute that a call leaves out for one that the body does not have, even where a call within hands
    it on to a function that has a default.
    """
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    made: dict[tuple[object, ...], onnx.FunctionProto] = {}
    names = Names(f.name for f in model.functions)
    waiting: list[Iterable[onnx.NodeProto]] = [model.graph.node]
    for nodes in waiting:
        for node in nodes:
            waiting += [graph.node for graph in subgraphs(node)]
            called = functions.get((node.domain, node.op_type, node.overload))
            if called is None:
                continue
            given = {a.name: a for a in (*called.attribute_proto, *node.attribute)}
            key = (
                called.domain,
                called.name,
                called.overload,
                *sorted(a.SerializeToString(deterministic=True) for a in given.values()),
            )
            if key not in made:
                bound = made[key] = onnx.FunctionProto()
                bound.CopyFrom(called)
                bound.name, bound.overload = names.fresh(called.name), ""
                del bound.attribute[:], bound.attribute_proto[:]
                fill_attributes(bound.node, given)
                waiting.append(bound.node)
            node.op_type, node.overload = made[key].name, ""
            del node.attribute[:]
    del model.functions[:]
    model.functions.extend(made.values())
