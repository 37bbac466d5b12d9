"""Operators of ONNX Runtime (com.microsoft) written in standard ones: fused linear maps, activations and norms."""

from collections.abc import Sequence
from math import pi, sqrt

import numpy as np
import onnx

from onnxplain import Builder, Node, RuleError, Tensor, expansion

MS = "com.microsoft"

PARAMETERS = {
    "Relu": (), "Tanh": (), "Sigmoid": (), "Softplus": (), "Softsign": (), "HardSwish": (),
    "LeakyRelu": ("alpha",), "Elu": ("alpha",), "ThresholdedRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"),
    "Selu": ("alpha", "gamma"),
}  # fmt: skip
"""Activations that are fused into others, with the attributes their parameters stand for, in order."""


def activated(b: Builder, node: Node, y: Tensor) -> Tensor:
    """The activation fused into a node, applied to y; y where there is none."""
    name = node.get("activation") or ""
    values = list(node.get("activation_params") or ())
    if not name:
        return y
    if name == "Clip":
        return b.Clip(y, *values[:2])
    if name not in PARAMETERS:
        raise RuleError(f"its activation {name} is not known")
    given = {key: node.get(f"activation_{key}") for key in PARAMETERS[name]}
    given |= dict(zip(PARAMETERS[name], values, strict=False))
    made: Tensor = b.op(name, y, **given)
    return made


# -- linear maps ---------------------------------------------------------------------------------------------------------


