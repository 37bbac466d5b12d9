"""Class activation maps without gradients: from the activations alone, or from scores of perturbed runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxplain.builder.builder import Builder
from onnxplain.errors import MethodError
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Tensor
from onnxplain.method.attribution import score
from onnxplain.method.cam import channel_sum
from onnxplain.method.cam_geometry import SpatialMap, places
from onnxplain.method.context import AttributionContext
from onnxplain.method.registry import method
from onnxplain.method.sampling.accumulate import Points, Sum, accumulate
from onnxplain.method.sampling.chunk_size import Chunk

__all__: list[str] = []


@method(
    "eigen-cam",
    summary="The first principal component of the layer's activations: what stands out, whatever the target",
    formula="ReLU(A v), v the first principal direction of the channels over places",
    source="Muhammad, Yeasin 2020, Eigen-CAM: Class Activation Map using Principal Components, section III",
    signed=False,
    attributes_to="map",
    auto_layer=True,
)
def eigen_cam(
    context: AttributionContext, *, relu: bool = True, upsample: bool = False, centred: bool = True, steps: int = 16,
    axes: Sequence[int] | None = None, grid: Sequence[int] | None = None,
) -> dict[Tensor, Tensor]:  # fmt: skip
    """The power method on the Gram matrix G of places or channels, whichever are fewer: squared `steps` times it is
    G^(2^steps), all columns of which point along the first eigenvector."""
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= 30:
        raise MethodError(f"steps is how often the matrix is squared, 1 to 30; got {steps!r}")
    b, at = context.b, places(context, axes, grid)
    a = at.flat(at.layer.tensor)
    if centred:
        a = b.Sub(a, b.ReduceMean(a, [2], keepdims=1))
    channels, count = a.dim(1), a.dim(2)
    over_places = isinstance(channels, int) and isinstance(count, int) and count <= channels
    turned = b.Transpose(a, perm=[0, 2, 1])
    gram = b.MatMul(turned, a) if over_places else b.MatMul(a, turned)
    gram = b.Div(gram, _nonzero(b.ReduceMax(b.Abs(gram), [1, 2], keepdims=1), b))
    power = gram
    for _ in range(steps):
        power = b.MatMul(power, power)
        power = b.Div(power, _nonzero(b.ReduceMax(b.Abs(power), [1, 2], keepdims=1), b))
    # The column with the largest norm is the one farthest from being orthogonal to the eigenvector.
    sizes = b.ReduceSumSquare(power, [1], keepdims=1)
    extent = b.Squeeze(b.Shape(sizes, start=2, end=3))
    chosen = b.cast(b.Equal(b.Range(0, extent, 1), b.ArgMax(sizes, axis=2, keepdims=1)), a)
    vector = b.MatMul(power, b.Transpose(chosen, perm=[0, 2, 1]))
    for _ in range(2):  # away with the rounding of the squares
        vector = _unit(b.MatMul(gram, vector), b)
    if over_places:  # A v for v = Aᵀu / |Aᵀu| is |Aᵀu| u
        length = b.Sqrt(b.ReduceSumSquare(b.MatMul(a, vector), [1, 2], keepdims=1))
        made = b.Mul(b.Transpose(vector, perm=[0, 2, 1]), length)
    else:
        made = channel_sum(b, b.Transpose(vector, perm=[0, 2, 1]), a)
    # A principal component has no sign of its own: it gets the one with which it grows with the summed activation.
    along = b.ReduceSum(b.Mul(made, b.ReduceSum(a, [1], keepdims=1)), [1, 2], keepdims=1)
    made = b.Where(b.Less(along, 0), b.Neg(made), made)
    flat = made
    return {at.input.tensor: at.finished(flat, relu=relu, upsample=upsample)}


def _nonzero(x: Tensor, b: Builder) -> Tensor:
    """The tensor with 1 in place of 0."""
    made: Tensor = b.Where(b.Equal(x, 0), 1, x)
    return made


def _unit(vector: Tensor, b: Builder) -> Tensor:
    """Columns [samples, elements, 1] of length 1; zeros stay zeros."""
    made: Tensor = b.Div(vector, _nonzero(b.Sqrt(b.ReduceSumSquare(vector, [1], keepdims=1)), b))
    return made


@method(
    "score-cam",
    summary="The layer's channels weighted by the score of the input where they are active, everything else dimmed: no gradients",
    formula="ReLU(Σ_k w_k A_k), w = softmax over k of f(x ⊙ A_k enlarged, in 0..1)",
    source="Wang et al. 2020, Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks, eqs. 4-6",
    signed=False,
    attributes_to="map",
    auto_layer=True,
    multi_point=True,
)
def score_cam(
    context: AttributionContext,
    *,
    relu: bool = True,
    upsample: bool = False,
    axes: Sequence[int] | None = None,
    grid: Sequence[int] | None = None,
    chunk: int | str | None = None,
) -> dict[Tensor, Tensor]:
    b, at = context.b, places(context, axes, grid)
    x, a = at.input.tensor, at.flat(at.layer.tensor)
    beyond = list(range(2, 2 + len(at.layout.grid or at.layout.space)))

    def points(numbers: Tensor) -> dict[Tensor, Tensor]:
        chosen = b.Gather(a, numbers, axis=1)
        wide = at.laid(chosen, upsample=True)
        low, high = b.ReduceMin(wide, beyond, keepdims=1), b.ReduceMax(wide, beyond, keepdims=1)
        mask = b.Div(b.Sub(wide, low), _nonzero(b.Sub(high, low), b))
        masks = at.over_input(b.transpose(mask, [1, 0, *beyond]), lead=1)
        return {x: b.Mul(x, masks)}

    weights = b.Softmax(_scores(at, context.with_point(layers=()), points, chunk), axis=-1)
    return _finished(at, weights, a, relu=relu, upsample=upsample)


@method(
    "ablation-cam",
    summary="The layer's channels weighted by how much the score falls when they are silenced: no gradients",
    formula="ReLU(Σ_k w_k A_k), w_k = (f − f with A_k = 0) / |f|",
    source="Desai, Ramaswamy 2020, Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free "
    "Localization",
    signed=False,
    attributes_to="map",
    auto_layer=True,
    multi_point=True,
)
def ablation_cam(
    context: AttributionContext,
    *,
    relu: bool = True,
    upsample: bool = False,
    axes: Sequence[int] | None = None,
    grid: Sequence[int] | None = None,
    chunk: int | str | None = None,
) -> dict[Tensor, Tensor]:
    b, at = context.b, places(context, axes, grid)
    x = at.layer.tensor
    over = [a for a in at.layout.channels(x.rank, at.layer.axis) if x.dim(a) != 1]
    if len(over) != 1:
        raise MethodError(
            f"ablation-cam silences channels, counted by one axis; '{at.layer.name}' {named_dims(x)} has {len(over)}"
        )

    def points(numbers: Tensor) -> dict[Tensor, Tensor]:
        places = [i for i in range(1, x.rank + 1) if i != over[0] + 1]
        silent = b.Unsqueeze(_each(at, numbers), places)
        return {x: b.Where(silent, 0, x)}

    here = b.Unsqueeze(score(context), [-1])
    without = _scores(at, context.with_point(explained=(at.layer,), layers=()), points, chunk)
    weights = b.Div(b.Sub(here, without), _nonzero(b.Abs(here), b))
    return _finished(at, weights, at.flat(x), relu=relu, upsample=upsample)


def _each(at: SpatialMap, numbers: Tensor) -> Tensor:
    """Whether a channel is the one of a point's number: bool [c, channels]."""
    b, channels = at.job.b, at.channels
    every = np.arange(channels) if isinstance(channels, int) else b.Range(0, b.Squeeze(channels), 1)
    made: Tensor = b.Equal(b.Unsqueeze(numbers, [1]), every)
    return made


