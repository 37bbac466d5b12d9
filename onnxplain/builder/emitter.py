"""Emitter: records operators and constants.

What is recorded becomes a node only when the result needs it. The same operator on the same inputs is emitted once, the model's
own nodes included. In a loop body, everything that does not depend on the body's inputs is placed outside the loop.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias, overload

import numpy as np

from onnxplain.analysis.nonnegative import nonnegative_tensors
from onnxplain.errors import RuleError
from onnxplain.ir.constant_folding import FOLDABLE
from onnxplain.ir.graph import READABLE_ELEMENTS, Body, Emitted, Graph
from onnxplain.ir.inference import Applied, contents, infer
from onnxplain.ir.node import Node
from onnxplain.ir.ops import standard_traits
from onnxplain.ir.registry import OpSpec
from onnxplain.ir.schema import Signature, signature
from onnxplain.ir.tensor import Dim, Shape, Tensor
from onnxplain.ir.type_inference import FIXED, RANDOM
from onnxplain.ir.well_formed import check_form

__all__ = ["Emitter", "Literal", "Operand", "Recorded"]

Literal: TypeAlias = "bool | int | float | Sequence[int] | Sequence[float] | np.ndarray[Any, Any]"
Operand: TypeAlias = "Tensor | Literal | None"
"""What an emitted operator takes: a tensor, a Python or NumPy value of fitting type, or None for "left out"."""


COMPARED = tuple(np.dtype(t) for t in ("float16", "float32", "float64", "int32", "int64"))
"""Types of numbers that ONNX Runtime takes the greatest of."""


class Emit(Protocol):
    """A standard operator as a method of the builder."""

    @overload
    def __call__(self, *inputs: Operand, outputs: typing.Literal[1] = 1, **attributes: Any) -> Tensor: ...
    @overload
    def __call__(self, *inputs: Operand, outputs: int, **attributes: Any) -> tuple[Tensor, ...]: ...


@dataclass
class _Scope:
    """One graph under construction: the top level, or a subgraph within it, which may keep everything to itself."""

    nodes: list[Emitted] = field(default_factory=list)
    table: dict[Any, tuple[Tensor, ...]] = field(default_factory=dict)
    closed: bool = False
    owned: dict[Tensor, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Recorded:
    """What a loop returned.

    Attributes:
        finals: its states at the end.
        lists: what was asked for step by step, as sequences.
        stacks: what was asked for step by step, stacked along a first axis.
    """

    finals: tuple[Tensor, ...]
    lists: tuple[Tensor, ...]
    stacks: tuple[Tensor, ...]


Walk: TypeAlias = "Callable[[Sequence[Node], Mapping[Tensor, Tensor], Sequence[Tensor]], dict[Tensor, Tensor]]"
"""`(nodes, seeds, sources)` to messages, by the rules of the backward pass that is under way."""


@dataclass(frozen=True)
class BackwardContext:
    """What rules can ask of the backward pass that is under way.

    Attributes:
        backpropagate: propagates messages through the nodes of a subgraph.
        gradient: what a node's own gradient rule sends to its inputs.
        detached: the same with statistics of the input held constant.
        spec: the registry's entry of a node's operator.
        nonnegative: whether a tensor is provably not below zero.
        finite: whether a tensor is provably finite wherever the model's inputs are.
        rectified: whether the message on a tensor is provably zero wherever the tensor is below zero.
        references: the value at the baseline, for tensors whose value differs there.
    """

    backpropagate: Walk
    gradient: Callable[..., list[Tensor | None]]
    detached: Callable[[Node, Tensor], Tensor]
    spec: Callable[[Node], OpSpec]
    nonnegative: Callable[[Tensor], bool]
    finite: Callable[[Tensor], bool]
    rectified: Callable[[Tensor], bool]
    references: dict[Tensor, Tensor]


class Emitter:
    """Emits operators into a graph: the base of a builder.

    Args:
        graph: the graph to write into.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.prefix = "onnxplain"
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        self._pool: dict[Any, Tensor] = {}
        self._scopes = [_Scope()]
        self._recorded: dict[str, Recorded] = {}
        self._unsigned: frozenset[str] | None = None
        self._backward: BackwardContext | None = None
        self._level: dict[str, int] = {}
        self._known: dict[str, Tensor] = {}
        self._made: dict[str, Emitted] = {}
        self._copied: dict[str, Tensor] = {}
        for node in graph.nodes:
            if node.op not in RANDOM and all(t is not None for t in node.outputs):
                key = _key(node.op, node.domain, node.inputs, node.attributes)
                self._scopes[0].table.setdefault(key, node.outputs)  # type: ignore[arg-type]

    def __getattr__(self, op: str) -> Emit:
        if not op[:1].isupper():
            raise AttributeError(op)
        return lambda *inputs, outputs=1, **attributes: self.op(op, *inputs, outputs=outputs, **attributes)

    def op(self, op: str, *inputs: Operand, domain: str = "", outputs: int = 1, **attributes: Any) -> Any:
        """Emit an operator.

        Args:
            op: its name.
            *inputs: tensors, None for an optional one left out, or numbers and arrays, which become constants.
            domain: its operator-set domain, "" for the standard's.
            outputs: the number of outputs.
            **attributes: its attributes; those that are None are left out.

        Returns:
            One tensor, or a tuple where `outputs` is more than one.

        Example:
            >>> run(b.op("ReduceSum", x, [1], keepdims=0))
            array([ 2., -5.], dtype=float32)
        """
        known = signature(op, domain, self.graph.opset) if not domain else None
        attributes = {k: v for k, v in attributes.items() if v is not None}
        opset = self.graph.opset
        if not domain:
            check_form(op, known, opset, inputs, attributes, outputs)
        operands = self._operands(op, inputs, known)
        likes = infer(Applied(op, domain, opset, known, operands, attributes, outputs, self._contents, self.value))
        made = self._emit(op, domain, operands, attributes, likes, known)
        return made[0] if outputs == 1 else made

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
        if op in RANDOM:
            return self._record(self._innermost, op, domain, inputs, attributes, likes, None)
        # Within a closed body everything that is not there already is made at least at that body's level.
        floor = max((i for i, scope in enumerate(self._scopes) if scope.closed), default=0)
        if bodies:
            return self._record(max(level, floor), op, domain, inputs, attributes, likes, None)
        folded = self._folded(op, inputs, attributes) if len(likes) == 1 and not domain else None
        if folded is not None:
            return (folded,)
        key = _key(op, domain, inputs, {**(known.defaults if known else {}), **attributes})
        for scope in self._scopes[level : max(level, floor) + 1]:
            made = scope.table.get(key)
            if made is not None and len(made) >= len(likes):
                return made[: len(likes)]
        return self._record(max(level, floor), op, domain, inputs, attributes, likes, key)

    def _folded(self, op: str, inputs: Sequence[Tensor | None], attributes: Mapping[str, Any]) -> Tensor | None:
        """The result as a constant where all inputs are small constants: per-channel factors, shapes, axes."""
        if op not in FOLDABLE or not inputs or not all(self.is_constant(t) for t in inputs):
            return None
        values = [self.value(t) for t in inputs]
        if any(v is None or v.dtype.kind not in "fiub" for v in values):
            return None
        made = FOLDABLE[op](*values, **attributes)
        if made is None or made.size > READABLE_ELEMENTS:
            return None
        return self.const(made, made.dtype if op == "Cast" else values[0].dtype)  # type: ignore[union-attr]

    @property
    def _innermost(self) -> int:
        return len(self._scopes) - 1

    def _record(
        self,
        level: int,
        op: str,
        domain: str,
        inputs: tuple[Tensor | None, ...],
        attributes: Mapping[str, Any],
        likes: Sequence[Tensor],
        key: Any,
        replaces: str = "",
    ) -> tuple[Tensor, ...]:
        """Emit at a level. Outputs get new names, but for those of a node that takes the place of the model's own."""
        name = self.graph.fresh(f"{self.prefix}/{op}")
        names = [name if i == 0 else self.graph.fresh(f"{name}_output_{i}") for i in range(len(likes))]
        if replaces:
            names = [like.name or new for like, new in zip(likes, names, strict=True)]
        outputs = tuple(replace(like, name=n) for n, like in zip(names, likes, strict=True))
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        scope = self._scopes[level]
        node = Emitted(op, domain, name, inputs, outputs, attributes, replaces)
        scope.nodes.append(node)
        self._made.update((t.name, node) for t in outputs)
        if key is not None:
            scope.table[key] = outputs
        if level:
            self._level.update((t.name, level) for t in outputs)
        return outputs

    @contextmanager
    def scope(self, prefix: str) -> Iterator[None]:
        """Give what is emitted inside names that start with a prefix. A context manager.

        Args:
            prefix: the prefix.

        Yields:
            None.

        Example:
            >>> with b.scope("onnxplain/mine"):
            ...     print(b.Mul(x, 2).name)
            onnxplain/mine/Mul
        """
        before, self.prefix = self.prefix, prefix
        try:
            yield
        finally:
            self.prefix = before

    def body(self, inputs: Sequence[Tensor], make: Callable[..., Sequence[Tensor]], *, closed: bool = False) -> Body:
        """A subgraph for If, Loop or Scan.

        What is emitted from outer tensors alone is placed in the outer graph, unless the body is closed: a branch that is not
        taken must not run.

        Args:
            inputs: the types and shapes of the body's inputs; their names are only hints.
            make: gets the body's inputs and returns its outputs.
            closed: whether everything stays inside.

        Returns:
            The body, to be given as an attribute.

        Example:
            >>> then = b.body([], lambda: [b.Neg(x)], closed=True)
            >>> otherwise = b.body([], lambda: [b.Abs(x)], closed=True)
            >>> made = b.op("If", True, then_branch=then, else_branch=otherwise)
            >>> run(b.Add(x, made))
            array([[0., 0., 0.],
                   [0., 0., 0.]], dtype=float32)
        """
        level = len(self._scopes)
        formal = tuple(replace(t, name=self.graph.fresh(f"{self.prefix}/{t.name or 'input'}")) for t in inputs)
        self._scopes.append(_Scope(closed=closed))
        self._level.update((t.name, level) for t in formal)
        try:
            results = make(*formal)
            # A body must make its outputs itself: outer tensors and inputs pass through Identity.
            made = {t.name for node in self._scopes[level].nodes for t in node.outputs}
            outputs: list[Tensor] = []
            for t in results:
                if t.name not in made or t in outputs:
                    (t,) = self._record(level, "Identity", "", (t,), {}, [t], None)
                outputs.append(t)
            scope = self._scopes[level]
            return Body(formal, tuple(outputs), tuple(scope.nodes))
        finally:
            self._scopes.pop()

    def maker(self, tensor: Tensor) -> Emitted | None:
        """What emitted a tensor.

        Args:
            tensor: any tensor.

        Returns:
            The emitted operator; None for tensors of the model and for constants.

        Example:
            >>> b.maker(b.Neg(x)).op, b.maker(x)
            ('Neg', None)
        """
        return self._made.get(tensor.name)

    def is_product(self, tensor: Tensor) -> bool:
        """Whether a tensor is a matrix product, perhaps scaled, shifted or rearranged, so that no mask has set elements to −∞.

        Args:
            tensor: any tensor.

        Returns:
            True where that is certain.

        Example:
            >>> b.is_product(b.Mul(b.MatMul(x, b.swap_last(x)), 0.5))
            True
        """
        current: Tensor | None = tensor
        while current is not None:
            node = self.maker(current) or self.graph.producer(current)
            if node is None or node.domain:
                return False
            facts, (first, *rest) = standard_traits(node), node.inputs
            if facts.multiplies:
                return True
            scales = facts.linear_in == "each" or node.op == "Div"
            if facts.moves_elements != "first" and not (scales and all(self.is_constant(t) for t in rest)):
                return False
            current = first
        return False

    def know(self, tensor: Tensor) -> Tensor:
        """Remember the type and extents of a tensor.

        Args:
            tensor: a tensor whose type and extents are known.

        Returns:
            The same tensor.

        Example:
            >>> b.know(b.MatMul(x, b.swap_last(x))).shape
            (2, 2)
        """
        if tensor.shape is not None and tensor.dtype is not None:
            self._known[tensor.name] = tensor
        return tensor

    def shaped(self, tensor: Tensor, shape: Shape) -> Tensor:
        """A tensor with extents that the caller knows. What an operator returns is inferred: this is for what inference cannot
        know, and each use says why.

        Args:
            tensor: a tensor.
            shape: its extents; None to forget them.

        Returns:
            The same tensor, said to have these extents.

        Example:
            >>> b.shaped(b.Reshape(x, b.Slice(b.Shape(x), [0], [2])), (2, 3)).shape
            (2, 3)
        """
        return replace(tensor, shape=shape)

    def known(self, tensor: Tensor) -> Tensor:
        """A tensor with all that is known of its type and extents.

        Args:
            tensor: any tensor.

        Returns:
            The tensor of the same name.

        Example:
            >>> b.known(x).shape
            (2, 3)
        """
        return self._known.get(tensor.name, tensor)

    @property
    def nodes(self) -> list[Emitted]:
        """What has been emitted at the top level."""
        return self._scopes[0].nodes

    @contextmanager
    def backward_context(self, walking: BackwardContext) -> Iterator[None]:
        """Let rules ask the backward pass, while inside. A context manager.

        Args:
            walking: what they can ask.

        Yields:
            None.
        """
        before, self._backward = self._backward, walking
        try:
            yield
        finally:
            self._backward = before

    @property
    def _current(self) -> BackwardContext:
        if self._backward is None:
            raise RuleError("there is no backward pass under way; rules run within onnxplain.propagation.backward.backward")
        return self._backward

    def backpropagate(
        self, nodes: Sequence[Node], target_messages: Mapping[Tensor, Tensor], sources: Sequence[Tensor]
    ) -> dict[Tensor, Tensor]:
        """Messages at tensors of a subgraph, by the rules of the backward pass that is under way.

        Args:
            nodes: the nodes of the subgraph.
            target_messages: the messages to start from, by tensor.
            sources: the tensors whose messages are asked for.

        Returns:
            Messages by tensor; those that are provably zero are missing.

        Raises:
            RuleError: no backward pass is under way.
        """
        return self._current.backpropagate(nodes, target_messages, sources)

    def gradient(self, node: Node, *messages: Tensor | None) -> list[Tensor | None]:
        """What the gradient rule of a node's operator sends to its inputs and captures.

        Args:
            node: the node.
            *messages: one message per output, None for one that is provably zero.

        Returns:
            One message per input, then per capture, each in the shape of what it belongs to. None where no message is asked for
            or it is provably zero.

        Raises:
            RuleError: no backward pass is under way.
        """
        return self._current.gradient(node, *messages)

    def detached(self, node: Node, message: Tensor) -> Tensor:
        """What the gradient of a norm would send to its input if the statistics it divides by were constants.

        Args:
            node: the node.
            message: the message on its output.

        Returns:
            The message on its input.

        Raises:
            RuleError: no backward pass is under way.
        """
        return self._current.detached(node, message)

    def spec(self, node: Node) -> OpSpec:
        """The registry's entry of a node's operator: its role, and where its weights are.

        Args:
            node: the node.

        Returns:
            The entry.

        Raises:
            RuleError: no backward pass is under way.
        """
        return self._current.spec(node)

    def nonnegative(self, tensor: Tensor) -> bool:
        """Whether a tensor is provably not below zero.

        Args:
            tensor: a tensor of the model.

        Returns:
            True where that is certain.

        Raises:
            RuleError: no backward pass is under way.
        """
        return self._current.nonnegative(tensor)

    def finite(self, tensor: Tensor) -> bool:
        """Whether a tensor provably holds no NaN and nothing infinite, as long as the model's inputs hold none.

        Args:
            tensor: a tensor of the model.

        Returns:
            True where that is certain.

        Raises:
            RuleError: no backward pass is under way.
        """
        return self._current.finite(tensor)

    def rectified(self, tensor: Tensor) -> bool:
        """Whether the message on a tensor is provably zero wherever the tensor is below zero.

        Args:
            tensor: a tensor of the model.

        Returns:
            True where that is certain.

        Raises:
            RuleError: no backward pass is under way.
        """
        return self._current.rectified(tensor)

    def unsigned(self, tensor: Tensor) -> bool:
        """Whether a tensor of the model is not below zero if the model's inputs are not.

        Args:
            tensor: a tensor of the model.

        Returns:
            True where that is certain.

        Example:
            >>> b.unsigned(y)
            True
        """
        if self._unsigned is None:
            self._unsigned = nonnegative_tensors(self.graph.nodes, self.graph.value, standard_traits, self.graph.inputs)
        return tensor.name in self._unsigned

    @property
    def has_references(self) -> bool:
        """Whether the backward pass under way compares with a baseline."""
        return self._backward is not None and bool(self._backward.references)

    def reference(self, tensor: Tensor) -> Tensor:
        """The value of a tensor at the baseline.

        Args:
            tensor: a tensor of the model.

        Returns:
            The tensor that holds it: `tensor` itself where nothing that is explained changes its value.

        Raises:
            RuleError: no backward pass is under way.
        """
        return self._current.references.get(tensor, tensor)

    def set_references(self, references: Mapping[Tensor, Tensor]) -> None:
        """Say what further tensors are at the baseline.

        Args:
            references: by tensor, the tensor that holds its value at the baseline.

        Raises:
            RuleError: no backward pass is under way.
        """
        self._current.references.update(references)

    def rename(self, tensor: Tensor, name: str) -> Tensor:
        """The same value under exactly this name.

        Args:
            tensor: the tensor.
            name: a name that is not taken yet.

        Returns:
            The renamed tensor.

        Example:
            >>> b.rename(b.Neg(x), "negative").name
            'negative'
        """
        self.graph.fresh(name)
        output = replace(tensor, name=name)
        self.nodes.append(Emitted("Identity", "", self.graph.fresh(f"{self.prefix}/{name}"), (tensor,), (output,), {}))
        return output

    def alias(self, tensor: Tensor, hint: str = "alias") -> Tensor:
        """The same value under a new name.

        Args:
            tensor: the tensor.
            hint: what the name ends with.

        Returns:
            The renamed tensor.

        Example:
            >>> b.alias(x, "copy").name
            'onnxplain/copy/Identity'
        """
        level = self._level.get(tensor.name, 0)
        with self.scope(f"{self.prefix}/{hint}"):
            return self._record(level, "Identity", "", (tensor,), {}, [tensor], None)[0]

    def is_model_constant(self, tensor: Tensor) -> bool:
        """Whether a tensor is an initializer of the model, or a loop body's copy of one.

        Args:
            tensor: any tensor.

        Returns:
            False for inputs, results and the builder's own constants.

        Example:
            >>> b.is_model_constant(b.const([1.0]))
            False
        """
        return tensor.name in self._copied or self.graph.is_constant(tensor)

    def localize_weight(self, tensor: Tensor) -> Tensor:
        """A constant of the model as the innermost body's own.

        ONNX Runtime brings weights into the processor's layout (blocked convolutions, fused norms) only in the graph that holds
        them. The file still holds them once: the body makes its own copy by an operator that changes nothing. ONNX Runtime
        computes it when it loads the file but, unlike Identity, does not remove it before that.

        Args:
            tensor: any tensor.

        Returns:
            The body's copy; `tensor` itself where it is no constant of the model, or outside of bodies.

        Example:
            >>> b.localize_weight(x) == x
            True
        """
        original = self._copied.get(tensor.name, tensor)
        if not self._innermost or not self.graph.is_constant(original) or not (original.rank or original.dtype in COMPARED):
            return tensor
        owned = self._scopes[-1].owned
        if original not in owned:
            op, attributes = ("Concat", {"axis": 0}) if original.rank else ("Max", {})
            (made,) = self._record(self._innermost, op, "", (original,), attributes, [replace(original, name="")], None)
            owned[original] = made
            self._copied[made.name] = original
        return owned[original]

    def const(self, value: Literal, dtype: Any = None) -> Tensor:
        """A constant. Equal constants become one initializer.

        Args:
            value: a number, a list or an array.
            dtype: its type; None takes an array's own, float32 for other floats and int64 for integers.

        Returns:
            The constant.

        Example:
            >>> b.const([1.0, 2.0]).dtype, b.const([1, 2]).shape
            (dtype('float32'), (2,))
        """
        array = np.asarray(value)
        if dtype is None and array.dtype == np.float64 and not isinstance(value, np.ndarray):
            dtype = np.float32
        array = np.ascontiguousarray(array if dtype is None else array.astype(dtype)).reshape(array.shape)
        key = (array.dtype, array.shape, array.tobytes())
        if key not in self._pool:
            name = self.graph.fresh("onnxplain/constant")
            self.constants[name] = array
            self._pool[key] = Tensor(name, array.dtype, array.shape)
        return self._pool[key]

    def value(self, tensor: Tensor | None) -> np.ndarray[Any, Any] | None:
        """The values of a small constant, the model's or the builder's.

        Args:
            tensor: any tensor, or None.

        Returns:
            The array; None for a large constant and for anything else.

        Example:
            >>> b.value(b.const([1, 2])), b.value(x)
            (array([1, 2]), None)
        """
        if tensor is None:
            return None
        tensor = self._copied.get(tensor.name, tensor)
        found = self.constants.get(tensor.name)
        return self.graph.value(tensor) if found is None else found

    def is_constant(self, tensor: Tensor | None) -> bool:
        """Whether a tensor is an initializer of the model or a constant of the builder.

        Args:
            tensor: any tensor, or None.

        Returns:
            True for constants.

        Example:
            >>> b.is_constant(b.const(1)), b.is_constant(x)
            (True, False)
        """
        return tensor is not None and (tensor.name in self.constants or self.is_model_constant(tensor))

    def ints(self, tensor: Tensor | None) -> list[int] | None:
        """The values of a small integer constant.

        Args:
            tensor: any tensor, or None.

        Returns:
            A flat list; None for anything that is no small constant.

        Example:
            >>> b.ints(b.const([[1, 2], [3, 4]]))
            [1, 2, 3, 4]
        """
        value = self.value(tensor)
        return None if value is None else [int(v) for v in value.ravel()]

    def _contents(self, tensor: Tensor) -> tuple[Dim, ...] | None:
        """What is known of the values of a tensor of whole numbers, as extents."""
        return contents(tensor, lambda t: self.maker(t) or self.graph.producer(t), self._whole)

    def _whole(self, tensor: Tensor) -> list[int] | None:
        """The values of a small constant of whole numbers."""
        value = self.value(tensor)
        return None if value is None or value.dtype.kind not in "iu" or value.ndim > 1 else value.ravel().tolist()

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
                return self.const(operand, FIXED[cls])
            if known is not None and cls in known.integer_classes:
                return self.const(operand, bound.get(cls, np.dtype(np.int64)))
            dtype = bound.get(cls, None if isinstance(operand, np.ndarray) else first)
            return self.const(operand, dtype)

        return tuple(convert(i, operand) for i, operand in enumerate(inputs))


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
