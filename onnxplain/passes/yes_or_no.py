"""Integers that stand for yes or no, written as 1 or 0.

The standard gives them the values 0 and 1; files have others too (transB = 2, keepdims = −1), and every tool reads these in its
own way. What counts is how ONNX Runtime reads them: some attributes mean yes where they are 1, others where they are not 0. Tried
for every attribute of every operator, with 2 and −1, against 0 and 1.
"""

from __future__ import annotations

import onnx

from onnxplain.ir.edit import graphs_in

__all__ = ["settle_yes_or_no"]

YES_IF_ONE = frozenset({
    "allowzero", "ceil_mode", "interleaved", "is_causal", "keepdims", "largest", "noop_with_empty_axes", "sorted",
})  # fmt: skip
"""Attributes that mean yes where they are 1."""

YES_UNLESS_ZERO = frozenset({
    "align_corners", "antialias", "count_include_pad", "detect_negative", "detect_positive", "exclude_outside", "input_forget",
    "inverse", "is_case_sensitive", "linear_before_reset", "onesided", "periodic", "select_last_index", "transA", "transB",
    "upper",
})  # fmt: skip
"""Attributes that mean yes where they are not 0."""


def settle_yes_or_no(model: onnx.ModelProto) -> bool:
    """Write 1 where an attribute means yes and 0 where it means no. What ONNX Runtime refuses stays as it is."""
    changed = [_settle(node) for graph in graphs_in(model.graph) for node in graph.node]
    return any(changed)


def _settle(node: onnx.NodeProto) -> bool:
    changed = False
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.INT and attribute.i not in (0, 1) and not node.domain:
            meant = _meant(node.op_type, attribute.name, attribute.i)
            changed |= meant != attribute.i
            attribute.i = meant
    return changed


def _meant(op: str, name: str, value: int) -> int:
    if name in YES_UNLESS_ZERO or (op, name) == ("SplitToSequence", "keepdims"):
        return 1
    return 0 if name in YES_IF_ONE else value
