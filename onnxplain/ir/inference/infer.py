"""The types and shapes of all that a node returns: by its own rule, from its subgraphs, or by onnx's inference."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from onnxplain.errors import RuleError
from onnxplain.ir.emitted import Body
from onnxplain.ir.inference.applied import Applied
from onnxplain.ir.inference.dims import merged
from onnxplain.ir.inference.shapes import RULES, Rule
from onnxplain.ir.tensor import Dim, Shape, Tensor, shown
from onnxplain.ir.type_inference import SEQUENCES, output_dtype

__all__ = ["infer"]


def infer(n: Applied) -> list[Tensor]:
    """What a node returns, as far as it is certain.

    Args:
        n: the operator and what it is applied to.

    Returns:
        One nameless tensor per output.
    """
    if any(isinstance(a, Body) for a in n.attributes.values()):
        return _from_bodies(n)
    dtypes = [output_dtype(n.op, n.known, i, n.inputs, n.attributes) for i in range(n.outputs)]
    rule = None if n.domain else RULES.get(n.op)
    if rule is not None:
        shapes = _by_rule(n, rule)
    elif n.known is not None:
        shapes = _by_onnx(n)
    else:
        shapes = [None] * n.outputs
    return [Tensor("", dtype, shape, n.op in SEQUENCES) for dtype, shape in zip(dtypes, shapes, strict=True)]


def _by_rule(n: Applied, rule: Rule) -> list[Shape]:
    try:
        found = rule(n)
    except (IndexError, TypeError, ValueError, ZeroDivisionError) as error:  # an axis that is not there, ranks that differ
        given = ", ".join("nothing" if t is None else shown(t.shape) for t in n.inputs)
        said = ", ".join(f"{k}={v}" for k, v in n.attributes.items())
        raise RuleError(f"{n.op} does not fit inputs of shape {given}{f' with {said}' if said else ''}") from error
    return found if isinstance(found, list) else [found]


def _from_bodies(n: Applied) -> list[Tensor]:
    if n.op == "If":
        first, second = n.attributes["then_branch"].outputs, n.attributes["else_branch"].outputs
        return [_either(a, b) for a, b in zip(first, second, strict=True)]
    body: Body = n.attributes["body"]
    starts = n.inputs[2:] if n.op == "Loop" else n.inputs[: len(n.inputs) - n.attributes["num_scan_inputs"]]
    ends = body.outputs[1:] if n.op == "Loop" else body.outputs
    # Where no step is taken, the states are what they started as.
    states = [_outside(t) if s is None else _either(s, _outside(t)) for s, t in zip(starts, ends, strict=False)]
    stacks = [_outside(t) for t in ends[len(starts) :]]
    stacks = [Tensor("", t.dtype, None if t.shape is None else (None, *t.shape)) for t in stacks]
    return [*states, *stacks]


def _outside(t: Tensor) -> Tensor:
    """What is known of a body's tensor outside: symbols may stand for something else in each step, numbers may not."""
    shape = None if t.shape is None else tuple(d if isinstance(d, int) else None for d in t.shape)
    return Tensor("", t.dtype, shape, t.is_sequence)


def _either(a: Tensor, b: Tensor) -> Tensor:
    """What is known of a value that is one of two."""
    return Tensor("", a.dtype if a.dtype is not None else b.dtype, merged(a.shape, b.shape), a.is_sequence or b.is_sequence)


def _by_onnx(n: Applied) -> list[Shape]:
    """onnx's own inference, for operators that are rarely emitted: it takes ten times as long."""
    schema = onnx.defs.get_schema(n.op, n.opset, n.domain)
    tensors = [t for t in n.inputs if t is not None]
    if any(t.dtype is None or t.is_sequence for t in tensors) or any(isinstance(a, np.ndarray) for a in n.attributes.values()):
        return [None] * n.outputs
    names = {t.name or f"input_{i}": t for i, t in enumerate(tensors)}
    # Some of its rules take an attribute that is left out for 0, whatever its default is.
    attributes = {**(n.known.defaults if n.known else {}), **n.attributes}
    names_in, names_out = ["" if t is None else t.name for t in n.inputs], [f"output_{i}" for i in range(n.outputs)]
    node = onnx.helper.make_node(n.op, names_in, names_out, **attributes)
    values = {name: v for name, t in names.items() if (v := n.value(t)) is not None}
    try:
        found = onnx.shape_inference.infer_node_outputs(
            schema,
            node,
            {name: onnx.helper.make_tensor_type_proto(_element(t), t.shape) for name, t in names.items()},
            {name: onnx.numpy_helper.from_array(np.ascontiguousarray(v).reshape(v.shape)) for name, v in values.items()},
            opset_imports=[onnx.helper.make_opsetid(n.domain, n.opset)],
        )
    except onnx.shape_inference.InferenceError:  # it stops where a rule's promise about a symbol is beyond it
        return [None] * n.outputs
    shapes = [_shape(found.get(f"output_{i}")) for i in range(n.outputs)]
    if all(t.static_shape is not None for t in tensors):
        return shapes
    # Some of its rules count a symbol as 0: numbers that are made of extents are certain only where all extents are numbers.
    return [None if s is None else tuple(d if isinstance(d, str) else None for d in s) for s in shapes]


def _element(tensor: Tensor) -> int:
    assert tensor.dtype is not None
    return onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype)


def _shape(found: Any) -> Shape:
    if found is None or not found.tensor_type.HasField("shape"):
        return None

    def dim(d: Any) -> Dim:
        return d.dim_value if d.HasField("dim_value") else d.dim_param or None

    return tuple(dim(d) for d in found.tensor_type.shape.dim)
