"""DeepLIFT through subgraphs: a branch or body is walked beside its reference, which reads what the other reads at the baseline.

The reference's nodes become part of the subgraph, with tensors of their own that carry no messages, and the operator's own
gradient rule runs it; the backward pass within finds every tensor's reference. In a Scan the states of the reference's steps are
further slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnxplain.builder.builder import Builder
from onnxplain.errors import RuleError
from onnxplain.ir.node import Node, Subgraph
from onnxplain.ir.registry import Messages
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.deeplift.rules import reference_of
from onnxplain.propagation.rule import named

__all__ = ["control"]


@named("control", "the rules of the nodes within, step by step", "a subgraph beside its reference at the baseline")
def control(b: Builder, node: Node, *m: Tensor | None) -> Messages:
    """If and Scan. In other loops and choices what decides may change, for which there is no multiplier."""
    if node.op == "If":
        return _branches(b, node, m)
    if node.op == "Scan":
        return _steps(b, node, m)
    raise RuleError(f"DeepLIFT has no rule for {node.op}, whose steps may end elsewhere at the baseline; export it as a Scan")


def _branches(b: Builder, node: Node, m: Sequence[Tensor | None]) -> Messages:
    if b.reference(node.x) != node.x:
        raise RuleError("which branch it takes depends on what is explained; DeepLIFT compares nodes of one and the same branch")
    bodies = {name: _paired(b, body, ()) for name, body in node.bodies.items()}
    joint, used = _reading_both(b, replace(node, attributes={**node.attributes, **bodies}))
    return tuple(b.gradient(joint, *m)[:used])


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
