"""DeepLIFT through subgraphs: a branch or body is walked beside its reference, which reads what the other reads at the baseline.

The reference's nodes become part of the subgraph, with tensors of their own that carry no messages, and the operator's own
gradient rule runs it; the backward pass within finds every tensor's reference. In a Scan the states of the reference's steps are
further slices, in a Loop its states are further states.

Nodes can be compared where the same branch is taken, and as many steps are done, at the baseline. Where that depends on what is
explained it is decided at run time: the messages are NaN where it is not so, and so are the attributions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnxplain.builder.builder import Builder
from onnxplain.ir.node import Node, Subgraph
from onnxplain.ir.registry import Messages
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.deeplift.rules import reference_of
from onnxplain.propagation.rule import named

__all__ = ["control"]


@named("control", "the rules of the nodes within, step by step", "a subgraph beside its reference at the baseline")
def control(b: Builder, node: Node, *m: Tensor | None) -> Messages:
    """If, Loop and Scan."""
    if node.op == "If":
        return _branches(b, node, m)
    return _turns(b, node, m) if node.op == "Loop" else _steps(b, node, m)


def _branches(b: Builder, node: Node, m: Sequence[Tensor | None]) -> Messages:
    bodies = {name: _paired(b, body, ()) for name, body in node.bodies.items()}
    joint, used = _reading_both(b, replace(node, attributes={**node.attributes, **bodies}))
    sent = b.gradient(joint, *m)[:used]
    chosen, there = node.x, b.reference(node.x)
    return tuple(sent) if chosen == there else _where(b, b.Equal(chosen, there), sent)


def _turns(b: Builder, node: Node, m: Sequence[Tensor | None]) -> Messages:
    """A Loop whose states are those here and, of the ones that differ, those at the baseline."""
    body, count = node.attributes["body"], len(node.inputs) - 2
    differ = _differing_states(b, node)
    paired = _paired(b, body, [body.inputs[2 + i] for i in differ])
    ends = [b.reference(body.outputs[1 + i]) for i in differ]
    paired = replace(paired, outputs=(*body.outputs[: 1 + count], *ends, *body.outputs[1 + count :]))
    starts = [b.reference(node.input(2 + i)) for i in differ]
    made = (*node.outputs, *[None] * (len(body.outputs) - 1 - len(node.outputs)))
    silent = [None] * len(differ)
    joint = replace(
        node,
        name=b.graph.fresh(f"{node.name}/both"),
        inputs=(*node.inputs, *starts),
        outputs=(*made[:count], *silent, *made[count:]),
        attributes={**node.attributes, "body": paired},
        needs_grad=(*node.needs_grad[: len(node.inputs)], *[False] * len(differ), *node.needs_grad[len(node.inputs) :]),
    )
    joint, used = _reading_both(b, joint)
    messages = [*m, *[None] * (len(made) - len(m))]
    sent = b.gradient(joint, *messages[:count], *silent, *messages[count:])
    own = [*sent[: len(node.inputs)], *sent[len(joint.inputs) : used]]
    decides = (*node.inputs[:2], body.outputs[0])
    if all(t is None or b.reference(t) == t for t in decides):
        return tuple(own)
    other = reference_of(b, node).reading({t: b.reference(t) for t in node.captures})
    return _where(b, b.Equal(_count(b, node), _count(b, other)), own)


def _differing_states(b: Builder, node: Node) -> list[int]:
    """The numbers of a Loop's states that may differ at the baseline."""
    body = node.attributes["body"]
    before, after = body.inputs[2:], body.outputs[1:]
    found = [i for i, t in enumerate(node.inputs[2:]) if t is not None and b.reference(t) != t]
    while True:
        changed = {before[i] for i in found}
        for inner in body.nodes:
            if any(t in changed or b.reference(t) != t for t in inner.reads if t is not None):
                changed.update(t for t in inner.outputs if t is not None)
        more = [i for i in range(len(before)) if after[i] in changed or b.reference(after[i]) != after[i] or i in found]
        if more == found:
            return found
        found = more