def _scores(at: SpatialMap, context: AttributionContext, points: Points, chunk: Chunk) -> Tensor:
    """The score at one point for each channel: [samples, targets where there are many, channels]."""
    b, channels = at.job.b, at.channels
    count = b.const([channels]) if isinstance(channels, int) else channels

    def spread(value: Tensor) -> Tensor:
        """A score once for each channel."""
        return b.Expand(b.Unsqueeze(value, [-1]), b.Concat(*[[1]] * value.rank, count, axis=0) if value.rank else count)

    def place(numbers: Tensor, index: int, value: Tensor) -> Tensor:
        mine = b.cast(_each(at, numbers), value)
        mine = b.Unsqueeze(mine, list(range(1, value.rank - 1))) if value.rank > 2 else mine
        return b.Mul(value, mine)

    like = spread(score(context))
    (made,) = accumulate(
        context, count, points, lambda moved: [spread(score(moved))], Sum(), chunk=chunk, place=place, likes=[like]
    )
    return made


def _finished(at: SpatialMap, weights: Tensor, a: Tensor, *, relu: bool, upsample: bool) -> dict[Tensor, Tensor]:
    """The map of weighted channels: weights [samples, targets where there are many, channels]."""
    b, context = at.job.b, at.job
    if not context.batched:
        weights = b.Unsqueeze(weights, [0])
    if context.identity_cotangents is None:
        weights = b.Unsqueeze(weights, [1])
    targets = 1 if context.identity_cotangents is None else context.identity_cotangents.dim(0)
    flat = b.shaped(channel_sum(b, weights, a), (at.samples, targets, at.count()))
    return {at.input.tensor: at.finished(flat, relu=relu, upsample=upsample)}
