"""Node: one application of an operator. It knows no graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from onnxplain.errors import RuleError
from onnxplain.ir.tensor import Tensor

__all__ = ["Node", "Subgraph"]


@dataclass(frozen=True, eq=False)
class Node:
    """One node of a graph: an operator applied to tensors, with the standard's defaults filled in.

    `inputs` and `outputs` hold one entry per parameter of the operator, None where an optional one is left out, so that a rule
    can unpack them: `x, w, bias = node.inputs`. The value of an attribute is `node["axis"]`.

    Attributes:
        op: the operator's name.
        domain: its operator-set domain, "" for the standard's.
        version: the version of the operator.
        name: the node's name.
        scope: the module scope that the exporter left in the file, "" for none.
        inputs: the tensors it reads.
        outputs: the tensors it makes.
        attributes: the values of its attributes, by name.
        captures: the outer tensors that its subgraphs (of If, Loop, Scan) read.
        needs_grad: for each input, then for each capture, whether a message is asked for.
        parts: the model's nodes that a compound node (domain `onnxplain`) stands for, such as a linear map with its bias, or an
            activation written in several operators.

    Example:
        >>> from onnxplain.ir.graph import Graph
        >>> import onnx
        >>> node = Graph(onnx.load("fixtures/digits/model.onnx")).nodes[0]
        >>> print(node)
        Conv 'node_conv2d'
        >>> node["group"], node.x.name, node.get("no_such_attribute", "default")
        (1, 'image', 'default')
    """

    op: str
    domain: str
    version: int
    name: str
    scope: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor | None, ...]
    attributes: Mapping[str, Any]
    captures: tuple[Tensor, ...] = ()
    needs_grad: tuple[bool, ...] = ()
    parts: tuple[Node, ...] = ()

    def __getitem__(self, attribute: str) -> Any:
        """The value of an attribute.

        Raises:
            RuleError: there is none; the message names the node.
        """
        try:
            return self.attributes[attribute]
        except KeyError:
            raise RuleError(f"{self}: attribute '{attribute}' is missing") from None

    def get(self, attribute: str, default: Any = None) -> Any:
        """The value of an attribute that may be absent.

        Args:
            attribute: its name.
            default: what to return where it is absent.

        Returns:
            The value.
        """
        return self.attributes.get(attribute, default)

    @property
    def operator(self) -> str:
        """The operator with its domain: `Conv`, `com.microsoft.FastGelu`."""
        return f"{self.domain}.{self.op}" if self.domain else self.op

    @property
    def x(self) -> Tensor:
        """The first input."""
        return self.input(0)

    @property
    def y(self) -> Tensor:
        """The first output."""
        return self.output(0)

    def input(self, index: int) -> Tensor:
        """An input that has to be present.

        Args:
            index: its position.

        Returns:
            The tensor.

        Raises:
            RuleError: it is left out.
        """
        tensor = self.inputs[index] if index < len(self.inputs) else None
        if tensor is None:
            raise RuleError(f"{self}: input {index} is missing")
        return tensor

    def output(self, index: int) -> Tensor:
        """An output that has to be present.

        Args:
            index: its position.

        Returns:
            The tensor.

        Raises:
            RuleError: it is left out.
        """
        tensor = self.outputs[index] if index < len(self.outputs) else None
        if tensor is None:
            raise RuleError(f"{self}: output {index} is missing")
        return tensor

    @property
    def bodies(self) -> Mapping[str, Subgraph]:
        """The subgraphs among the attributes: the branches of If, the body of Loop and Scan."""
        return {name: value for name, value in self.attributes.items() if isinstance(value, Subgraph)}

    @property
    def reads(self) -> tuple[Tensor | None, ...]:
        """All tensors the node depends on: its inputs, then its captures."""
        return self.inputs + self.captures

    def needs_input_grad(self, index: int) -> bool:
        """Whether a message for an input is asked for.

        Args:
            index: the input's position.

        Returns:
            True where it is; the message of any other input is not used.
        """
        return index < len(self.needs_grad) and self.needs_grad[index]

    def reading(self, values: Mapping[Tensor, Tensor]) -> Node:
        """The same node, reading other tensors, in its subgraphs too.

        Args:
            values: what to read in place of which tensor.

        Returns:
            The node; its outputs stay.
        """
        return replace(
            self,
            inputs=tuple(t if t is None else values.get(t, t) for t in self.inputs),
            captures=tuple(values.get(t, t) for t in self.captures),
            attributes={k: v.reading(values) if isinstance(v, Subgraph) else v for k, v in self.attributes.items()},
            parts=tuple(part.reading(values) for part in self.parts),
        )

    def __str__(self) -> str:
        return f"{self.operator} '{self.name}'"


@dataclass(frozen=True, eq=False)
class Subgraph:
    """A branch or loop body: nodes in topological order between its own inputs and outputs. Constants are outer tensors.

    Attributes:
        inputs: the tensors it is given.
        outputs: the tensors it returns.
        nodes: its nodes.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[Node, ...]

    def reading(self, values: Mapping[Tensor, Tensor]) -> Subgraph:
        """The same subgraph, reading other outer tensors.

        Args:
            values: what to read in place of which tensor.

        Returns:
            The subgraph.
        """
        return Subgraph(
            self.inputs, tuple(values.get(t, t) for t in self.outputs), tuple(node.reading(values) for node in self.nodes)
        )
