"""A norm that takes off the mean, written in several operators, or with its scale and shift behind it."""

from __future__ import annotations

from collections.abc import Sequence

from onnxplain.analysis.canonize.dataflow import Dataflow
from onnxplain.analysis.canonize.gate import statistic_of
from onnxplain.analysis.probabilities import STRETCHES
from onnxplain.ir.node import Node
from onnxplain.ir.pattern import Match, behind, constant, match, number, op, var
from onnxplain.ir.tensor import Tensor

__all__ = ["group_norms"]

# operators: norms that are one operator
NORMS = ("LayerNormalization", "RMSNormalization", "InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization")

X = var("x")
A, C = constant("a"), constant("c")
SIZE, RATE = var("size"), var("rate")
MEAN = behind(STRETCHES, op.ReduceMean(X, ...) | op.ReduceSum(X, ...) / number() | op.ReduceSum(X, ...) * number())
CENTRED = X - MEAN
NORMED = CENTRED / SIZE | CENTRED * RATE
MOVED = behind(STRETCHES, NORMED)  # a group norm is scaled channel by channel, in the extents that its input had
WHOLE = behind(STRETCHES, op[NORMS](X, ...).named("whole"))

EARLIER = frozenset({"Sub", "Mul", "Div", *NORMS, *STRETCHES})  # operators: what the last steps read

SUMS = ((MOVED * A | MOVED) + C, X * RATE + (C - MEAN * RATE), (WHOLE * A | WHOLE) + C)
# operators: last steps
SPELLINGS = {"Add": SUMS, "Mul": (MOVED * A | NORMED,), "Div": (NORMED,)}
"""Ways to write (x − μ) / σ · a + c, or less of it, by the last step; the rate is 1 / σ, or a / σ."""


def group_norms(flow: Dataflow) -> Sequence[Node]:
    """`Norm(x)` for every spelling; the attribute `statistics` names the parts that make 1 / σ or σ, from their sum on."""
    if not any(flow.traits(node).reduces or node.op in NORMS for node in flow.nodes):
        return flow.nodes
    made: list[Node] = []
    inside: set[str] = set()
    for node in reversed(flow.nodes):
        if node.domain or node.name in inside or not _may_end(flow, node):
            continue
        group = next(
            (g for s in SPELLINGS.get(node.op, ()) if (found := match(flow, s, node.y)) and (g := _norm(flow, node, found))), None
        )
        if group is not None:
            made.append(group)
            inside.update(part.name for part in group.parts)
    return flow.replaced(made)


def _may_end(flow: Dataflow, node: Node) -> bool:
    """Whether a node reads what the last step of a spelling reads; most do not, and need no closer look."""
    makers = (flow.live_maker(t) for t in node.inputs)
    return node.op in SPELLINGS and any(maker is not None and maker.op in EARLIER for maker in makers)


def _norm(flow: Dataflow, last: Node, found: Match[Tensor, Node]) -> Node | None:
    x = found["x"]
    if "whole" in found.named:
        return flow.group("Norm", found, [x], statistics=())
    size, rate = found.values.get("size"), found.values.get("rate")
    divisor = size or rate
    if divisor is None or not statistic_of(flow, divisor, inverted=size is None):
        return None
    parts = _between(flow, x, last)
    steady = _between(flow, x, flow.live_maker(divisor))
    if parts is None or steady is None:
        return None
    matched = {node.name for node in found.nodes}
    return flow.compound("Norm", parts, [x], statistics=tuple(n.name for n in steady if n.name not in matched))


def _between(flow: Dataflow, x: Tensor, last: Node | None) -> list[Node] | None:
    """The live nodes between a tensor and a node, which is one of them; None where something else comes in."""
    found: dict[str, Node] = {}
    waiting = [last]
    while waiting:
        node = waiting.pop()
        if node is None:
            return None
        if node.name in found:
            continue
        found[node.name] = node
        live = [t for i, t in enumerate(node.inputs) if t is not None and node.needs_input_grad(i)]
        waiting += [flow.live_maker(t) for t in live if t != x]
    return sorted(found.values(), key=flow.place)
