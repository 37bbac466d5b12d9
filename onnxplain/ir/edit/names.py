"""Names that nothing else has."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from onnxplain.ir.edit.subgraphs import graphs_in

__all__ = ["Names", "names_in"]

LONGEST = 256
"""Letters of a new name."""


class Names:
    """The names taken so far."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._counts: dict[str, int] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._taken

    def take(self, names: Iterable[str]) -> None:
        """Count further names as taken."""
        self._taken.update(names)

    def fresh(self, name: str) -> str:
        """The name itself, or with the first number behind it that makes it new; it is taken from now on.

        Of names that grew beyond all measure, as with every level of branches in branches, the middle is left out.
        """
        name = name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}…{name[-LONGEST // 2 :]}"
        unique, count = name, self._counts.get(name, 1)
        while unique in self._taken:
            count += 1
            unique = f"{name}_{count}"
        self._counts[name] = count  # so that the next search does not begin at 2 again
        self._taken.add(unique)
        return unique


def names_in(graph: onnx.GraphProto) -> Names:
    """The names of all tensors and nodes of a graph and of the graphs within it."""
    names = Names()
    for each in graphs_in(graph):
        names.take(v.name for v in (*each.input, *each.output))
        names.take(t.name for t in each.initializer)
        names.take(s.values.name for s in each.sparse_initializer)
        names.take(name for node in each.node for name in (node.name, *node.input, *node.output))
    return names
