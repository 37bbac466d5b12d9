"""Conservation, node by node: how much relevance, or of the score's change, a node receives, hands on, and its bias keeps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from onnxplain.propagation.ledger import GROWTH, NodeConservation, passage
from onnxplain.verification.findings import Finding

__all__ = ["balance", "judged", "judged_change", "judged_passage"]


CHANGE = 1e-4
"""What a node may lose of the score's change by rounding, as a share of the largest sum of any node."""


def balance(rows: Iterable[NodeConservation]) -> list[NodeConservation]:
    """The nodes' balances, the worst first: by what is lost, then by what the bias took."""
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


def judged_passage(rows: Sequence[NodeConservation]) -> Finding:
    """Whether relevance comes through all nodes: none makes it zero, none makes it far larger."""
    found = passage(rows)
    if found.vanishes is None and found.grows is None:
        detail = f"no node makes it exactly zero, none {GROWTH:g} times as large as the score"
        return Finding("relevance on its way", True, detail)
    return Finding("relevance on its way", None, str(found))
