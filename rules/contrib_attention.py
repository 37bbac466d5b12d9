"""Attention operators of ONNX Runtime (com.microsoft) written in standard ones.

All come down to softmax(s · Q Kᵀ + bias) V per head, with tensors [batch, heads, positions, head size]. They differ in how
queries, keys and values are packed, in what masks keys, and in how keys and values of earlier steps come in.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import onnx

from onnxplain import Builder, Node, RuleError, Tensor, expansion

MS = "com.microsoft"
INT64 = onnx.TensorProto.INT64

REFUSED = {
    "past_present_share_buffer": "its past and present share one buffer",
    "do_rotary": "it rotates within packed attention",
    "sliding_window_cache": "its cache is a sliding window",
    "is_packed_batching": "its batch is packed",
}
"""Attributes without an exact meaning in standard operators, or without a kernel on the CPU to compare with."""


def refuse(node: Node, attributes: Sequence[str], inputs: Sequence[int] = (), outputs: Sequence[int] = ()) -> None:
    """Refuse what the attributes, inputs and outputs named here would mean."""
    for name in attributes:
        if node.get(name, 0):
            raise RuleError(REFUSED[name])
    for kind, tensors, wanted in (("input", node.inputs, inputs), ("output", node.outputs, outputs)):
        for i in wanted:
            if tensors[i] is not None:
                raise RuleError(f"its {kind} {i} is not supported")


def extent(x: Tensor | None, axis: int) -> int:
    """An extent that must be known."""
    size = None if x is None else x.dim(axis)
    if not isinstance(size, int):
        raise RuleError(
            f"the extent of axis {axis} of '{'' if x is None else x.name}' is unknown; export it with that number fixed"
        )
    return size


def heads(b: Builder, x: Tensor | None, count: int) -> Tensor:
    """[batch, positions, heads · size] → [batch, heads, positions, size]"""
    return b.Transpose(b.Reshape(x, [0, 0, count, -1]), perm=[0, 2, 1, 3])


def merged(b: Builder, x: Tensor) -> Tensor:
    """[batch, heads, positions, size] → [batch, positions, heads · size]"""
    return b.Reshape(b.Transpose(x, perm=[0, 2, 1, 3]), [0, 0, -1])


def scores(b: Builder, q: Tensor, k: Tensor, scale: float) -> Tensor:
    """s · Q Kᵀ"""
    return b.Mul(b.MatMul(q, b.Transpose(k, perm=[0, 1, 3, 2])), scale)


def positions(b: Builder, x: Tensor, axis: int) -> Tensor:
    """0, 1, 2, … along an axis of x"""
    return b.Range(0, b.Squeeze(_extent(b, x, axis)), 1)


def _extent(b: Builder, x: Tensor, axis: int) -> Tensor:
    return b.Shape(x, start=axis, end=axis + 1)


def filled(b: Builder, kept: Tensor, value: float, like: Tensor) -> Tensor:
    """0 where kept, else the value, in the type of `like`"""
    return b.Where(kept, b.const(0.0, like.dtype), b.const(value, like.dtype))


def lowest(x: Tensor) -> float:
    """The lowest finite number of its type"""
    return float(np.finfo(np.float16 if x.dtype is not None and x.dtype.itemsize < 4 else np.float32).min)


def causal_bias(b: Builder, q: Tensor, k: Tensor, past: Tensor | None, axis: int, like: Tensor) -> Tensor:
    """No query sees keys after it; the first query stands behind the past, whose keys lie along `axis`"""
    rows, columns = b.Unsqueeze(positions(b, q, 2), [1]), positions(b, k, 2)
    rows = rows if past is None else b.Add(rows, _extent(b, past, axis))
    return filled(b, b.LessOrEqual(columns, rows), lowest(like), like)


def mask_bias(b: Builder, node: Node, mask: Tensor, q: Tensor, k: Tensor, batch: Tensor) -> Tensor:
    """What a mask adds to the scores: 0 where a key counts, the filter value where it does not.

    A mask of rank 2 or 3 says 1 for keys that count; one of rank 1 holds the number of keys of each sample, or their ends
    and then their starts.
    """
    value = node["mask_filter_value"]
    if mask.rank in (2, 3):
        axes = [1, 2] if mask.rank == 2 else [1]
        return filled(b, b.Greater(b.Unsqueeze(mask, axes), 0), value, batch)
    if mask.rank != 1:
        raise RuleError(f"its mask has rank {mask.rank}")
    column = b.Cast(positions(b, k, 2), to=onnx.helper.np_dtype_to_tensor_dtype(mask.dtype or np.dtype(np.int32)))
    samples, entries = batch.dim(0), mask.dim(0)
    if samples is not None and samples == entries:
        kept = b.Less(column, b.Unsqueeze(mask, [1, 2, 3]))
    elif isinstance(samples, int) and entries == 2 * samples:
        ends, starts = (b.Unsqueeze(t, [1, 2, 3]) for t in b.Split(mask, axis=0, num_outputs=2, outputs=2))
        kept = b.And(b.Less(column, ends), b.GreaterOrEqual(column, starts))
    else:
        raise RuleError(f"its mask has {entries} entries for {samples} samples: neither one nor provably two for each")
    return filled(b, kept, value, batch)


def attended(b: Builder, q: Tensor, k: Tensor, v: Tensor, scale: float, biases: Sequence[Tensor | None]) -> Tensor:
    """softmax(s · Q Kᵀ + biases) V, heads merged"""
    given = [t for t in biases if t is not None]
    s = scores(b, q, k, scale)
    if given:
        s = b.Add(s, b.total(given))
    return merged(b, b.MatMul(b.Softmax(s, axis=-1), v))


@expansion("Attention", domain=MS, inputs=7, outputs=2, mask_filter_value=-10000.0)
def attention(b: Builder, node: Node) -> tuple[Tensor, Tensor | None]:
    """Q, K, V = split(X W + b); past keys and values come before the new ones"""
    x, w, bias, mask, past, extra, _ = node.inputs
    assert x is not None
    refuse(node, ["past_present_share_buffer", "do_rotary"], inputs=[6])
    count = node["num_heads"]
    sizes = list(node.get("qkv_hidden_sizes") or [extent(w, 1) // 3] * 3)
    projected = b.MatMul(x, w) if bias is None else b.Add(b.MatMul(x, w), bias)
    q, k, v = (heads(b, t, count) for t in b.Split(projected, sizes, axis=2, outputs=3))
    if past is not None:
        k, v = (b.Concat(b.Gather(past, i, axis=0), new, axis=2) for i, new in enumerate((k, v)))
    present = None
    if node.outputs[1] is not None:
        present = b.Concat(b.Unsqueeze(k, [0]), b.Unsqueeze(v, [0]), axis=0)
    scale = node.get("scale") or 1 / sqrt(sizes[0] // count)
    biases = [
        extra,
        None if mask is None else mask_bias(b, node, mask, q, k, x),
        causal_bias(b, q, k, past, 3, x) if node.get("unidirectional") else None,
    ]
    return attended(b, q, k, v, scale, biases), present


@expansion("MultiHeadAttention", domain=MS, inputs=10, outputs=4, mask_filter_value=-10000.0)
def multi_head_attention(b: Builder, node: Node) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values come apart, packed by two or packed by three, or as heads already"""
    query, key, value, bias, mask, extra, past_key, past_value, *_ = node.inputs
    assert query is not None
    refuse(node, [], inputs=[8, 9], outputs=[3])
    count = node["num_heads"]
    packed = [query] if key is None else [query, key] if value is None else [query, key, value]
    parts = [part for x in packed for part in _unpacked(b, x)]
    size = extent(query, 2) // count if query.rank == 3 else extent(query, -1)
    if bias is not None:
        each = count * size
        sizes = [each, each, extent(bias, 0) - 2 * each]
        parts = [_with_bias(b, p, t, count) for p, t in zip(parts, b.Split(bias, sizes, axis=0, outputs=3), strict=True)]
    if node.get("unidirectional") and key is not None and key.rank == 3 and _differ(query.dim(1), key.dim(1)):
        raise RuleError("it is causal between sequences of different lengths, on which kernels do not agree")
    q, k, v = (heads(b, t, count) if layout == "flat" else t for t, layout in parts)
    if past_key is not None and past_value is not None:
        k, v = b.Concat(past_key, k, axis=2), b.Concat(past_value, v, axis=2)
    biases = [
        extra,
        None if mask is None else mask_bias(b, node, mask, q, k, query),
        causal_bias(b, q, k, past_key, 2, query) if node.get("unidirectional") else None,
    ]
    return attended(b, q, k, v, node.get("scale") or 1 / sqrt(size), biases), k, v


