"""Shapes of what operators return that move, pick, repeat or join elements."""

from __future__ import annotations

from collections.abc import Sequence

from onnxplain.ir.inference.applied import Applied
from onnxplain.ir.inference.dims import broadcast, common, numbers, product_of, quotient_of, shifted_by
from onnxplain.ir.tensor import Dim, Shape, same_dim

__all__ = [
    "concatenated", "cut", "expanded_shape", "flat_shape", "gathered", "gathered_nd", "padded", "repeated", "reshaped", "sliced",
    "squeezed", "transposed", "unsqueezed",
]  # fmt: skip


def reshaped(n: Applied) -> Shape:
    x, wanted = n.shape(), n.dims(1)
    if wanted is None:
        return None
    copied = n.attribute("allowzero") != 1
    made: list[Dim] = []
    for i, d in enumerate(wanted):
        if d == 0 and copied:
            d = x[i] if x is not None and i < len(x) else None
        made.append(d)
    open_ones = [i for i, d in enumerate(wanted) if d == -1]
    if open_ones:
        (place,) = open_ones
        made[place] = None if x is None else quotient_of(x, [*made[:place], *made[place + 1 :]])
    elif x is not None and made.count(None) == 1:  # as good as -1, where the rest is known
        place = made.index(None)
        rest = [*made[:place], *made[place + 1 :]]
        made[place] = quotient_of(x, rest) if numbers(rest) is not None and product_of(rest) != 0 else None
    return tuple(made)


def flat_shape(n: Applied) -> Shape:
    x = n.shape()
    if x is None:
        return (None, None)
    axis = n.attribute("axis", 1)
    axis = axis if axis >= 0 else axis + len(x)
    return product_of(x[:axis]), product_of(x[axis:])


def transposed(n: Applied) -> Shape:
    x, order = n.shape(), n.attribute("perm")
    if x is None:
        return None if order is None else (None,) * len(order)
    return tuple(x[p] for p in order) if order is not None else x[::-1]


def squeezed(n: Applied) -> Shape:
    x = n.shape()
    if x is None:
        return None
    if not n.has("axes", 1):
        return tuple(d for d in x if d != 1) if numbers(x) is not None else None
    axes = n.parameter("axes", 1)
    if axes is None:
        return None
    gone = {a % len(x) for a in axes}
    return tuple(d for i, d in enumerate(x) if i not in gone)


def unsqueezed(n: Applied) -> Shape:
    x, axes = n.shape(), n.parameter("axes", 1)
    if x is None or axes is None:
        return None
    rank = len(x) + len(axes)
    places, rest = {a % rank for a in axes}, iter(x)
    return tuple(1 if i in places else next(rest) for i in range(rank))


def expanded_shape(n: Applied) -> Shape:
    return broadcast([n.shape(), n.dims(1)])


def repeated(n: Applied) -> Shape:
    x, times = n.shape(), n.dims(1)
    if x is None:
        return None
    if times is None or len(times) != len(x):
        return (None,) * len(x)
    return tuple(product_of([d, t]) for d, t in zip(x, times, strict=True))


def concatenated(n: Applied) -> Shape:
    shapes = [n.shape(i) for i in range(len(n.inputs))]
    known = [s for s in shapes if s is not None]
    if not known:
        return None
    axis = n.attribute("axis", 1) % len(known[0])
    made: list[Dim] = list(known[0])
    for s in known[1:]:
        made = [common(a, b) for a, b in zip(made, s, strict=False)]
    pieces = [s[axis] for s in known]
    made[axis] = _sum(pieces) if len(known) == len(shapes) else None
    return tuple(made)


def _sum(dims: Sequence[Dim]) -> Dim:
    whole, rest = sum(d for d in dims if isinstance(d, int)), [d for d in dims if not isinstance(d, int)]
    return whole if not rest else shifted_by(rest[0], whole) if len(rest) == 1 else None


def sliced(n: Applied) -> Shape:
    x = n.shape()
    if x is None:
        return None
    starts, ends, axes, steps = n.dims(1), n.dims(2), n.ints(3), n.ints(4)
    if n.input(3) is not None and axes is None:
        return (None,) * len(x)
    count = next((len(p) for p in (axes, starts, ends) if p is not None), None)
    if count is None:
        return (None,) * len(x)
    made = list(x)
    for i in range(count):
        axis = (axes[i] if axes is not None else i) % len(x)
        start, end = (None if p is None else p[i] for p in (starts, ends))
        step = 1 if n.input(4) is None else None if steps is None else steps[i]
        made[axis] = _cut(x[axis], start, end, step)
    return tuple(made)


def _cut(extent: Dim, start: Dim, end: Dim, step: int | None) -> Dim:
    """How many elements start:end:step has; numbers beyond the end count as the end."""
    if step is None:
        return None
    if isinstance(extent, int) and isinstance(start, int) and isinstance(end, int):
        # Unlike in Python, a start before the first element is the first element, also on the way back.
        low, high = (0, extent) if step > 0 else (-1, extent - 1)
        begin = min(max(start + extent if start < 0 else start, 0), high)
        return len(range(begin, min(max(end + extent if end < 0 else end, low), high), step))
    if step == 1 and start == 0 and extent is not None and (same_dim(extent, end) or (isinstance(end, int) and end >= 2**31 - 1)):
        return extent
    return None


def cut(n: Applied) -> list[Shape]:
    """Split."""
    x = n.shape()
    if x is None:
        return [None] * n.outputs
    axis = n.attribute("axis", 0) % len(x)
    sizes: Sequence[Dim] | None = n.attributes.get("split")
    if sizes is None and n.input(1) is not None:
        sizes = n.dims(1)
    elif sizes is None:
        extent, count = x[axis], n.attributes.get("num_outputs") or n.outputs
        if isinstance(extent, int):
            size = -(-extent // count)
            sizes = [max(0, min(size, extent - i * size)) for i in range(count)]
    pieces = (None,) * n.outputs if sizes is None or len(sizes) < n.outputs else sizes
    return [(*x[:axis], piece, *x[axis + 1 :]) for piece in pieces[: n.outputs]]


def gathered(n: Applied) -> Shape:
    x, places = n.shape(), n.shape(1)
    if x is None or places is None:
        return None
    axis = n.attribute("axis", 0) % len(x)
    return (*x[:axis], *places, *x[axis + 1 :])


def gathered_nd(n: Applied) -> Shape:
    x, places = n.shape(), n.shape(1)
    if x is None or places is None or not isinstance(places[-1], int):
        return None
    return (*places[:-1], *x[n.attribute("batch_dims", 0) + places[-1] :])


def padded(n: Applied) -> Shape:
    x = n.shape()
    if x is None:
        return None
    pads = n.parameter("pads", 1)
    axes = [a % len(x) for a in n.ints(3) or ()] if n.input(3) is not None else list(range(len(x)))
    if pads is None or len(pads) != 2 * len(axes):
        return (None,) * len(x)
    made = list(x)
    for i, axis in enumerate(axes):
        made[axis] = shifted_by(x[axis], pads[i] + pads[len(axes) + i])
    return tuple(made)
