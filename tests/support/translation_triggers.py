"""For every pass a model that it changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.support.models import model, node
from tests.support.translation_corpus import Case

__all__ = ["TRIGGERS"]


def floats(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


X = {"x": floats(2, 4)}
W: dict[str, Any] = {"w": floats(4, 4, seed=1)}
SHAPE = {"x": ["n", 4]}


def case(
    nodes: list[onnx.NodeProto], weights: Mapping[str, Any] | None = None, *, opset: int = 18, domains: tuple[str, ...] = ()
) -> Case:
    """Nodes from x [n, 4] to y."""
    made = model(nodes, SHAPE, {"y": None}, weights, opset=opset)
    made.opset_import.extend(helper.make_opsetid(d, 1) for d in domains)
    return Case(nodes[0].op_type, made, X)


def text(body: str, opset: int = 18, functions: str = "") -> Case:
    header = f'<ir_version: {8 if opset < 21 else 11}, opset_import: ["" : {opset}, "my" : 1]>'
    return Case(body[:20], onnx.parser.parse_model(f"{header} g (float[n,4] x) => (float[n,k] y) {body} {functions}"), X)


def in_disorder() -> Case:
    return case([node("Relu", "a", "y"), node("Neg", "x", "a")])


def stale() -> Case:
    made = case([node("MatMul", "x w", "y")], W)
    made.model.graph.value_info.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [7]))
    return made


def sparse() -> Case:
    made = case([node("MatMul", "x w", "y")])
    values = numpy_helper.from_array(np.array([1.5, -2], np.float32), "w")
    made.model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([1, 6])), [4, 4])
    )
    return made


def dequantized(domain: str = "") -> Case:
    """A tensor dequantized twice, as ONNX Runtime writes it, by its own operators or the standard's."""
    scales = {"s": np.array(0.05, np.float32), "z": np.array(128, np.uint8)}
    quantized = node("QuantizeLinear", "x s z", "q")
    if domain:
        nodes = [quantized, node("DequantizeLinear", "q s z", "a"), node("QLinearAdd", "q s z q s z s z", "b", domain=domain)]
        return case([*nodes, node("DequantizeLinear", "b s z", "c"), node("Mul", "a c", "y")], scales, domains=(domain,))
    return case(
        [quantized, node("DequantizeLinear", "q s z", "a"), node("DequantizeLinear", "q s z", "b"), node("Mul", "a b", "y")],
        scales,
    )


def classifier() -> Case:
    settings = {"coefficients": [float(v) for v in floats(12)], "intercepts": [0.1, 0.2, 0.3], "classlabels_ints": [0, 1, 2]}
    linear = node("LinearClassifier", "x", "label p", domain="ai.onnx.ml", post_transform="SOFTMAX", **settings)
    return case([linear, node("Identity", "p", "y")], domains=("ai.onnx.ml",))


def rounded() -> Case:
    scales = {"s": np.array(0.05, np.float32), "z": np.array(128, np.uint8), "v": np.arange(16, dtype=np.uint8).reshape(4, 4)}
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("QLinearMatMul", "q s z v s z s z", "p"),
        node("DequantizeLinear", "p s z", "y"),
    ]
    return case(nodes, scales)


def integer_product() -> Case:
    weights = {"v": np.arange(16, dtype=np.uint8).reshape(4, 4), "vs": np.array(0.1, np.float32), "vz": np.array(7, np.uint8)}
    nodes = [
        node("DynamicQuantizeLinear", "x", "q s z"), node("MatMulInteger", "q v z vz", "p"), node("Cast", "p", "c", to=1),
        node("Mul", "s vs", "both"), node("Mul", "c both", "y"),
    ]  # fmt: skip
    return case(nodes, weights)


def recurrent() -> Case:
    weights = {"first": np.array([0]), "w": floats(1, 8, 4), "r": floats(1, 8, 2), "all": np.array([2, -1])}
    nodes = [node("Unsqueeze", "x first", "s"), node("LSTM", "s w r", "h", hidden_size=2), node("Reshape", "h all", "y")]
    return case(nodes, weights)


def normed() -> Case:
    values = {**W, "s": floats(4), "b": floats(4), "m": floats(4), "v": np.abs(floats(4)) + 1, "c": floats(4, seed=3)}
    return case([node("Gemm", "x w c", "a"), node("BatchNormalization", "a s b m v", "y")], values)


