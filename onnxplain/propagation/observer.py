"""Observer: is told, node by node, what a backward pass receives and sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from onnxplain.builder.builder import Builder
from onnxplain.ir.node import Node
from onnxplain.ir.registry import Rule
from onnxplain.ir.tensor import Tensor

__all__ = ["Observer"]


class Observer(Protocol):
    """Looks at the backward pass that is being written, and may emit operators of its own."""

    def observe(
        self, b: Builder, node: Node, rule: Rule, incoming: Sequence[Tensor | None], sent: Sequence[tuple[int, Tensor]]
    ) -> None:
        """A node was passed.

        Args:
            b: emits into the graph.
            node: the node.
            rule: the rule that served it.
            incoming: the messages on its outputs; None where none arrived.
            sent: the messages on what it reads, by position.
        """

    def reports(self, b: Builder) -> Mapping[str, Tensor]:
        """What was found, as further results of the file by name; asked for when the backward pass is written."""
