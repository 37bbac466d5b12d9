"""Moves: messages that only put elements elsewhere remember what they moved.

Max pooling picks elements of x as its y, and the message on y is put back where they came from. What follows often acts on each
element alone: a Relu that blocks it, a denominator that divides it. It is then done to the fewer elements of y, before they are
put back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from onnxplain.builder.replay import Replayer
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node
from onnxplain.ir.tensor import Tensor

__all__ = ["Moved", "Moves"]


@dataclass(frozen=True)
class Moved:
    """A message on `x` that is zero but where elements of `y` were picked.

    Attributes:
        x: the tensor that elements were picked from.
        y: the picked elements.
        message: the message on `y`.
        move: makes the message on `x` from one on `y`.
    """

    x: Tensor
    y: Tensor
    message: Tensor
    move: Callable[[Tensor], Tensor]


class Moves(Replayer):
    """Emits messages that remember what they moved.

    Args:
        graph: the graph to write into.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self._moves: dict[str, Moved] = {}

    def moved(self, node: Node, message: Tensor, move: Callable[[Tensor], Tensor]) -> Tensor:
        """The message on the input of a node whose output holds picked elements of that input.

        Args:
            node: the node.
            message: the message on its output.
            move: puts a message on the output back where the elements came from.

        Returns:
            `move(message)`, which remembers its parts.

        Example:
            >>> made = b.moved(relu, y, b.Neg)
            >>> b.before(made, x).message == y
            True
        """
        made = move(message)
        self._moves[made.name] = Moved(node.x, node.y, message, move)
        return made

    def where_positive(self, y: Tensor, message: Tensor) -> Tensor:
        """A message where a tensor is above zero, else 0.

        Args:
            y: the tensor.
            message: the message, in its shape.

        Returns:
            The masked message.

        Example:
            >>> run(b.where_positive(x, b.full_like(x, 1)))
            array([[1., 0., 1.],
                   [0., 1., 0.]], dtype=float32)
        """
        moved = self.before(message, y)
        if moved is not None:
            return moved.move(self.where_positive(moved.y, moved.message))
        return self.Where(self.Greater(y, 0), message, 0)

    def before(self, message: Tensor, x: Tensor) -> Moved | None:
        """What was moved to make a message.

        Args:
            message: the message on `x`.
            x: the tensor.

        Returns:
            What `moved` was given; None where the message was made otherwise.

        Example:
            >>> b.before(b.Neg(x), x) is None
            True
        """
        known = self._moves.get(message.name)
        return known if known is not None and known.x.name == x.name else None
