"""What is mutated: small models of many kinds, inputs of every format, an explained model and a journal."""

from __future__ import annotations

from functools import lru_cache

import onnx
import onnx.parser

from tests.support.paths import FIXTURES

__all__ = ["CRAFTED", "FILES", "model", "models"]

FILES = (
    "digits/model.onnx", "digits/model_legacy.onnx", "cnn1d/model_legacy.onnx", "cancer/model.onnx", "cancer_sklearn/model.onnx",
    "iris_sklearn/model.onnx", "lrp_lstm/model.onnx", "lrp_gru/model_legacy.onnx", "lrp_relu_forms/model.onnx",
    "spatial_transformer/model_legacy.onnx", "stft/model_legacy.onnx", "detector_head/model_legacy.onnx", "trees/xgboost.onnx",
    "trees/forest_three.onnx", "blackbox/mixed.onnx", "lrp_bn_first/model.onnx", "wine_keras/model.onnx", "unet/model_legacy.onnx",
    "deeplift_cnn/model_legacy.onnx", "lrp_residual/model_legacy.onnx",
)  # fmt: skip
"""Fixtures that are small and differ in their operators, exporters and opsets."""

CRAFTED = {
    "if": """
<ir_version: 8, opset_import: ["" : 18]>
g (float[N, 3] x) => (float[N, 3] y) <bool c = {1}, float[3] w = {1, 2, 3}> {
    y = If (c) <
        then_branch = t () => (float[N, 3] a) { a = Mul (x, w) },
        else_branch = e () => (float[N, 3] b) { h = Relu (x)  b = Add (h, w) }
    >
}""",
    "loop": """
<ir_version: 8, opset_import: ["" : 18]>
g (float[N, 3] x) => (float[N, 3] y) <int64 n = {4}, float[3] w = {1, 2, 3}> {
    c = Constant <value_int = 1> ()
    k = Cast <to = 9> (c)
    y = Loop (n, k, x) <
        body = b (int64 i, bool k_in, float[N, 3] s) => (bool k_out, float[N, 3] s_out) {
            k_out = Identity (k_in)
            t = Mul (s, w)
            s_out = Tanh (t)
        }
    >
}""",
    "scan": """
<ir_version: 8, opset_import: ["" : 18]>
g (float[N, 5, 3] x) => (float[N, 5, 3] y) <float[3] w = {1, 2, 3}, float[2, 3] z = {0, 0, 0, 0, 0, 0}> {
    s = Transpose <perm = [1, 0, 2]> (x)
    i = ReduceSum <keepdims = 0> (s, a)
    f, r = Scan <num_scan_inputs = 1, body = b (float[N, 3] h, float[N, 3] v) => (float[N, 3] h_out, float[N, 3] o) {
        u = Mul (v, w)
        h_out = Add (h, u)
        o = Sigmoid (h_out)
    }> (i, s)
    y = Transpose <perm = [1, 0, 2]> (r)
    a = Constant <value_ints = [0]> ()
}""",
    "functions": """
<ir_version: 8, opset_import: ["" : 18, "own" : 1]>
g (float[N, 4] x) => (float[N, 4] y) <float[4, 4] w = {1, 2, 3, 4, 1, 0, 0, 1, 2, 1, 1, 0, 0, 0, 1, 1}> {
    h = own.Twice <alpha = 0.5> (x)
    y = MatMul (h, w)
}
<domain: "own", opset_import: ["" : 18, "own" : 1]>
Twice <alpha> (x) => (y) { a = own.Once <alpha : float = @alpha> (x)  y = own.Once <alpha : float = @alpha> (a) }
<domain: "own", opset_import: ["" : 18]>
Once <alpha> (x) => (y) { y = LeakyRelu <alpha : float = @alpha> (x) }
""",
    "quantized": """
<ir_version: 8, opset_import: ["" : 18]>
g (float[N, 4] x) => (float[N, 2] y)
<float s = {0.1}, uint8 z = {128}, uint8[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}, float t = {0.01}, uint8 p = {4}> {
    q = QuantizeLinear (x, s, z)
    r = DequantizeLinear (q, s, z)
    v = DequantizeLinear (w, t, p)
    y = MatMul (r, v)
}""",
    "windows": """
<ir_version: 8, opset_import: ["" : 18]>
g (float[N, 1, 8, 8] x) => (float[N, 3] y) <float[3, 1, 3, 3] w = {
    1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9}, float[3] b = {1, 2, 3}, int64[2] a = {2, 3}> {
    h = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [1, 1]> (x, w, b)
    i = Relu (h)
    j = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (i)
    k = AveragePool <kernel_shape = [2, 2], pads = [0, 0, 1, 1]> (j)
    l = ReduceMean <keepdims = 0> (k, a)
    y = Softmax <axis = -1> (l)
}""",
    "shapes": """
<ir_version: 8, opset_import: ["" : 18]>
g (float[N, 2, 6] x) => (float[N, 4] y)
<int64[1] m = {-1}, int64[1] o = {0}, int64 i = {0}, int64[1] e = {4}, int64[4] pads = {0, 1, 0, 1}, float v = {0}> {
    s = Shape (x)
    n = Gather (s, i)
    u = Unsqueeze (n, o)
    t = Concat <axis = 0> (u, m)
    r = Reshape (x, t)
    p = Pad (r, pads, v)
    c = Slice (p, o, e, c1)
    z = Range (i, four, one)
    f = Cast <to = 1> (z)
    y = Mul (c, f)
    c1 = Constant <value_ints = [1]> ()
    four = Constant <value_int = 4> ()
    one = Constant <value_int = 1> ()
}""",
    "attention": """
<ir_version: 8, opset_import: ["" : 18]>
g (int64[N, S] ids) => (float[N, 3] y) <float[5, 4] table = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2},
    float[4, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3}, int64[1] a = {1}, float[4] g1 = {1, 1, 1, 1}, float[4] b1 = {0, 0, 0, 0}> {
    h = Gather (table, ids)
    n = LayerNormalization <axis = -1, epsilon = 0.00001> (h, g1, b1)
    t = Transpose <perm = [0, 2, 1]> (n)
    q = MatMul (n, t)
    p = Softmax <axis = -1> (q)
    v = MatMul (p, n)
    r = Add (v, h)
    m = ReduceMean <keepdims = 0> (r, a)
    l = MatMul (m, w)
    y = Softmax (l)
}""",
}
"""Models as text, for what the fixtures lack: bodies, functions, quantization, computed shapes."""


@lru_cache(maxsize=1)
def models() -> tuple[bytes, ...]:
    """The bytes of every seed."""
    crafted = []
    for text in CRAFTED.values():
        made = onnx.parser.parse_model(text)
        crafted.append(made.SerializeToString())
    return (*((FIXTURES / name).read_bytes() for name in FILES), *crafted)


def model(number: int) -> onnx.ModelProto:
    """A seed, parsed."""
    return onnx.ModelProto.FromString(models()[number % len(models())])
