"""If, Loop and Scan: the backward pass of a subgraph is a subgraph of the same kind.

A branch or body is run again where its backward needs the values in it; a loop keeps only the states its steps start
from, so memory grows with the states, not with what a step computes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxplain import Builder, Call, Messages, RuleError, Tensor, rule


def back(
    b: Builder, call: Call, name: str, values: dict[Tensor, Tensor], messages: Sequence[Tensor | None], sources: Sequence[Tensor]
) -> list[Tensor]:
    """Messages at `sources` (inputs of a subgraph or outer tensors), from messages at the subgraph's outputs.

    `values` are the values of the subgraph's inputs, from which it is run again.
    """
    subgraph = call.attributes[name]
    calls, became = b.replay_all(subgraph.calls, values)
    seeds: dict[Tensor, Tensor] = {}
    for output, message in zip(subgraph.outputs, messages, strict=True):
        if message is not None:
            end = became.get(output, output)
            seeds[end] = b.total([seeds[end], message]) if end in seeds else message
    places = [became.get(s, s) for s in sources]
    found = b.walk(calls, seeds, places)
    return [found[p] if p in found else b.zeros_like(p) for p in places]


def live_captures(call: Call) -> list[Tensor]:
    """The outer tensors that a message is asked for."""
    first = len(call.inputs)
    return [t for i, t in enumerate(call.captures, start=first) if call.wants(i)]


def split(
    b: Builder, call: Call, dy: Sequence[Tensor | None], starts: Sequence[Tensor | None], outputs: int
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Messages on the final states, zeros where none arrived, and on the scan outputs."""
    messages = [*dy, *[None] * (outputs - len(dy))]
    finals = [b.zeros_like(start) if m is None else m for m, start in zip(messages, starts, strict=False) if start is not None]
    return finals, messages[len(starts) :]


def spread(call: Call, inputs: dict[int, Tensor], captures: dict[Tensor, Tensor]) -> Messages:
    """Messages in the order of what the call reads."""
    return (*(inputs.get(i) for i in range(len(call.inputs))), *(captures.get(t) for t in call.captures))


@rule("If", role="control")
def if_(b: Builder, call: Call, *dy: Tensor | None) -> Messages:
    """The backward of the branch that was taken."""
    captures = live_captures(call)

    def branch(name: str) -> Any:
        return b.body([], lambda: back(b, call, name, {}, dy, captures), closed=True)

    branches = {name: branch(name) for name in ("then_branch", "else_branch")}
    made = b.op("If", call.x, outputs=len(captures), **branches)
    return spread(call, {}, dict(zip(captures, made if isinstance(made, tuple) else (made,), strict=True)))


@rule("Loop", role="control")
def loop(b: Builder, call: Call, *dy: Tensor | None) -> Messages:
    """The steps backward from the last to the first; each starts again from the state it started from."""
    body = call.attributes["body"]
    step, states = body.inputs[0], body.inputs[2:]
    count, captures = len(states), live_captures(call)
    carried = [i for i, t in enumerate(states) if t.is_float]
    refuse_growing(call, body.inputs[2:], body.outputs[1:])
    steps, *starts = b.record(call, "body", [step, *states])
    steps_done = b.Squeeze(b.dim(steps, 0), [0])
    last = b.Sub(steps_done, 1)
    d_final, d_scans = split(b, call, dy, call.inputs[2:], len(body.outputs) - 1)

    def step_back(j: Tensor, go_on: Tensor, *accumulated: Tensor) -> list[Tensor]:
        t = b.Sub(last, j)
        now = [b.Gather(start, t, axis=0) for start in starts]
        values = dict(zip(body.inputs, [t, b.const(np.array(True)), *map(shaped, now, states)], strict=True))
        d_states, sums = dict(zip(carried, accumulated, strict=False)), accumulated[len(carried) :]
        messages = [
            None,
            *(d_states.get(i) for i in range(count)),
            *(None if d is None else b.Gather(d, t, axis=0) for d in d_scans),
        ]
        found = back(b, call, "body", values, messages, [*(states[i] for i in carried), *captures])
        return [go_on, *found[: len(carried)], *(b.Add(s, f) for s, f in zip(sums, found[len(carried) :], strict=True))]

    scalar = Tensor("step", np.dtype(np.int64), ()), Tensor("go_on", np.dtype(np.bool_), ())
    begin = [*(d_final[i] for i in carried), *(b.zeros_like(c) for c in captures)]
    backward = b.body([*scalar, *(states[i] for i in carried), *captures], step_back)
    made = b.op("Loop", steps_done, None, *begin, outputs=len(begin), body=backward)
    made = made if isinstance(made, tuple) else (made,)
    return spread(
        call, {2 + i: m for i, m in zip(carried, made, strict=False)}, dict(zip(captures, made[len(carried) :], strict=True))
    )


