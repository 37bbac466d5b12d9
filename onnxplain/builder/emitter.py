"""Emitter: records operators.

What is recorded becomes a node only when the result needs it. The same operator on the same inputs is emitted once, the model's
own nodes included. In a loop body, everything that does not depend on the body's inputs is placed outside the loop.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol, overload

import numpy as np

from onnxplain.analysis.nonnegative import nonnegative_tensors
from onnxplain.builder.backward_access import BackwardAccess
from onnxplain.builder.constants import Constants, Operand
from onnxplain.builder.scopes import GraphScope, identity_of
from onnxplain.ir.constant_folding import FOLDABLE
from onnxplain.ir.emitted import Body, Emitted
from onnxplain.ir.graph import READABLE_ELEMENTS, Graph
from onnxplain.ir.inference import Applied, contents, infer
from onnxplain.ir.ops import standard_traits
from onnxplain.ir.schema import Signature, signature
from onnxplain.ir.tensor import Dim, Shape, Tensor
from onnxplain.ir.type_inference import RANDOM
from onnxplain.ir.well_formed import check_form

__all__ = ["Emitter"]

COMPARED = tuple(np.dtype(t) for t in ("float16", "float32", "float64", "int32", "int64"))
"""Types of numbers that ONNX Runtime takes the greatest of."""


class Emit(Protocol):
    """A standard operator as a method of the builder."""

    @overload
    def __call__(self, *inputs: Operand, outputs: typing.Literal[1] = 1, **attributes: Any) -> Tensor: ...
    @overload
    def __call__(self, *inputs: Operand, outputs: int, **attributes: Any) -> tuple[Tensor, ...]: ...


class Emitter(Constants, BackwardAccess):
    """Emits operators into a graph: the base of a builder.

    Args:
        graph: the graph to write into.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.prefix = "onnxplain"
        self._scopes = [GraphScope()]
        self._unsigned: frozenset[str] | None = None
        self._level: dict[str, int] = {}
        self._known: dict[str, Tensor] = {}
        self._made: dict[str, Emitted] = {}
        for node in graph.nodes:
            if node.op not in RANDOM and all(t is not None for t in node.outputs):
                key = identity_of(node.op, node.domain, node.inputs, node.attributes)
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
        key = identity_of(op, domain, inputs, {**(known.defaults if known else {}), **attributes})
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
        self._scopes.append(GraphScope(closed=closed))
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

    def _contents(self, tensor: Tensor) -> tuple[Dim, ...] | None:
        """What is known of the values of a tensor of whole numbers, as extents."""
        return contents(tensor, lambda t: self.maker(t) or self.graph.producer(t), self._whole)

    def _whole(self, tensor: Tensor) -> list[int] | None:
        """The values of a small constant of whole numbers."""
        value = self.value(tensor)
        return None if value is None or value.dtype.kind not in "iu" or value.ndim > 1 else value.ravel().tolist()
