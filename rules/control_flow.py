"""If, Loop and Scan: the backward pass of a subgraph is a subgraph of the same kind.

A branch or body is run again where its backward needs the values in it; a loop keeps only the states its steps start
from, so memory grows with the states, not with what a step computes.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from onnxplain import Builder, Messages, Node, Tensor, rule
from onnxplain.rulekit import loop_history as history


def back(
    b: Builder, node: Node, name: str, values: dict[Tensor, Tensor], messages: Sequence[Tensor | None], sources: Sequence[Tensor]
) -> list[Tensor]:
    """Messages at `sources` (inputs of a subgraph or outer tensors), from messages at the subgraph's outputs.

    `values` are the values of the subgraph's inputs, from which it is run again.
    """
    subgraph = node.attributes[name]
    nodes, became = b.replay_all(subgraph.nodes, values)
    target_messages: dict[Tensor, Tensor] = {}
    for output, message in zip(subgraph.outputs, messages, strict=True):
        if message is not None:
            end = became.get(output, output)
            message = _fitted(b, message, end, branch=node.op == "If")
            target_messages[end] = b.total([target_messages[end], message]) if end in target_messages else message
    places = [became.get(s, s) for s in sources]
    found = b.backpropagate(nodes, target_messages, places)
    return [found[p] if p in found else b.zeros_like(p) for p in places]


def _fitted(b: Builder, message: Tensor, end: Tensor, *, branch: bool) -> Tensor:
    """The message on a result in the extents of what makes it within: those of the node's own output need not tell them.

    Branches may return different ranks. The message has that of the branch which is taken; in another one it is never read.
    """
    if end.shape is None:
        return message
    if branch and (message.shape is None or len(message.shape) != len(end.shape)):
        message = b.Reshape(message, b.Shape(end))
    return b.shaped(message, end.shape)


def live_captures(node: Node) -> list[Tensor]:
    """The outer tensors that a message is asked for."""
    first = len(node.inputs)
    return [t for i, t in enumerate(node.captures, start=first) if node.needs_input_grad(i)]


def live_states(node: Node) -> list[int]:
    """The numbers of a Loop's states that depend on what a message is asked for."""
    body = node.attributes["body"]
    before, after = body.inputs[2:], body.outputs[1:]
    captures = set(live_captures(node))
    found = [i for i in range(len(before)) if node.needs_input_grad(2 + i)]
    while True:
        reached = captures | {before[i] for i in found}
        for inner in body.nodes:
            if any(t in reached for t in inner.reads if t is not None):
                reached.update(t for t in inner.outputs if t is not None)
        more = [i for i in range(len(before)) if i in found or after[i] in reached]
        if more == found:
            return found
        found = more


def as_messages(made: Tensor | tuple[Tensor, ...], on: Sequence[Tensor]) -> list[Tensor]:
    """Outputs of an emitted If, Loop or Scan as messages on tensors, sequences where these are."""
    outputs = made if isinstance(made, tuple) else (made,)
    return [replace(m, dtype=t.dtype, is_sequence=t.is_sequence) for m, t in zip(outputs, on, strict=False)]


def filled(b: Builder, messages: Sequence[Tensor | None], finals: Sequence[Tensor]) -> list[Tensor]:
    """The messages on final states, zeros where none arrived."""
    return [b.zeros_like(final) if m is None else m for m, final in zip(messages, finals, strict=True)]


def spread(node: Node, inputs: dict[int, Tensor], captures: dict[Tensor, Tensor]) -> Messages:
    """Messages in the order of what the node reads."""
    return (*(inputs.get(i) for i in range(len(node.inputs))), *(captures.get(t) for t in node.captures))


@rule("If", role="control")
def if_(b: Builder, node: Node, *dy: Tensor | None) -> Messages:
    """The backward of the branch that was taken."""
    captures = live_captures(node)

    def branch(name: str) -> Any:
        return b.body([], lambda: back(b, node, name, {}, dy, captures), closed=True)

    branches = {name: branch(name) for name in ("then_branch", "else_branch")}
    made = as_messages(b.op("If", node.x, outputs=len(captures), **branches), captures)
    return spread(node, {}, dict(zip(captures, made, strict=True)))


