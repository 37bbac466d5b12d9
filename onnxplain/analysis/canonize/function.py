"""Functions of each element written in several operators: GELU, SiLU, hard-swish, Mish, symlog, a ReLU as a choice or a mask.

Found as ways that leave a tensor, go through elementwise operators with constants only, and meet again: x · σ(x),
½ x (1 + erf(x / √2)). A way may go beside that of the messages, through comparisons and signs, which have no derivative:
x · [x > 0], sign(x) · log(1 + |x|), nested choices. What such ways enclose is one function of one tensor, whatever its shape.
It is an activation where something in it saturates, bends or steps; else (x · x) nothing in it lets through what is above zero.

No pattern: what lies between is not known beforehand, only that it is elementwise and meets again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from onnxplain.analysis.canonize.dataflow import Dataflow
from onnxplain.ir.node import Node
from onnxplain.ir.tensor import Tensor

__all__ = ["group_functions", "group_shifts"]


def group_functions(flow: Dataflow) -> Sequence[Node]:
    """`Activation(x)` for the largest groups of elementwise nodes whose ways from one tensor meet again, with the factor
    behind them; `Function(x)` where nothing in them bends."""
    ways = _Ways(flow)
    groups: dict[str, Node] = {}  # by the name of the output
    for whole in flow.every:
        node = flow.maker(whole.outputs[0]) if whole.outputs and whole.outputs[0] is not None else None
        root = None if node is None or node.parts else ways.met_in(node)
        if node is None or root is None or node.y.name not in flow.makers:
            continue
        members = ways.between(root, node)
        group = flow.compound("Activation" if _bends(flow, members) else "Function", members, [root])
        if group is not None:
            groups[node.y.name] = _with_factor(flow, group)
    return flow.replaced(_largest(list(groups.values())))


def _bends(flow: Dataflow, members: Sequence[Node]) -> bool:
    """Whether something in a function saturates, bends or, beside the way of the messages, steps."""
    return any(flow.traits(part).activation or part.y.name in flow.aside for part in members)


@dataclass
class _Ways:
    """What each tensor is an elementwise function of, one node or one group of nodes back."""

    flow: Dataflow
    origin: dict[str, Tensor] = field(default_factory=dict)
    operands: dict[str, Sequence[Tensor]] = field(default_factory=dict)
    """By the name of a result: the operands that it is a function of."""

    def met_in(self, node: Node) -> Tensor | None:
        """Note what a node's result is a function of; where several ways meet in it, the tensor that they leave."""
        facts = self.flow.traits(node)
        if not facts.elementwise or node.op in ODDITIES:
            return None
        live = [i for i in range(len(node.inputs)) if node.needs_input_grad(i)]
        varying = [i for i, t in enumerate(node.inputs) if t is not None and (i in live or not self.flow.fixed(t))]
        for places in (varying, live):  # what else changes with the input is a setting, such as a mask
            operands = list(dict.fromkeys(node.input(i) for i in places))
            root = _meeting(self.origin, operands) if operands else None
            if root is None or (facts.elementwise == "first" and places != [0]) or not _keeps_shape(node, root):
                continue
            self.origin[node.y.name], self.operands[node.y.name] = root, operands
            return root if len(places) > 1 else None
        return None

    def between(self, root: Tensor, node: Node) -> list[Node]:
        """The nodes between a tensor and the output of a node, in topological order."""
        found: dict[str, Node] = {}
        waiting: list[Node | None] = [node]
        while waiting:
            current = waiting.pop()
            if current is None or current.y.name in found:
                continue
            found[current.y.name] = current
            waiting += [self.flow.maker(t) for t in self.operands[current.y.name] if t != root]
        return sorted(found.values(), key=self.flow.place)


ODDITIES = ("IsNaN", "IsInf")  # operators: tests that only tell numbers from what is none, and are no part of a function


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


def _keeps_shape(node: Node, root: Tensor) -> bool:
    """Whether no constant operand makes the result larger than the tensor that it is a function of."""
    if root.shape is None or node.y.shape is None:
        return True
    pairs = zip(root.shape, node.y.shape, strict=False)
    return len(root.shape) == len(node.y.shape) and not any(mine == 1 and its not in (1, None) for mine, its in pairs)


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


def _largest(groups: Sequence[Node]) -> list[Node]:
    """Groups that are not within another."""
    inside = {part.y.name for g in groups for part in g.parts[:-1]}
    return [g for g in groups if g.outputs[0] is not None and g.outputs[0].name not in inside]
