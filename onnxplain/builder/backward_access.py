"""What a rule can ask of the backward pass that it is part of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from onnxplain.errors import RuleError
from onnxplain.ir.node import Node
from onnxplain.ir.registry import OpSpec
from onnxplain.ir.tensor import Tensor

__all__ = ["BackwardAccess", "BackwardContext"]

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


class BackwardAccess:
    """The part of a builder through which rules ask the backward pass that is under way."""

    _backward: BackwardContext | None = None

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
