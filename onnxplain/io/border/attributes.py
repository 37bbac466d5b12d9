"""Attributes of the kind that the standard asks for, and of sizes that can be meant."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import AttributeProto

from onnxplain.ir.schema import Signature

__all__ = ["attribute_problem"]

KINDS: dict[int, str] = {
    AttributeProto.FLOAT: "a number", AttributeProto.INT: "an integer", AttributeProto.STRING: "text",
    AttributeProto.TENSOR: "a tensor", AttributeProto.GRAPH: "a graph", AttributeProto.SPARSE_TENSOR: "a sparse tensor",
    AttributeProto.TYPE_PROTO: "a type", AttributeProto.FLOATS: "numbers", AttributeProto.INTS: "integers",
    AttributeProto.STRINGS: "texts", AttributeProto.TENSORS: "tensors", AttributeProto.GRAPHS: "graphs",
    AttributeProto.SPARSE_TENSORS: "sparse tensors",
    AttributeProto.TYPE_PROTOS: "types",
}  # fmt: skip
"""Kinds of attributes, in words."""

# operators: those whose windows these attributes describe; elsewhere the names mean other things
WINDOWS = frozenset(
    """AveragePool Conv ConvInteger ConvTranspose Col2Im DeformConv LpPool MaxPool MaxUnpool QLinearConv""".split()
)

WINDOW = 1 << 20
"""The largest extent, step and gap of a window. Nothing that is trained comes near."""

POSITIVE = ("kernel_shape", "strides", "dilations", "group")


def attribute_problem(op: str, attribute: AttributeProto, known: Signature | None) -> str:
    """What is wrong with an attribute, in words; "" where nothing is.

    Args:
        op: the operator, "" outside the standard.
        attribute: the attribute.
        known: what the standard says of the operator; None where it knows none.
    """
    name, kind = attribute.name, attribute.type
    if not name:
        return "has an attribute without a name"
    if kind not in KINDS:
        return f"has the attribute '{name}' of no kind that exists ({kind})"
    wanted = None if known is None else known.attribute_kinds.get(name)
    if wanted is not None and wanted != kind:
        return f"has {KINDS[kind]} as '{name}'; {KINDS.get(wanted, 'something else')} is expected"
    if attribute.ref_attr_name:
        return ""
    if kind == AttributeProto.GRAPH and not attribute.HasField("g"):
        return f"lacks the graph of its attribute '{name}'"
    if kind == AttributeProto.TENSOR and not attribute.HasField("t"):
        return f"lacks the tensor of its attribute '{name}'"
    if op == "Transpose" and name == "perm" and sorted(attribute.ints) != list(range(len(attribute.ints))):
        return f"has {list(attribute.ints)[:10]} as 'perm', which is no order of axes"
    if op in WINDOWS and name in POSITIVE:
        return _window_problem(name, [attribute.i] if kind == AttributeProto.INT else attribute.ints)
    return ""


def _window_problem(name: str, values: Sequence[int]) -> str:
    wrong = next((v for v in values if not 0 < v <= WINDOW), None)
    return "" if wrong is None else f"has {wrong} in '{name}'; 1 to {WINDOW:,} are expected"
