"""follow_samples: which axis of every tensor carries the samples untouched, from the axes of the inputs that count them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnxplain.analysis.sample_flow.place import Gone, Place, State
from onnxplain.analysis.sample_flow.reading import KnownValues, Reading
from onnxplain.analysis.sample_flow.rules import sample_rule
from onnxplain.ir.node import Node, Subgraph
from onnxplain.ir.ops import Traits
from onnxplain.ir.tensor import Dim

__all__ = ["follow_samples"]


def follow_samples(
    nodes: Sequence[Node], axes: Mapping[str, int], extent: Dim, facts: KnownValues, traits: Traits
) -> dict[str, State]:
    """Where the samples lie in every tensor that depends on them.

    Args:
        nodes: in topological order.
        axes: the axis of each input that counts samples; other inputs are the same for all of them.
        extent: how many samples there are.
        facts: what is known of the values of small tensors.
        traits: facts about operators.

    Returns:
        By tensor: a `Place` where every slice along an axis depends on one sample alone; `Gone` where samples are mixed, or
        nothing is known. Tensors that do not depend on the samples are left out.
    """
    return _Walk(extent, facts, traits).through(nodes, {name: Place(axis) for name, axis in axes.items()})


class _Walk:
    """Follows samples through nodes, and through the subgraphs of nodes."""

    def __init__(self, extent: Dim, facts: KnownValues, traits: Traits) -> None:
        self.extent, self.facts, self.traits = extent, facts, traits

    def through(self, nodes: Sequence[Node], states: Mapping[str, State]) -> dict[str, State]:
        """The states of all tensors after some nodes, with those before."""
        known = dict(states)
        for node in nodes:
            facts = self.traits(node)
            found = [s for t in node.reads if t is not None and (s := known.get(t.name)) is not None]
            if not found or facts.shape_only:
                continue
            lost = max((s for s in found if isinstance(s, Gone)), key=lambda s: s.proven, default=None)
            if lost is not None:
                made: list[State] = [lost] * len(node.outputs)
            elif node.bodies:
                made = self.bodies(node, known)
            else:
                made = self.one(node, known)
            for output, state in zip(node.outputs, made, strict=False):
                if output is not None and state is not None:
                    known[output.name] = state
        return known

    def one(self, node: Node, known: Mapping[str, State]) -> list[State]:
        """The states of a node's outputs."""
        rule = sample_rule(node, self.traits(node))
        reading = self.reading(node, known)
        if rule is None:
            return [reading.unknown()] * len(node.outputs)
        result = rule(reading)
        return list(result) if isinstance(result, Sequence) else [result] * len(node.outputs)

    def reading(self, node: Node, known: Mapping[str, State]) -> Reading:
        """A node as rules see it."""
        return Reading(node, known, self.extent, self.facts)

    def bodies(self, node: Node, known: Mapping[str, State]) -> list[State]:
        """The states of what If, Loop and Scan make."""
        made: list[State] | None = None
        # operators: those with subgraphs, an implementation of each
        if node.op == "If":
            made = self.branches(node, known)
        elif node.op == "Loop":
            made = self.loop(node, known)
        elif node.op == "Scan":
            made = self.scan(node, known)
        return [self.reading(node, known).unknown()] * len(node.outputs) if made is None else made

    def branches(self, node: Node, known: Mapping[str, State]) -> list[State] | None:
        if known.get(node.x.name) is not None:
            return None
        ends = [self.inside(body, [], known) for body in node.bodies.values()]
        return [self.joined(node, pair) for pair in zip(*ends, strict=True)]

    def loop(self, node: Node, known: Mapping[str, State]) -> list[State] | None:
        (body,) = node.bodies.values()
        limits = [t for t in node.inputs[:2] if t is not None]
        if any(known.get(t.name) is not None for t in limits):
            return None
        states: list[State] = [None if t is None else known.get(t.name) for t in node.inputs[2:]]
        count = len(states)
        while True:
            ends = self.inside(body, [None, None, *states], known)
            if ends[0] is not None:
                return None
            after = [self.joined(node, pair) for pair in zip(states, ends[1 : count + 1], strict=True)]
            if after == states:
                return [*after, *(_shifted(end, 0) for end in ends[count + 1 :])]
            states = after

    def scan(self, node: Node, known: Mapping[str, State]) -> list[State] | None:
        (body,) = node.bodies.values()
        scanned = int(node["num_scan_inputs"])
        count = len(node.inputs) - scanned
        axes = [int(a) for a in node.get("scan_input_axes") or [0] * scanned]
        step = Gone(str(node), True)  # what steps see of samples along the axis that is scanned: one each
        rows: list[State] = []
        for t, axis in zip(node.inputs[count:], axes, strict=True):
            state = None if t is None else known.get(t.name)
            if isinstance(state, Place):
                axis = axis % len(t.shape) if axis < 0 and t is not None and t.shape is not None else axis
                if axis < 0:
                    return None
                state = step if state.axis == axis else state.at(state.axis - (axis < state.axis))
            rows.append(state)
        states: list[State] = [None if t is None else known.get(t.name) for t in node.inputs[:count]]
        by_step = step in rows and {*rows, *states} <= {step, None} and not any(t.name in known for t in node.captures)
        while True:
            ends = self.inside(body, [*states, *rows], known)
            after = [self.joined(node, pair) for pair in zip(states, ends[:count], strict=True)]
            if after == states:
                break
            states = after
        places = [int(a) for a in node.get("scan_output_axes") or [0] * (len(ends) - count)]
        if any(a < 0 for a in places):
            return None
        if step not in rows or step in states:  # a state that goes on from sample to sample mixes them
            return [*states, *(_shifted(end, axis) for end, axis in zip(ends[count:], places, strict=True))]
        if not by_step or any(node.get("scan_input_directions") or ()) or any(node.get("scan_output_directions") or ()):
            return None
        return [*states, *(None if end is None else Place(axis) for end, axis in zip(ends[count:], places, strict=True))]

    def inside(self, body: Subgraph, given: Sequence[State], known: Mapping[str, State]) -> list[State]:
        """The states of a subgraph's outputs."""
        own = {t.name: s for t, s in zip(body.inputs, given, strict=False) if s is not None}
        made = self.through(body.nodes, {**known, **own})
        return [made.get(t.name) for t in body.outputs]

    def joined(self, node: Node, pair: Sequence[State]) -> State:
        """The state of what is one of several."""
        found = {s for s in pair if s is not None}
        return None if not found else next(iter(found)) if len(found) == 1 else Gone(str(node), False)


def _shifted(state: State, axis: int) -> State:
    """What a step returns, stacked with the others along an axis."""
    return state.at(state.axis + (axis <= state.axis)) if isinstance(state, Place) else state
