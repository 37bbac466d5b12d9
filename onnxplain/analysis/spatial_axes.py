"""Layout: which axes of a tensor count places (height and width, time), found from the dataflow alone.

Convolutions, poolings and batch norms say which axes are space; transpositions, elementwise operators and layers of each place
carry that on, forward and backward. A transformer's tokens are places too: h · w of them, behind a few that are none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt, prod

from onnxplain.ir.node import Node
from onnxplain.ir.ops import Traits
from onnxplain.ir.tensor import Tensor

__all__ = ["Layout", "layouts", "token_layout"]

Axes = tuple[int, ...]

MOST_EXTRA = 8
"""At most so many tokens stand before those of the places: class, distillation and register tokens."""


@dataclass(frozen=True)
class Layout:
    """Which axes of a tensor count places, in the order height, width.

    Where one axis counts tokens, `grid` says how they lie, row by row, and `skip` how many tokens before them are no places.
    """

    space: Axes
    grid: Axes = ()
    skip: int = 0

    def channels(self, rank: int, samples: int | None) -> list[int]:
        """The other axes, without that of the samples."""
        return [i for i in range(rank) if i != samples and i not in self.space]


def layouts(nodes: Sequence[Node], ints: Callable[[Tensor | None], list[int] | None], traits: Traits) -> dict[str, Axes]:
    """The axes that count places, by tensor name, where the dataflow tells.

    `ints` gives the values of small constants, `traits` the facts about operators.
    """
    known: dict[str, Axes] = {}
    for node in nodes:
        _seed(node, known, ints, traits)
    before = -1
    while len(known) > before:
        before = len(known)
        for node in (*nodes, *reversed(nodes)):
            _carry(node, known, traits)
    return known


def _seed(node: Node, known: dict[str, Axes], ints: Callable[[Tensor | None], list[int] | None], traits: Traits) -> None:
    """What an operator's own definition says about spatial axes."""
    x = node.inputs[0] if node.inputs else None
    if x is None or x.shape is None or not node.outputs:
        return
    rank = len(x.shape)
    if traits(node).channels_first:
        for t in (x, node.outputs[0]):
            if t is not None and t.shape is not None and len(t.shape) == rank > 2:
                known.setdefault(t.name, tuple(range(2, rank)))
    elif traits(node).reduces and rank > 2 and len(node.inputs) > 1:
        axes = [a % rank for a in ints(node.inputs[1]) or ()]
        # A norm written in operators keeps its one axis; who sums one axis away, or several, sums over places.
        if 0 not in axes and len(axes) < rank - 1 and (len(axes) > 1 or (axes and not node.get("keepdims", 1))):
            known.setdefault(x.name, tuple(sorted(axes)))


def _carry(node: Node, known: dict[str, Axes], traits: Traits) -> None:
    """Hand spatial axes on from inputs to outputs and back, where the axes stay the same."""
    facts = traits(node)
    if (node.domain and not facts.elementwise) or facts.mixes_axes or facts.channels_first or facts.reduces:
        return
    for y in node.outputs:
        for place, x in enumerate(node.inputs):
            if x is None or y is None or x.shape is None or y.shape is None or len(x.shape) != len(y.shape):
                continue
            perm = node.get("perm") or list(reversed(range(len(x.shape)))) if node.op == "Transpose" else range(len(x.shape))
            if node.op == "MatMul" and not _rows(node, place):
                continue
            there, back = list(perm), {p: i for i, p in enumerate(perm)}
            if x.name in known and y.name not in known:
                _enter(known, y, tuple(back[a] for a in known[x.name]))
            elif y.name in known and x.name not in known:
                _enter(known, x, tuple(there[a] for a in known[y.name]))


def _enter(known: dict[str, Axes], tensor: Tensor, axes: Axes) -> None:
    """Hand spatial axes on to an operand, except along axes where it only broadcasts."""
    if tensor.shape is not None and any(tensor.shape[a] != 1 for a in axes):
        known[tensor.name] = axes


def _rows(node: Node, place: int) -> bool:
    """Whether this operand's rows pass a matrix product one by one: the first, where the second is one matrix."""
    w = node.inputs[1]
    return place == 0 and w is not None and w.shape is not None and len(w.shape) == 2


def token_layout(tensor: Tensor, grids: Sequence[Axes], axis: int | None = None) -> Layout | None:
    """How the tokens of [samples, tokens, width] lie; None where no grid fits.

    Args:
        tensor: of three axes.
        grids: grids of places seen before it, the latest last; a later stage may have halved them.
        axis: which axis counts the tokens; None tries 1, then 2 where the extent along 1 is not known.
    """
    if tensor.shape is None or len(tensor.shape) != 3:
        return None
    place = 1 if axis is None else axis
    count = tensor.shape[place]
    if isinstance(count, int) and count > 1:
        found = _fitting(count, grids) or _square(count)
        return Layout((place,), found, count - prod(found)) if found else None
    # [samples, width, tokens]: only where nothing else is known of the second axis, and all tokens are places.
    last = tensor.shape[2]
    if axis is None and isinstance(last, int) and any(prod(g) == last > 1 for g in grids):
        return Layout((2,), next(g for g in reversed(grids) if prod(g) == last), 0)
    return None


def _fitting(count: int, grids: Sequence[Axes]) -> Axes:
    """The latest grid, or half, a quarter … of it, that has as many places as there are tokens, but for a few."""
    for halved in range(6):
        for extra in range(MOST_EXTRA + 1 if halved == 0 else 2):
            for grid in reversed(grids):
                smaller = tuple(-(-e // 2**halved) for e in grid)
                if len(grid) == 2 and prod(smaller) == count - extra and prod(smaller) > extra:
                    return smaller
    return ()


def _square(count: int) -> Axes:
    """A square grid, but for a class token and a distillation token, or four registers besides."""
    for skip in (0, 1, 2, 5):
        side = isqrt(max(count - skip, 0))
        if side > 1 and side * side == count - skip:
            return side, side
    return ()


def extents(tensor: Tensor, axes: Mapping[str, Axes]) -> Axes:
    """The static extents of a tensor's places; empty where they are not known."""
    found = [tensor.shape[a] for a in axes.get(tensor.name, ())] if tensor.shape is not None else []
    return tuple(e for e in found if isinstance(e, int)) if all(isinstance(e, int) for e in found) else ()
