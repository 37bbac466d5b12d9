"""Reading an image between its elements: grids, regions of interest, deformable kernels.

All of these read every position from a few elements around it, its corners: along each axis one (nearest), two (linear)
or four (cubic), and multiply their weights. The message on a position's value goes back to its corners by these weights,
and to the position by the weights' slopes.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from onnxplain import Builder, Extents, Messages, Node, RuleError, Tensor, rule
from onnxplain.rulekit import scatter as placing

# -- corners -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """The corners of positions along one axis [n, positions, corners]: which elements, their weights, the weights' slopes."""

    index: Tensor
    weight: Tensor
    slope: Tensor


@dataclass(frozen=True)
class Corners:
    """The corners of positions in an image x [N, C, …] along all axes [n, positions, corners].

    `index` counts through all of x but its channels, `values` [n, positions, corners, C] are the elements there.
    """

    x: Tensor
    index: Tensor
    weight: Tensor
    slopes: tuple[Tensor, ...]
    values: Tensor

    def weighted(self, b: Builder) -> Tensor:
        """What each corner adds to the value of its position."""
        return b.Mul(self.values, b.Unsqueeze(self.weight, [3]))

    def image_message(self, b: Builder, m: Tensor) -> Tensor:
        """The message on x, given that on what corners add; [n, positions, 1, C] where it is the same for all corners."""
        last = self.x.rank - 1
        extents = Extents.of(b, self.x, 2).then(Extents(b, b.dim(self.x, 1)))
        rows = b.Reshape(self.x, _rows_shape(b, self.x).operand)
        summed = placing.add_rows(b, b.Shape(rows), b.Unsqueeze(self.index, [3]), b.Mul(m, b.Unsqueeze(self.weight, [3])))
        image = b.Reshape(summed, Extents(b, [-1]).then(extents).operand)
        return b.transpose(image, [0, last, *range(1, last)])

    def position_messages(self, b: Builder, m: Tensor) -> list[Tensor]:
        """The messages on the positions [n, positions], one for each axis."""
        shares = b.ReduceSum(b.Mul(self.values, m), [3], keepdims=0)
        return [b.ReduceSum(b.Mul(shares, slope), [2], keepdims=0) for slope in self.slopes]


def _rows_shape(b: Builder, x: Tensor) -> Extents:
    return Extents(b, [-1]).then(Extents(b, b.dim(x, 1)))


def _corners(b: Builder, x: Tensor, axes: list[Axis], sample: Tensor | None = None) -> Corners:
    """The corners of positions, given those along each axis; `sample` [n] says which image each n reads, its own if None."""
    n = len(axes)

    def outer(op: str, parts: list[Tensor]) -> Tensor:
        """The products (or sums) of numbers along each axis, in one row of corners."""
        spread = [b.Unsqueeze(p, [2 + i for i in range(n) if i != a]) for a, p in enumerate(parts)]
        whole = spread[0]
        for other in spread[1:]:
            whole = b.op(op, whole, other)
        return b.Reshape(whole, [0, 0, -1])

    size = Extents.of(b, x, 2)
    places = [axis.index for axis in axes]
    for a in range(n - 1):  # how many elements lie between neighbours along an axis
        rest = b.ReduceProd(b.Slice(size.operand, [a + 1], [n], [0]), keepdims=0)
        places[a] = b.Mul(places[a], rest)
    if sample is None:
        sample = b.Range(0, b.Squeeze(b.dim(x, 0)), 1)
    first = b.Mul(sample, b.ReduceProd(size.operand, keepdims=0))
    index = b.Add(outer("Add", places), b.Unsqueeze(first, [1, 2]))
    weights, slopes = [axis.weight for axis in axes], [axis.slope for axis in axes]
    products = tuple(outer("Mul", [*weights[:a], slopes[a], *weights[a + 1 :]]) for a in range(n))
    rows = b.Reshape(b.transpose(x, [0, *range(2, x.rank), 1]), _rows_shape(b, x).operand)
    return Corners(x, index, outer("Mul", weights), products, b.Gather(rows, index, axis=0))


# Polynomials in the distance d of a corner, highest power first: Keys' cubic convolution with a = −3/4.
A = -0.75
FAR, NEAR = (A, -5 * A, 8 * A, -4 * A), (A + 2, -(A + 3), 0.0, 1.0)
CUBIC = np.array([FAR, NEAR, NEAR, FAR]).T


