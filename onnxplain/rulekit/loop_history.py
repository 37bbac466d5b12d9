"""Loop history: the states that the steps of a Loop started from, which its backward pass needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from onnxplain.builder.builder import Builder
from onnxplain.builder.replay import Recorded
from onnxplain.ir.node import Node, Subgraph
from onnxplain.ir.tensor import Tensor

__all__ = ["History", "of_loop"]

States: TypeAlias = "dict[int, Tensor]"
"""States of a Loop by their number."""


@dataclass(frozen=True)
class History:
    """The states a Loop went through.

    Attributes:
        steps: how many steps it did, int64 [].
        finals: its states at the end.
        rewound: the numbers of those states that are sequences to which each step appends one element. They are followed back
            from their end.
        start: `start(t, after)`: the states that step t started from, by number; `after` holds the states of `rewound` after it.

    Example:
        >>> from onnxplain.rulekit.loop_history import History
        >>> history = History(b.const(3), (x,), (), lambda t, after: {0: x})
        >>> history.start(b.const(0), {})[0].name
        'x'
    """

    steps: Tensor
    finals: tuple[Tensor, ...]
    rewound: tuple[int, ...]
    start: Callable[[Tensor, States], States]


def of_loop(b: Builder, node: Node) -> History:
    """The history of a Loop. Its memory grows linearly with the number of steps.

    Tensors are recorded at every step, stacked or, where their extents may change, in sequences. States that are sequences are
    not recorded, as that would take memory of the order of the steps squared: one that only grows at its end is cut back, any
    other is computed again.

    Args:
        b: where nodes are emitted.
        node: the Loop.

    Returns:
        The history.

    Example:
        >>> import onnx
        >>> from onnxplain import Builder
        >>> from onnxplain.ir.graph import Graph
        >>> from onnxplain.rulekit.loop_history import of_loop
        >>> loop = onnx.parser.parse_model('''<ir_version: 8, opset_import: ["" : 18]>
        ... looping (float[3] x) => (float[3] y)
        ... <int64 steps = {2}, bool go = {1}> {
        ...     y = Loop (steps, go, x) <body = step (int64 i, bool c, float[3] before) => (bool d, float[3] after) {
        ...         d = Identity (c)
        ...         after = Add (before, before)
        ...     }>
        ... }''')
        >>> b = Builder(Graph(loop))
        >>> len(of_loop(b, b.graph.nodes[-1]).finals)
        1
    """
    body = node.attributes["body"]
    before, after = body.inputs[2:], body.outputs[1:]
    sequences = [i for i, t in enumerate(before) if t.is_sequence]
    stacked = [i for i, t in enumerate(before) if not t.is_sequence and _keeps_extents(t, after[i])]
    listed = [i for i, t in enumerate(before) if not t.is_sequence and i not in stacked]
    rewound = [i for i in sequences if _only_grows(body, i)]
    remade = [i for i in sequences if i not in rewound]
    made: Recorded = b.record(node, [body.inputs[0], *(before[i] for i in stacked)], [before[i] for i in listed])
    count, *stacks = made.stacks

    def start(t: Tensor, later: States) -> States:
        found = {i: b.Gather(stack, t, axis=0) for i, stack in zip(stacked, stacks, strict=True)}
        found |= {i: b.SequenceAt(values, t) for i, values in zip(listed, made.lists, strict=True)}
        found |= {i: b.SequenceErase(later[i]) for i in rewound}
        found |= _again(b, node, t, remade)
        return {
            i: replace(v, dtype=before[i].dtype, shape=before[i].shape, is_sequence=before[i].is_sequence)
            for i, v in found.items()
        }

    return History(b.Squeeze(b.dim(count, 0), [0]), made.finals, tuple(rewound), start)


def _again(b: Builder, node: Node, steps: Tensor, wanted: Sequence[int]) -> States:
    """States after a number of steps, by running the loop again."""
    if not wanted:
        return {}
    body, starts = node.attributes["body"], node.inputs[2:]
    shorter = b.rebuild(replace(body, outputs=body.outputs[: 1 + len(starts)]))
    made = b.op("Loop", steps, True, *starts, outputs=len(starts), body=shorter)
    return {i: made[i] if isinstance(made, tuple) else made for i in wanted}


def _keeps_extents(before: Tensor, after: Tensor) -> bool:
    """Whether a state provably has the same extents before every step."""
    same = before.shape is not None and after.shape is not None and len(before.shape) == len(after.shape)
    return same and all(d is not None for d in before.shape or ()) and before.shape == after.shape


def _only_grows(body: Subgraph, i: int) -> bool:
    """Whether each step puts one element behind those that a sequence has, and changes nothing else about it."""
    makers = {y.name: node for node in body.nodes for y in node.outputs if y is not None}
    maker = makers.get(body.outputs[1 + i].name)
    while maker is not None and maker.op == "Identity":
        maker = makers.get(maker.x.name)
    return (
        maker is not None and maker.op == "SequenceInsert" and maker.inputs[2] is None and maker.x.name == body.inputs[2 + i].name
    )


def _typed(value: Tensor, like: Tensor) -> Tensor:
    """A value with what is known of another tensor."""
    return replace(like, name=value.name)