def _unpacked(b: Builder, x: Tensor) -> list[tuple[Tensor, str]]:
    """The tensors packed in x, each with its layout: "flat" where heads lie side by side, "heads", or "cached" heads"""
    if x.rank == 5:
        return [(b.Transpose(b.Gather(x, i, axis=3), perm=[0, 2, 1, 3]), "heads") for i in range(extent(x, 3))]
    return [(x, "flat" if x.rank == 3 else "cached")]


def _differ(one: int | str | None, other: int | str | None) -> bool:
    return isinstance(one, int) and isinstance(other, int) and one != other


def _with_bias(b: Builder, part: tuple[Tensor, str], bias: Tensor, count: int) -> tuple[Tensor, str]:
    """Cached keys and values have had their bias"""
    x, layout = part
    if layout == "cached":
        return part
    return b.Add(x, bias if layout == "flat" else b.Reshape(bias, [count, 1, -1])), layout


@expansion("RotaryEmbedding", domain=MS, inputs=4)
def rotary_embedding(b: Builder, node: Node) -> Tensor:
    """Pairs of elements turned by the angles of their positions; elements beyond the rotary size stay as they are"""
    x, place, cosines, sines = node.inputs
    assert x is not None
    assert place is not None
    refuse(node, ["is_packed_batching"])
    rotary = 2 * extent(cosines, 1)
    if x.rank == 3:
        count = node.get("num_heads", 0)
        size = extent(x, 2) // count if count and node.get("rotary_embedding_dim", 0) else rotary
        parts, axis = b.Reshape(x, [0, 0, -1, size]), 2
    else:
        parts, axis, size = x, 1, extent(x, 3)
    if place.rank == 1:
        place = b.Unsqueeze(b.Add(positions(b, x, x.rank - 2 if x.rank == 4 else 1), place), [0])
    angles = [b.Unsqueeze(b.Gather(t, place, axis=0), [axis]) for t in (cosines, sines)]
    turned = rotated(b, parts, angles[0], angles[1], rotary, size, bool(node.get("interleaved", 0)))
    return turned if axis == 1 else b.reshape(turned, x)