def parts() -> Case:
    """A map beside those of the positive and the negative part of its weights."""
    weights = {**W, "c": floats(4, seed=2)}
    weights |= {"up": np.maximum(weights["w"], 0), "down": np.minimum(weights["w"], 0)}
    weights |= {"cu": np.maximum(weights["c"], 0), "cd": np.minimum(weights["c"], 0)}
    nodes = [node("Gemm", f"x {w} {c}", y) for w, c, y in (("w", "c", "a"), ("up", "cu", "p"), ("down", "cd", "n"))]
    return case([*nodes, node("Concat", "a p n", "y", axis=1)], weights)


TRIGGERS: dict[str, Callable[[], Case]] = {
    "sort-nodes": in_disorder,
    "drop-false-claims": stale,
    "write-out-sparse": sparse,
    "tidy": lambda: text("{ c = Constant<value_floats = [1.0, 2.0, 3.0, 4.0]>() y = Mul(x, c) }"),
    "inline-functions": lambda: text(
        "{ y = my.F(x) }",
        functions='<domain: "my", opset_import: ["" : 18]> F <k: float = 0.5> (x) => (y) { y = LeakyRelu<alpha: float = @k>(x) }',
    ),
    "settle-last-windows": lambda: case(
        [
            node("Unsqueeze", "x axis", "u"),
            node("MaxPool", "u", "p", kernel_shape=[2], strides=[2], pads=[0, 1], ceil_mode=1),
            node("Squeeze", "p axis", "y"),
        ],
        {"axis": np.array([1])},
    ),
    "settle-yes-or-no": lambda: case([node("Gemm", "x w", "y", transB=2)], W),
    "lift-constants": lambda: text(
        """{ s = ReduceSum<keepdims = 0>(x) b = Greater(s, s)
        y = If (b) <then_branch = t () => (float[n,4] u) { c = Constant<value_float = 2.0>() u = Mul(x, c) },
            else_branch = e () => (float[n,4] v) { v = Neg(x) }> }"""
    ),
    "claim-contrib": lambda: case([node("LayerNormalization", "x s b", "y")], {"s": floats(4), "b": floats(4)}, opset=16),
    "normalize-opset": lambda: case([node("Softmax", "x", "y", axis=0)], opset=11),
    "lift-new-constants": lambda: text(
        """{ s = ReduceSum<keepdims = 0>(x) b = Greater(s, s)
        y = If (b) <then_branch = t () => (float[n,4] u) { u = Clip<min = 0.0, max = 1.0>(x) },
            else_branch = e () => (float[n,4] v) { v = Clip<min = -1.0, max = 0.5>(x) }> }""",
        10,
    ),
    "merge-dequantized": dequantized,
    "early-logits": classifier,
    "expand-contrib": lambda: case([node("QuickGelu", "x", "y", domain="com.microsoft")], domains=("com.microsoft",)),
    "merge-expanded": lambda: dequantized("com.microsoft"),
    "expand-functions": lambda: case([node("SoftmaxCrossEntropyLoss", "x t", "y")], {"t": np.array([1, 2])}),
    "lower-opset": lambda: text(
        "<int64[1] a = {0}> { h = Unsqueeze(x, a) z = Attention<q_num_heads = 1, kv_num_heads = 1>(h, h, h) y = Squeeze(z, a) }",
        23,
    ),
    "tidy-new-constants": lambda: case([node("ReduceMean", "x", "y", axes=[1])], opset=13),
    "unrounded-scores": rounded,
    "infer-shapes": lambda: case([node("Relu", "x", "y")]),
    "fold-constants": lambda: case(
        [node("Shape", "w", "s"), node("Cast", "s", "f", to=1), node("ReduceSum", "f", "t"), node("Mul", "x t", "y")], W
    ),
    "settle-branches": lambda: text(
        """<bool b = {1}> { y = If (b) <then_branch = t () => (float[n,4] u) { u = Sin(x) },
            else_branch = e () => (float[n,4] v) { v = Neg(x) }> }"""
    ),
    "merge-sigmoids": lambda: case(
        [node("Neg", "x", "n"), node("Exp", "n", "e"), node("Add", "e one", "s"), node("Reciprocal", "s", "y")],
        {"one": np.array(1, np.float32)},
    ),
    "final-logits": lambda: case([node("Softmax", "x", "p"), node("Reshape", "p shape", "y")], {"shape": np.array([-1, 4])}),
    "float-products": integer_product,
    "expand-operators": recurrent,
    "fold-batch-norm": normed,
    "sum-parts": parts,
}
"""By the pass's name, what makes the model."""
