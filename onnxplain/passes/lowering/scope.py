"""One graph that is being lowered: which of its tensors are in blocks or may be infinite, and what has been made of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from onnxplain.builder.emitter import Emitter
from onnxplain.ir.emitted import Body, Emitted
from onnxplain.ir.node import Node
from onnxplain.ir.ops import Traits
from onnxplain.ir.pattern import Match, NoMatch, Pattern, match
from onnxplain.ir.tensor import Shape, Tensor, same_dim
from onnxplain.passes.lowering.blocks import in_blocks, is_image, whole
from onnxplain.passes.lowering.pools import pooled

__all__ = ["STEEP", "Form", "Scope"]

STEEP = 3e38
"""The slope at which a hard sigmoid is a step in float32: 0 at 0, 1 at all normal numbers above."""

Form: TypeAlias = "Callable[[Scope, Emitted], Emitted | None]"
"""What takes the place of a node, after what it needs has been emitted; None where the form does not fit."""


class _EmittedView:
    """Emitted nodes as patterns see them."""

    def __init__(self, b: Emitter) -> None:
        self.b = b

    def name(self, tensor: Tensor) -> str:
        return tensor.name

    def maker(self, tensor: Tensor) -> Emitted | None:
        return self.b.maker(tensor)

    def operator(self, node: Emitted) -> str:
        return f"{node.domain}.{node.op}" if node.domain else node.op

    def inputs(self, node: Emitted) -> Sequence[Tensor | None]:
        return node.inputs

    def constant(self, tensor: Tensor) -> np.ndarray[Any, Any] | None:
        return self.b.value(tensor)

    def is_constant(self, tensor: Tensor) -> bool:
        return self.b.is_constant(tensor)

    def shape(self, tensor: Tensor) -> Shape:
        return self.b.known(tensor).shape

    def attribute(self, node: Emitted, name: str) -> Any:
        return node.attributes.get(name)

    def is_shared(self, tensor: Tensor) -> bool:
        return sum(tensor in node.inputs for node in self.b.nodes) > 1


@dataclass
class Scope:
    """One graph. A body has blocks of its own."""

    b: Emitter
    forms: Mapping[str, Sequence[Form]]
    traits: Traits
    top: bool = True
    blocked: set[str] = field(default_factory=set)
    extents: set[Any] = field(default_factory=set)
    """Of the images in blocks."""
    wild: set[str] = field(default_factory=set)
    """What may be infinite: what is emitted by other than finite operators, and all that comes of it."""
    fixed: set[str] = field(default_factory=set)
    """What depends on weights alone, and is as finite as they are."""
    _model: Sequence[Node] = ()
    _done: list[Emitted] = field(default_factory=list)
    _made: dict[Hashable, Tensor] = field(default_factory=dict)
    _name: str = ""

    def read(self, nodes: Sequence[Node]) -> None:
        """Take note of the model's own nodes."""
        self._model = nodes
        for node in nodes:
            inputs, outputs = ([t for t in tensors if t is not None] for tensors in (node.inputs, node.outputs))
            if not node.captures and self.are_fixed(inputs):
                self.fixed.update(t.name for t in outputs)
            if not node.domain:
                self._note(node.op, inputs, outputs, node.attributes)

    def lowered(self, nodes: Iterable[Emitted]) -> list[Emitted]:
        """Emitted nodes in forms that run fast."""
        for node in pooled(self.b, list(nodes), self._model, lambda t: is_image(t) and whole(t)):
            attributes = {k: self._body(v) if isinstance(v, Body) else v for k, v in node.attributes.items()}
            node = replace(node, attributes=attributes, outputs=tuple(self.b.known(t) for t in node.outputs))
            self._name = node.name
            forms = () if node.domain or node.replaces else self.forms.get(node.op, ())
            found = (made for form in forms if (made := form(self, node)) is not None)
            self._add(next(found, node))
        return self._done

    def are_fixed(self, inputs: Sequence[Tensor]) -> bool:
        """Whether all of them depend on weights alone."""
        return all(t.name in self.fixed or self.b.is_constant(t) for t in inputs)

    # -- what is known -------------------------------------------------------------------------------------------------

    def is_blocked(self, t: Tensor | None) -> bool:
        """Whether an image is in blocks."""
        return t is not None and t.name in self.blocked

    def is_wild(self, t: Tensor) -> bool:
        """Whether a tensor may hold infinite numbers."""
        return t.name in self.wild

    def alike(self, one: Tensor, other: Tensor) -> bool:
        """Whether two images have provably equal extents."""
        mine, its = self.b.known(one), self.b.known(other)
        if not is_image(mine) or mine.shape is None or its.shape is None or len(its.shape) != 4:
            return False
        return all(same_dim(x, y) for x, y in zip(mine.shape, its.shape, strict=True))

    def number(self, t: Tensor | None) -> float | None:
        """The value of a constant of one element."""
        value = self.b.value(t)
        return float(value.reshape(())) if value is not None and value.size == 1 and value.dtype.kind in "fiu" else None

    def match(self, t: Tensor, pattern: Pattern) -> Match[Tensor, Emitted] | NoMatch:
        """Match a tensor with a pattern of emitted nodes."""
        return match(_EmittedView(self.b), pattern, t)

    # -- what is made --------------------------------------------------------------------------------------------------

    def emit(self, op: str, *inputs: Tensor | None, like: Tensor, hint: str, **attributes: Any) -> Tensor:
        """The result of an operator, of the type and extents of `like`."""
        made = replace(self.b.known(like), name=self.b.graph.fresh(f"{self._name}/{hint}"))
        self._add(Emitted(op, "", made.name, inputs, (made,), attributes))
        return made

    def once(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """What has been made under a key, made now if it has not."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def instead(self, node: Emitted, op: str, *inputs: Tensor | None, **attributes: Any) -> Emitted:
        """A node with the outputs of another."""
        return replace(node, op=op, inputs=inputs, attributes=attributes)

    def constant(self, values: np.ndarray[Any, Any]) -> Tensor:
        """A constant of this graph: in a body its own, as ONNX Runtime asks of what it lays out in blocks."""
        if self.top:
            return self.b.const(values)
        key = (values.shape, values.dtype, values.tobytes())
        like = Tensor("constant", values.dtype, values.shape)
        return self.once(key, lambda: self.emit("Constant", like=like, hint="constant", value=values))

    def affine(self, x: Tensor, scale: float, shift: float = 0.0) -> tuple[Tensor, ...]:
        """What a depthwise convolution reads to make scale · x + shift."""
        channels = self.channels(x)
        w = self.constant(np.full((channels, 1, 1, 1), scale, np.float32))
        return (x, w, self.constant(np.full(channels, shift, np.float32))) if shift else (x, w)

    def channels(self, t: Tensor) -> int:
        """An image's channels."""
        channels = self.b.known(t).dim(1)
        assert isinstance(channels, int)
        return channels

    def in_blocks(self, t: Tensor) -> Tensor | None:
        """An image in blocks: as it is, or as the mean of every single pixel where its channels fill blocks; else None."""
        known = self.b.known(t)
        if self.is_blocked(t):
            return t
        if not is_image(known) or not whole(known):
            return None
        return self.once(("blocks", t.name), lambda: self.emit("AveragePool", t, like=known, hint="blocks", kernel_shape=[1, 1]))

    # -- as nodes go by ------------------------------------------------------------------------------------------------

    def _add(self, node: Emitted) -> None:
        self._done.append(node)
        inputs = [t for t in node.inputs if t is not None]
        bodies = any(isinstance(v, Body) for v in node.attributes.values())  # which read more than the inputs
        if not bodies and self.are_fixed(inputs):
            self.fixed.update(t.name for t in node.outputs)
        elif not self._is_finite(node):
            self.wild.update(t.name for t in node.outputs if t.is_float)
        if not node.domain:
            self._note(node.op, inputs, node.outputs, node.attributes)

    def _is_finite(self, node: Emitted) -> bool:
        """Whether nothing it reads, and nothing it does, is infinite."""
        divisor = self.b.value(node.inputs[1]) if node.op == "Div" else None
        finite = self.traits(node).finite or (divisor is not None and bool(divisor.all()))
        return finite and not any(t is not None and t.name in self.wild for t in node.inputs)

    def _note(self, op: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: Mapping[str, Any]) -> None:
        """Remember whether the result of an operator is in blocks."""
        if len(outputs) != 1 or not inputs:
            return
        made = self.b.known(outputs[0])
        carried = [t.name in self.blocked for t in inputs]
        if in_blocks(op, [self.b.known(t) for t in inputs], carried, attributes, made):
            self.blocked.add(made.name)
            self.extents.add(made.shape)

    def _body(self, body: Body) -> Body:
        inner = Scope(self.b, self.forms, self.traits, top=False, wild=set(self.wild), fixed=set(self.fixed))
        return replace(body, nodes=tuple(inner.lowered(body.nodes)))