@rule("Loop", role="control")
def loop(b: Builder, node: Node, *dy: Tensor | None) -> Messages:
    """The steps backward from the last to the first; each starts again from the state it started from."""
    body, past = node.attributes["body"], history.of_loop(b, node)
    states, captures = body.inputs[2:], live_captures(node)
    carried = [i for i in live_states(node) if states[i].is_float]
    messages = [*dy, *[None] * (len(body.outputs) - 1 - len(dy))]
    d_scans = messages[len(states) :]
    last = b.Sub(past.steps, 1)
    sources = [*(states[i] for i in carried), *captures]

    def step_back(j: Tensor, go_on: Tensor, *formal: Tensor) -> list[Tensor]:
        t = b.Sub(last, j)
        starts = past.start(t, dict(zip(past.rewound, formal[len(sources) :], strict=True)))
        values = dict(zip(body.inputs, [t, b.const(np.array(True)), *(starts[i] for i in range(len(states)))], strict=True))
        d_states, sums = dict(zip(carried, formal, strict=False)), formal[len(carried) : len(sources)]
        d_now = [None if d is None else b.Gather(d, t, axis=0) for d in d_scans]
        found = back(b, node, "body", values, [None, *(d_states.get(i) for i in range(len(states))), *d_now], sources)
        totals = [b.total([s, f]) for s, f in zip(sums, found[len(carried) :], strict=True)]
        return [go_on, *found[: len(carried)], *totals, *(starts[i] for i in past.rewound)]

    scalar = Tensor("step", np.dtype(np.int64), ()), Tensor("go_on", np.dtype(np.bool_), ())
    finals = filled(b, [messages[i] for i in carried], [past.finals[i] for i in carried])
    begin = [*finals, *(b.zeros_like(c) for c in captures), *(past.finals[i] for i in past.rewound)]
    backward = b.body([*scalar, *sources, *(states[i] for i in past.rewound)], step_back)
    made = as_messages(b.op("Loop", past.steps, True, *begin, outputs=len(begin), body=backward), sources)
    inputs = {2 + i: m for i, m in zip(carried, made, strict=False)}
    return spread(node, inputs, dict(zip(captures, made[len(carried) :], strict=True)))


@rule("Scan", role="control", since=9)
def scan(b: Builder, node: Node, *dy: Tensor | None) -> Messages:
    """A Scan the other way round, over the same slices, the states the steps started from, and the messages."""
    body = node.attributes["body"]
    slices = node["num_scan_inputs"]
    count = len(body.inputs) - slices
    scans = len(body.outputs) - count
    states, captures = body.inputs[:count], live_captures(node)
    carried = [i for i, t in enumerate(states) if t.is_float]
    sliced = [i for i in range(slices) if node.needs_input_grad(count + i)]
    in_axes, in_directions = (node.get(f"scan_input_{what}") or [0] * slices for what in ("axes", "directions"))
    out_axes, out_directions = (node.get(f"scan_output_{what}") or [0] * scans for what in ("axes", "directions"))
    more = [0] * count
    recorded = {"scan_output_axes": [*out_axes, *more], "scan_output_directions": [*out_directions, *more]}
    starts = b.record(node, states, **recorded).stacks if count else ()
    messages = [*dy, *[None] * (len(body.outputs) - len(dy))]
    d_scans = messages[count:]
    arrived = [k for k, d in enumerate(d_scans) if d is not None]

    def step_back(*formal: Tensor) -> list[Tensor]:
        d_states = dict(zip(carried, formal, strict=False))
        sums = formal[len(carried) : len(carried) + len(captures)]
        rest = list(formal[len(carried) + len(captures) :])
        values = dict(zip(body.inputs, rest[: count + slices], strict=True))
        d_slices = dict(zip(arrived, rest[count + slices :], strict=True))
        d_now = [*(d_states.get(i) for i in range(count)), *(d_slices.get(k) for k in range(scans))]
        sources = [*(states[i] for i in carried), *captures, *(body.inputs[count + i] for i in sliced)]
        found = back(b, node, "body", values, d_now, sources)
        n = len(carried)
        totals = [b.total([s, f]) for s, f in zip(sums, found[n : n + len(sums)], strict=True)]
        return [*found[:n], *totals, *found[n + len(sums) :]]

    # The states of a Scan keep their shapes.
    starting = [t for t in node.inputs[:count] if t is not None]
    begin = [*filled(b, [messages[i] for i in carried], [starting[i] for i in carried]), *(b.zeros_like(c) for c in captures)]
    results = [body.outputs[count + k] for k in arrived]
    backward = b.body([*(states[i] for i in carried), *captures, *states, *body.inputs[count:], *results], step_back)
    made = b.op(
        "Scan", *begin, *starts, *node.inputs[count:], *(d_scans[k] for k in arrived),
        outputs=len(begin) + len(sliced),
        body=backward,
        num_scan_inputs=count + slices + len(arrived),
        scan_input_axes=[*more, *in_axes, *(out_axes[k] for k in arrived)],
        scan_input_directions=[*(1 for _ in starts), *(1 - d for d in in_directions), *(1 - out_directions[k] for k in arrived)],
        scan_output_axes=[in_axes[i] for i in sliced] or None,
        scan_output_directions=[1 - in_directions[i] for i in sliced] or None,
    )  # fmt: skip
    made = made if isinstance(made, tuple) else (made,)
    inputs = dict(zip(carried, made, strict=False)) | dict(zip((count + i for i in sliced), made[len(begin) :], strict=True))
    return spread(node, inputs, dict(zip(captures, made[len(carried) : len(begin)], strict=True)))
