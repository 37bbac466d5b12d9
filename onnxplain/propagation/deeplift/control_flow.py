"""DeepLIFT through subgraphs: a branch or body is walked beside its twin, which reads what the other reads at the baseline.

The twin's calls become part of the subgraph, with tensors of their own that carry no messages, and the operator's own gradient
rule runs it; the walk within finds every tensor's twin. In a Scan the states of the twin's steps are further slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnxplain.builder.builder import Builder
from onnxplain.errors import RuleError
from onnxplain.ir.node import Call, Subgraph
from onnxplain.ir.registry import Messages
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.deeplift.rules import twin_call
from onnxplain.propagation.rule import named

__all__ = ["control"]


@named("control", "the rules of the calls within, step by step", "a subgraph beside its twin at the baseline")
def control(b: Builder, call: Call, *m: Tensor | None) -> Messages:
    """If and Scan. In other loops and choices what decides may change, for which there is no multiplier."""
    if call.op == "If":
        return _branches(b, call, m)
    if call.op == "Scan":
        return _steps(b, call, m)
    raise RuleError(f"DeepLIFT has no rule for {call.op}, whose steps may end elsewhere at the baseline; export it as a Scan")


def _branches(b: Builder, call: Call, m: Sequence[Tensor | None]) -> Messages:
    if b.twin(call.x) != call.x:
        raise RuleError("which branch it takes depends on what is explained; DeepLIFT compares calls of one and the same branch")
    bodies = {name: _paired(b, body, ()) for name, body in call.bodies.items()}
    joint, used = _reading_both(b, replace(call, attributes={**call.attributes, **bodies}))
    return tuple(b.gradient(joint, *m)[:used])


def _steps(b: Builder, call: Call, m: Sequence[Tensor | None]) -> Messages:
    body, slices = call.attributes["body"], call["num_scan_inputs"]
    count = len(body.inputs) - slices
    scans = len(body.outputs) - count
    there = replace(twin_call(b, call), name=b.graph.fresh(f"{call.name}/baseline"))
    there = there.reading({t: b.twin(t) for t in call.captures})
    more = {
        f"scan_output_{what}": [*(call.get(f"scan_output_{what}") or [0] * scans), *[0] * count]
        for what in ("axes", "directions")
    }
    starts = b.record(there, body.inputs[:count], **more).stacks if count else ()

    def twice(what: str) -> list[int]:
        """An attribute for the slices, those of the twin, and its states at the start of each step."""
        own = list(call.get(f"scan_input_{what}") or [0] * slices)
        return [*own, *own, *[0] * count]

    paired = _paired(b, body, body.inputs[count:], body.inputs[:count])
    joint = replace(
        call,
        name=b.graph.fresh(f"{call.name}/both"),
        inputs=(*call.inputs, *there.inputs[count:], *starts),
        attributes={
            **call.attributes, "body": paired, "num_scan_inputs": 2 * slices + count,
            "scan_input_axes": twice("axes"), "scan_input_directions": twice("directions"),
        },
        live=(*call.live[: len(call.inputs)], *[False] * (slices + count), *call.live[len(call.inputs) :]),
    )  # fmt: skip
    joint, used = _reading_both(b, joint)
    sent = b.gradient(joint, *m)
    return (*sent[: len(call.inputs)], *sent[len(joint.inputs) : used])


def _paired(b: Builder, body: Subgraph, *given: Sequence[Tensor]) -> Subgraph:
    """A subgraph with its twin's calls in it; the twins of some of its inputs are further inputs."""
    twins = {t: replace(t, name=b.graph.fresh(f"{t.name}/baseline")) for group in given for t in group}
    inputs = tuple(twins.values())
    outer = {t: b.twin(t) for call in body.calls for t in call.reads if t is not None and b.twin(t) != t}
    calls = []
    for call in body.calls:
        if not any(t in twins or t in outer for t in call.reads if t is not None):
            continue
        twins.update((t, replace(t, name=b.graph.fresh(f"{t.name}/baseline"))) for t in call.outputs if t is not None)
        outputs = tuple(None if t is None else twins[t] for t in call.outputs)
        calls.append(replace(call.reading({**outer, **twins}), outputs=outputs, name=b.graph.fresh(f"{call.name}/baseline")))
    b.pair(twins)
    return Subgraph((*body.inputs, *inputs), body.outputs, (*body.calls, *calls))


def _reading_both(b: Builder, call: Call) -> tuple[Call, int]:
    """The call with the twins of its captures captured too, and how many of its reads are its own."""
    more = [b.twin(t) for t in call.captures if b.twin(t) != t]
    used = len(call.reads)
    return replace(call, captures=(*call.captures, *more), live=(*call.live, *[False] * len(more))), used