def _count(b: Builder, node: Node) -> Tensor:
    """How many steps a Loop does."""
    counter = node.attributes["body"].inputs[0]
    (counted,) = b.record(replace(node, name=b.graph.fresh(f"{node.name}/steps")), [counter]).stacks
    made: Tensor = b.dim(counted, 0)
    return made


def _where(b: Builder, same: Tensor, messages: Sequence[Tensor | None]) -> Messages:
    """The messages where a node did the same at the baseline, else NaN."""
    return tuple(None if m is None else b.Where(same, m, float("nan")) for m in messages)


def _steps(b: Builder, node: Node, m: Sequence[Tensor | None]) -> Messages:
    body, slices = node.attributes["body"], node["num_scan_inputs"]
    count = len(body.inputs) - slices
    scans = len(body.outputs) - count
    reference_node = replace(reference_of(b, node), name=b.graph.fresh(f"{node.name}/baseline"))
    reference_node = reference_node.reading({t: b.reference(t) for t in node.captures})
    more = {
        f"scan_output_{what}": [*(node.get(f"scan_output_{what}") or [0] * scans), *[0] * count]
        for what in ("axes", "directions")
    }
    starts = b.record(reference_node, body.inputs[:count], **more).stacks if count else ()

    def twice(what: str) -> list[int]:
        """An attribute for the slices, those of the reference, and its states at the start of each step."""
        own = list(node.get(f"scan_input_{what}") or [0] * slices)
        return [*own, *own, *[0] * count]

    paired = _paired(b, body, body.inputs[count:], body.inputs[:count])
    joint = replace(
        node,
        name=b.graph.fresh(f"{node.name}/both"),
        inputs=(*node.inputs, *reference_node.inputs[count:], *starts),
        attributes={
            **node.attributes, "body": paired, "num_scan_inputs": 2 * slices + count,
            "scan_input_axes": twice("axes"), "scan_input_directions": twice("directions"),
        },
        needs_grad=(*node.needs_grad[: len(node.inputs)], *[False] * (slices + count), *node.needs_grad[len(node.inputs) :]),
    )  # fmt: skip
    joint, used = _reading_both(b, joint)
    sent = b.gradient(joint, *m)
    return (*sent[: len(node.inputs)], *sent[len(joint.inputs) : used])


def _paired(b: Builder, body: Subgraph, *given: Sequence[Tensor]) -> Subgraph:
    """A subgraph with its reference's nodes in it; the references of some of its inputs are further inputs."""
    references = {t: replace(t, name=b.graph.fresh(f"{t.name}/baseline")) for group in given for t in group}
    inputs = tuple(references.values())
    outer = {t: b.reference(t) for node in body.nodes for t in node.reads if t is not None and b.reference(t) != t}
    nodes = []
    for node in body.nodes:
        if not any(t in references or t in outer for t in node.reads if t is not None):
            continue
        references.update((t, replace(t, name=b.graph.fresh(f"{t.name}/baseline"))) for t in node.outputs if t is not None)
        outputs = tuple(None if t is None else references[t] for t in node.outputs)
        nodes.append(replace(node.reading({**outer, **references}), outputs=outputs, name=b.graph.fresh(f"{node.name}/baseline")))
    b.set_references(references)
    return Subgraph((*body.inputs, *inputs), body.outputs, (*body.nodes, *nodes))


def _reading_both(b: Builder, node: Node) -> tuple[Node, int]:
    """The node with the references of its captures captured too, and how many of its reads are its own."""
    more = [b.reference(t) for t in node.captures if b.reference(t) != t]
    used = len(node.reads)
    return replace(node, captures=(*node.captures, *more), needs_grad=(*node.needs_grad, *[False] * len(more))), used
