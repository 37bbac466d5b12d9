"""Nodes of ONNX Runtime's own operators: one row a form that occurs in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

MS = "com.microsoft"
GENERATOR = np.random.default_rng(7)

Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """A node with its inputs by name (None where one is left out); those in `fixed` are initializers."""

    op: str
    form: str
    inputs: Arrays = field(repr=False)
    attributes: Arrays = field(default_factory=dict, repr=False)
    outputs: tuple[str, ...] = ("y",)
    fixed: tuple[str, ...] = ()
    domain: str = MS
    kernel: bool = True
    static: str = ""  # "some" extents must be known numbers (heads and their sizes), or "all"
    tolerance: float = 1e-5

    @property
    def id(self) -> str:
        return f"{self.op}-{self.form}"

    @property
    def feeds(self) -> dict[str, Any]:
        return {k: v for k, v in self.inputs.items() if v is not None and k not in self.fixed}

    def symbols(self, name: str, value: Any) -> list[Any]:
        """Every extent a symbol of its own, or only those that count samples and positions."""
        if not self.static:
            return [f"{name}_{axis}" for axis in range(value.ndim)]
        samples = next(iter(self.feeds.values())).shape[0]
        dims: list[Any] = list(value.shape)
        if dims and dims[0] == samples:
            dims[0] = "samples"
        if value.ndim in (3, 4):
            dims[value.ndim - 2] = f"{name}_positions"
        return dims

    def model(self, *, symbolic: bool = False, opset: int = 18) -> onnx.ModelProto:
        """The node alone in a model; with every extent of its inputs a symbol if wanted."""
        node = helper.make_node(
            self.op,
            ["" if v is None else k for k, v in self.inputs.items()],
            list(self.outputs),
            name="block/call",
            domain=self.domain,
            **self.attributes,
        )
        kinds = {k: helper.np_dtype_to_tensor_dtype(v.dtype) for k, v in self.feeds.items()}
        first = next(v for v in self.feeds.values() if v.dtype != bool)
        result = helper.np_dtype_to_tensor_dtype(first.dtype) if self.op.startswith(("QLinear", "Nhwc", "Quantize")) else 1
        graph = helper.make_graph(
            [node],
            "graph",
            [
                helper.make_tensor_value_info(k, kinds[k], self.symbols(k, v) if symbolic else v.shape)
                for k, v in self.feeds.items()
            ],
            [helper.make_tensor_value_info(o, 6 if o == "counts" else result, None) for o in self.outputs if o],
            [onnx.numpy_helper.from_array(self.inputs[k], k) for k in self.fixed],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid(MS, 1)], ir_version=8)


def real(*shape: int) -> Any:
    return GENERATOR.standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> Any:
    return GENERATOR.uniform(0.5, 1.5, shape).astype(np.float32)


def ints(*values: Any) -> Any:
    return np.array(values, np.int32)


def longs(*values: Any) -> Any:
    return np.array(values, np.int64)


def drawn(low: int, high: int, *shape: int, dtype: Any = np.int32) -> Any:
    return GENERATOR.integers(low, high, shape).astype(dtype)


def conv(activation: str = "", parameters: tuple[float, ...] = (), *, z: bool = False, bias: bool = True, **more: Any) -> Call:
    inputs: dict[str, Any] = {"x": real(2, 3, 6, 6), "w": real(4, 3, 3, 3), "b": real(4) if bias else None}
    inputs |= {"z": real(2, 4, 6, 6)} if z else {}
    attributes: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], **more}
    attributes |= {"activation": activation} if activation else {}
    attributes |= {"activation_params": list(parameters)} if parameters else {}
    return Call("FusedConv", f"{activation or 'plain'}{'-sum' if z else ''}{'' if bias else '-nobias'}", inputs, attributes)


def gemm(activation: str, **attributes: Any) -> Call:
    inputs = {"a": real(4, 3) if attributes.get("transA") else real(3, 4), "w": real(4, 5), "c": real(5)}
    return Call("FusedGemm", activation, inputs, {"activation": activation, **attributes})


def matmul(form: str, a: Any, w: Any, **attributes: Any) -> Call:
    return Call("FusedMatMul", form, {"a": a, "w": w}, attributes)


LINEAR = [
    conv(),
    conv("Relu"),
    conv("Relu", z=True),
    conv("Relu", z=True, bias=False),
    conv("LeakyRelu", (0.2,)),
    conv("Clip", (-0.5, 0.9)),
    conv("Tanh"),
    conv("Sigmoid"),
    conv("HardSigmoid", (0.3, 0.4)),
    gemm("Relu"),
    gemm("LeakyRelu", activation_alpha=0.3, transA=1),
    gemm("Sigmoid", alpha=0.5, beta=2.0),
    gemm("Tanh"),
    gemm("Elu", activation_alpha=0.7),
    gemm("HardSigmoid", activation_alpha=0.3, activation_beta=0.4),
    matmul("scaled", real(2, 3, 4), real(4, 5), alpha=0.25),
    matmul("turned", real(2, 4, 3), real(2, 5, 4), transA=1, transB=1, alpha=0.5),
    matmul("batch-a", real(3, 2, 4), real(2, 4, 5), transBatchA=1),
    matmul("batch-a-turned", real(4, 2, 3), real(2, 4, 5), transBatchA=1, transA=1),
    matmul("batch-b", real(2, 3, 4), real(4, 2, 5), transBatchB=1),
    matmul("batch-b-turned", real(2, 3, 4), real(5, 2, 4), transBatchB=1, transB=1, alpha=2.0),
    Call("TransposeMatMul", "turned", {"a": real(2, 3, 4), "w": real(2, 5, 4)}, {"transB": 1, "alpha": 0.5}),
    Call("FusedMatMulActivation", "relu", {"a": real(2, 3, 4), "w": real(2, 5, 4)}, {"activation": "Tanh", "transB": 1},
         kernel=False),
    Call("GemmFastGelu", "bias", {"x": real(2, 3, 4), "w": real(4, 5), "b": real(5)}, kernel=False),
]  # fmt: skip

ACTIVATIONS = [
    Call("Gelu", "plain", {"x": real(2, 5)}),
    Call("BiasGelu", "plain", {"x": real(2, 3, 5), "b": real(5)}),
    Call("FastGelu", "plain", {"x": real(2, 3, 5)}),
    Call("FastGelu", "bias", {"x": real(2, 3, 5), "b": real(5)}),
    Call("QuickGelu", "plain", {"x": real(2, 5)}),
    Call("QuickGelu", "silu", {"x": real(2, 5)}, {"alpha": 1.0}),
    Call("BiasSplitGelu", "plain", {"x": real(2, 3, 8), "b": real(8)}, kernel=False),
    Call("BiasAdd", "plain", {"x": real(2, 3, 4), "b": real(4), "skip": real(2, 3, 4)}, kernel=False),
    Call(
        "BiasSoftmax", "inner", {"x": real(2, 3, 4, 5), "b": real(2, 1, 1, 5)}, {"axis": 3, "is_inner_broadcast": 1}, kernel=False
    ),
    Call("BiasSoftmax", "flat", {"x": real(2, 3, 4), "b": real(1, 3, 4)}, {"axis": 1, "is_inner_broadcast": 0}, kernel=False),
]


def skip(form: str, skip: Any, beta: bool, bias: bool, outputs: tuple[str, ...] = ("y",)) -> Call:
    inputs = {"x": real(2, 3, 8), "skip": skip, "scale": positive(8), "beta": real(8) if beta else None}
    inputs |= {"bias": real(8)} if bias else {}
    return Call("SkipLayerNormalization", form, inputs, {"epsilon": 1e-5}, outputs)


def embed(form: str, outputs: tuple[str, ...] = ("y", "counts"), **more: Any) -> Call:
    inputs = {
        "words": drawn(0, 9, 2, 4), "segments": drawn(0, 2, 2, 4), "word_table": real(9, 8), "position_table": real(6, 8),
        "segment_table": real(2, 8), "scale": positive(8), "shift": real(8), **more,
    }  # fmt: skip
    return Call("EmbedLayerNormalization", form, inputs, {"epsilon": 1e-5}, outputs)


def group_norm(form: str, x: Any, activation: int = 0, skip: Any = None, bias: Any = None, **more: Any) -> Call:
    inputs = {"x": x, "scale": positive(8), "shift": real(8), "skip": skip, "bias": bias}
    attributes = {"groups": 4, "activation": activation, **more}
    if skip is None:
        return Call("GroupNorm", form, {k: inputs[k] for k in ("x", "scale", "shift")}, attributes, kernel=False)
    return Call("SkipGroupNorm", form, inputs, attributes, ("y", "total"), kernel=False)


NORMS = [
    Call("SimplifiedLayerNormalization", "plain", {"x": real(2, 3, 8), "s": positive(8)}, domain=""),
    Call("SimplifiedLayerNormalization", "axis", {"x": real(2, 3, 8), "s": positive(3, 8)}, {"axis": 1}, domain="", static="all"),
    skip("plain", real(2, 3, 8), beta=True, bias=False),
    skip("bias", real(2, 3, 8), beta=True, bias=True),
    skip("nobeta", real(2, 3, 8), beta=False, bias=True),
    skip("broadcast", real(1, 3, 8), beta=True, bias=False),
    skip("rank2", real(3, 8), beta=True, bias=False),
    skip("sum", real(2, 3, 8), beta=True, bias=True, outputs=("y", "", "", "total")),
    Call("SkipSimplifiedLayerNormalization", "plain", {"x": real(2, 3, 8), "skip": real(2, 3, 8), "s": positive(8)}),
    Call("SkipSimplifiedLayerNormalization", "sum", {"x": real(2, 3, 8), "skip": real(2, 3, 8), "s": positive(8), "b": real(8)},
         {"epsilon": 1e-6}, ("y", "", "", "total")),
    embed("plain"),
    embed("mask", mask=ints([1, 1, 1, 0], [1, 1, 0, 0])),
    embed("positions", ("y", "counts", "total"), mask=None, positions=ints([0, 1, 2, 3], [2, 3, 4, 5])),
    embed("nosegments", segments=None, segment_table=None),
    group_norm("last", real(2, 3, 5, 8)),
    group_norm("first", real(2, 8, 3, 5), channels_last=0, activation=1),
    group_norm("skip", real(2, 3, 5, 8), skip=real(2, 8), bias=real(8)),
]  # fmt: skip


def attention(form: str, outputs: tuple[str, ...] = ("y",), v: int = 12, **more: Any) -> Call:
    attributes = {"num_heads": 3, **{k: more.pop(k) for k in list(more) if k not in ("mask", "past", "extra")}}
    inputs = {"x": real(2, 4, 12), "w": real(12, 24 + v), "b": real(24 + v), "mask": None, "past": None, "extra": None, **more}
    return Call(
        "Attention",
        form,
        inputs,
        attributes,
        outputs,
        fixed=("w",),
        static={"mask1-ends": "some", "mask1-starts-ends": "all"}.get(form, ""),
    )


def multi_head(form: str, outputs: tuple[str, ...] = ("y",), length: int = 5, v: int = 6, **more: Any) -> Call:
    names = ("query", "key", "value", "bias", "mask", "extra", "past_key", "past_value")
    attributes = {"num_heads": 3, **{k: more.pop(k) for k in list(more) if k not in names}}
    inputs = {
        "query": real(2, 4, 12),
        "key": real(2, length, 12),
        "value": real(2, length, v),
        **dict.fromkeys(names[3:]),
        **more,
    }
    kernel = all(x is None or x.ndim < 5 for x in inputs.values())
    return Call("MultiHeadAttention", form, inputs, attributes, outputs, kernel=kernel, static="some")


def rotary(form: str, x: Any, place: Any, **attributes: Any) -> Call:
    tables = {"cos": real(9, 2), "sin": real(9, 2)}
    return Call("RotaryEmbedding", form, {"x": x, "place": place, **tables}, attributes, static="some")


def group_query(form: str, new: int, past: int | None, lengths: tuple[int, ...], total: int, **more: Any) -> Call:
    samples, cached = len(lengths), ("past_key", "past_value")
    names = ("cos", "sin", "place", "extra", "sinks")
    packed = more.pop("packed", False)
    attributes = {"num_heads": 4, "kv_num_heads": 2, **{k: more.pop(k) for k in list(more) if k not in names}}
    inputs: dict[str, Any] = {
        "query": real(samples, new, 128 if packed else 64),
        "key": None if packed else real(samples, new, 32),
        "value": None if packed else real(samples, new, 32),
        **{name: None if past is None else real(samples, 2, past, 16) for name in cached},
        "lengths": ints(*lengths),
        "total": np.array(total, np.int32),
        **dict.fromkeys(names),
        **more,
    }
    return Call("GroupQueryAttention", form, inputs, attributes, ("y", "present_key", "present_value"), static="some")


MASK2 = ints([1, 1, 1, 0], [1, 1, 0, 0])
TABLES = {"cos": real(20, 8), "sin": real(20, 8)}

ATTENTION = [
    attention("plain"),
    attention("causal", unidirectional=1),
    attention("scale", scale=0.3),
    attention("mask2", mask=MASK2),
    attention("mask2-causal", mask=MASK2, unidirectional=1, mask_filter_value=-50.0),
    attention("mask3", mask=drawn(0, 2, 2, 4, 4)),
    attention("mask1-ends", mask=ints(3, 2)),
    attention("mask1-starts-ends", mask=ints(4, 3, 1, 0)),
    attention("past", ("y", "present"), past=real(2, 2, 3, 5, 4), unidirectional=1),
    attention("past-mask", ("y", "present"), past=real(2, 2, 3, 5, 4), mask=drawn(0, 2, 2, 9)),
    attention("extra", extra=real(1, 3, 4, 4)),
    attention("sizes", v=6, qkv_hidden_sizes=[12, 12, 6]),
    multi_head("plain"),
    multi_head("bias", bias=real(30)),
    multi_head("mask1", bias=real(30), mask=ints(5, 2)),
    multi_head("mask2", mask=ints([1, 1, 1, 0, 1], [1, 1, 0, 0, 0]), scale=0.3),
    multi_head("mask3", mask=drawn(0, 2, 2, 4, 5)),
    multi_head("extra", ("y", "present_key", "present_value"), extra=real(1, 3, 4, 5)),
    multi_head("causal", length=4, v=12, unidirectional=1),
    multi_head("past", ("y", "present_key", "present_value"), length=4, v=12, bias=real(36), unidirectional=1,
               past_key=real(2, 3, 5, 4), past_value=real(2, 3, 5, 4)),
    multi_head("cached", key=real(2, 3, 5, 4), value=real(2, 3, 5, 4), bias=real(36)),
    multi_head("packed-qkv", query=real(2, 4, 3, 3, 4), key=None, value=None),
    multi_head("packed-kv", key=real(2, 5, 3, 2, 4), value=None),
    Call("GatedRelativePositionBias", "plain", {
        "query": real(2, 4, 12), "bias": real(12), "position": real(1, 3, 4, 4), "w": real(4, 8), "c": real(8), "a": real(1, 3, 1, 1),
    }, {"num_heads": 3}, kernel=False),
    *(
        rotary(f"{form}{'-interleaved' if interleaved else ''}", *given, interleaved=interleaved, **more)
        for interleaved in (0, 1)
        for form, given, more in (
            ("rank3", (real(2, 4, 12), longs([0, 1, 2, 3], [3, 4, 5, 6])), {}),
            ("rank3-offset", (real(2, 4, 12), longs(2)), {}),
            ("rank4", (real(2, 3, 4, 4), longs([0, 1, 2, 3], [3, 4, 5, 6])), {}),
            ("rank4-offset", (real(2, 3, 4, 4), longs(2)), {}),
            ("partial", (real(2, 4, 18), longs(2)), {"num_heads": 3, "rotary_embedding_dim": 4}),
        )
    ),
    group_query("prompt", 4, None, (3, 3), 4),
    group_query("prompt-padded", 4, None, (3, 2), 4),
    group_query("prompt-cache", 4, 7, (3, 3), 4),
    group_query("packed", 4, None, (3, 3), 4, packed=True),
    group_query("step", 1, 5, (5, 5), 6),
    group_query("step-ragged", 1, 5, (5, 3), 6),
    group_query("step-cache", 1, 9, (5, 3), 6),
    group_query("chunk", 3, 5, (7,), 8),
    group_query("rotary", 4, None, (3, 3), 4, **TABLES, do_rotary=1),
    group_query("rotary-interleaved", 4, None, (3, 3), 4, **TABLES, do_rotary=1, rotary_interleaved=1),
    group_query("rotary-step", 1, 5, (5, 3), 6, **TABLES, do_rotary=1, packed=True),
    group_query("rotary-chunk", 3, 5, (7,), 8, **TABLES, do_rotary=1),
    group_query("rotary-positions", 3, 5, (7,), 8, **TABLES, place=longs([5, 6, 7]), do_rotary=1),
    group_query("window", 4, None, (3, 3), 4, local_window_size=2),
    group_query("window-step", 1, 5, (5, 3), 6, local_window_size=3),
    group_query("softcap", 4, None, (3, 3), 4, softcap=1.5),
    group_query("scale", 4, None, (3, 3), 4, scale=0.2),
    group_query("smooth", 4, None, (3, 3), 4, smooth_softmax=1),
    group_query("sinks", 4, None, (3, 3), 4, sinks=real(4)),
    group_query("extra", 4, None, (3, 3), 4, extra=real(1, 4, 4, 4)),
    group_query("extra-cache", 1, 8, (5, 3), 6, extra=real(2, 1, 1, 6)),
    group_query("bidirectional", 4, None, (3, 2), 4, causal=0),
]  # fmt: skip


def n_bits(form: str, bits: int, columns: int, zeros: Any = None, bias: bool = False, block: int = 16) -> Call:
    count = -(-columns // block)
    inputs = {
        "a": real(2, 3, columns),
        "w": drawn(0, 256, 5, count, block * bits // 8, dtype=np.uint8),
        "s": positive(5 * count),
        "z": {None: None, "packed": drawn(0, 256, 5 * (-(-count * bits // 8)), dtype=np.uint8), "float": real(5, count)}[zeros],
        "g": None,
        "b": real(5) if bias else None,
    }
    attributes = {"K": columns, "N": 5, "bits": bits, "block_size": block}
    fixed = tuple(k for k in ("w", "s", "z") if inputs[k] is not None)
    return Call("MatMulNBits", form, inputs, attributes, fixed=fixed, tolerance=2e-5)


N_BITS = [
    n_bits("4", 4, 32),
    n_bits("4-zeros", 4, 48, "packed"),
    n_bits("4-float-zeros", 4, 32, "float"),
    n_bits("4-bias", 4, 32, bias=True),
    n_bits("4-ragged", 4, 40, "packed", block=32),
    n_bits("8", 8, 32),
    n_bits("8-zeros", 8, 48, "packed"),
    n_bits("2", 2, 64),
]


def table(form: str, bits: int, columns: int, zeros: bool = False) -> Call:
    count = -(-columns // 16)
    inputs = {
        "w": drawn(0, 256, 7, columns * bits // 8, dtype=np.uint8),
        "ids": longs([0, 3, 6], [2, 2, 1]),
        "s": positive(7, count),
        "z": drawn(0, 256, 7, -(-count * bits // 8), dtype=np.uint8) if zeros else None,
    }
    attributes = {"bits": bits, "block_size": 16, "gather_axis": 0, "quantize_axis": 1}
    return Call("GatherBlockQuantized", form, inputs, attributes, fixed=("w", "z") if zeros else ("w",), static="all")


LAYOUT = [
    table("4", 4, 32),
    table("4-zeros", 4, 48, zeros=True),
    table("8", 8, 32, zeros=True),
    Call("CDist", "squared", {"a": real(4, 3), "b": real(5, 3)}, {"metric": "sqeuclidean"}),
    Call("CDist", "euclidean", {"a": real(4, 3), "b": real(5, 3)}, {"metric": "euclidean"}),
    Call("ExpandDims", "plain", {"x": real(4, 3), "axis": np.array(1, np.int32)}, fixed=("axis",)),
    Call("GatherND", "plain", {"x": real(4, 3), "i": ints([0, 1], [3, 2])}, static="all"),
    Call("Pad", "plain", {"x": real(4, 3), "p": longs(0, 2, 1, 0), "v": real(1)}, static="all"),
    Call("Trilu", "lower", {"x": real(2, 4, 4), "k": np.array(1)}, {"upper": 0}, fixed=("k",)),
]

CALLS = [*LINEAR, *ACTIVATIONS, *NORMS, *ATTENTION, *N_BITS, *LAYOUT]
