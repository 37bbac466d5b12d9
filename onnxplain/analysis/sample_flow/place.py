"""Place: where the samples lie in a tensor, and what a Reshape makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

from onnxplain.ir.tensor import Dim, Shape

__all__ = ["Gone", "Place", "Product", "State", "place_after_reshape", "product_of_extents"]


@dataclass(frozen=True)
class Product:
    """A product of extents: a number times symbols, in alphabetical order."""

    number: int = 1
    symbols: tuple[str, ...] = ()

    def times(self, other: Product) -> Product:
        """The product with another."""
        return Product(self.number * other.number, tuple(sorted(self.symbols + other.symbols)))

    def over(self, other: Product) -> Product | None:
        """The quotient, where it is a product too whatever the symbols stand for."""
        rest = Counter(self.symbols)
        rest.subtract(other.symbols)
        if min(rest.values(), default=0) < 0 or not other.number or self.number % other.number:
            return None
        return Product(self.number // other.number, tuple(sorted(rest.elements())))


ONE = Product()


def product_of_extents(dims: Iterable[Dim]) -> Product | None:
    """The product of extents; None where one is unknown."""
    found = list(dims)
    if any(d is None for d in found):
        return None
    return Product(prod(d for d in found if isinstance(d, int)), tuple(sorted(d for d in found if isinstance(d, str))))


@dataclass(frozen=True)
class Place:
    """Where the samples lie: row i along `axis` belongs to one sample and depends on no other.

    Attributes:
        axis: the axis.
        outer: what else the axis counts, the samples faster than it; a Reshape merges axes so.
        inner: what else the axis counts, faster than the samples.
    """

    axis: int
    outer: Product = ONE
    inner: Product = ONE

    @property
    def whole(self) -> bool:
        """Whether the axis counts samples and nothing else."""
        return self.outer == ONE == self.inner

    def at(self, axis: int) -> Place:
        """The same along another axis."""
        return replace(self, axis=axis)


@dataclass(frozen=True)
class Gone:
    """There are no slices that each depend on one sample.

    Attributes:
        node: the node after which there are none, in words.
        proven: whether that node does mix samples, or drops their axis; else nothing is known of it.
    """

    node: str
    proven: bool


State: TypeAlias = "Place | Gone | None"
"""None for what does not depend on the samples."""


def place_after_reshape(place: Place, before: Shape, after: Shape, extent: Dim) -> Place | None:
    """Where the samples lie after a Reshape; None where that cannot be told.

    Args:
        place: before it.
        before: the extents before it.
        after: the extents after it; one of them may be unknown, or have a name of its own.
        extent: how many samples there are.
    """
    if before is None or after is None:
        return None
    count = product_of_extents([before[place.axis] if place.whole and before[place.axis] is not None else extent])
    if count is None:
        return None
    mine = place.outer.times(count).times(place.inner)
    parts = [mine if i == place.axis else product_of_extents([d]) for i, d in enumerate(before)]
    wanted = _solved(parts, after, {s for p in parts if p is not None for s in p.symbols})
    head = ONE
    for part in parts[: place.axis]:
        if part is None:
            return None
        head = head.times(part)
    ahead = head.times(place.outer)
    found: list[Place] = []
    for axis, width in enumerate(wanted):
        inner = None if width is None else width.over(ahead.times(count))
        if inner is not None:
            found.append(Place(axis, ahead, inner))
        rest = None if width is None else ahead.over(width)
        if rest is None:
            break
        ahead = rest
    return next((p for p in found if p.whole), found[0] if found else None)


def _solved(parts: list[Product | None], after: tuple[Dim, ...], known: set[str]) -> list[Product | None]:
    """The extents after a Reshape as products; the one that is unknown, or named as none before it is, from the others."""
    made = [product_of_extents([d]) if d is not None and (isinstance(d, int) or d in known) else None for d in after]
    if made.count(None) != 1:
        return made
    total, rest = ONE, ONE
    for part in parts:
        if part is None:
            return made
        total = total.times(part)
    for part in made:
        rest = rest.times(part) if part is not None else rest
    made[made.index(None)] = total.over(rest)
    return made
