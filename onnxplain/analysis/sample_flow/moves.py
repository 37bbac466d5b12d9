"""Where the samples lie in what elementwise operators, reductions and moves of elements make."""

from __future__ import annotations

from onnxplain.analysis.sample_flow.place import Place, State, place_after_reshape
from onnxplain.analysis.sample_flow.reading import Reading, SampleRule, SampleStates
from onnxplain.ir.tensor import Dim

__all__ = ["EACH_PLACE", "EACH_ROW", "ELEMENTWISE", "MOVES", "REDUCED"]


LAST = 10**9
"""What exporters write for the end of an axis, or more: this tf2onnx, others the greatest integer of 32 or 64 bits."""


def _through(n: Reading) -> SampleStates:
    """Shaped as input 0, every element from that at its place; other inputs are settings."""
    x = n.place(0)
    return x if x is not None and n.only(0) else n.unknown()


def _elementwise(n: Reading) -> SampleStates:
    """Elements at the same place of all inputs, which broadcast."""
    ranks = [n.rank(i) for i in range(len(n.node.inputs))]
    out = n.out()
    known = [r for r in ranks if r is not None]
    rank = len(out) if out is not None else max(known) if len(known) == len([t for t in n.node.inputs if t]) else None
    if rank is None:
        return n.unknown()
    places: set[Place] = set()
    for i in n.tagged():
        found, own = n.place(i), ranks[i]
        if found is None or own is None:
            return n.unknown()
        places.add(found.at(found.axis + rank - own))
    if len(places) != 1:
        return n.mixed() if len({p.axis for p in places}) > 1 else n.unknown()
    (place,) = places
    return place if all(_narrow(n, i, place.axis - rank) for i in range(len(ranks))) else n.unknown()


def _narrow(n: Reading, index: int, from_end: int) -> bool:
    """Whether an operand does not stretch the axis of the samples."""
    rank = n.rank(index)
    if n.place(index) is not None or rank is None or rank < -from_end:
        return True
    mine = n.dim(index, rank + from_end)
    extents = {n.dim(i, (n.rank(i) or 0) + from_end) for i in n.tagged()}
    return mine in (1, None) or mine in extents


def _along(parameter: str, default: int, index: int = -1) -> SampleRule:
    """What mixes elements along one axis, an attribute or the input at `index`, and leaves all others apart."""

    def rule(n: Reading) -> SampleStates:
        x, rank = n.place(0), n.rank(0)
        given = n.node.get(parameter, default if index < 0 else None)
        axes = [int(given)] if given is not None else n.ints(index)
        if x is None or rank is None or not n.only(0) or not axes:
            return n.unknown()
        return n.mixed() if x.axis == int(axes[0]) % rank else x

    return rule


def _reduced(n: Reading) -> SampleStates:
    """A reduction along axes."""
    x, rank = n.place(0), n.rank(0)
    axes = n.parameter("axes", 1)
    if x is None or rank is None or not n.only(0):
        return n.unknown()
    if axes is None and n.tensor(1) is not None:
        return n.unknown()
    if not axes:
        return x if n.node.get("noop_with_empty_axes") else n.mixed()
    return _without(n, x, [a % rank for a in axes])


def _chosen(n: Reading) -> SampleStates:
    """ArgMax and ArgMin."""
    x, rank = n.place(0), n.rank(0)
    return n.unknown() if x is None or rank is None else _without(n, x, [int(n.node.get("axis", 0)) % rank])


def _without(n: Reading, x: Place, axes: list[int]) -> State:
    if x.axis in axes:
        return n.mixed()
    return x if n.node.get("keepdims", 1) else x.at(x.axis - sum(a < x.axis for a in axes))


def _transposed(n: Reading) -> SampleStates:
    x, rank = n.place(0), n.rank(0)
    if x is None or rank is None:
        return n.unknown()
    perm = n.node.get("perm")
    order = list(range(rank))[::-1] if perm is None else [int(p) for p in perm]
    return x.at(order.index(x.axis))


def _squeezed(n: Reading) -> SampleStates:
    x, rank = n.place(0), n.rank(0)
    axes = n.parameter("axes", 1)
    if x is None or rank is None or (axes is None and n.tensor(1) is not None):
        return n.unknown()
    if axes is None:  # all of extent 1, and extents that are not known may be so
        extents = [n.dim(0, a) for a in range(rank)]
        if any(not isinstance(d, int) for d in extents):
            return n.unknown()
        axes = [a for a, d in enumerate(extents) if d == 1]
    gone = [a % rank for a in axes]
    return n.mixed() if x.axis in gone else x.at(x.axis - sum(a < x.axis for a in gone))