def rotated(b: Builder, x: Tensor, cosine: Tensor, sine: Tensor, rotary: int, size: int, interleaved: bool) -> Tensor:
    """(u, v) → (u cos − v sin, u sin + v cos), with u and v halves of the first `rotary` elements, or every other one"""
    kept = b.Slice(x, [rotary], [size], [-1]) if rotary < size else None
    x = b.Slice(x, [0], [rotary], [-1]) if rotary < size else x
    if interleaved:
        pairs = b.Reshape(x, [0, 0, 0, -1, 2])
        u, v = (b.Gather(pairs, i, axis=4) for i in (0, 1))
    else:
        u, v = b.Split(x, axis=-1, num_outputs=2, outputs=2)
    turned = [b.Sub(b.Mul(u, cosine), b.Mul(v, sine)), b.Add(b.Mul(u, sine), b.Mul(v, cosine))]
    if interleaved:
        y = b.Reshape(b.Concat(*(b.Unsqueeze(t, [4]) for t in turned), axis=4), [0, 0, 0, -1])
    else:
        y = b.Concat(*turned, axis=-1)
    return y if kept is None else b.Concat(y, kept, axis=-1)


@expansion(
    "GroupQueryAttention", domain=MS, inputs=16, outputs=4,
    local_window_size=-1, causal=1, k_quant_type="NONE", v_quant_type="NONE", smooth_softmax=-1,
)  # fmt: skip
def group_query_attention(b: Builder, node: Node) -> tuple[Tensor, Tensor, Tensor]:
    """Groups of query heads share a key head. The new keys of a sample lie behind the `seqlens_k` + 1 − new keys it has.

    Where the cache is longer than that, what lies behind is masked. A first prompt starts at position 0.
    """
    query, key, value, past_key, past_value, lengths, total, cosines, sines, place, extra, sinks, *_ = node.inputs
    assert query is not None
    assert lengths is not None
    refuse(node, ["sliding_window_cache"], inputs=[12, 13, 14, 15], outputs=[3])
    if (node["k_quant_type"], node["v_quant_type"]) != ("NONE", "NONE"):
        raise RuleError("its cache is quantized")
    count, groups = node["num_heads"], node["kv_num_heads"]
    if key is None:
        size = extent(query, 2) // (count + 2 * groups)
        flat: Sequence[Tensor | None] = b.Split(query, [count * size, groups * size, groups * size], axis=2, outputs=3)
    else:
        size, flat = extent(query, 2) // count, (query, key, value)
    q, k, v = (heads(b, t, n) for t, n in zip(flat, (count, groups, groups), strict=True))
    new = _extent(b, query, 1)
    last = b.Reshape(b.Cast(lengths, to=INT64), [-1, 1])
    longest = b.Reshape(b.Cast(total, to=INT64), [1])
    start = b.Where(b.Equal(longest, new), 0, b.Sub(b.Add(last, 1), new))
    where = b.Add(b.Unsqueeze(positions(b, query, 1), [0]), start)
    if node.get("do_rotary", 0):
        at = where if place is None else place
        angles = [b.Unsqueeze(b.Gather(t, at, axis=0), [1]) for t in (cosines, sines)]
        settings = (2 * extent(cosines, 1), size, bool(node.get("rotary_interleaved", 0)))
        q, k = (rotated(b, t, angles[0], angles[1], *settings) for t in (q, k))
    if past_key is not None and past_value is not None:
        k, v = (_appended(b, p, t, start, new, longest) for p, t in ((past_key, k), (past_value, v)))
    present = k, v
    if past_key is not None:
        k, v = (b.Slice(t, [0], longest, [2]) for t in present)
    if count != groups:
        k, v = (_repeated(b, t, groups, count) for t in (k, v))
    s = scores(b, q, k, node.get("scale") or 1 / sqrt(size))
    if node.get("softcap", 0):
        s = b.Mul(b.Tanh(b.Div(s, node["softcap"])), node["softcap"])
    column, row = positions(b, k, 2), b.Unsqueeze(where, [1, 3])
    kept = b.LessOrEqual(column, b.Unsqueeze(last, [1, 2]))
    if node["causal"]:
        kept = b.And(kept, b.LessOrEqual(column, row))
    if node["local_window_size"] > 0:
        kept = b.And(kept, b.Greater(column, b.Sub(row, node["local_window_size"])))
    bias = filled(b, kept, lowest(query), query)
    s = b.Add(s, bias if extra is None else b.Add(extra, bias))
    return merged(b, b.MatMul(_softmax(b, s, sinks, node["smooth_softmax"] == 1), v)), *present


