"""Builder: emits operators and constants. Rules write `b.MatMul(x, y)`.

Calls are recorded and become nodes only when the result needs them. The same operator on the same inputs is emitted
once (the model's own calls included), and in a loop body everything that does not depend on the body's inputs lands
outside the loop.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Protocol, TypeAlias, overload

import numpy as np
import onnx

from onnxplain.call import Call
from onnxplain.graph import Body, Emitted, Graph
from onnxplain.schema import Signature, signature
from onnxplain.tensor import Dim, Shape, Tensor, is_float, same_dim

__all__ = ["Builder", "Literal", "Operand"]

Literal: TypeAlias = "bool | int | float | Sequence[int] | Sequence[float] | np.ndarray[Any, Any]"
Operand: TypeAlias = "Tensor | Literal | None"
"""What an emitted operator takes: a tensor, a Python or NumPy value of fitting type, or None for "left out"."""


class Emit(Protocol):
    """A standard operator as a method of the builder."""

    @overload
    def __call__(self, *inputs: Operand, outputs: typing.Literal[1] = 1, **attributes: Any) -> Tensor: ...
    @overload
    def __call__(self, *inputs: Operand, outputs: int, **attributes: Any) -> tuple[Tensor, ...]: ...


RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
"""Operators that give another result each time; never merged, never moved out of a loop."""

ELEMENTWISE = frozenset(
    """Abs Add And Cast Ceil Clip Cos Div Equal Erf Exp Floor Greater GreaterOrEqual Identity Less LessOrEqual Log Max Mean
    Min Mod Mul Neg Not Or Pow Reciprocal Relu Round Sigmoid Sign Sin Sqrt Sub Sum Tanh Where Xor""".split()
)
"""Operators whose output has the broadcast shape of their inputs."""


@dataclass
class _Scope:
    """One graph under construction: the top level, or a subgraph within it."""

    calls: list[Emitted] = field(default_factory=list)
    table: dict[Any, tuple[Tensor, ...]] = field(default_factory=dict)


class Builder:
    """Emits operators into a graph.

    Every standard operator is a method: `b.Conv(x, w, None, pads=[1, 1, 1, 1])`. Python numbers and lists take the type
    that the operator's schema asks for: in `b.Greater(x, 0)` the 0 has the type of x, in `b.ReduceSum(x, [1])` the list
    is int64. `outputs=2` returns a tuple.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.prefix = "onnxplain"
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        self._pool: dict[Any, Tensor] = {}
        self._scopes = [_Scope()]
        self._level: dict[str, int] = {}
        for call in graph.calls:
            if call.op not in RANDOM and all(t is not None for t in call.outputs):
                key = _key(call.op, call.domain, call.inputs, call.attributes)
                self._scopes[0].table.setdefault(key, call.outputs)  # type: ignore[arg-type]

    # -- emitting ------------------------------------------------------------------------------------------------

    def __getattr__(self, op: str) -> Emit:
        if not op[:1].isupper():
            raise AttributeError(op)
        return lambda *inputs, outputs=1, **attributes: self.op(op, *inputs, outputs=outputs, **attributes)

    def op(self, op: str, *inputs: Operand, domain: str = "", outputs: int = 1, **attributes: Any) -> Any:
        """Emit an operator; one tensor, or a tuple where `outputs` is more than one."""
        known = signature(op, domain, self.graph.opset) if not domain else None
        operands = self._operands(op, inputs, known)
        attributes = {k: v for k, v in attributes.items() if v is not None}
        shape = _elementwise_shape(operands) if op in ELEMENTWISE else None
        likes = [Tensor("", _output_dtype(op, known, i, operands, attributes), shape) for i in range(outputs)]
        made = self._emit(op, domain, operands, attributes, likes, known)
        return made[0] if outputs == 1 else made

    def replay(self, call: Call, inputs: Sequence[Tensor | None], *, same_shapes: bool = True) -> Call:
        """The same operator applied to other inputs: a call with those inputs and new outputs.

        With the call's own inputs this is the call itself: nothing is computed twice.
        """
        likes = [
            Tensor("" if t is None else t.name, t.dtype if t else None, t.shape if t and same_shapes else None)
            for t in call.outputs
        ]
        last = max((i for i, t in enumerate(call.outputs) if t is not None), default=0)
        known = signature(call.op, call.domain, self.graph.opset)
        made = self._emit(call.op, call.domain, tuple(inputs), dict(call.attributes), likes[: last + 1], known)
        outputs = tuple(m if t is not None else None for m, t in zip(made, call.outputs[: last + 1], strict=True))
        return replace(call, inputs=tuple(inputs), outputs=outputs + (None,) * (len(call.outputs) - last - 1))

    def _emit(
        self,
        op: str,
        domain: str,
        inputs: tuple[Tensor | None, ...],
        attributes: Mapping[str, Any],
        likes: Sequence[Tensor],
        known: Signature | None,
    ) -> tuple[Tensor, ...]:
        bodies = any(isinstance(a, Body) for a in attributes.values())
        reads = [*inputs, *(t for a in attributes.values() if isinstance(a, Body) for t in a.captures())]
        level = max((self._level.get(t.name, 0) for t in reads if t is not None), default=0)
        random = op in RANDOM
        if random:
            level = len(self._scopes) - 1
        scope = self._scopes[level]
        key = None
        if not bodies and not random:
            key = _key(op, domain, inputs, {**(known.defaults if known else {}), **attributes})
            made = scope.table.get(key)
            if made is not None and len(made) >= len(likes):
                return made[: len(likes)]
        return self._record(level, op, domain, inputs, attributes, likes, key)

    def _record(
        self,
        level: int,
        op: str,
        domain: str,
        inputs: tuple[Tensor | None, ...],
        attributes: Mapping[str, Any],
        likes: Sequence[Tensor],
        key: Any,
    ) -> tuple[Tensor, ...]:
        name = self.graph.fresh(f"{self.prefix}/{op}")
        names = [name if i == 0 else self.graph.fresh(f"{name}_output_{i}") for i in range(len(likes))]
        outputs = tuple(replace(like, name=n) for n, like in zip(names, likes, strict=True))
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        scope = self._scopes[level]
        scope.calls.append(Emitted(op, domain, name, inputs, outputs, attributes))
        if key is not None:
            scope.table[key] = outputs
        if level:
            self._level.update((t.name, level) for t in outputs)
        return outputs

    @contextmanager
    def scope(self, prefix: str) -> Iterator[None]:
        """Names of what is emitted inside start with `prefix`."""
        before, self.prefix = self.prefix, prefix
        try:
            yield
        finally:
            self.prefix = before

    def body(self, inputs: Sequence[Tensor], make: Callable[..., Sequence[Tensor]]) -> Body:
        """A subgraph for If, Loop or Scan: `make` gets the body's inputs and returns its outputs.

        `inputs` give data types and shapes; their names are only hints. What `make` emits from outer tensors alone lands
        in the outer graph.
        """
        level = len(self._scopes)
        formal = tuple(replace(t, name=self.graph.fresh(f"{self.prefix}/{t.name or 'input'}")) for t in inputs)
        self._scopes.append(_Scope())
        self._level.update((t.name, level) for t in formal)
        try:
            results = make(*formal)
            # A body must make its outputs itself: outer tensors and inputs pass through Identity.
            made = {t.name for call in self._scopes[level].calls for t in call.outputs}
            outputs: list[Tensor] = []
            for t in results:
                if t.name not in made or t in outputs:
                    (t,) = self._record(level, "Identity", "", (t,), {}, [t], None)
                outputs.append(t)
            return Body(formal, tuple(outputs), tuple(self._scopes[level].calls))
        finally:
            self._scopes.pop()

    @property
    def calls(self) -> list[Emitted]:
        """What has been emitted at the top level."""
        return self._scopes[0].calls

    def rename(self, tensor: Tensor, name: str) -> Tensor:
        """A tensor of exactly this name with the same value; the name must be free."""
        self.graph.fresh(name)
        output = replace(tensor, name=name)
        self.calls.append(Emitted("Identity", "", self.graph.fresh(f"{self.prefix}/{name}"), (tensor,), (output,), {}))
        return output

    # -- constants -----------------------------------------------------------------------------------------------

    def const(self, value: Literal, dtype: Any = None) -> Tensor:
        """A constant. Equal constants are one initializer. Without `dtype`: float32 for floats, int64 for integers."""
        array = np.asarray(value)
        if dtype is None and array.dtype == np.float64 and not isinstance(value, np.ndarray):
            dtype = np.float32
        array = np.ascontiguousarray(array if dtype is None else array.astype(dtype)).reshape(array.shape)
        key = (array.dtype.str, array.dtype.name, array.shape, array.tobytes())
        if key not in self._pool:
            name = self.graph.fresh("onnxplain/constant")
            self.constants[name] = array
            self._pool[key] = Tensor(name, array.dtype, array.shape)
        return self._pool[key]

    def value(self, tensor: Tensor | None) -> np.ndarray[Any, Any] | None:
        """The values of a small constant (the model's or the builder's), None for anything else."""
        if tensor is None:
            return None
        found = self.constants.get(tensor.name)
        return self.graph.value(tensor) if found is None else found

    def is_constant(self, tensor: Tensor | None) -> bool:
        """Whether the tensor is an initializer or a constant of the builder."""
        return tensor is not None and (tensor.name in self.constants or self.graph.is_constant(tensor))

    def ints(self, tensor: Tensor | None) -> list[int] | None:
        """The values of a small integer constant as a flat list, None for anything else."""
        value = self.value(tensor)
        return None if value is None else [int(v) for v in value.ravel()]

    def _operands(self, op: str, inputs: Sequence[Operand], known: Signature | None) -> tuple[Tensor | None, ...]:
        """The inputs with literals made into constants of the types the schema asks for."""
        bound: dict[str, np.dtype[Any]] = {}
        first: np.dtype[Any] | None = None
        for i, operand in enumerate(inputs):
            if isinstance(operand, Tensor) and operand.dtype is not None:
                first = first if first is not None else operand.dtype
                if known is not None:
                    bound.setdefault(known.input_class(i), operand.dtype)

        def convert(index: int, operand: Operand) -> Tensor | None:
            if operand is None or isinstance(operand, Tensor):
                return operand
            cls = known.input_class(index) if known is not None else ""
            if cls.startswith("tensor("):
                return self.const(operand, _FIXED[cls])
            if known is not None and cls in known.integer_classes:
                return self.const(operand, bound.get(cls, np.dtype(np.int64)))
            dtype = bound.get(cls, None if isinstance(operand, np.ndarray) else first)
            return self.const(operand, dtype)

        return tuple(convert(i, operand) for i, operand in enumerate(inputs))

    # -- shapes --------------------------------------------------------------------------------------------------

    def shape(self, tensor: Tensor) -> Tensor:
        """The extents as int64 [rank]: a constant where they are known, else a Shape node."""
        static = tensor.static_shape
        made = self.const(np.array(static, np.int64)) if static is not None else self.Shape(tensor)
        assert isinstance(made, Tensor)
        return made

    def dim(self, tensor: Tensor, axis: int) -> Tensor:
        """One extent as int64 [1]."""
        axis = axis if axis >= 0 else axis + tensor.rank
        extent = tensor.dim(axis)
        made = self.const([extent]) if isinstance(extent, int) else self.Shape(tensor, start=axis, end=axis + 1)
        assert isinstance(made, Tensor)
        return made

    def reshape(self, x: Tensor, like: Tensor) -> Tensor:
        """`x` in the shape of `like`."""
        dynamic = [] if like.shape is None else [i for i, d in enumerate(like.shape) if not isinstance(d, int)]
        if like.shape is not None and len(dynamic) == 1 and 0 not in like.shape:
            target: Operand = [d if isinstance(d, int) else -1 for d in like.shape]  # one unknown extent: no Shape needed
        else:
            target = self.shape(like)
        empty = like.shape is None or 0 in like.shape or len(dynamic) > 1  # an extent is, or may turn out to be, zero
        return replace(self.Reshape(x, target, allowzero=1 if empty else None), shape=like.shape)

    def transpose(self, x: Tensor, perm: Sequence[int]) -> Tensor:
        """`x` with its axes permuted; `x` itself where nothing moves."""
        if list(perm) == list(range(len(perm))):
            return x
        shape = None if x.shape is None else tuple(x.shape[p] for p in perm)
        return replace(self.Transpose(x, perm=list(perm)), shape=shape)

    def swap_last(self, x: Tensor) -> Tensor:
        """`x` with its last two axes exchanged."""
        n = x.rank
        return self.transpose(x, [*range(n - 2), n - 1, n - 2])

    def zeros_like(self, tensor: Tensor) -> Tensor:
        """Zeros with shape and type of `tensor`."""
        return self.full_like(tensor, 0)

    def full_like(self, tensor: Tensor, value: float) -> Tensor:
        """One number everywhere, with shape and type of `tensor`."""
        return replace(self.Expand(self.const(value, tensor.dtype), self.shape(tensor)), dtype=tensor.dtype, shape=tensor.shape)

    def expand(self, x: Tensor, like: Tensor) -> Tensor:
        """`x` stretched to the shape of `like`."""
        return replace(self.Expand(x, self.shape(like)), shape=like.shape)

    def keepdims(self, reduced: Tensor, call: Call) -> Tensor:
        """A tensor shaped like the output of a reduction, with the axes that the call reduced put back as extents of 1.

        Where all axes are reduced and none kept, it is a scalar, which broadcasts as it is.
        """
        axes = call.inputs[1]
        if call["keepdims"] or axes is None:
            return reduced
        made = self.Unsqueeze(reduced, axes)
        assert isinstance(made, Tensor)
        return made

    def count(self, x: Tensor, axes: Sequence[int] | None, reduced: Tensor) -> Tensor | int:
        """How many elements of `x` go into each of `reduced`: a number where the extents along the axes are known."""
        extents = None if x.shape is None or not axes else [x.shape[axis] for axis in axes]
        if extents is not None and all(isinstance(n, int) for n in extents):
            return prod(n for n in extents if isinstance(n, int))
        sizes = (self.Cast(self.Size(t), to=onnx.TensorProto.DOUBLE) for t in (x, reduced))
        return self.cast(self.Div(*sizes), x)

    def total(self, tensors: Sequence[Tensor]) -> Tensor:
        """The sum of tensors of one shape."""
        result = tensors[0]
        for t in tensors[1:]:
            result = replace(self.Add(result, t), shape=tensors[0].shape)
        return result

    def sum_to(self, message: Tensor, like: Tensor, shape: Shape) -> Tensor:
        """A message of extents `shape`, summed over the axes along which `like` was broadcast to them.

        Extents are compared as numbers and by symbol; only where neither proves anything is the reduction decided at run
        time.
        """
        if like.shape is None or shape is None:
            return self._sum_to_at_run_time(message, like)
        lead = len(shape) - len(like.shape)
        stretched, unsure = [], False
        for axis, (mine, full) in enumerate(zip(like.shape, shape[lead:], strict=True), start=lead):
            if same_dim(mine, full) or (isinstance(mine, int) and mine != 1):
                continue
            if mine == 1:
                stretched.append(axis)
            else:
                unsure = True
        if unsure:
            return self._sum_to_at_run_time(message, like)
        axes = [*range(lead), *stretched]
        if not axes:
            return message
        summed = self.ReduceSum(message, axes, keepdims=1 if stretched else 0)
        if stretched and lead:
            summed = self.Squeeze(summed, list(range(lead)))
        return replace(summed, shape=like.shape)

    def _sum_to_at_run_time(self, message: Tensor, like: Tensor) -> Tensor:
        target, full = self.Shape(like), self.Shape(message)
        lead = self.Sub(self.Shape(full), self.Shape(target))
        padded = self.Concat(self.Expand([1], lead), target, axis=0)
        axes = self.Reshape(self.NonZero(self.Not(self.Equal(padded, full))), [-1])
        summed = self.ReduceSum(message, axes, keepdims=1, noop_with_empty_axes=1)
        return replace(self.Reshape(summed, target, allowzero=1), shape=like.shape)

    # -- arithmetic ----------------------------------------------------------------------------------------------

    def stabilize(self, z: Tensor, epsilon: float) -> Tensor:
        """z + ε·sign(z) with sign(0) = +1: a denominator that is never zero."""
        if epsilon == 0:
            return z
        made = self.Add(z, self.Where(self.Less(z, 0), -epsilon, self.const(epsilon, z.dtype)))
        assert isinstance(made, Tensor)
        return made

    def cast(self, x: Tensor, like: Tensor) -> Tensor:
        """`x` with the type of `like`; `x` itself where they are equal or one is unknown."""
        if x.dtype is None or like.dtype is None or x.dtype == like.dtype:
            return x
        made = self.Cast(x, to=onnx.helper.np_dtype_to_tensor_dtype(like.dtype))
        assert isinstance(made, Tensor)
        return made