def _unsqueezed(n: Reading) -> SampleStates:
    x, rank = n.place(0), n.rank(0)
    axes = n.parameter("axes", 1)
    if x is None or rank is None or axes is None:
        return n.unknown()
    new = {a % (rank + len(axes)) for a in axes}
    kept = [a for a in range(rank + len(axes)) if a not in new]
    return x.at(kept[x.axis])


def _reshape(n: Reading) -> SampleStates:
    """Reshape and Flatten."""
    x, given = n.place(0), n.tensor(0)
    if x is None or given is None or not n.only(0):
        return n.unknown()
    return place_after_reshape(x, given.shape, n.out(), n.extent) or n.unknown()


def _expanded(n: Reading) -> SampleStates:
    x, out, rank = n.place(0), n.out(), n.rank(0)
    if x is None or out is None or rank is None:
        return n.unknown()
    made, wanted = x.at(x.axis + len(out) - rank), n.dims(1)
    mine = n.dim(0, x.axis)
    asked = None if wanted is None or made.axis < len(out) - len(wanted) else wanted[made.axis - len(out) + len(wanted)]
    return made if _same(mine, out[made.axis]) or asked == 1 or _same(mine, asked) else n.unknown()


def _repeated(n: Reading) -> SampleStates:
    times = n.ints(1)
    x, out = n.place(0), n.out()
    if x is None or not n.only(0):
        return n.unknown()
    if times is not None:
        return x if times[x.axis] == 1 else n.unknown()
    return x if out is not None and _same(n.dim(0, x.axis), out[x.axis]) else n.unknown()


def _sliced(n: Reading) -> SampleStates:
    x, rank = n.place(0), n.rank(0)
    if x is None or rank is None or not n.only(0):
        return n.unknown()
    starts = n.tensor(1)
    count = starts.shape[0] if starts is not None and starts.shape else None
    axes = n.ints(3) if n.tensor(3) is not None else range(count) if isinstance(count, int) else None
    if axes is not None and x.axis not in [a % rank for a in axes]:
        return x
    begins, ends = n.ints(1), n.dims(2)
    steps = n.ints(4) if n.tensor(4) is not None else [1] * len(begins or ())
    if axes is None or begins is None or ends is None or steps is None:
        return n.unknown()
    at = [a % rank for a in axes].index(x.axis)
    end = ends[at]
    whole = _same(n.dim(0, x.axis), end) or (isinstance(end, int) and end >= LAST)
    return x if whole and begins[at] == 0 and steps[at] == 1 else n.unknown()


def _cut(n: Reading) -> SampleStates:
    """Split."""
    x, rank = n.place(0), n.rank(0)
    return x if x is not None and rank is not None and x.axis != int(n.node.get("axis", 0)) % rank else n.unknown()


def _concatenated(n: Reading) -> SampleStates:
    rank = next((r for i in range(len(n.node.inputs)) if (r := n.rank(i)) is not None), None)
    places = {p for i in n.tagged() if (p := n.place(i)) is not None}
    if rank is None or len(places) != 1:
        return n.unknown()
    (place,) = places
    return place if place.axis != int(n.node.get("axis", 0)) % rank else n.unknown()


def _padded(n: Reading) -> SampleStates:
    """Pad: nothing is added to the samples, as its pads say, or else as the extents tell."""
    x, rank, pads = n.place(0), n.rank(0), n.dims(1)
    axes = n.ints(3) if n.tensor(3) is not None else None if rank is None else range(rank)
    if x is None or rank is None or not n.only(0) or pads is None or axes is None:
        return _as_long(n)
    places = [a % rank for a in axes]
    added = [] if x.axis not in places else pads[places.index(x.axis) :: len(places)]
    if None in added:
        return _as_long(n)
    return n.unknown() if any(amount != 0 for amount in added) else x


def _as_long(n: Reading) -> SampleStates:
    """What may add or take along any axis, where it provably leaves the samples as they are."""
    x, out = n.place(0), n.out()
    fits = x is not None and n.only(0) and out is not None and _same(n.dim(0, x.axis), out[x.axis])
    return x if fits else n.unknown()


def _resized(n: Reading) -> SampleStates:
    x, out, rank, scales = n.place(0), n.out(), n.rank(0), n.array(2)
    axes = n.node.get("axes")
    if x is None or rank is None or not n.only(0):
        return n.unknown()
    places = list(range(rank)) if axes is None else [int(a) % rank for a in axes]
    if x.axis not in places or (scales is not None and len(scales) == len(places) and scales[places.index(x.axis)] == 1):
        return x
    return x if out is not None and _same(n.dim(0, x.axis), out[x.axis]) else n.unknown()