def _kernel(b: Builder, at: Tensor, mode: str) -> tuple[Tensor, Tensor, Tensor]:
    """Corners of positions along an axis (as whole floating-point numbers), their weights and these weights' slopes."""
    if mode == "nearest":
        first = b.Unsqueeze(b.Round(at), [2])
        return first, b.full_like(first, 1), b.full_like(first, 0)
    offsets = b.const([0.0, 1.0] if mode == "linear" else [-1.0, 0.0, 1.0, 2.0], at.dtype)
    before = b.const([1.0, -1.0] if mode == "linear" else [1.0, 1.0, -1.0, -1.0], at.dtype)  # the sign of the distance
    corners = b.Add(b.Unsqueeze(b.Floor(at), [2]), offsets)
    d = b.Mul(b.Sub(b.Unsqueeze(at, [2]), corners), before)
    if mode == "linear":
        return corners, b.Sub(1, d), b.Add(b.Mul(d, 0), b.Neg(before))
    c3, c2, c1, c0 = (b.const(row, at.dtype) for row in CUBIC)
    weight = b.Add(b.Mul(b.Add(b.Mul(b.Add(b.Mul(c3, d), c2), d), c1), d), c0)
    slope = b.Add(b.Mul(b.Add(b.Mul(b.Mul(c3, 3), d), b.Mul(c2, 2)), d), c1)
    return corners, weight, b.Mul(slope, before)


def _axis(b: Builder, x: Tensor, at: Tensor, size: Tensor, mode: str, padding: str = "zeros", aligned: bool = False) -> Axis:
    """The corners of positions along an axis of an extent. What lies outside is zero, the border, or what reflects it."""
    corners, weight, slope = (b.cast(t, x) if i else t for i, t in enumerate(_kernel(b, at, mode)))
    index, last = b.Cast(corners, to=7), b.Sub(size, 1)
    if padding == "reflection":
        period = b.Max(b.Mul(last, 2), 1) if aligned else b.Mul(size, 2)
        turned = b.Mod(index, period)
        index = b.Min(turned, b.Sub(period, turned if aligned else b.Add(turned, 1)))
    within = b.Min(b.Max(index, 0), last)
    if padding == "zeros":
        inside = b.Equal(within, index)
        weight, slope = b.Where(inside, weight, 0), b.Where(inside, slope, 0)
    return Axis(within, weight, slope)


# -- grids -------------------------------------------------------------------------------------------------------------


@rule("GridSample", role="sum")
def grid_sample(b: Builder, node: Node, dy: Tensor) -> Messages:
    """Each position of the grid gives its message to its corners; coordinates count from −1 to 1, the last axis first."""
    x, grid = node.input(0), node.input(1)
    mode, aligned, n = node["mode"].removeprefix("bi"), bool(node["align_corners"]), x.rank - 2
    axes, steps = [], []
    for a in range(n):
        size = b.dim(x, 2 + a)
        extent = b.cast(size, grid)
        steps.append(b.Div(b.Sub(extent, 1) if aligned else extent, 2))
        g = b.Add(b.Reshape(b.Gather(grid, n - 1 - a, axis=-1), [0, -1]), 1)
        at = b.Mul(g, steps[a]) if aligned else b.Sub(b.Mul(g, steps[a]), 0.5)
        axes.append(_axis(b, x, at, size, mode, node["padding_mode"], aligned))
    corners = _corners(b, x, axes)
    m = b.Unsqueeze(b.Transpose(b.Reshape(dy, [0, 0, -1]), perm=[0, 2, 1]), [2])
    dx = corners.image_message(b, m) if node.needs_input_grad(0) else None
    if not node.needs_input_grad(1):
        return dx, None
    moved = [b.Mul(b.cast(p, grid), s) for p, s in zip(corners.position_messages(b, m), steps, strict=True)]
    return dx, b.reshape(b.Concat(*(b.Unsqueeze(p, [2]) for p in reversed(moved)), axis=2), grid)


# -- deformable convolution --------------------------------------------------------------------------------------------