_FIXED: dict[str, np.dtype[Any]] = {
    f"tensor({name})": np.dtype(dtype)
    for name, dtype in {
        "float": np.float32, "double": np.float64, "float16": np.float16, "bool": np.bool_, "int64": np.int64, "int32": np.int32,
        "int16": np.int16, "int8": np.int8, "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
    }.items()
}  # fmt: skip


def _output_dtype(
    op: str, known: Signature | None, index: int, inputs: Sequence[Tensor | None], attributes: Mapping[str, Any]
) -> np.dtype[Any] | None:
    if op in ("Cast", "EyeLike") or op in RANDOM:
        number = attributes.get("to", attributes.get("dtype"))
        if number is not None:
            return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number))
        return np.dtype(np.float32) if op in ("RandomNormal", "RandomUniform") else _first_dtype(inputs)
    if op == "ConstantOfShape":
        value = attributes.get("value")
        return np.dtype(np.float32) if value is None else np.asarray(value).dtype
    if known is None:
        return _first_dtype(inputs)
    cls = known.output_class(index)
    if cls.startswith("tensor("):
        return _FIXED.get(cls)
    for i, tensor in enumerate(inputs):
        if tensor is not None and known.input_class(i) == cls:
            return tensor.dtype
    return None


def _first_dtype(inputs: Sequence[Tensor | None]) -> np.dtype[Any] | None:
    return next((t.dtype for t in inputs if t is not None), None)


