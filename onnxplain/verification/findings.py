"""What a check finds, and what its parts share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.ir.graph import Graph
from onnxplain.propagation.ledger import NodeConservation
from onnxplain.results.notebook import html_table
from onnxplain.results.plot.style import short

__all__ = ["CheckReport", "Finding", "is_small", "sizes_of"]

SIGNS = {True: "✓", False: "✗", None: "·"}
"""How a finding is marked: it holds, it does not, nothing can be said."""

EXHAUSTIVE_ELEMENTS = 500_000
"""Elements that all live tensors together may have for every node to be checked always."""


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    Attributes:
        name: what was checked.
        ok: whether it holds; None where nothing can be said (the model is too rough, or nothing is promised).
        detail: the numbers, or the reason.
    """

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True, repr=False)
class CheckReport:
    """All that was checked.

    Attributes:
        findings: one entry per thing checked.
        culprit: where gradients disagree, the first node of the backward pass that causes it; "" otherwise.
        conservation: for methods that conserve relevance the balance of every node, the worst first.

    Example:
        >>> from onnxplain import CheckReport
        >>> from onnxplain.verification.findings import Finding
        >>> CheckReport((Finding("finite", True, "all 64 numbers"), Finding("completeness", None, "not promised"))).ok
        True
    """

    findings: tuple[Finding, ...]
    culprit: str = ""
    conservation: tuple[NodeConservation, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing failed and at least one thing was shown to hold."""
        return all(f.ok is not False for f in self.findings) and any(f.ok for f in self.findings)

    def __repr__(self) -> str:
        lines = [f"  {SIGNS[f.ok]} {f.name}: {f.detail}" for f in self.findings]
        return "\n".join([f"CheckReport({'ok' if self.ok else 'not ok'}, {len(self.findings)} findings)", *lines])

    def _repr_html_(self) -> str:
        """What a notebook shows: a line per finding, and the worst balances of nodes."""
        rows = [(SIGNS[f.ok], f.name, f.detail) for f in self.findings]
        found = html_table(f"CheckReport: {'ok' if self.ok else 'not ok'}", ("", "checked", "found"), rows)
        balances = [(r.node, r.operator, r.rule, short(r.received), short(r.sent), short(r.lost)) for r in self.conservation[:10]]
        columns = ("node", "operator", "rule", "receives", "sends", "lost")
        return found + (html_table("Balance of relevance, the worst first", columns, balances) if balances else "")


def sizes_of(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """How far each element may move: its own size, since features differ in scale; for zeros that of the others."""
    sizes = np.abs(np.asarray(array, np.float64))
    moving = np.isfinite(sizes) & (sizes > 0)
    others = float(np.median(sizes[moving])) if moving.any() else 1.0
    return np.where(moving, sizes, np.where(np.isfinite(sizes), others, 0.0))


def is_small(graph: Graph) -> bool:
    """Whether checking every node in the reference evaluator takes seconds rather than minutes."""
    sizes = [
        np.prod([d if isinstance(d, int) else 8 for d in t.shape or ()]) for c in graph.nodes for t in c.outputs if t is not None
    ]
    return float(np.sum(sizes)) < EXHAUSTIVE_ELEMENTS
