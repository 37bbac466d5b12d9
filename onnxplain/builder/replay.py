"""Replayer: nodes of the model applied again, to other inputs, within subgraphs, or recording each step of a loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import helper

from onnxplain.builder.emitter import Emitter
from onnxplain.errors import RuleError
from onnxplain.ir.emitted import Body
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node, Subgraph
from onnxplain.ir.schema import signature
from onnxplain.ir.tensor import Dim, Tensor

__all__ = ["Recorded", "Replayer"]


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


class Replayer(Emitter):
    """Applies nodes of the model again.

    Args:
        graph: the graph to write into.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self._extents: Mapping[Dim, Dim] = {}
        self._recorded: dict[str, Recorded] = {}

    @contextmanager
    def extents(self, known: Mapping[Dim, Dim]) -> Iterator[None]:
        """Give replayed tensors other extents, while inside. A context manager.

        Args:
            known: extents by what they replace.

        Yields:
            None.

        Example:
            >>> with b.extents({2: 4}):
            ...     b.sized(x).shape
            (4, 3)
        """
        before, self._extents = self._extents, known
        try:
            yield
        finally:
            self._extents = before

    def sized(self, tensor: Tensor) -> Tensor:
        """A tensor with the extents that it has where it is replayed.

        Args:
            tensor: a tensor of the model.

        Returns:
            The tensor; see `extents`.

        Example:
            >>> b.sized(x).shape
            (2, 3)
        """
        return replace(tensor, shape=tensor.shape and tuple(self._extents.get(d, d) for d in tensor.shape))

    def replay(
        self,
        node: Node,
        inputs: Sequence[Tensor | None],
        captures: Mapping[Tensor, Tensor] | None = None,
        *,
        same_shapes: bool = True,
    ) -> Node:
        """Apply the operator of a node to other inputs.

        With the node's own inputs the result is the node itself, so that nothing is computed twice.

        Args:
            node: the node.
            inputs: what it is to read, None for an optional input left out.
            captures: what its subgraphs are to read in place of which outer tensor.
            same_shapes: whether the outputs have the shapes of the node's own outputs.

        Returns:
            A node with those inputs and new outputs.

        Example:
            >>> run(b.replay(relu, [b.Neg(x)]).y)
            array([[0., 2., 0.],
                   [4., 0., 6.]], dtype=float32)
        """
        if node.bodies:
            return self._replay_bodies(node, inputs, captures or {}, same_shapes=same_shapes)
        if node.parts:
            return self._replay_parts(node, inputs)
        likes = [Tensor("") if t is None else self.sized(t) if same_shapes else replace(t, shape=None) for t in node.outputs]
        last = max((i for i, t in enumerate(node.outputs) if t is not None), default=0)
        known = signature(node.op, node.domain, self.graph.opset)
        made = self._emit(node.op, node.domain, tuple(inputs), dict(node.attributes), likes[: last + 1], known)
        outputs = tuple(m if t is not None else None for m, t in zip(made, node.outputs[: last + 1], strict=True))
        return replace(node, inputs=tuple(inputs), outputs=outputs + (None,) * (len(node.outputs) - last - 1))

    def _replay_parts(self, node: Node, inputs: Sequence[Tensor | None]) -> Node:
        """A compound node on other inputs. Where one that it adds is left out, there is nothing to add."""
        if tuple(inputs) == node.inputs:
            return node
        given = zip(node.inputs, inputs, strict=True)
        values = {old: new for old, new in given if old is not None and new is not None}
        dropped = {old.name for old, new in zip(node.inputs, inputs, strict=True) if old is not None and new is None}
        became, parts = dict(values), []
        for part in node.parts:
            rest = [t for t in part.inputs if t is not None and t.name not in dropped]
            if len(rest) == len([t for t in part.inputs if t is not None]):
                made, found = self.replay_all([part], became)
                parts += made
                became.update(found)
            elif part.op == "Add" and len(rest) == 1:
                became[part.y] = became.get(rest[0], rest[0])
            else:
                raise RuleError(f"{part}: its input cannot be left out")
        outputs = tuple(t if t is None else became.get(t, t) for t in node.outputs)
        return replace(node, inputs=tuple(inputs), outputs=outputs, parts=tuple(parts))

    def replay_all(
        self, nodes: Sequence[Node], values: Mapping[Tensor, Tensor], *, everything: bool = True
    ) -> tuple[list[Node], dict[Tensor, Tensor]]:
        """Apply nodes to other values.

        Args:
            nodes: the nodes, in topological order.
            values: what to read in place of which tensor.
            everything: replay every node, as for a subgraph, whose own tensors do not exist outside. Otherwise only nodes that
                depend on `values` are replayed, and the others stay as they are; where the model's own kernels make its
                prediction, they make that at the other values too.

        Returns:
            The nodes, and what each tensor became.

        Example:
            >>> _, became = b.replay_all([relu], {x: b.Neg(x)})
            >>> run(became[y])
            array([[0., 2., 0.],
                   [4., 0., 6.]], dtype=float32)
        """
        became = dict(values)
        made: list[Node] = []
        for node in nodes:
            if not everything and not any(t is not None and t in became for t in node.reads):
                made.append(node)
                continue
            inputs = [t if t is None else became.get(t, t) for t in node.inputs]
            copy = replace(self.replay(node, inputs, became), name=f"{node.name}/replay")
            if not everything:
                copy = self._by_kernels(node, copy, became)
            made.append(copy)
            pairs = zip(node.outputs, copy.outputs, strict=True)
            became.update({old: new for old, new in pairs if old is not None and new is not None and old not in values})
        if self.has_references:  # what was replayed together with its reference has the replayed reference for its own
            references = self._current.references
            references.update({new: became[references[old]] for old, new in became.items() if references.get(old) in became})
        return made, became

    def _by_kernels(self, node: Node, copy: Node, became: Mapping[Tensor, Tensor]) -> Node:
        """A replayed node that returns what the model's own kernels make of the same, where it is written for one."""
        kernels = self.graph.kernels

        def result(y: Tensor | None, written: Tensor | None) -> Tensor | None:
            if y is None or y.name not in kernels:
                return written
            kernel = kernels[y.name]
            applied = self.replay(kernel, [t if t is None else became.get(t, t) for t in kernel.inputs], became)
            return applied.outputs[kernel.outputs.index(y)]

        return replace(copy, outputs=tuple(map(result, node.outputs, copy.outputs)))

    def rebuild(self, subgraph: Subgraph, stacks: Sequence[Tensor] = (), lists: Sequence[Tensor] = (), states: int = 0) -> Body:
        """Make a subgraph of the model again, with some of its own tensors as further outputs.

        Args:
            subgraph: the subgraph.
            stacks: tensors to return as they are, which a loop stacks step by step.
            lists: tensors to collect in sequences, which are further states of a loop body, behind its own.
            states: how many states the loop body has.

        Returns:
            The body, to be given as an attribute.
        """
        sequences = [Tensor("recorded", t.dtype, None, True) for t in lists]

        def make(*formal: Tensor) -> list[Tensor]:
            _, became = self.replay_all(subgraph.nodes, dict(zip(subgraph.inputs, formal, strict=False)))
            ends = [became.get(t, t) for t in (*subgraph.outputs, *stacks)]
            grown = [self.SequenceInsert(s, became.get(t, t)) for s, t in zip(formal[len(subgraph.inputs) :], lists, strict=True)]
            return [*ends[: 1 + states], *grown, *ends[1 + states :]] if lists else ends

        return self.body([*subgraph.inputs, *sequences], make, closed=True)

    def _replay_bodies(
        self, node: Node, inputs: Sequence[Tensor | None], captures: Mapping[Tensor, Tensor], *, same_shapes: bool
    ) -> Node:
        values = {t: captures[t] for t in node.captures if t in captures}
        if tuple(inputs) == node.inputs and not values and self._visible(node):
            return node
        moved = replace(node.reading(values), inputs=tuple(inputs))
        attributes = {k: self.rebuild(v) if isinstance(v, Subgraph) else v for k, v in moved.attributes.items()}
        likes = [replace(t, shape=t.shape if same_shapes else None) if t is not None else Tensor("") for t in node.outputs]
        made = self._record(self._innermost, node.op, node.domain, tuple(inputs), attributes, likes, None)
        outputs = tuple(m if t is not None else None for m, t in zip(made, node.outputs, strict=True))
        return replace(moved, outputs=outputs)

    def _visible(self, node: Node) -> bool:
        """Whether this is a node of the model's own top level."""
        known = next((self.graph.producer(y) for y in node.outputs if y is not None), None)
        return known is not None and known.name == node.name

    def record(self, node: Node, stacks: Sequence[Tensor], lists: Sequence[Tensor] = (), **attributes: Any) -> Recorded:
        """Run a Loop or Scan so that it also returns tensors of its body, step by step.

        A loop of the model's own top level is extended in place, so that nothing runs twice. Any other loop is run again.

        Args:
            node: the loop.
            stacks: tensors of the body whose extents stay the same, to be returned as [steps, …].
            lists: tensors of the body of a Loop whose extents may change, to be returned as sequences.
            **attributes: attributes that change with the number of outputs.

        Returns:
            The loop's states at the end, and what was recorded.
        """
        if node.name in self._recorded:
            return self._recorded[node.name]
        # Beside a kernel of the model's own, which makes what it made, a loop cannot be extended in place.
        own = self._visible(node) and not any(t is not None and t.name in self.graph.kernels for t in node.outputs)
        states = len(node.inputs) - 2 if node.op == "Loop" else 0
        body = self.rebuild(node.attributes["body"], stacks, lists, states)
        empty = [self.SequenceEmpty(dtype=helper.np_dtype_to_tensor_dtype(np.dtype(t.dtype or np.float32))) for t in lists]
        ends = node.attributes["body"].outputs[1 if node.op == "Loop" else 0 :]
        named = (*node.outputs, *[None] * (len(ends) - len(node.outputs)))
        outputs = [replace(end, name="", shape=None) if t is None else t for t, end in zip(named, ends, strict=True)]
        kept = [Tensor("", t.dtype, None, True) for t in lists]
        stacked = [replace(t, name="", shape=None if t.shape is None else (None, *t.shape)) for t in stacks]
        made = self._record(
            0 if own else self._innermost,
            node.op, node.domain, (*node.inputs, *empty), {**node.attributes, "body": body, **attributes},
            [*outputs[:states], *kept, *outputs[states:], *stacked], None,
            replaces=node.name if own else "",
        )  # fmt: skip
        found = Recorded(made[:states], made[states : states + len(lists)], made[len(made) - len(stacks) :] if stacks else ())
        if own:
            self._recorded[node.name] = found
        return found
