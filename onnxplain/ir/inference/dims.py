"""Arithmetic with extents that are numbers, symbols or unknown. A result holds whatever the symbols stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from onnxplain.ir.tensor import Dim, Shape, same_dim

__all__ = ["broadcast", "common", "merged", "numbers", "product_of", "quotient_of", "shifted_by"]


def numbers(dims: Iterable[Dim] | None) -> tuple[int, ...] | None:
    """Extents as numbers; None where one of them is none."""
    if dims is None:
        return None
    found = tuple(dims)
    known = tuple(d for d in found if isinstance(d, int))
    return known if len(known) == len(found) else None


def product_of(dims: Sequence[Dim]) -> Dim:
    """The product of extents: a number, or the only symbol among ones."""
    if any(d == 0 for d in dims):
        return 0
    rest = [d for d in dims if d != 1]
    known = numbers(rest)
    if known is not None:
        return prod(known)
    return rest[0] if len(rest) == 1 else None


def quotient_of(dims: Sequence[Dim], divisors: Sequence[Dim]) -> Dim:
    """The product of `dims` over the product of `divisors`: what a Reshape puts in place of -1."""
    rest, below = list(dims), []
    for d in divisors:
        if d is None:
            return None
        if isinstance(d, str) and d in rest:
            rest.remove(d)
        else:
            below.append(d)
    known = numbers(below)
    if known is None:
        return None
    above = prod(d for d in rest if isinstance(d, int))
    symbols = [d for d in rest if not isinstance(d, int)]
    by = prod(known)
    if not by or above % by:
        return None
    return product_of([above // by, *symbols])


def shifted_by(dim: Dim, by: int) -> Dim:
    """An extent plus a number."""
    return dim + by if isinstance(dim, int) else dim if by == 0 else None


def common(a: Dim, b: Dim) -> Dim:
    """An extent of which two statements are true: the more telling one. A number tells more than a symbol."""
    return b if a is None or (isinstance(b, int) and not isinstance(a, int)) else a


def merged(a: Shape, b: Shape) -> Shape:
    """What is true of a tensor that has one of two shapes."""
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(x if same_dim(x, y) else None for x, y in zip(a, b, strict=True))


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape that tensors of these shapes broadcast to."""
    known = [s for s in shapes if s is not None]
    if not known or len(known) < len(shapes):
        return None
    result: tuple[Dim, ...] = known[0]
    for s in known[1:]:
        if s != result or None in s:
            rank = max(len(result), len(s))
            wide, other = (1,) * (rank - len(result)) + result, (1,) * (rank - len(s)) + s
            result = tuple(_stretched(x, y) for x, y in zip(wide, other, strict=True))
    return result


def _stretched(a: Dim, b: Dim) -> Dim:
    if a == 1 or same_dim(a, b):
        return b
    if b == 1:
        return a
    if isinstance(a, int):
        return None if isinstance(b, int) else a  # two different numbers: they do not broadcast
    return b if isinstance(b, int) else None  # either may turn out to be 1
