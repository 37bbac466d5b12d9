"""Activations written in several operators: GELU, SiLU, hard-swish, Mish, whatever a model's authors thought of.

An activation is a function of each element alone. Found as ways that leave a tensor, go through elementwise operators
with constants only, and meet again: x · σ(x), ½ x (1 + erf(x / √2)). Where none of them saturates or bends (x · x), it is
a function, but none that lets through what is above zero.

No pattern: what lies between is not known beforehand, only that it is elementwise and meets again.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnxplain.analysis.canonize.dataflow import Dataflow
from onnxplain.ir.node import Node
from onnxplain.ir.tensor import Tensor

__all__ = ["group_activations", "group_shifts"]


def group_activations(flow: Dataflow) -> Sequence[Node]:
    """`Activation(x)` for the largest groups of elementwise nodes whose ways from one tensor meet again, with the factor
    behind them; `Function(x)` where nothing in them bends."""
    origin: dict[str, Tensor] = {}  # what each tensor is an elementwise function of, one node back
    groups: dict[str, Node] = {}  # by the name of the output
    for node in flow.nodes:
        facts, places = flow.traits(node), [i for i in range(len(node.inputs)) if node.needs_input_grad(i)]
        if node.parts or not facts.elementwise or (facts.elementwise == "first" and places != [0]):
            continue
        live = list(dict.fromkeys(node.input(i) for i in places))
        if not live or not _constants_fit(node):
            continue
        if len(places) == 1:
            origin[node.y.name] = live[0]
            continue
        root = _meeting(origin, live)
        if root is None or (root.shape is not None and node.y.shape is not None and len(root.shape) != len(node.y.shape)):
            continue
        origin[node.y.name] = root
        members = _members(flow, node, root)
        kind = "Activation" if any(flow.traits(part).activation for part in members) else "Function"
        group = flow.compound(kind, members, [root])
        if group is not None:
            groups[node.y.name] = _with_factor(flow, group)
    return flow.replaced(_largest(list(groups.values())))


def _with_factor(flow: Dataflow, group: Node) -> Node:
    """The group with the number that its result is multiplied by, as in (x · (1 + erf(x / √2))) · ½."""
    readers = flow.readers.get(group.y.name, ())
    # operators: a factor is multiplied by or divided by
    if group.op != "Activation" or len(readers) != 1 or readers[0].op not in ("Mul", "Div") or readers[0].domain:
        return group
    live = [i for i in range(2) if readers[0].needs_input_grad(i)]
    if len(live) != 1 or (readers[0].op == "Div" and live != [0]) or not flow.scalar(readers[0].input(1 - live[0])):
        return group
    return flow.compound(group.op, [*group.parts, readers[0]], group.inputs) or group


def group_shifts(flow: Dataflow) -> Sequence[Node]:
    """`Shift(x)` for x ± c with a single number c: it belongs to a function, and is no bias that could take relevance."""

    def shifts(node: Node) -> bool:
        # operators: a number is added or taken off
        if node.op not in ("Add", "Sub") or node.domain:
            return False
        live = [i for i in range(2) if node.needs_input_grad(i)]
        return len(live) == 1 and flow.scalar(node.input(1 - live[0]))

    made = [flow.compound("Shift", [c], [c.input(0 if c.needs_input_grad(0) else 1)]) for c in flow.nodes if shifts(c)]
    return flow.replaced([c for c in made if c is not None])


def _constants_fit(node: Node) -> bool:
    """Whether no constant operand makes the result larger than the live one."""
    y = node.y
    live = [t for i, t in enumerate(node.inputs) if t is not None and node.needs_input_grad(i)]
    return all(t.shape is None or y.shape is None or len(t.shape) == len(y.shape) for t in live)


def _chain(origin: dict[str, Tensor], tensor: Tensor) -> list[Tensor]:
    """The tensors that one is an elementwise function of, the nearest first, itself included."""
    found = [tensor]
    while found[-1].name in origin:
        found.append(origin[found[-1].name])
    return found


def _meeting(origin: dict[str, Tensor], live: Sequence[Tensor]) -> Tensor | None:
    """The nearest tensor that all of these are elementwise functions of."""
    first, *others = (_chain(origin, t) for t in live)
    sets = [{t.name for t in chain} for chain in others]
    return next((t for t in first if all(t.name in names for names in sets)), None)


def _members(flow: Dataflow, node: Node, root: Tensor) -> list[Node]:
    """The nodes between a tensor and the output of a node, in topological order."""
    found: dict[str, Node] = {}
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current.name in found:
            continue
        found[current.name] = current
        for i, t in enumerate(current.inputs):
            maker = flow.maker(t)
            if t is not None and current.needs_input_grad(i) and t != root and maker is not None:
                waiting.append(maker)
    return sorted(found.values(), key=lambda c: flow.order[c.name])


def _largest(groups: Sequence[Node]) -> list[Node]:
    """Groups that are not within another."""
    inside = {part.y.name for g in groups for part in g.parts[:-1]}
    return [g for g in groups if g.outputs[0] is not None and g.outputs[0].name not in inside]
