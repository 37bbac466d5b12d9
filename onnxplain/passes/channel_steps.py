"""Steps that multiply or shift each channel by a constant, in every spelling: a batch norm as one operator or as several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import onnx

from onnxplain.ir.pattern import Pattern, constant, match, op, var
from onnxplain.passes.view import FileView

__all__ = ["STEPS", "Channels", "Step", "is_norm", "step_of"]

X, C = var("x"), constant("c")

STEPS: Mapping[str, Pattern] = {
    "add": X + C,
    "subtract": X - C,
    "take from": C - X,
    "multiply": X * C,
    "divide": X / C,
    "normalize": op.BatchNormalization(X, constant("scale"), constant("shift"), constant("mean"), constant("variance")),
}
"""A norm with stored statistics is a chain of these: x · a + c, (x − μ) / σ · γ + β, ..., or the operator itself."""

OPERATORS = frozenset({"Add", "Sub", "Mul", "Div", "BatchNormalization"})  # operators: those of the steps; others need no look


@dataclass(frozen=True)
class Channels:
    """Where a tensor counts channels: along an axis, from the end; `rank` is None where the number of axes is unknown."""

    count: int
    axis: int
    rank: int | None

    def takes(self, shape: Sequence[int]) -> bool:
        """Whether a constant of that shape holds one number for all, or one for each channel."""
        if prod(shape) == 1:
            return self.rank is None or len(shape) <= self.rank
        if len(shape) > (1 if self.rank is None else self.rank) or len(shape) < -self.axis:
            return False
        return shape[self.axis] == self.count == prod(shape)

    def uniform(self, shape: Sequence[int]) -> bool:
        """Whether a constant of that shape holds one number for all, as a function of each element has it."""
        return prod(shape) == 1 and not (self.count == 1 and len(shape) == self.rank)


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        kind: which one, a key of `STEPS`.
        node: the node that takes it.
        x: the tensor it is taken from.
        constants: the names of its constants, by what the pattern calls them.
        uniform: whether it does the same to every channel.
    """

    kind: str
    node: onnx.NodeProto
    x: str
    constants: Mapping[str, str]
    uniform: bool

    @property
    def y(self) -> str:
        """The tensor it makes."""
        return self.node.output[0]


def step_of(view: FileView, node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto], channels: Channels) -> Step | None:
    """The step that a node takes; None for other nodes.

    Args:
        view: of the graph.
        node: the node.
        constants: by name; those that are yet to be computed have extents and a type at least.
        channels: those of the tensors it reads and makes.
    """
    if node.op_type not in OPERATORS:
        return None
    for kind, pattern in STEPS.items():
        found = match(view, pattern, node.output[0])
        if not found:
            continue
        named = {label: name for label, name in found.values.items() if label != "x"}
        shapes = [list(constants[name].dims) for name in named.values()]
        if kind == "normalize" and not _is_plain(node, channels, shapes):
            return None
        if kind != "normalize" and not all(channels.takes(shape) for shape in shapes):
            return None
        uniform = kind != "normalize" and all(channels.uniform(shape) for shape in shapes)
        return Step(kind, node, found["x"], named, uniform)
    return None


def is_norm(steps: Sequence[Step]) -> bool:
    """Whether steps scale channels by numbers of their own, as a norm does. Others are a bias, or belong to a function."""
    return any(s.kind in ("normalize", "multiply", "divide") for s in steps) and not all(s.uniform for s in steps)


def _is_plain(norm: onnx.NodeProto, channels: Channels, shapes: Sequence[Sequence[int]]) -> bool:
    """Whether a BatchNormalization uses its stored statistics, one for each of these channels."""
    settings: dict[str, Any] = {a.name: onnx.helper.get_attribute_value(a) for a in norm.attribute}
    return (
        channels.rank is not None
        and channels.rank + channels.axis == 1
        and all(list(shape) == [channels.count] for shape in shapes)
        and not any(norm.output[1:])
        and not settings.get("training_mode")
        and settings.get("spatial", 1) == 1
    )
