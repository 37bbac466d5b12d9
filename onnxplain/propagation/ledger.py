"""A ledger of the backward pass: how much relevance every node receives, hands on, and keeps in its bias."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.builder.builder import Builder
from onnxplain.ir.node import Node
from onnxplain.ir.registry import Rule
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.rule import RelevanceRule, rule_name

__all__ = ["GROWTH", "Ledger", "NodeConservation", "Passage", "passage"]

GROWTH = 1e3
"""How many times larger relevance may become before that is reported: what is left of sums then is mostly rounding."""

NOTHING = 1e-6
"""What is less than this share of the score is not missed."""


@dataclass(frozen=True)
class NodeConservation:
    """The relevance that one node receives and sends, summed over all samples.

    Attributes:
        node: the node's name.
        operator: its operator.
        rule: the rule that served it.
        received: the sum of the messages on its outputs.
        sent: the sum of what it sent to its inputs.
        bias: the share of its bias.
        received_size: the sum of the sizes of what it received.
        sent_size: the sum of the sizes of what it sent.
    """

    node: str
    operator: str
    rule: str
    received: float
    sent: float
    bias: float
    received_size: float
    sent_size: float

    @property
    def lost(self) -> float:
        """What neither the inputs nor the bias got: the share of ε, or of a rule that does not conserve."""
        return self.received - self.sent - self.bias


class Ledger:
    """Writes the sums of every node of a backward pass into the explained model, as reports of a few numbers each."""

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
        """For every node the sums of what it received, sent and kept, and the sizes of what it received and sent."""
        made = {}
        for name, sums in self._sums.items():
            sizes = ([b.Abs(t) for t in tensors if not t.is_sequence] for tensors in sums[:2])
            made[f"{name}/relevance"] = b.Concat(*(_total(b, tensors) for tensors in (*sums, *sizes)), axis=0)
        return made

    def read(self, names: Mapping[str, str], runs: Iterable[Mapping[str, Any]]) -> list[NodeConservation]:
        """What the nodes received and sent, in the order of the backward pass.

        Args:
            names: of the results that hold the reports, by report.
            runs: the results of all runs, whose samples are added up.
        """
        totals = {name: np.zeros(5) for name, *_ in self.nodes}
        for results in runs:
            for name in totals:
                totals[name] += np.asarray(results[names[f"{name}/relevance"]], np.float64)
        return [NodeConservation(*described, *map(float, totals[described[0]])) for described in self.nodes]


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


@dataclass(frozen=True)
class Passage:
    """Where relevance does not come through as it should: the first node of the backward pass that makes all of it zero, and
    the first that sends a thousand times what the score was.

    Attributes:
        vanishes: that node; None where every node hands on some of what it receives, or its bias keeps it.
        grows: that node; None where it stays in bounds.
        factor: how many times larger it is behind `grows`.
    """

    vanishes: NodeConservation | None = None
    grows: NodeConservation | None = None
    factor: float = 1.0

    def __str__(self) -> str:
        said = []
        if self.vanishes is not None:
            said.append(f"{_named(self.vanishes)} makes relevance exactly zero")
        if self.grows is not None:
            said.append(f"{_named(self.grows)} sends relevance {self.factor:.3g} times as large as the score")
        return "; ".join(said)


def passage(rows: Sequence[NodeConservation]) -> Passage:
    """Judge how relevance comes through.

    Args:
        rows: the sums of all nodes, in the order of the backward pass.
    """
    start = rows[0].received_size if rows else 0.0
    if not start or not np.isfinite(start):
        return Passage()
    lost = (r for r in rows if r.received_size > start * NOTHING and r.sent_size == 0 and r.bias == 0)
    grown = next((r for r in rows if r.sent_size >= GROWTH * start), None)
    return Passage(next(lost, None), grown, 1.0 if grown is None else grown.sent_size / start)


def _named(row: NodeConservation) -> str:
    return f"'{row.node}' ({row.operator}, {row.rule})"
