"""Which nodes ONNX Runtime's CUDA provider would leave to the processor, told from the list of its kernels: no GPU is needed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import onnx
import onnx.shape_inference

from onnxplain.ir.schema import signature
from onnxplain.passes.weights import without_weights

__all__ = ["kernels_of", "left_to_processor"]

Kernels = dict[str, list[tuple[int, int, dict[str, list[str]]]]]
"""By operator: the first and the last version that a kernel serves, and the types it takes by type class."""


@lru_cache(maxsize=1)
def _listed() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(__file__).with_name("cuda_kernels.json").read_text(encoding="utf-8"))
    return found


def kernels_of() -> str:
    """The version of ONNX Runtime whose kernels are listed."""
    return str(_listed()["onnxruntime"])


def left_to_processor(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes of a model that have no CUDA kernel, in their order, those in subgraphs too.

    Each costs copies from the device and back in mid-graph. Arithmetic on extents is no such node: it runs on the processor
    because its results are wanted there. Types are compared as far as shape inference finds them. The model is left as it is.
    """
    with without_weights(model) as skeleton:
        typed = onnx.shape_inference.infer_shapes(skeleton)
    opset = next((o.version for o in model.opset_import if o.domain == ""), 1)
    return list(_left(typed.graph, opset, _listed()["kernels"], frozenset({""}), {}))


def _left(
    graph: onnx.GraphProto, opset: int, kernels: Kernels, outer: frozenset[str], types: Mapping[str, int]
) -> Iterator[onnx.NodeProto]:
    hidden = {v.name for v in graph.input if v.name in outer}  # an input of a body hides an outer tensor of its name
    of_extents = {*(outer - hidden), *(t.name for t in graph.initializer)}
    types = {**types, **dict(_typed(graph))}
    for node in graph.node:
        bodies = [a.g for a in node.attribute if a.HasField("g")]
        # operators: ONNX Runtime runs these on the processor on purpose
        if node.op_type in ("Shape", "Size", "Constant") or (node.input and not bodies and of_extents.issuperset(node.input)):
            of_extents.update(node.output)
        elif not bodies and not _has_kernel(node, opset, kernels, types):
            yield node
        for body in bodies:
            yield from _left(body, opset, kernels, frozenset(of_extents), types)


def _typed(graph: onnx.GraphProto) -> Iterable[tuple[str, int]]:
    yield from ((t.name, t.data_type) for t in graph.initializer)
    for value in (*graph.value_info, *graph.input, *graph.output):
        if value.type.HasField("tensor_type"):
            yield value.name, value.type.tensor_type.elem_type


def _has_kernel(node: onnx.NodeProto, opset: int, kernels: Kernels, types: Mapping[str, int]) -> bool:
    known = signature(node.op_type, node.domain, opset) if not node.domain else None
    if known is None:  # not the standard's: nothing is listed
        return True
    fitting = [form for form in kernels.get(node.op_type, ()) if form[0] <= known.since <= form[1]]
    if not fitting:
        return known.has_body and node.op_type not in kernels  # else its body is placed instead
    classes = {known.input_class(i): name for i, name in enumerate(node.input) if name}
    classes |= {known.output_class(i): name for i, name in enumerate(node.output) if name}
    mine = {cls: _type_name(types[name]) for cls, name in classes.items() if types.get(name)}
    taken = any(all(mine.get(cls, allowed[0]) in allowed for cls, allowed in form[2].items()) for form in fitting)
    return taken and not _is_refused(node)


def _type_name(kind: int) -> str:
    return onnx.helper.tensor_dtype_to_string(kind).rpartition(".")[2].lower()


def _is_refused(node: onnx.NodeProto) -> bool:
    """Settings that the provider has no kernel for, though it has one for the operator."""
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "ConvTranspose":
        pads = list(given.get("pads", ()))
        half = len(pads) // 2
        return pads[:half] != pads[half:] or given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
    # operators: those without this attribute on CUDA
    return node.op_type in ("ArgMax", "ArgMin") and bool(given.get("select_last_index"))