@rule("Scan", role="control", since=9)
def scan(b: Builder, call: Call, *dy: Tensor | None) -> Messages:
    """A Scan the other way round, over the same slices, the states the steps started from, and the messages."""
    body = call.attributes["body"]
    slices = call["num_scan_inputs"]
    count = len(body.inputs) - slices
    scans = len(body.outputs) - count
    states, captures = body.inputs[:count], live_captures(call)
    carried = [i for i, t in enumerate(states) if t.is_float]
    sliced = [i for i in range(slices) if call.wants(count + i)]
    in_axes, in_directions = (call.get(f"scan_input_{what}") or [0] * slices for what in ("axes", "directions"))
    out_axes, out_directions = (call.get(f"scan_output_{what}") or [0] * scans for what in ("axes", "directions"))
    more = [0] * count
    recorded = {"scan_output_axes": [*out_axes, *more], "scan_output_directions": [*out_directions, *more]}
    starts = b.record(call, "body", states, **recorded) if count else ()
    d_final, d_scans = split(b, call, dy, call.inputs[:count], len(body.outputs))
    arrived = [k for k, d in enumerate(d_scans) if d is not None]

    def step_back(*formal: Tensor) -> list[Tensor]:
        d_states = dict(zip(carried, formal, strict=False))
        sums = formal[len(carried) : len(carried) + len(captures)]
        rest = list(formal[len(carried) + len(captures) :])
        values = dict(zip(body.inputs, rest[: count + slices], strict=True))
        d_slices = dict(zip(arrived, rest[count + slices :], strict=True))
        messages = [*(d_states.get(i) for i in range(count)), *(d_slices.get(k) for k in range(scans))]
        sources = [*(states[i] for i in carried), *captures, *(body.inputs[count + i] for i in sliced)]
        found = back(b, call, "body", values, messages, sources)
        n = len(carried)
        return [*found[:n], *(b.Add(s, f) for s, f in zip(sums, found[n : n + len(sums)], strict=True)), *found[n + len(sums) :]]

    begin = [*(d_final[i] for i in carried), *(b.zeros_like(c) for c in captures)]
    results = [body.outputs[count + k] for k in arrived]
    backward = b.body([*(states[i] for i in carried), *captures, *states, *body.inputs[count:], *results], step_back)
    made = b.op(
        "Scan", *begin, *starts, *call.inputs[count:], *(d_scans[k] for k in arrived),
        outputs=len(begin) + len(sliced),
        body=backward,
        num_scan_inputs=count + slices + len(arrived),
        scan_input_axes=[*more, *in_axes, *(out_axes[k] for k in arrived)],
        scan_input_directions=[*(1 for _ in starts), *(1 - d for d in in_directions), *(1 - out_directions[k] for k in arrived)],
        scan_output_axes=[in_axes[i] for i in sliced],
        scan_output_directions=[1 - in_directions[i] for i in sliced],
    )  # fmt: skip
    made = made if isinstance(made, tuple) else (made,)
    inputs = dict(zip(carried, made, strict=False)) | dict(zip((count + i for i in sliced), made[len(begin) :], strict=True))
    return spread(call, inputs, dict(zip(captures, made[len(carried) : len(begin)], strict=True)))


def shaped(value: Tensor, like: Tensor) -> Tensor:
    """A value with what is known of the shape of `like`."""
    return Tensor(value.name, value.dtype, like.shape)


def refuse_growing(call: Call, before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
    """States whose shapes change from step to step cannot be kept side by side."""
    for start, end in zip(before, after, strict=False):
        if start.shape is not None and end.shape is not None and len(start.shape) != len(end.shape):
            raise RuleError(f"the state '{start.name}' changes its shape from step to step")
