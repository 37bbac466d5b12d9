"""Lowering: the last step before nodes are written. Rules say what is computed, this says in which form.

ONNX Runtime's CPU provider keeps images in a blocked layout (channels in blocks of 8 or 16) from convolution to convolution, as
long as every operator between them can work on it and extents are provably equal. `Where`, `Greater` and transposed convolutions
cannot; each costs a reordering of every image that it reads or feeds. So where a message from a convolution meets the mask of a
Relu, the mask becomes a product; and where a message in plain layout is added to a blocked one, it is brought into blocks first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from onnxplain.emitter import Emitter
from onnxplain.graph import Body, Emitted
from onnxplain.tensor import Tensor, same_dim

__all__ = ["lowered"]

BLOCK = 16
"""Images whose channels are no multiple of this stay in plain layout (of 8 where there is no AVX-512, which divides it)."""

STARTS = frozenset({"Conv", "MaxPool", "AveragePool"})
"""Operators whose result is in blocks whatever they read."""

CARRIES = frozenset({"Relu", "Sigmoid", "Tanh", "HardSigmoid", "BatchNormalization"})
"""Operators whose result is in blocks where their first input is."""

JOINS = frozenset({"Add", "Sum", "Mul", "Concat"})
"""Operators whose result is in blocks where all their inputs are."""

FINITE = frozenset(
    {"Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Sub", "Sum", "Mul", "Neg", "Where", "AveragePool", "Resize", "Pad"}
    | {"Reshape", "Expand", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "ScatterElements", "ReduceSum"}
    | {"ReduceMean", "Identity", "Cast", "Relu", "Sigmoid", "HardSigmoid", "Tanh", "Erf", "Softmax", "Clip", "Concat"}
    | {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "And", "Or", "Not", "IsNaN", "IsInf", "OneHot"}
    | {"Shape", "Size", "Range", "ConstantOfShape", "ArgMax", "MaxPool"}
)
"""Operators that make finite numbers of finite ones, but for overflow. Slopes of roots and logarithms may be infinite."""

STEEP = 3e38
"""The slope at which a hard sigmoid is a step in float32: 0 at 0, 1 at all normal numbers above."""


def lowered(b: Emitter) -> list[Emitted]:
    """What has been emitted at the top level, in the forms that run fast."""
    scope = _Scope(b)
    for call in b.graph.calls:
        inputs, outputs = ([t for t in tensors if t is not None] for tensors in (call.inputs, call.outputs))
        if not call.captures and scope.are_fixed(inputs):
            scope.fixed.update(t.name for t in outputs)
        if not call.domain:
            scope.note(call.op, inputs, outputs)
    return scope.lowered(b.calls)


@dataclass
class _Scope:
    """One graph: which of its images are in blocks, and the steps made of them. A body has blocks of its own."""

    b: Emitter
    blocked: set[str] = field(default_factory=set)
    steps: dict[str, Tensor] = field(default_factory=dict)
    wild: set[str] = field(default_factory=set)
    """What may be infinite: what is emitted by other than finite operators, and all that comes of it."""
    fixed: set[str] = field(default_factory=set)
    """What depends on weights alone, and is as finite as they are."""

    def lowered(self, calls: Iterable[Emitted]) -> list[Emitted]:
        """The scope's calls in forms that run fast."""
        done: list[Emitted] = []
        for call in calls:
            attributes = {k: self._body(v) if isinstance(v, Body) else v for k, v in call.attributes.items()}
            call = replace(call, attributes=attributes, outputs=tuple(self.b.known(t) for t in call.outputs))
            for new in self._forms(call):
                done.append(new)
                bodies = any(isinstance(v, Body) for v in new.attributes.values())  # which read more than the inputs
                if not bodies and self.are_fixed([t for t in new.inputs if t is not None]):
                    self.fixed.update(t.name for t in new.outputs)
                elif not self._is_finite(new):
                    self.wild.update(t.name for t in new.outputs)
                if not new.domain:
                    self.note(new.op, [t for t in new.inputs if t is not None], new.outputs)
        return done

    def are_fixed(self, inputs: Sequence[Tensor]) -> bool:
        """Whether all of them depend on weights alone."""
        return all(t.name in self.fixed or self.b.is_constant(t) for t in inputs)

    def _is_finite(self, call: Emitted) -> bool:
        """Whether nothing it reads, and nothing it does, is infinite."""
        divisor = self.b.value(call.inputs[1]) if call.op == "Div" else None
        finite = call.op in FINITE or (divisor is not None and bool(divisor.all()))
        return finite and not call.domain and not any(t is not None and t.name in self.wild for t in call.inputs)

    def _body(self, body: Body) -> Body:
        return replace(body, calls=tuple(_Scope(self.b, wild=set(self.wild), fixed=set(self.fixed)).lowered(body.calls)))

    def note(self, op: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Remember whether the result of an operator is in blocks."""
        if len(outputs) != 1 or not inputs or not _fits(self.b.known(outputs[0])):
            return
        carried = [t.name in self.blocked for t in inputs]
        if op in STARTS or (op in CARRIES and carried[0]) or (op in JOINS and all(carried)):
            self.blocked.add(outputs[0].name)

    def _forms(self, call: Emitted) -> list[Emitted]:
        if call.op == "Where" and not call.domain:
            return self._mask(call)
        if call.op == "Add" and not call.domain:
            return self._sum(call)
        return [call]

    def _mask(self, call: Emitted) -> list[Emitted]:
        """The message where y > 0, else 0: the message times a step of y.

        Only for messages that convolutions made of finite ones: 0 times an infinite slope (of a root at 0, say) is no number.
        """
        condition, message, other = call.inputs
        y = self._positive(condition)
        if y is None or message is None or not self._is_zero(other) or not {y.name, message.name} <= self.blocked:
            return [call]
        if message.name in self.wild:
            return [call]
        before: list[Emitted] = []
        if y.name not in self.steps:
            step = replace(self.b.known(y), name=self.b.graph.fresh(f"{call.name}/step"))
            before = [Emitted("HardSigmoid", "", step.name, (y,), (step,), {"alpha": STEEP, "beta": 0.0})]
            self.steps[y.name] = step
        return [*before, replace(call, op="Mul", inputs=(message, self.steps[y.name]))]

    def _sum(self, call: Emitted) -> list[Emitted]:
        """A sum of a blocked and a plain image: the plain one is brought into blocks, as the mean of every single pixel."""
        plain = [t for t in call.inputs if t is not None and t.name not in self.blocked]
        blocked = [t for t in call.inputs if t is not None and t.name in self.blocked]
        if not plain or not blocked or not self._alike(plain[0], blocked[0]):
            return [call]
        (image,) = plain
        mean = replace(self.b.known(image), name=self.b.graph.fresh(f"{call.name}/blocks"))
        inputs = tuple(mean if t == image else t for t in call.inputs)
        return [Emitted("AveragePool", "", mean.name, (image,), (mean,), {"kernel_shape": [1, 1]}), replace(call, inputs=inputs)]

    def _positive(self, condition: Tensor | None) -> Tensor | None:
        """y, where a condition is y > 0."""
        greater = None if condition is None else self.b.maker(condition)
        found = greater is not None and greater.op == "Greater" and self._is_zero(greater.inputs[1])
        return greater.inputs[0] if greater is not None and found else None

    def _is_zero(self, t: Tensor | None) -> bool:
        value = self.b.value(t)
        return value is not None and value.size == 1 and not value.any()

    def _alike(self, plain: Tensor, blocked: Tensor) -> bool:
        """Whether a plain image could be in blocks and has the extents of one that is."""
        one, other = self.b.known(plain), self.b.known(blocked)
        if not _fits(one) or one.shape is None or other.shape is None:
            return False
        return all(same_dim(x, y) for x, y in zip(one.shape, other.shape, strict=True))


def _fits(t: Tensor) -> bool:
    """Whether an image can be in blocks."""
    shape = t.shape
    return t.dtype == np.float32 and shape is not None and len(shape) == 4 and isinstance(shape[1], int) and shape[1] % BLOCK == 0
