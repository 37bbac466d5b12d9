"""Which rule says where the samples lie in what an operator makes."""

from __future__ import annotations

from onnxplain.analysis.sample_flow.moves import EACH_PLACE, EACH_ROW, ELEMENTWISE, MOVES, REDUCED
from onnxplain.analysis.sample_flow.products import PRODUCTS
from onnxplain.analysis.sample_flow.reading import SampleRule
from onnxplain.ir.node import Node
from onnxplain.ir.ops import OpTraits

__all__ = ["sample_rule"]

RULES: dict[str, SampleRule] = {**MOVES, **PRODUCTS}

ML_ROWS = "ai.onnx.ml"
"""The domain whose operators on tensors treat every row alone."""


def sample_rule(node: Node, facts: OpTraits) -> SampleRule | None:
    """The rule of a node's operator; None where nothing is known of it."""
    own = RULES.get(node.operator)
    if own is not None:
        return own
    if facts.elementwise:
        return ELEMENTWISE if facts.elementwise == "all" else EACH_PLACE
    if facts.reduces:
        return REDUCED
    return EACH_ROW if node.domain == ML_ROWS else None