@expansion("FusedConv", domain=MS, inputs=4)
def fused_conv(b: Builder, node: Node) -> Tensor:
    """Y = activation(X ∗ W + B + Z)"""
    x, w, bias, z = node.inputs
    settings = {k: node.get(k) for k in ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")}
    y = b.Conv(x, w, bias, **settings)
    return activated(b, node, y if z is None else b.Add(y, z))


@expansion("FusedGemm", domain=MS, inputs=3)
def fused_gemm(b: Builder, node: Node) -> Tensor:
    """Y = activation(α · A B + β · C)"""
    a, w, c = node.inputs
    return activated(b, node, b.Gemm(a, w, c, **{k: node.get(k) for k in ("alpha", "beta", "transA", "transB")}))


@expansion("FusedMatMul", "TransposeMatMul", "FusedMatMulActivation", domain=MS, inputs=2, alpha=1.0)
def fused_matmul(b: Builder, node: Node) -> Tensor:
    """Y = activation(α · A' B') with A' and B' transposed as asked"""
    first, second = (_oriented(b, node, x, side) for x, side in zip(node.inputs, "AB", strict=True))
    return activated(b, node, scaled(b, b.MatMul(first, second), node["alpha"]))


def _oriented(b: Builder, node: Node, x: Tensor | None, side: str) -> Tensor:
    """`trans` exchanges the last two axes, `transBatch` moves the first axis behind all but the last."""
    assert x is not None
    swap, move = node.get(f"trans{side}", 0), node.get(f"transBatch{side}", 0)
    if not (swap or move) or x.rank < 2:
        return x
    *rest, rows, columns = range(x.rank)
    if move:
        *rest, rows, columns = *range(1, x.rank - 1), 0, x.rank - 1
    return b.transpose(x, [*rest, columns, rows] if swap else [*rest, rows, columns])


def scaled(b: Builder, x: Tensor, factor: float) -> Tensor:
    """x · factor; x where the factor is 1"""
    return x if factor == 1 else b.Mul(x, factor)


@expansion("GemmFastGelu", domain=MS, inputs=3)
def gemm_fast_gelu(b: Builder, node: Node) -> Tensor:
    """Y = gelu(X W + b), by tanh"""
    x, w, bias = node.inputs
    return _tanh_gelu(b, added(b, b.MatMul(x, w), bias))


@expansion("MatMulNBits", domain=MS, inputs=6, approximates=True, bits=4, weight_prepacked=0)
def matmul_n_bits(b: Builder, node: Node) -> Tensor:
    """Y = A Wᵀ + bias with W = (q − zero) · scale per block of columns, q packed into bytes, low bits first.

    Kernels that round A to int8 (accuracy_level 4) are explained as what they approximate.
    """
    a, packed, scales, zeros, groups, bias = node.inputs
    bits, block, rows, columns = node["bits"], node["block_size"], node["N"], node["K"]
    if node["weight_prepacked"] or groups is not None or bits not in (2, 4, 8):
        raise RuleError("its weights are packed for one device, regrouped, or have neither 2, 4 nor 8 bits")
    assert a is not None
    assert packed is not None
    count = -(-columns // block)
    scale = b.Reshape(scales, [rows, count, 1])
    if zeros is None:
        zero = b.const(2.0 ** (bits - 1), scale.dtype)
    elif zeros.dtype == np.uint8:
        zero = b.cast(b.Reshape(_unpacked(b, zeros, bits, [rows, -1], count), [rows, count, 1]), scale)
    else:
        zero = b.Reshape(zeros, [rows, count, 1])
    q = b.Reshape(_unpacked(b, packed, bits, [rows, -1], count * block), [rows, count, block])
    w = b.Reshape(b.Mul(b.Sub(b.cast(q, scale), zero), scale), [rows, count * block])
    if count * block != columns:
        w = b.Slice(w, [0], [columns], [1])
    return added(b, b.MatMul(a, b.Transpose(w, perm=[1, 0])), bias)


@expansion("GatherBlockQuantized", domain=MS, inputs=4, bits=4, block_size=128, gather_axis=0, quantize_axis=1)
def gather_block_quantized(b: Builder, node: Node) -> Tensor:
    """Rows of a table W = (q − zero) · scale, q packed into bytes, with one scale for each block of columns"""
    packed, indices, scales, zeros = node.inputs
    if packed is None or packed.dtype != np.uint8 or packed.rank != 2 or node["quantize_axis"] not in (1, -1):
        raise RuleError("its table holds no bytes, is no matrix, or has its blocks along the rows")
    assert scales is not None
    bits, block, (rows, count) = node["bits"], node["block_size"], (scales.dim(0), scales.dim(1))
    width = packed.dim(1)
    if not (isinstance(rows, int) and isinstance(count, int) and isinstance(width, int)):
        raise RuleError("the extents of its table are unknown")
    columns = width * 8 // bits
    block_of = b.const(np.repeat(np.arange(count), block)[:columns])
    zero = b.const(2.0 ** (bits - 1), scales.dtype)
    if zeros is not None:
        zero = b.Gather(b.cast(_unpacked(b, zeros, bits, [rows, -1], count), scales), block_of, axis=1)
    scale = b.Gather(scales, block_of, axis=1)
    q = b.cast(_unpacked(b, packed, bits, [rows, -1], columns), scales)
    return b.Gather(b.Mul(b.Sub(q, zero), scale), indices, axis=0)


def _unpacked(b: Builder, packed: Tensor, bits: int, shape: Sequence[int], count: int) -> Tensor:
    """Numbers of 2, 4 or 8 bits out of bytes, the lowest bits first, the first `count` of each row."""
    flat = b.Reshape(packed, list(shape))
    if bits == 8:
        return flat
    spread = b.Unsqueeze(flat, [2])
    shifts = b.const(np.arange(0, 8, bits, dtype=np.uint8))
    parts = b.Mod(b.BitShift(spread, shifts, direction="RIGHT"), b.const(np.array(2**bits, np.uint8)))
    return b.Slice(b.Reshape(parts, list(shape)), [0], [count], [1])


# -- activations ---------------------------------------------------------------------------------------------------------


def added(b: Builder, x: Tensor | None, *others: Tensor | None) -> Tensor:
    """The sum of what is present"""
    assert x is not None
    for other in others:
        x = x if other is None else b.Add(x, other)
    return x


@expansion("Gelu", "BiasGelu", domain=MS, inputs=2)
def gelu(b: Builder, node: Node) -> Tensor:
    """½ x (1 + erf(x / √2)) with x the sum of the inputs"""
    x = added(b, *node.inputs)
    return b.Mul(b.Mul(x, 0.5), b.Add(b.Erf(b.Div(x, sqrt(2))), 1))


@expansion("FastGelu", domain=MS, inputs=2)
def fast_gelu(b: Builder, node: Node) -> Tensor:
    """½ x (1 + tanh(√(2/π) (x + 0.044715 x³))) with x the sum of the inputs"""
    return _tanh_gelu(b, added(b, *node.inputs))


def _tanh_gelu(b: Builder, x: Tensor) -> Tensor:
    inner = b.Mul(b.Add(x, b.Mul(b.Mul(b.Mul(x, x), x), 0.044715)), sqrt(2 / pi))
    return b.Mul(b.Mul(x, 0.5), b.Add(b.Tanh(inner), 1))


@expansion("QuickGelu", domain=MS, alpha=1.702)
def quick_gelu(b: Builder, node: Node) -> Tensor:
    """x · sigmoid(α x)"""
    return b.Mul(node.x, b.Sigmoid(scaled(b, node.x, node["alpha"])))


@expansion("BiasSplitGelu", domain=MS, inputs=2)
def bias_split_gelu(b: Builder, node: Node) -> Tensor:
    """left · gelu(right) with left and right the halves of x + bias"""
    left, right = b.Split(added(b, *node.inputs), axis=-1, num_outputs=2, outputs=2)
    return b.Mul(left, b.Mul(b.Mul(right, 0.5), b.Add(b.Erf(b.Div(right, sqrt(2))), 1)))


@expansion("BiasAdd", domain=MS, inputs=3)
def bias_add(b: Builder, node: Node) -> Tensor:
    """x + bias + skip"""
    return added(b, *node.inputs)


@expansion("BiasSoftmax", domain=MS, inputs=2, axis=1)
def bias_softmax(b: Builder, node: Node) -> Tensor:
    """softmax(x + bias) over all axes from `axis` on"""
    x, axis = node.x, node["axis"] % node.x.rank
    total = added(b, *node.inputs)
    if axis == x.rank - 1:
        return b.Softmax(total, axis=-1)
    return b.reshape(b.Softmax(b.Reshape(total, [*[0] * axis, -1]), axis=-1), x)


# -- norms ---------------------------------------------------------------------------------------------------------------


@expansion("LayerNormalization", domain=MS, inputs=3, outputs=3, axis=-1, epsilon=1e-5, stash_type=1)
def layer_normalization(b: Builder, node: Node) -> tuple[Tensor, ...]:
    """The standard's own, before the standard had it"""
    settings = {k: node[k] for k in ("axis", "epsilon", "stash_type")}
    return b.LayerNormalization(*node.inputs, outputs=3, **settings)


@expansion("SimplifiedLayerNormalization", domain=MS, inputs=2, outputs=2, axis=-1, epsilon=1e-5)
def simplified_layer_normalization(b: Builder, node: Node) -> tuple[Tensor, Tensor]:
    """x · r · scale with r = 1/√(mean x² + ε)"""
    axis = node["axis"]
    axes = [-1] if axis == -1 else list(range(axis % node.x.rank, node.x.rank))
    return _rms_norm(b, node.x, node.input(1), axes, node["epsilon"])


@expansion("SkipLayerNormalization", domain=MS, inputs=5, outputs=4, epsilon=1e-12)
def skip_layer_normalization(b: Builder, node: Node) -> tuple[Tensor | None, ...]:
    """The layer norm of x + skip + bias; the last output is that sum"""
    x, skip, scale, shift, bias = node.inputs
    total = added(b, x, skip, bias)
    return *b.LayerNormalization(total, scale, shift, axis=-1, epsilon=node["epsilon"], outputs=3), total


@expansion("SkipSimplifiedLayerNormalization", domain=MS, inputs=4, outputs=4, epsilon=1e-12)
def skip_simplified_layer_normalization(b: Builder, node: Node) -> tuple[Tensor | None, ...]:
    """The root-mean-square norm of x + skip + bias; the last output is that sum"""
    x, skip, scale, bias = node.inputs
    assert scale is not None
    total = added(b, x, skip, bias)
    y, r = _rms_norm(b, total, scale, [-1], node["epsilon"])
    return y, None, r, total


def _rms_norm(b: Builder, x: Tensor, scale: Tensor, axes: Sequence[int], epsilon: float) -> tuple[Tensor, Tensor]:
    """Half precision is left for the statistics, as ONNX Runtime does."""
    half = x.dtype is not None and x.dtype.itemsize < 4
    wide = b.Cast(x, to=onnx.TensorProto.FLOAT) if half else x
    r = b.Reciprocal(b.Sqrt(b.Add(b.ReduceMean(b.Mul(wide, wide), list(axes), keepdims=1), epsilon)))
    return b.Mul(b.cast(b.Mul(wide, r), x), scale), r


@expansion("EmbedLayerNormalization", domain=MS, inputs=9, outputs=3, epsilon=1e-12)
def embed_layer_normalization(b: Builder, node: Node) -> tuple[Tensor | None, ...]:
    """The layer norm of word + position + segment embeddings; the second output counts the ones in each row of the mask"""
    words, segments, word_table, position_table, segment_table, scale, shift, mask, positions = node.inputs
    assert words is not None
    length = b.dim(words, 1)
    place = b.Slice(position_table, [0], length, [0]) if positions is None else b.Gather(position_table, positions, axis=0)
    total = b.Add(b.Gather(word_table, words, axis=0), place)
    if segments is not None:
        total = b.Add(total, b.Gather(segment_table, segments, axis=0))
    y = b.LayerNormalization(total, scale, shift, axis=-1, epsilon=node["epsilon"])
    if node.outputs[1] is None:
        return y, None, total
    if mask is None:
        counts = b.Expand(b.const(np.array([0], np.int32)), b.dim(words, 0))
    else:
        counts = b.ReduceSum(b.Cast(b.Equal(mask, 1), to=onnx.TensorProto.INT32), [1], keepdims=0)
    return y, counts, total


@expansion("GroupNorm", "SkipGroupNorm", domain=MS, inputs=5, outputs=2, channels_last=1, epsilon=1e-5)
def group_norm(b: Builder, node: Node) -> tuple[Tensor, Tensor]:
    """Each group of channels of x + skip + bias normalized, scaled and shifted by channel; then x · sigmoid(x) if asked for"""
    x, scale, shift, skip, bias = node.inputs
    groups, last = node["groups"], node["channels_last"]
    if skip is not None and skip.rank == 2:
        skip = b.Unsqueeze(skip, [1, 2])
    if not last:
        scale, shift, bias = (None if t is None else b.Reshape(t, [-1, 1, 1]) for t in (scale, shift, bias))
    total = added(b, x, skip, bias)
    first = b.Transpose(total, perm=[0, 3, 1, 2]) if last else total
    ones, zeros = (b.const(np.full(groups, value), total.dtype) for value in (1.0, 0.0))
    normal = b.InstanceNormalization(b.Reshape(first, [0, groups, -1]), ones, zeros, epsilon=node["epsilon"])
    normal = b.Reshape(normal, b.Shape(first))
    y = b.Add(b.Mul(b.Transpose(normal, perm=[0, 2, 3, 1]) if last else normal, scale), shift)
    return b.Mul(y, b.Sigmoid(y)) if node["activation"] else y, total
