"""Choosing elements by index, and writing at indices: gathering and scattering are each other's adjoints."""

from collections.abc import Callable

import numpy as np

from onnxplain import Builder, Extents, Messages, Node, RuleError, Tensor, rule
from onnxplain.rulekit import scatter as placing

# -- gathering ---------------------------------------------------------------------------------------------------------


@rule("Gather", role="select")
def gather(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = Σ dy over the places an element was copied to"""
    x, indices = node.input(0), node.input(1)
    axis, extent = node["axis"] % x.rank, b.dim(x, node["axis"])
    known, total = b.ints(indices), x.dim(axis)
    if known is not None and indices.rank < 2:
        part = b.Unsqueeze(dy, [axis]) if indices.rank == 0 else dy
        if isinstance(total, int) and len({i % total for i in known}) == len(known):
            return placing.place(b, part, [i % total for i in known], extent, axis), None
        if len(known) == 1:
            at, size = known[0], Extents(b, extent)
            ends = Extents(b, [at]).then(size - (at + 1)) if at >= 0 else (size + at).then([-1 - at])
            return b.Pad(part, ends.operand, None, [axis]), None
    # As rows: dy's axes of the index first, and as one.
    if indices.shape is None:
        raise RuleError(f"the rank of its indices '{indices.name}' is unknown")
    first, last = list(range(axis)), list(range(axis + indices.rank, x.rank - 1 + indices.rank))
    rows = b.transpose(dy, [*range(axis, axis + indices.rank), *first, *last])
    sizes = [b.dim(x, a) for a in range(x.rank) if a != axis]
    rest = Extents(b, [-1]).then(*(Extents(b, s) for s in sizes))
    summed = placing.add_rows(
        b,
        Extents(b, extent).then(*(Extents(b, s) for s in sizes)).as_tensor(),
        b.Reshape(indices, [-1, 1]),
        b.Reshape(rows, rest.operand),
    )
    return b.transpose(summed, [*range(1, axis + 1), 0, *range(axis + 1, x.rank)]), None


@rule("GatherElements", role="select")
def gather_elements(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = Σ dy over the places an element was copied to"""
    x, indices = node.input(0), node.input(1)
    return placing.add_elements(b, b.shape(x), indices, dy, node["axis"]), None


@rule("GatherND", role="select")
def gather_nd(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = Σ dy over the places a slice was copied to"""
    x, indices = node.input(0), node.input(1)
    if node["batch_dims"]:
        indices = _with_batch(b, indices, node["batch_dims"])
    return placing.add_rows(b, b.shape(x), indices, dy), None


def _with_batch(b: Builder, indices: Tensor, batch: int) -> Tensor:
    """Indices that name their place in the leading axes too."""
    long = indices if indices.dtype == np.int64 else b.Cast(indices, to=7)
    column = b.Slice(long, [0], [1], [-1])
    parts = []
    for axis in range(batch):
        numbers = b.Range(0, b.Squeeze(b.dim(indices, axis)), 1)
        parts.append(b.Expand(b.Reshape(numbers, [-1 if a == axis else 1 for a in range(indices.rank)]), b.Shape(column)))
    whole: Tensor = b.Concat(*parts, long, axis=-1)
    return whole


@rule("Compress", role="select")
def compress(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy at the elements that were kept, else 0"""
    x, keep = node.input(0), node.input(1)
    kept = b.Reshape(b.NonZero(keep), [-1])
    if node.get("axis") is None:
        return b.reshape(placing.place(b, dy, kept, b.size(x), 0), x), None
    axis = node["axis"] % x.rank
    return placing.place(b, dy, kept, b.dim(x, axis), axis), None


@rule("TopK", role="select")
def top_k(b: Builder, node: Node, dy: Tensor, _: Tensor | None = None) -> Messages:
    """dx = dy at the elements that were among the k, else 0"""
    x, k = node.input(0), node.input(1)
    at = b.TopK(x, k, axis=node["axis"], largest=node["largest"], sorted=node["sorted"], outputs=2)[1]
    return placing.add_elements(b, b.shape(x), at, dy, node["axis"]), None


@rule("Unique", role="select")
def unique(b: Builder, node: Node, dy: Tensor, *_: Tensor | None) -> Messages:
    """dx = dy at the first of equal elements, else 0"""
    x, axis = node.x, node.get("axis")
    first = b.Unique(x, axis=axis, sorted=node["sorted"], outputs=4)[1]
    if axis is None:
        return b.reshape(placing.place(b, dy, first, b.size(x), 0), x)
    return placing.place(b, dy, first, b.dim(x, axis), axis % x.rank)


# -- scattering --------------------------------------------------------------------------------------------------------

Move = Callable[[Tensor], Tensor]
Write = Callable[[Tensor, Tensor, str], Tensor]


@rule("ScatterElements", role="select")
def scatter_elements(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy where nothing was written, dupdates = dy where they were written; see `_scattered` for reductions."""
    x, indices, updates = node.input(0), node.input(1), node.input(2)
    axis = node["axis"]

    def taken(values: Tensor) -> Tensor:
        return b.GatherElements(values, indices, axis=axis)

    def written(onto: Tensor, values: Tensor, how: str) -> Tensor:
        made = b.ScatterElements(placing.widened(b, onto), indices, placing.widened(b, values), axis=axis, reduction=how)
        return b.cast(made, onto)

    dx, dupdates = _scattered(b, node, dy, x, updates, taken, written)
    return dx, None, dupdates


@rule("ScatterND", role="select")
def scatter_nd(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy where nothing was written, dupdates = dy where they were written; see `_scattered` for reductions."""
    x, indices, updates = node.input(0), node.input(1), node.input(2)

    def taken(values: Tensor) -> Tensor:
        return b.GatherND(values, indices)

    def written(onto: Tensor, values: Tensor, how: str) -> Tensor:
        made = b.ScatterND(placing.widened(b, onto), indices, placing.widened(b, values), reduction=how)
        return b.cast(made, onto)

    dx, dupdates = _scattered(b, node, dy, x, updates, taken, written)
    return dx, None, dupdates


def _scattered(
    b: Builder, node: Node, dy: Tensor, x: Tensor, updates: Tensor, taken: Move, written: Write
) -> tuple[Tensor, Tensor]:
    """The messages of a scatter; `taken` reads at its indices, `written` writes there.

    add: dx = dy, du = dy. mul: each factor gets dy times the product of the others, also where one or more are zero.
    max, min: dy goes to the winner, equal winners share it.
    """
    how, y = node["reduction"], node.y
    if how == "none":
        return written(dy, b.full_like(updates, 0), "none"), taken(dy)
    if how == "add":
        return dy, taken(dy)
    if how == "mul":
        none, one = b.const(0, x.dtype), b.const(1, x.dtype)
        zero_x, zero_u = b.Equal(x, 0), b.Equal(updates, 0)
        zeros = written(b.Where(zero_x, one, none), b.Where(zero_u, one, none), "add")
        rest = written(b.Where(zero_x, one, x), b.Where(zero_u, one, updates), "mul")  # the product without zeros
        alone = b.Where(b.Equal(zeros, 1), b.Mul(dy, rest), 0)  # for the only zero of a product
        whole = b.Mul(dy, y)
        dx = b.Where(zero_x, alone, b.Div(whole, b.Where(zero_x, one, x)))
        du = b.Where(zero_u, taken(alone), b.Div(taken(whole), b.Where(zero_u, one, updates)))
        return dx, du
    wins_x, wins_u = b.cast(b.Equal(x, y), y), b.cast(b.Equal(updates, taken(y)), y)
    share = b.Div(dy, written(wins_x, wins_u, "add"))
    return b.Mul(wins_x, share), b.Mul(wins_u, taken(share))


@rule("TensorScatter", role="select")
def tensor_scatter(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dcache = dy where nothing was written, dupdate = dy where it was written"""
    cache, update, start = node.input(0), node.input(1), node.inputs[2]
    axis = node["axis"] % cache.rank
    dcache = b.TensorScatter(dy, b.cast(b.zeros_like(update), dy), start, axis=node["axis"], mode=node["mode"])
    numbers = b.Range(0, b.Squeeze(b.dim(update, axis)), 1)
    places = b.Reshape(numbers, [-1 if a == axis else 1 for a in range(cache.rank)])
    if start is not None:
        places = b.Add(places, b.Reshape(start, [-1] + [1] * (cache.rank - 1)))
    if node["mode"] == "circular":
        places = b.Mod(places, b.dim(cache, axis))
    return dcache, b.GatherElements(dy, b.Expand(places, b.shape(update)), axis=axis), None


# -- indices -----------------------------------------------------------------------------------------------------------


@rule("OneHot", role="function")
def one_hot(b: Builder, node: Node, dy: Tensor) -> Messages:
    """The output holds values[1] at the indices and values[0] elsewhere: each gets the sum of dy where it stands."""
    indices, depth, values = node.input(0), node.input(1), node.input(2)
    hot = b.OneHot(indices, depth, b.const([0, 1], values.dtype), axis=node["axis"])
    on = b.ReduceSum(b.Mul(dy, hot), keepdims=0)
    off = b.ReduceSum(b.Mul(dy, b.Sub(1, hot)), keepdims=0)
    return None, None, b.Concat(b.Unsqueeze(off, [0]), b.Unsqueeze(on, [0]), axis=0)


@rule("NonZero", "NonMaxSuppression", role="zero")
def zero(b: Builder, node: Node, dy: Tensor) -> Messages:
    """Indices do not change with the values."""
    return None
