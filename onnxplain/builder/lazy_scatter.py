"""Moves: messages that only put elements elsewhere keep known what they moved.

Max pooling picks elements of x as its y, and its message is put back where they came from. What a Relu before it stops, or a
denominator divides, depends on an element alone, so it can be done to the fewer elements of y before they are put back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from onnxplain.builder.replay import Replayer
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Call
from onnxplain.ir.tensor import Tensor

__all__ = ["Moved", "Moves"]


@dataclass(frozen=True)
class Moved:
    """A message on `x`: `move(message)`, zero but where elements of `y` were picked, and there the message on `y`."""

    x: Tensor
    y: Tensor
    message: Tensor
    move: Callable[[Tensor], Tensor]


class Moves(Replayer):
    """Emits messages of which it stays known what they moved."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self._moves: dict[str, Moved] = {}

    def moved(self, call: Call, message: Tensor, move: Callable[[Tensor], Tensor]) -> Tensor:
        """The message on a call's x, of which the elements of y were picked: `move(message)`."""
        made = move(message)
        self._moves[made.name] = Moved(call.x, call.y, message, move)
        return made

    def where_positive(self, y: Tensor, message: Tensor) -> Tensor:
        """The message where y > 0, else 0."""
        moved = self.before(message, y)
        if moved is not None:
            return moved.move(self.where_positive(moved.y, moved.message))
        return self.Where(self.Greater(y, 0), message, 0)

    def before(self, message: Tensor, x: Tensor) -> Moved | None:
        """What was moved to make this message on x; None where it is another message."""
        known = self._moves.get(message.name)
        return known if known is not None and known.x.name == x.name else None