def _gathered(n: Reading) -> SampleStates:
    x, places, rank, picked = n.place(0), n.place(1), n.rank(0), n.rank(1)
    if rank is None or picked is None:
        return n.unknown()
    axis = int(n.node.get("axis", 0)) % rank
    if x is None:
        return n.unknown() if places is None else places.at(places.axis + axis)
    if places is not None:
        return n.mixed() if x.axis == axis else n.unknown()
    if x.axis == axis:
        return n.mixed()
    return x if x.axis < axis else x.at(x.axis + picked - 1)


def _gathered_elements(n: Reading) -> SampleStates:
    """GatherElements: at the same place of both, but along one axis."""
    rank = n.rank(0)
    places = {p for i in n.tagged() if (p := n.place(i)) is not None}
    if rank is None or len(places) != 1:
        return n.unknown()
    (place,) = places
    mixes = place.axis == int(n.node.get("axis", 0)) % rank
    if n.place(0) is None:  # a table that all samples share
        return place
    return n.unknown() if mixes else place


def _gathered_nd(n: Reading) -> SampleStates:
    x, places, lead = n.place(0), n.place(1), int(n.node.get("batch_dims", 0))
    if x is not None and x.axis < lead and places in (None, x):
        return x
    picked = n.rank(1)
    return places if x is None and places is not None and picked is not None and places.axis < picked - 1 else n.unknown()


def _scattered_elements(n: Reading) -> SampleStates:
    """ScatterElements: as GatherElements, written instead of read."""
    rank = n.rank(0)
    places = {p for i in n.tagged() if (p := n.place(i)) is not None}
    if rank is None or len(places) != 1:
        return n.unknown()
    (place,) = places
    return place if place.axis != int(n.node.get("axis", 0)) % rank else n.unknown()


def _one_hot(n: Reading) -> SampleStates:
    x, rank = n.place(0), n.rank(0)
    if x is None or rank is None or not n.only(0):
        return n.unknown()
    new = int(n.node.get("axis", -1)) % (rank + 1)
    return x if x.axis < new else x.at(x.axis + 1)


def _reversed_rows(n: Reading) -> SampleStates:
    """ReverseSequence: every sample by a length of its own."""
    x, lengths, samples = n.place(0), n.place(1), int(n.node.get("batch_axis", 1))
    if x is None or not n.only(0, 1):
        return n.unknown()
    return x if x.axis == samples and lengths in (None, x.at(0)) else n.mixed() if lengths is None else n.unknown()


def _each_row(n: Reading) -> SampleStates:
    """What treats every row of its operands alone."""
    places = {p for i in n.tagged() if (p := n.place(i)) is not None}
    return next(iter(places)) if {p.axis for p in places} == {0} and len(places) == 1 else n.unknown()


def _same(before: Dim, after: Dim) -> bool:
    return before is not None and before == after


def _settings(n: Reading) -> SampleStates:
    """DynamicQuantizeLinear: the numbers, and the scale and zero point of all of them, which are settings."""
    x = n.place(0)
    return [x, None, None] if x is not None else n.unknown()


# operators: a rule for each
MOVES: dict[str, SampleRule] = {
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "LpNormalization", "TopK"), _along("axis", -1)),
    **dict.fromkeys(("CumSum", "CumProd"), _along("axis", 0, 1)),
    "DFT": _along("axis", -2, 2),
    **dict.fromkeys(("ArgMax", "ArgMin"), _chosen),
    "Transpose": _transposed,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    **dict.fromkeys(("Reshape", "Flatten"), _reshape),
    "Expand": _expanded,
    "Tile": _repeated,
    "Slice": _sliced,
    "Split": _cut,
    "Concat": _concatenated,
    "Pad": _padded,
    "CenterCropPad": _as_long,
    **dict.fromkeys(("Resize", "Upsample"), _resized),
    "Gather": _gathered,
    "GatherElements": _gathered_elements,
    "GatherND": _gathered_nd,
    "ScatterElements": _scattered_elements,
    "OneHot": _one_hot,
    "ReverseSequence": _reversed_rows,
    **dict.fromkeys(
        ("DepthToSpace", "SpaceToDepth", "MaxUnpool", "Col2Im", "STFT", "Multinomial", "AffineGrid", "Det"), _each_row
    ),
    **dict.fromkeys(("Trilu", "Bernoulli", "Dropout"), _through),
    "DynamicQuantizeLinear": _settings,
}
"""By operator: where the samples lie in what moves elements, or compares or sums those along an axis."""

EACH_PLACE, ELEMENTWISE, REDUCED, EACH_ROW = _through, _elementwise, _reduced, _each_row
"""The rules of operators by their traits: functions of one operand, of several, reductions, and what treats every row alone."""
