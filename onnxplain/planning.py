"""plan: which rule serves which call of a model, and what is missing, before anything is run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxplain.backward import missing_operators
from onnxplain.call import Call
from onnxplain.graph import Graph, named_dims
from onnxplain.liveness import liveness
from onnxplain.load import ModelLike, read
from onnxplain.method import find_method
from onnxplain.passes import prepared
from onnxplain.registry import load_registry
from onnxplain.rewriting import explained_tensors
from onnxplain.score import Score, find_score
from onnxplain.sources import Explained

__all__ = ["Plan", "PlanRow", "plan"]


@dataclass(frozen=True)
class PlanRow:
    """One call: where it is, what it makes, and the rule that serves it.

    `status` is "rule", "missing", or "off the way" for calls no message passes.
    """

    node: str
    operator: str
    scope: str
    output: str
    shape: str
    role: str
    rule: str
    reason: str
    status: str


@dataclass(frozen=True)
class Plan:
    """The calls of a model in the order they run, with what a method does at each."""

    method: str
    score: Score
    explained: tuple[Explained, ...]
    passes: tuple[str, ...]
    rows: tuple[PlanRow, ...]
    problem: str

    @property
    def missing(self) -> tuple[PlanRow, ...]:
        """The calls without a rule."""
        return tuple(row for row in self.rows if row.status == "missing")


def plan(
    model: ModelLike,
    method: str = "gradient",
    *,
    output: str | None = None,
    inputs: Sequence[str] | None = None,
    layer: str | Sequence[str] | None = None,
    score: str = "logit",
    rules: str | Path | Iterable[str | Path] | None = None,
) -> Plan:
    """Which rule serves which call, and which calls have none.

    Args:
        model, method, output, inputs, layer, score, rules: as in `onnxplain.rewrite`.

    Raises:
        OnnxplainError: the model cannot be read, or method, output, input or layer do not exist. A missing rule is no
            error here: it is in the plan.
    """
    found = find_method(method)
    registry = load_registry(rules)
    source = prepared(read(model), registry)
    graph = Graph(source.model)
    scored = find_score(graph, output, score)
    wanted = [layer] if isinstance(layer, str) else layer
    explained = explained_tensors(graph, scored, inputs, wanted, registry)
    live = liveness(graph.calls, [e.tensor for e in explained], [scored.tensor], registry.role)
    on_the_way = {call.name for call in live.calls}

    def row(call: Call) -> PlanRow:
        chosen = found.composite.choose(registry, call)
        status = "off the way" if call.name not in on_the_way else "missing" if chosen is None else "rule"
        served = chosen is not None and status == "rule"
        return PlanRow(
            node=call.name,
            operator=call.operator,
            scope=call.scope,
            output=call.y.name,
            shape=named_dims(call.y),
            role=chosen.spec.role if chosen is not None else "",
            rule=getattr(chosen.rule, "__name__", "").rstrip("_") if served and chosen is not None else "",
            reason=chosen.reason if served and chosen is not None else "",
            status=status,
        )

    missing = [call for call in live.calls if found.composite.choose(registry, call) is None]
    problem = missing_operators(missing, live.calls, [scored.tensor]) if missing else ""
    return Plan(method, scored, explained, source.passes or (), tuple(row(c) for c in graph.calls), problem)
