"""Conservation, node by node: how much relevance, or of the score's change, a node receives, hands on, and its bias keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxplain.builder.builder import Builder
from onnxplain.explain.write import Rewritten
from onnxplain.ir.node import Node
from onnxplain.ir.registry import Rule
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.rule import RelevanceRule, rule_name
from onnxplain.verification.findings import Finding, NodeConservation

__all__ = ["Ledger", "balance", "judged", "judged_change"]


CHANGE = 1e-4
"""What a node may lose of the score's change by rounding, as a share of the largest sum of any node."""


class Ledger:
    """Writes the sums of every node of a backward pass into the explained model, as reports of one number each."""

    def __init__(self) -> None:
        self.nodes: list[tuple[str, str, str]] = []
        self._sums: dict[str, tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]] = {}

    def observe(
        self, b: Builder, node: Node, rule: Rule, incoming: Sequence[Tensor | None], sent: Sequence[tuple[int, Tensor]]
    ) -> None:
        """Keep what came in, what was sent, and what the bias absorbed."""
        self.nodes.append((node.name, node.operator, rule_name(rule)))
        arrived = [_share(b, y, m) for y, m in zip(node.outputs, incoming, strict=False) if m is not None]
        kept = rule.bias_relevance(b, node, *incoming) if isinstance(rule, RelevanceRule) else []
        self._sums[node.name] = arrived, [_share(b, node.reads[i], m) for i, m in sent], kept

    def reports(self, b: Builder) -> dict[str, Tensor]:
        """Three sums for every node: received, sent, kept by the bias."""
        return {
            f"{name}/relevance": b.Concat(*(_total(b, tensors) for tensors in sums), axis=0) for name, sums in self._sums.items()
        }


def _share(b: Builder, of: Tensor | None, message: Tensor) -> Tensor:
    """The share of the score that a message is, or, as a multiplier of what changed since the baseline, stands for.

    What did not change has none, whatever its multiplier, nor has what is missing (NaN) here and there.
    """
    if of is None or not b.has_references:
        return message
    change = b.Sub(of, b.reference(of))
    made: Tensor = b.Where(b.Greater(b.Abs(change), 0), b.Mul(message, change), 0)
    return made


def _total(b: Builder, tensors: Sequence[Tensor]) -> Tensor:
    """The sum of all elements, float32 [1]."""
    plain = [t for t in tensors if not t.is_sequence]
    sums: list[Any] = [b.ReduceSum(t, None, keepdims=0) for t in plain]
    made = b.total(sums) if sums else b.const(0.0)
    total: Tensor = b.Reshape(b.Cast(made, to=1), [1])
    return total


def balance(ledger: Ledger, rewritten: Rewritten, results: Mapping[str, Any]) -> list[NodeConservation]:
    """The nodes' balances, the worst first: by what is lost, then by what the bias took."""
    reports = rewritten.about["reports"]
    rows = []
    for name, operator, rule in ledger.nodes:
        received, sent, bias = (float(v) for v in np.asarray(results[reports[f"{name}/relevance"]]))
        rows.append(NodeConservation(name, operator, rule, received, sent, bias))
    return sorted(rows, key=lambda r: (-abs(r.lost), -abs(r.bias)))


def judged(rows: Sequence[NodeConservation], score: float, arrived: float) -> Finding:
    """What became of the score: shares of the inputs, of biases, and of what ε and rules that do not conserve took."""
    bias, lost = sum(r.bias for r in rows), sum(r.lost for r in rows)
    detail = f"of {score:.6g} the inputs get {arrived:.6g}, biases {bias:.6g}, ε and rules that do not conserve {lost:.6g}"
    whole = max(abs(score), *(abs(r.received) for r in rows), 1e-12)
    worst = rows[0]
    conserved = all(abs(r.lost) <= 1e-3 * whole for r in rows)
    if conserved:
        return Finding("conservation", True, detail)
    return Finding("conservation", None, f"{detail}; most at '{worst.node}' ({worst.rule})")


def judged_change(rows: Sequence[NodeConservation], change: float, arrived: float) -> Finding:
    """What became of the score's change since the baseline: every node hands all of it on, or is named."""
    lost = sum(r.lost for r in rows)
    detail = f"of the score's change {change:.6g} the inputs get {arrived:.6g}, nodes that do not hand on all of it {lost:.6g}"
    whole = max(abs(change), *(abs(r.received) for r in rows), 1e-12)
    worst = rows[0]
    if abs(worst.lost) <= CHANGE * whole:
        return Finding("conservation", True, detail)
    return Finding("conservation", False, f"{detail}; most at '{worst.node}' ({worst.operator}, {worst.rule}): {worst.lost:.6g}")