def _appended(b: Builder, past: Tensor, new: Tensor, start: Tensor, count: Tensor, longest: Tensor) -> Tensor:
    """Row r of the cache: the past's where r < start, then the new ones, then zeros"""
    room = _extent(b, past, 2)
    row = b.Range(0, b.Squeeze(b.Max(room, longest)), 1)
    behind = b.Add(room, b.Sub(row, start))
    chosen = b.Where(b.Less(row, start), row, b.Where(b.Less(row, b.Add(start, count)), behind, b.Add(room, count)))
    rows = b.Transpose(b.Concat(past, new, b.Mul(b.Slice(new, [0], [1], [2]), 0), axis=2), perm=[0, 2, 1, 3])
    samples = b.Concat(_extent(b, new, 0), b.Shape(row), axis=0)
    found = b.GatherND(rows, b.Unsqueeze(b.Expand(chosen, samples), [2]), batch_dims=1)
    return b.Transpose(found, perm=[0, 2, 1, 3])


def _repeated(b: Builder, x: Tensor, groups: int, count: int) -> Tensor:
    """Each key head once for each of the query heads that share it"""
    return b.Gather(x, b.const(np.repeat(np.arange(groups), count // groups)), axis=1)


def _softmax(b: Builder, s: Tensor, sinks: Tensor | None, smooth: bool) -> Tensor:
    """softmax, with one more score beside the keys' where the operator has a sink: its own, or 0"""
    if sinks is None and not smooth:
        return b.Softmax(s, axis=-1)
    column = b.Mul(b.Slice(s, [0], [1], [3]), 0)
    column = column if sinks is None else b.Add(column, b.Reshape(sinks, [-1, 1, 1]))
    return b.Slice(b.Softmax(b.Concat(s, column, axis=3), axis=-1), [0], [-1], [3])


@expansion("GatedRelativePositionBias", domain=MS, inputs=7)
def gated_relative_position_bias(b: Builder, node: Node) -> Tensor:
    """(u (r · a − 1) + 2) · P, with the gates u and r the sigmoids of both halves of Q W + c, each summed"""
    query, bias, position, w, c, a, _ = node.inputs
    refuse(node, [], inputs=[6])
    q = heads(b, b.Add(query, bias), node["num_heads"])
    halves = b.Reshape(b.Add(b.MatMul(q, w), c), [0, 0, 0, 2, -1])
    u, r = b.Split(b.Sigmoid(b.ReduceSum(halves, [-1], keepdims=0)), axis=3, num_outputs=2, outputs=2)
    return b.Mul(b.Add(b.Mul(u, b.Sub(b.Mul(r, a), 1)), 2), position)