@rule("DeformConv", role="function")
def deform_conv(b: Builder, node: Node, dy: Tensor) -> Messages:
    """A convolution whose window elements lie at positions of their own and have factors of their own (the mask).

    Of the columns col = value · mask the output is W·col + B. So dW = dY·colᵀ, dcol = Wᵀ·dY, dmask = Σ dcol · value, and
    dcol · mask goes to the corners and to the positions.
    """
    x, w, offset, bias, mask = node.input(0), node.input(1), node.input(2), *node.inputs[3:]
    n, group, parts = x.rank - 2, node["group"], node["offset_group"]
    kernel = list(node.get("kernel_shape") or (w.static_shape or ())[2:])
    if not kernel:
        raise RuleError(f"the extents of its weight '{w.name}' are unknown; re-export the model with kernel_shape")
    count, batch = prod(kernel), b.dim(x, 0)
    # Channels that share offsets are one image; positions are [images, window element × output element].
    images = x if parts == 1 else _split(b, x, parts)
    out = Extents.of(b, offset, 2)
    shifts = b.Reshape(offset, Extents(b, [-1, count, n]).then(out).operand)
    axes = []
    for a in range(n):
        at = b.Add(b.Gather(shifts, a, axis=2), b.cast(_window(b, node, kernel, out, a), offset))
        axes.append(_axis(b, x, b.Reshape(at, [0, -1]), b.dim(x, 2 + a), "linear"))
    corners = _corners(b, images, axes, b.Range(0, b.Squeeze(b.Mul(batch, parts)), 1))
    value = b.ReduceSum(corners.weighted(b), [2], keepdims=0)
    factor = None if mask is None else b.Reshape(mask, Extents(b, b.Mul(batch, parts)).then([-1, 1]).operand)
    rows = b.Reshape(dy, Extents(b, [0, group, -1]).then(Extents(b, b.ReduceProd(out.operand))).operand)
    weights = b.Reshape(w, Extents(b, [group, -1]).then(Extents(b, b.dim(w, 1)) * count).operand)
    dcol = b.MatMul(b.Transpose(weights, perm=[0, 2, 1]), rows)
    dcol = b.Reshape(dcol, Extents(b, b.Mul(batch, parts)).then(Extents(b, b.dim(images, 1)), [-1]).operand)
    dcol = b.Transpose(dcol, perm=[0, 2, 1])
    m = b.Unsqueeze(dcol if factor is None else b.Mul(dcol, factor), [2])
    dx = b.reshape(corners.image_message(b, m), x) if node.needs_input_grad(0) else None
    dw = doffset = dmask = None
    if node.needs_input_grad(1):
        col = b.Transpose(value if factor is None else b.Mul(value, factor), perm=[0, 2, 1])
        col = b.Reshape(col, Extents(b, batch).then([group, -1], Extents(b, b.ReduceProd(out.operand))).operand)
        dw = b.reshape(b.ReduceSum(b.MatMul(rows, b.Transpose(col, perm=[0, 1, 3, 2])), [0], keepdims=0), w)
    if node.needs_input_grad(2):
        moved = [b.Reshape(p, Extents(b, [0, count, 1, -1]).operand) for p in corners.position_messages(b, m)]
        doffset = b.reshape(b.Concat(*moved, axis=2), offset)
    if mask is not None and node.needs_input_grad(4):
        dmask = b.reshape(b.ReduceSum(b.Mul(dcol, value), [2], keepdims=0), mask)
    dbias = None if bias is None else b.ReduceSum(dy, [0, *range(2, x.rank)], keepdims=0)
    return dx, dw, doffset, dbias, dmask


def _split(b: Builder, x: Tensor, parts: int) -> Tensor:
    """The channels of each image dealt out to so many images."""
    size, channels = Extents.of(b, x, 2), Extents(b, b.dim(x, 1)) // parts
    return b.Reshape(x, Extents(b, [-1]).then(channels, size).operand)


def _window(b: Builder, node: Node, kernel: list[int], out: Extents, axis: int) -> Tensor:
    """Where the elements of each window lie along an axis without offsets [window elements, …output]."""
    n = len(kernel)
    stride, dilation, pad = ((node.get(key) or [d] * 2 * n)[axis] for key, d in (("strides", 1), ("dilations", 1), ("pads", 0)))
    within = np.broadcast_to(np.arange(kernel[axis]).reshape([-1 if a == axis else 1 for a in range(n)]), kernel)
    starts = b.Sub(b.Mul(b.Range(0, b.Squeeze(out.at(axis).as_tensor()), 1), stride), pad)
    starts = b.Reshape(starts, [-1 if a == axis else 1 for a in range(n)])
    return b.Add(b.const((within * dilation).reshape(-1, *[1] * n)), starts)


# -- regions of interest -----------------------------------------------------------------------------------------------


