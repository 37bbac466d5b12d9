"""Moving elements without changing them: the message moves back."""

import numpy as np

from onnxplain import Builder, Extents, Messages, Node, RuleError, Tensor, rule
from onnxplain.rulekit import scatter as placing

# -- another shape, the same order -------------------------------------------------------------------------------------


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze", role="layout")
def reshape(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy in the shape of x"""
    return b.reshape(dy, node.x), None


@rule("Shape", "Size", "ConstantOfShape", "EyeLike", role="zero")
def zero(b: Builder, node: Node, dy: Tensor) -> Messages:
    """No element of the output depends on the values of the input."""
    return None


# -- another order -----------------------------------------------------------------------------------------------------


@rule("Transpose", role="layout")
def transpose(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy with its axes put back"""
    perm = node.get("perm")
    return b.Transpose(dy, perm=None if perm is None else [int(p) for p in np.argsort(perm)])


@rule("DepthToSpace", role="layout")
def depth_to_space(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy with its blocks put back into channels"""
    size = node["blocksize"]
    if node["mode"] == "DCR":
        return b.SpaceToDepth(dy, blocksize=size)
    x = node.x
    height, width = b.dim(x, 2), b.dim(x, 3)
    blocks = Extents(b, b.dim(x, 0)).then([-1], Extents(b, height), size, Extents(b, width), size)
    channels = b.Transpose(b.Reshape(dy, blocks.operand), perm=[0, 1, 3, 5, 2, 4])
    return b.reshape(channels, x)


@rule("SpaceToDepth", role="layout")
def space_to_depth(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy with its channels put back into blocks"""
    return b.DepthToSpace(dy, blocksize=node["blocksize"], mode=node.get("mode", "DCR"))


@rule("ReverseSequence", role="layout")
def reverse_sequence(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy reversed again"""
    lengths = node.input(1)
    return b.ReverseSequence(dy, lengths, batch_axis=node["batch_axis"], time_axis=node["time_axis"]), None


# -- parts and wholes --------------------------------------------------------------------------------------------------


@rule("Concat", role="layout")
def concat(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dxᵢ = the part of dy that came from xᵢ"""
    parts = [x for x in node.inputs if x is not None]
    if len(parts) == 1:
        return dy
    sizes = Extents(b, b.dim(parts[0], node["axis"])).then(*(Extents(b, b.dim(x, node["axis"])) for x in parts[1:]))
    return tuple(b.Split(dy, sizes.operand, axis=node["axis"], outputs=len(parts)))


@rule("Split", role="layout")
def split(b: Builder, node: Node, *dys: Tensor | None) -> Messages:
    """dx = the dyᵢ side by side, zeros for parts that nothing depends on"""
    outputs = list(node.outputs)
    if any(y is None for y in outputs):
        again = b.Split(*node.inputs, axis=node["axis"], num_outputs=node.get("num_outputs"), outputs=len(outputs))
        outputs = list(again)
    some = next(dy for dy in dys if dy is not None)
    parts = [b.cast(b.zeros_like(y), some) if dy is None and y is not None else dy for y, dy in zip(outputs, dys, strict=True)]
    return b.Concat(*parts, axis=node["axis"]), None


@rule("Slice", role="layout")
def slice_(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy at the elements that the slice took, else 0"""
    x = node.x
    for axis, (start, end, step) in _bounds(b, node).items():
        extent = b.dim(x, axis)
        known = [b.ints(t) for t in (extent, start, end, step)]
        if all(k is not None for k in known):
            size, *bounds = [k[0] for k in known if k is not None]
            dy = placing.place(b, dy, range(size)[slice(*bounds)], extent, axis)
        elif known[3] == [1]:
            first = _first(b, start, extent)
            rest = b.Sub(b.Sub(extent, first), b.Shape(dy, start=axis, end=axis + 1))
            dy = b.Pad(dy, b.Concat(first, rest, axis=0), None, [axis])
        else:
            taken = b.Slice(b.Range(0, b.Squeeze(extent), 1), start, end, [0], step)
            dy = placing.place(b, dy, taken, extent, axis)
    return dy, None, None, None, None


def _first(b: Builder, start: Tensor, extent: Tensor) -> Tensor:
    """Where a slice of step 1 starts, counted from the front and within the axis."""
    known = b.ints(start)
    if known is None:
        start = b.Max(b.Where(b.Less(start, 0), b.Add(start, extent), start), [0])
    elif known[0] < 0:
        return b.Max(b.Add(start, extent), [0])
    return b.Min(start, extent)


def _bounds(b: Builder, node: Node) -> dict[int, tuple[Tensor, Tensor, Tensor]]:
    """Start, end and step, each int64 [1], of the axes that are sliced."""
    x, starts, ends, axes, steps = node.inputs
    assert x is not None
    assert starts is not None
    assert ends is not None
    count = starts.dim(0)
    which = b.ints(axes) if axes is not None else list(range(count)) if isinstance(count, int) else None
    steps = steps or (b.const([1] * count) if isinstance(count, int) else b.Expand([1], b.Shape(starts)))
    given = [t if t.dtype == np.int64 else b.Cast(t, to=7) for t in (starts, ends, steps)]
    if which is None:  # bounds for every axis, those of the sliced axes written over the others'
        if axes is None:
            raise RuleError("how many axes it slices is not known before it runs")
        which = list(range(x.rank))
        places = _from_front(b, axes, x.rank)
        whole = [b.const([0] * x.rank), b.shape(x), b.const([1] * x.rank)]
        given = [b.ScatterElements(w, places, t, axis=0) for w, t in zip(whole, given, strict=True)]
    first, last, stride = (Extents(b, t) for t in given)
    return {
        axis % x.rank: (first.at(n).as_tensor(), last.at(n).as_tensor(), stride.at(n).as_tensor()) for n, axis in enumerate(which)
    }


def _from_front(b: Builder, axes: Tensor, rank: int) -> Tensor:
    """Axes known at run time only, counted from the front."""
    long = axes if axes.dtype == np.int64 else b.Cast(axes, to=7)
    return b.Where(b.Less(long, 0), b.Add(long, [rank]), long)


@rule("CenterCropPad", role="layout")
def center_crop_pad(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy padded where x was cropped and cropped where it was padded"""
    axes = node.get("axes")
    size = b.shape(node.x) if axes is None else b.Concat(*(b.dim(node.x, a) for a in axes), axis=0)
    return b.CenterCropPad(dy, size, axes=axes), None


@rule("Trilu", role="layout")
def trilu(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = the same triangle of dy"""
    return b.Trilu(dy, node.inputs[1], upper=node["upper"]), None


# -- repetition --------------------------------------------------------------------------------------------------------


@rule("Expand", role="layout", broadcasts=True)
def expand(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy, summed by the backward pass"""
    return dy, None


@rule("Tile", role="layout")
def tile(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = Σ dy over the tiles"""
    x, repeats = node.x, Extents(b, node.input(1))
    pairs = [e for axis in range(x.rank) for e in (repeats.at(axis), Extents(b, b.dim(x, axis)))]
    tiles = b.Reshape(dy, Extents(b, []).then(*pairs).operand)
    return b.ReduceSum(tiles, list(range(0, 2 * x.rank, 2)), keepdims=0), None


@rule("Pad", role="layout")
def pad(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = Σ dy over the places an element was copied to; the constant value gets dy at the places it fills."""
    x, pads, value, axes = node.inputs
    assert x is not None
    assert pads is not None
    begin, end = _pads(b, x, pads, axes)
    if node["mode"] != "constant":
        return _unfold(b, node["mode"], dy, x, begin, end), None, None, None
    # Negative padding removed elements: they get 0. The rest is cut out of dy.
    size = Extents.of(b, x)
    first, removed, removed_end = begin.at_least(0), (begin * -1).at_least(0), (end * -1).at_least(0)
    dx = b.Slice(dy, first.operand, (first + size - removed - removed_end).operand)
    if removed.known is None or removed_end.known is None or any(removed.known + removed_end.known):
        dx = b.Pad(dx, removed.then(removed_end).operand)
    dvalue = None
    if value is not None and node.needs_input_grad(2):
        kept = b.Slice(b.zeros_like(x), removed.operand, (size - removed_end).operand)
        filled = b.Pad(kept, first.then(end.at_least(0)).operand, 1)
        dvalue = b.reshape(b.ReduceSum(b.Mul(dy, filled), keepdims=0), value)
    return dx, None, dvalue, None


def _pads(b: Builder, x: Tensor, pads: Tensor, axes: Tensor | None) -> tuple[Extents, Extents]:
    """The padding before and after each axis of x."""
    known, which = b.ints(pads), list(range(x.rank)) if axes is None else b.ints(axes)
    if known is not None and which is not None:
        full = [0] * (2 * x.rank)
        for n, axis in enumerate(which):
            full[axis % x.rank] = known[n]
            full[axis % x.rank + x.rank] = known[n + len(which)]
        return Extents(b, full[: x.rank]), Extents(b, full[x.rank :])
    if axes is not None:
        places = _from_front(b, axes, x.rank)
        places = b.Concat(places, b.Add(places, [x.rank]), axis=0)
        pads = b.ScatterElements(b.const([0] * (2 * x.rank)), places, pads, axis=0)
    return Extents(b, b.Slice(pads, [0], [x.rank], [0])), Extents(b, b.Slice(pads, [x.rank], [2 * x.rank], [0]))


def _unfold(b: Builder, mode: str, dy: Tensor, x: Tensor, begin: Extents, end: Extents) -> Tensor:
    """The padding of each axis added to the elements it mirrors, axis by axis, the last padded first."""
    for axis in reversed(range(x.rank)):
        ends = begin.at(axis).then(end.at(axis))
        if ends.known == (0, 0):
            continue
        extent = b.dim(x, axis)
        source = b.Pad(b.Range(0, b.Squeeze(extent), 1), ends.operand, mode=mode)
        dy = placing.sum_at(b, dy, source, extent, axis, x.rank)
    return dy


# -- sequences of numbers ----------------------------------------------------------------------------------------------


@rule("Range", role="function")
def range_(b: Builder, node: Node, dy: Tensor) -> Messages:
    """yᵢ = start + i · delta: dstart = Σ dyᵢ, ddelta = Σ i · dyᵢ"""
    numbers = b.cast(b.Range(0, b.Squeeze(b.Shape(dy)), 1), node.y)
    return b.ReduceSum(dy, keepdims=0), None, b.ReduceSum(b.Mul(dy, numbers), keepdims=0)
