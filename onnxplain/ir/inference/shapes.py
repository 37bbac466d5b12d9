"""The shape of what each operator returns, one entry per operator: `RULES`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxplain.ir.inference import moves, products
from onnxplain.ir.inference.applied import Applied
from onnxplain.ir.inference.dims import broadcast
from onnxplain.ir.tensor import Dim, Shape

__all__ = ["RULES", "Rule"]

# operators of this file: an implementation of each

Rule: TypeAlias = "Callable[[Applied], Shape | list[Shape]]"
"""The shape of the only output, or a list with the shape of each."""


def _same(n: Applied) -> Shape:
    return n.shape()


def _broadcast(n: Applied) -> Shape:
    return broadcast([t.shape for t in n.inputs if t is not None])


def _like(index: int) -> Rule:
    """Shaped like an input."""
    return lambda n: n.shape(index)


def _scalar(n: Applied) -> Shape:
    return ()


def _reduced(n: Applied) -> Shape:
    x = n.shape()
    if x is None:
        return None
    axes = n.parameter("axes", 1)
    if axes is None and n.has("axes", 1):  # they are known at run time only
        return (None,) * len(x) if n.attribute("keepdims", 1) else None
    if not axes:
        if n.attribute("noop_with_empty_axes"):
            return x
        axes = tuple(range(len(x)))
    return _without(x, axes, keep=bool(n.attribute("keepdims", 1)))


def _chosen(n: Applied) -> Shape:
    """ArgMax, ArgMin."""
    x = n.shape()
    return None if x is None else _without(x, (n.attribute("axis", 0),), keep=bool(n.attribute("keepdims", 1)))


def _without(x: tuple[Dim, ...], axes: tuple[int, ...], *, keep: bool) -> Shape:
    gone = {a % len(x) for a in axes} if x else set()
    return tuple(1 if i in gone else d for i, d in enumerate(x) if keep or i not in gone)


def _layer_norm(n: Applied) -> list[Shape]:
    x = n.shape()
    axis = n.attribute("axis", -1)
    statistics = None if x is None else (*x[:axis], *[1] * len(x[axis:]))
    return [x, *[statistics] * (n.outputs - 1)]


def _batch_norm(n: Applied) -> list[Shape]:
    return [n.shape(), *[n.shape(3)] * (n.outputs - 1)]


def _both(n: Applied) -> list[Shape]:
    return [n.shape()] * n.outputs


def _quantized_dynamically(n: Applied) -> list[Shape]:
    return [n.shape(), (), ()][: n.outputs]


def _max_pool(n: Applied) -> list[Shape]:
    return [products.pooled_shape(n)] * n.outputs


def _global_pool(n: Applied) -> Shape:
    x = n.shape()
    return None if x is None else (*x[:2], *[1] * len(x[2:]))


def _shape(n: Applied) -> Shape:
    x = n.shape()
    return (None,) if x is None else (len(x[n.attribute("start", 0) : n.attribute("end")]),)


def _range(n: Applied) -> Shape:
    limits = [n.ints(i) for i in range(3)]
    start, limit, step = ((None,) if found is None else found for found in limits)
    if start[0] is not None and limit[0] is not None and step[0]:
        return (len(range(start[0], limit[0], step[0])),)
    ends = n.dims(1)
    return (ends[0],) if start[0] == 0 and step[0] == 1 and ends is not None else (None,)


def _filled(n: Applied) -> Shape:
    return n.dims(0)


def _non_zero(n: Applied) -> Shape:
    x = n.shape()
    return (None if x is None else len(x), None)


def _one_hot(n: Applied) -> Shape:
    x, depth = n.shape(), n.dims(1)
    if x is None:
        return None
    axis = n.attribute("axis", -1) % (len(x) + 1)
    return (*x[:axis], depth[0] if depth else None, *x[axis:])


def _top(n: Applied) -> list[Shape]:
    x, count = n.shape(), n.dims(1)
    if x is None:
        return [None] * n.outputs
    axis = n.attribute("axis", -1) % len(x)
    return [(*x[:axis], count[0] if count else None, *x[axis + 1 :])] * n.outputs


def _random(n: Applied) -> Shape:
    given = n.attributes.get("shape")
    return None if given is None else tuple(given)


def _determinant(n: Applied) -> Shape:
    x = n.shape()
    return None if x is None else x[:-2]


def _depth_to_space(n: Applied) -> Shape:
    x, size = n.shape(), n.attributes["blocksize"]
    return None if x is None else _blocks(x, lambda c: c // size**2, lambda d: d * size)


def _space_to_depth(n: Applied) -> Shape:
    x, size = n.shape(), n.attributes["blocksize"]
    return None if x is None else _blocks(x, lambda c: c * size**2, lambda d: d // size)


def _blocks(x: tuple[Dim, ...], channels: Callable[[int], int], space: Callable[[int], int]) -> Shape:
    def through(change: Callable[[int], int], d: Dim) -> Dim:
        return change(d) if isinstance(d, int) else None

    return (x[0], through(channels, x[1]), *(through(space, d) for d in x[2:]))


def _center(n: Applied) -> Shape:
    x, wanted, axes = n.shape(), n.dims(1), n.attributes.get("axes")
    if x is None or wanted is None:
        return None if x is None else (None,) * len(x)
    made = list(x)
    for axis, d in zip(range(len(x)) if axes is None else axes, wanted, strict=True):
        made[axis] = d
    return tuple(made)


def _resized(n: Applied) -> Shape:
    x, axes = n.shape(), n.attributes.get("axes")
    if x is None:
        return None
    axes = range(len(x)) if axes is None else [a % len(x) for a in axes]
    sizes: Sequence[Dim] | None = n.dims(3)
    if sizes is None and n.input(3) is None:
        sizes = _scaled([x[a] for a in axes], n.value(n.input(2)))
    if sizes is None or n.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        return tuple(None if a in axes else d for a, d in enumerate(x))
    made = list(x)
    for axis, d in zip(axes, sizes, strict=True):
        made[axis] = d
    return tuple(made)


def _scaled(extents: Sequence[Dim], scales: np.ndarray[Any, Any] | None) -> list[Dim] | None:
    """Extents times scales, in float32 as ONNX Runtime multiplies."""
    if scales is None or len(scales) != len(extents):
        return None
    pairs = zip(extents, scales.astype(np.float32), strict=True)
    return [int(np.floor(np.float32(d) * s)) if isinstance(d, int) else d if s == 1 else None for d, s in pairs]


def _unknown(n: Applied) -> Shape:
    return None


BROADCAST = """Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min
Mod Mul Or Pow Sub Sum Where Xor"""

SAME = """Abs Acos Acosh Asin Asinh Atan Atanh Bernoulli BitwiseNot Cast CastLike Ceil Celu Clip Cos Cosh CumProd CumSum
DequantizeLinear Elu Erf Exp EyeLike Floor Gelu GroupNormalization HardSigmoid HardSwish Hardmax Identity
InstanceNormalization IsInf IsNaN LRN LeakyRelu Log LogSoftmax LpNormalization MeanVarianceNormalization Mish Neg Not
PRelu QuantizeLinear RMSNormalization RandomNormalLike RandomUniformLike Reciprocal Relu ReverseSequence Round Scatter
ScatterElements ScatterND Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh
TensorScatter ThresholdedRelu Trilu"""

REDUCTIONS = """ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare"""

NOT_TENSORS = """ConcatFromSequence SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SplitToSequence"""
"""Sequences and what comes out of them: their elements need not have one shape."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(BROADCAST.split(), _broadcast),
    **dict.fromkeys(SAME.split(), _same),
    **dict.fromkeys(REDUCTIONS.split(), _reduced),
    **dict.fromkeys(NOT_TENSORS.split(), _unknown),
    "ArgMax": _chosen,
    "ArgMin": _chosen,
    "AveragePool": products.pooled_shape,
    "BatchNormalization": _batch_norm,
    "CenterCropPad": _center,
    "Concat": moves.concatenated,
    "ConstantOfShape": _filled,
    "Conv": products.convolved,
    "DepthToSpace": _depth_to_space,
    "Det": _determinant,
    "Dropout": _both,
    "DynamicQuantizeLinear": _quantized_dynamically,
    "Einsum": products.contracted,
    "Expand": moves.expanded_shape,
    "Flatten": moves.flat_shape,
    "Gather": moves.gathered,
    "GatherElements": _like(1),
    "GatherND": moves.gathered_nd,
    "Gemm": products.general_product,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "LayerNormalization": _layer_norm,
    "LpPool": products.pooled_shape,
    "MatMul": products.matrix_product,
    "MaxPool": _max_pool,
    "NonZero": _non_zero,
    "OneHot": _one_hot,
    "Pad": moves.padded,
    "RandomNormal": _random,
    "RandomUniform": _random,
    "Range": _range,
    "Reshape": moves.reshaped,
    "Resize": _resized,
    "SequenceLength": _scalar,
    "Shape": _shape,
    "Size": _scalar,
    "Slice": moves.sliced,
    "SpaceToDepth": _space_to_depth,
    "Split": moves.cut,
    "Squeeze": moves.squeezed,
    "Tile": moves.repeated,
    "TopK": _top,
    "Transpose": moves.transposed,
    "Unsqueeze": moves.unsqueezed,
}
"""The rule of each operator. What is missing here is left to onnx's own inference."""
