"""Lowering: the last step before nodes are written. Rules say what is computed, this says in which form.

ONNX Runtime's CPU provider keeps images in a blocked layout (channels in blocks of 8 or 16) from convolution to convolution, as
long as every operator between them can work on it and extents are provably equal. `Where`, `Greater` and transposed convolutions
cannot; each costs a reordering of every image that it reads or feeds. So where a message between convolutions meets a mask, the
mask becomes a product, and where a message in plain layout meets a blocked one, it is brought into blocks first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from onnxplain.emitter import Emitter
from onnxplain.graph import Body, Emitted
from onnxplain.tensor import Tensor, same_dim

__all__ = ["lowered"]

BLOCK = 16
"""Channels that are no multiple of this are not kept in blocks (8 where there is no AVX-512, which divides it)."""

STARTS = frozenset({"Conv", "MaxPool", "AveragePool"})
"""Operators that put images into blocks, whatever they come from."""

CARRIES = frozenset({"Relu", "Sigmoid", "Tanh", "HardSigmoid", "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization"})
"""Operators whose result is in blocks where their first input is."""

JOINS = frozenset({"Add", "Sum", "Mul", "Concat"})
"""Operators whose result is in blocks where all their inputs are, and have the same extents."""

STEEP = 3e38
"""A slope at which a hard sigmoid is a step: 0 for 0, 1 for all normal numbers above."""


def lowered(b: Emitter) -> list[Emitted]:
    """What has been emitted at the top level, in the forms that run fast."""
    lowering = _Lowering(b)
    for call in b.graph.calls:
        if not call.domain:
            lowering.note(call.op, [t for t in call.inputs if t is not None], [t for t in call.outputs if t is not None])
    return lowering.calls(b.calls)


@dataclass
class _Lowering:
    b: Emitter
    blocked: set[str] = field(default_factory=set)
    steps: dict[tuple[str, str], Tensor] = field(default_factory=dict)
    made: dict[str, Emitted] = field(default_factory=dict)

    def note(self, op: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Remember whether the result of an operator is in blocks."""
        if len(outputs) != 1 or not inputs or not _fits(self.b.known(outputs[0])):
            return
        first = inputs[0].name in self.blocked
        if (
            op in STARTS
            or (op in CARRIES and first)
            or (op in JOINS and all(t.name in self.blocked and self._alike(t, inputs[0]) for t in inputs))
        ):
            self.blocked.add(outputs[0].name)

    def _alike(self, a: Tensor, b: Tensor) -> bool:
        one, other = self.b.known(a).shape, self.b.known(b).shape
        if one is None or other is None or len(one) != len(other):
            return False
        return all(same_dim(x, y) for x, y in zip(one, other, strict=True))

    def calls(self, calls: Sequence[Emitted]) -> list[Emitted]:
        """One scope's calls, lowered."""
        done: list[Emitted] = []
        for call in calls:
            for new in self._lowered(call):
                done.append(new)
                self.made.update((t.name, new) for t in new.outputs)
                if not new.domain:
                    self.note(new.op, [t for t in new.inputs if t is not None], new.outputs)
        return done

    def _lowered(self, call: Emitted) -> list[Emitted]:
        attributes = {k: self._body(v) if isinstance(v, Body) else v for k, v in call.attributes.items()}
        call = replace(call, attributes=attributes, outputs=tuple(self.b.known(t) for t in call.outputs))
        if call.domain:
            return [call]
        if call.op == "Where":
            return self._mask(call)
        if call.op == "Add":
            return self._add(call)
        return [call]

    def _body(self, body: Body) -> Body:
        return replace(body, calls=tuple(self.calls(body.calls)))

    def _mask(self, call: Emitted) -> list[Emitted]:
        """Where y > 0 the message, else 0: the message times a step of y."""
        condition, dy, other = call.inputs
        greater = self.made.get(condition.name)
        if greater is None or greater.op != "Greater" or not self._is_zero(greater.inputs[1]) or not self._is_zero(other):
            return [call]
        y = greater.inputs[0]
        if y.name not in self.blocked or not self._alike(dy, y):
            return [call]
        before: list[Emitted] = []
        dy = self._in_blocks(call, dy, before)
        key = y.name, ""
        if key not in self.steps:
            step = replace(self.b.known(y), name=self.b.graph.fresh(f"{call.name}/step"))
            before.append(Emitted("HardSigmoid", "", step.name, (y,), (step,), {"alpha": STEEP, "beta": 0.0}))
            self.steps[key] = step
        return [*before, replace(call, op="Mul", inputs=(dy, self.steps[key]))]

    def _add(self, call: Emitted) -> list[Emitted]:
        """A sum of a blocked and a plain image: the plain one is brought into blocks."""
        one, other = call.inputs
        if not self._alike(one, other) or (one.name in self.blocked) == (other.name in self.blocked):
            return [call]
        before: list[Emitted] = []
        inputs = tuple(self._in_blocks(call, t, before) for t in (one, other))
        return [*before, replace(call, inputs=inputs)]

    def _in_blocks(self, call: Emitted, t: Tensor, before: list[Emitted]) -> Tensor:
        """The image in blocks: the mean of every single pixel, which ONNX Runtime computes in blocks."""
        if t.name in self.blocked or not _fits(self.b.known(t)):
            return t
        made = replace(self.b.known(t), name=self.b.graph.fresh(f"{call.name}/blocks"))
        before.append(Emitted("AveragePool", "", made.name, (t,), (made,), {"kernel_shape": [1, 1]}))
        self.b.know(made)
        return made

    def _is_zero(self, t: Tensor | None) -> bool:
        value = self.b.value(t)
        return value is not None and value.size == 1 and not value.any()


def _fits(t: Tensor) -> bool:
    """Whether a tensor can be an image in blocks."""
    shape = t.shape
    return t.dtype == np.float32 and shape is not None and len(shape) == 4 and isinstance(shape[1], int) and shape[1] % BLOCK == 0