def _elementwise_shape(inputs: Sequence[Tensor | None]) -> Shape:
    """The broadcast shape where it can be proven, else None."""
    shapes = [t.shape for t in inputs if t is not None]
    if any(s is None for s in shapes):
        return None
    rank = max((len(s) for s in shapes if s is not None), default=0)
    result: list[Dim] = [1] * rank
    for s in shapes:
        assert s is not None
        for axis, extent in enumerate(s, start=rank - len(s)):
            mine = result[axis]
            if extent == 1 or same_dim(mine, extent):
                continue
            if mine == 1 or (isinstance(extent, int) and not isinstance(mine, int)):
                result[axis] = extent
            elif not isinstance(mine, int):
                return None
    return tuple(result)


def _key(op: str, domain: str, inputs: Sequence[Tensor | None], attributes: Mapping[str, Any]) -> Any:
    names = [None if t is None else t.name for t in inputs]
    while names and names[-1] is None:
        names.pop()
    return op, domain, tuple(names), tuple((k, _frozen(attributes[k])) for k in sorted(attributes))


def _frozen(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_frozen(v) for v in value)
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return value if isinstance(value, int | float | str | bytes | bool) else id(value)


def floating(tensor: Tensor) -> bool:
    """Whether the type is known and floating-point."""
    return tensor.dtype is not None and is_float(tensor.dtype)