@rule("RoiAlign", role="sum")
def roi_align(b: Builder, node: Node, dy: Tensor) -> Messages:
    """Each bin of a region averages sample points (avg), or takes the greatest of what their corners add (max)."""
    x, rois, sample = node.input(0), node.input(1), node.input(2)
    tall, wide = _side(b, node, 1, node["output_height"]), _side(b, node, 0, node["output_width"])
    bins = [node["output_height"], node["output_width"]]

    def spread(t: Tensor, side: int) -> Tensor:
        """[regions, bins, points] along one side → [regions, all points of all bins]."""
        counts = b.Concat([1], bins, b.Concat(tall.points, wide.points, axis=0), axis=0)
        return b.Reshape(b.Expand(b.Unsqueeze(t, [2, 4] if side == 0 else [1, 3]), counts), [0, -1])

    axes, outside, moves = [], [], []
    for side, (along, axis) in enumerate([(tall, 2), (wide, 3)]):
        at, size = spread(along.at, side), b.dim(x, axis)
        extent = b.cast(size, rois)
        beyond = b.Or(b.Less(at, -1), b.Greater(at, extent))
        last = b.Sub(extent, 1)
        kept = b.Min(b.Max(at, 0), last)
        found = _axis(b, x, kept, size, "linear", "border")
        still = b.Unsqueeze(b.Equal(kept, at), [2])  # what is moved to the border does not move with the region
        axes.append(Axis(found.index, found.weight, b.Where(still, found.slope, 0)))
        outside.append(beyond)
        moves.append([spread(m, side) for m in along.moves])
    corners = _corners(b, x, axes, sample)
    counted = b.And(spread(tall.counted, 0), spread(wide.counted, 1))
    inside = b.Unsqueeze(b.Not(b.Or(*outside)), [2, 3])
    m = b.Transpose(b.Reshape(dy, [0, 0, -1]), perm=[0, 2, 1])  # [regions, bins, channels]
    shape = b.Shape(corners.values)
    if node["mode"].lower() == "avg":
        number = b.Max(b.Mul(tall.number, wide.number), 1)
        m = b.Unsqueeze(b.Div(m, b.cast(b.Reshape(number, [-1, 1, 1]), m)), [2])
        m = b.Mul(m, b.cast(b.Reshape(counted, Extents(b, [0, prod(bins), -1, 1]).operand), m))
        m = b.Unsqueeze(b.Reshape(m, b.Gather(shape, [0, 1, 3])), [2])
    else:
        added = b.Where(inside, corners.weighted(b), 0)
        added = b.Where(b.Unsqueeze(counted, [2, 3]), added, -np.inf)
        candidates = b.Reshape(added, Extents(b, [0, prod(bins), -1]).then(Extents(b, b.dim(x, 1))).operand)
        first = b.ArgMax(candidates, axis=2, keepdims=1)
        numbers = b.Unsqueeze(b.Range(0, b.Squeeze(b.Shape(candidates, start=2, end=3)), 1), [1])
        chosen = b.And(b.Equal(numbers, first), b.Greater(candidates, -np.inf))
        m = b.Reshape(b.Where(chosen, b.Unsqueeze(m, [2]), 0), shape)
    m = b.Where(inside, m, 0)
    dx = corners.image_message(b, m) if node.needs_input_grad(0) else None
    if not node.needs_input_grad(1):
        return dx, None, None
    sums = [
        b.ReduceSum(b.Mul(b.cast(p, rois), move), [1], keepdims=1)
        for p, pair in zip(corners.position_messages(b, m), moves, strict=True)
        for move in pair
    ]
    y1, y2, x1, x2 = sums
    return dx, b.Concat(x1, y1, x2, y2, axis=1), None


@dataclass(frozen=True)
class Side:
    """The sample points along one side of each region [regions, bins, points].

    `moves` says how far they move with the region's first and last coordinate; `points` is their greatest number in a
    bin, `number` that of each region, `counted` which of them exist.
    """

    at: Tensor
    moves: tuple[Tensor, Tensor]
    points: Tensor
    number: Tensor
    counted: Tensor


def _side(b: Builder, node: Node, column: int, bins: int) -> Side:
    rois, scale, ratio = node.input(1), node["spatial_scale"], node["sampling_ratio"]
    half = node.get("coordinate_transformation_mode", "output_half_pixel") == "half_pixel"
    start, end = (b.Sub(b.Mul(b.Gather(rois, [c], axis=1), scale), 0.5 if half else 0) for c in (column, column + 2))
    span = b.Sub(end, start)
    length = span if half else b.Max(span, 1)
    grid = b.Ceil(b.Div(length, bins)) if ratio == 0 else b.full_like(length, ratio)
    number = b.Cast(grid, to=7)
    points = b.Max(b.ReduceMax(b.Reshape(number, [-1]), keepdims=1), 1) if ratio == 0 else b.const([ratio])
    numbers = b.Unsqueeze(b.Range(0, b.Squeeze(points), 1), [0, 1])
    within = b.Div(b.Add(b.cast(numbers, rois), 0.5), b.Unsqueeze(b.Max(grid, 1), [2]))
    part = b.Div(b.Add(within, b.const(np.arange(bins).reshape(1, -1, 1), rois.dtype)), bins)  # of the region's length
    at = b.Add(b.Unsqueeze(start, [2]), b.Mul(part, b.Unsqueeze(length, [2])))
    grows = b.Mul(part, b.Unsqueeze(b.cast(b.Equal(span, length), rois), [2]))
    moves = b.Mul(b.Sub(1, grows), scale), b.Mul(grows, scale)
    counted = b.Expand(b.Less(numbers, b.Unsqueeze(number, [2])), b.Concat([1], [bins], [1], axis=0))
    return Side(at, moves, points, number, counted)


@rule("MaxRoiPool", role="select")
def max_roi_pool(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = Σ dy over the bins whose maximum an element is; a bin's edges are rounded, so regions have no derivative."""
    x, rois = node.input(0), node.input(1)
    sample = b.Cast(b.Gather(rois, 0, axis=1), to=7)
    rows, columns = (_edges(b, node, axis) for axis in (0, 1))  # [regions, bins, elements]: which lie in which bin
    image = b.Gather(x, sample, axis=0)  # [regions, channels, H, W]
    least = b.const(-np.inf, x.dtype)
    across = b.Where(b.Unsqueeze(columns, [1, 2]), b.Unsqueeze(image, [3]), least)  # [regions, channels, H, bins, W]
    best = b.Transpose(b.ReduceMax(across, [4], keepdims=0), perm=[0, 1, 3, 2])  # [regions, channels, bins across, H]
    down = b.Where(b.Unsqueeze(rows, [1, 3]), b.Unsqueeze(best, [2]), least)  # [regions, channels, bins, bins across, H]
    row = b.ArgMax(down, axis=4, keepdims=1)
    filled = b.Greater(b.ReduceMax(down, [4], keepdims=0), least)
    columns_at = b.Transpose(b.ArgMax(across, axis=4, keepdims=0), perm=[0, 1, 3, 2])
    column = b.GatherElements(b.Expand(b.Unsqueeze(columns_at, [2]), b.Shape(down)), row, axis=4)
    size = Extents.of(b, x, 2)
    place = b.Add(b.Mul(row, size.at(1).operand), column)  # in the channel
    channel = b.Add(b.Mul(b.Reshape(sample, [-1, 1]), b.dim(x, 1)), b.Unsqueeze(b.Range(0, b.Squeeze(b.dim(x, 1)), 1), [0]))
    at = b.Add(b.Squeeze(place, [4]), b.Mul(b.Unsqueeze(channel, [2, 3]), b.ReduceProd(size.operand, keepdims=0)))
    kept = b.Where(filled, dy, 0)
    flat = placing.add_elements(b, b.size(x), b.Reshape(at, [-1]), b.Reshape(kept, [-1]), 0)
    return b.reshape(flat, x), None


def _edges(b: Builder, node: Node, axis: int) -> Tensor:
    """Which elements along an axis lie in which bin [regions, bins, elements]."""
    x, rois, bins = node.input(0), node.input(1), node["pooled_shape"][axis]
    scaled = b.Mul(b.Gather(rois, [2 - axis, 4 - axis], axis=1), node["spatial_scale"])
    rounded = b.Mul(b.Sign(scaled), b.Floor(b.Add(b.Abs(scaled), 0.5)))
    start, end = b.Gather(rounded, [0], axis=1), b.Gather(rounded, [1], axis=1)
    step = b.Div(b.Max(b.Add(b.Sub(end, start), 1), 1), bins)
    size = b.cast(b.dim(x, 2 + axis), rois)
    numbers = b.const(np.arange(bins).reshape(1, -1), rois.dtype)
    first, last = b.Floor(b.Mul(step, numbers)), b.Ceil(b.Mul(step, b.Add(numbers, 1)))
    low, high = (b.Unsqueeze(b.Min(b.Max(b.Add(e, start), 0), size), [2]) for e in (first, last))
    at = b.cast(b.Range(0, b.Squeeze(b.dim(x, 2 + axis)), 1), rois)
    return b.And(b.GreaterOrEqual(at, low), b.Less(at, high))
