"""Networks on images."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from onnxplain.bench.networks.net import Net

__all__ = ["IMAGES"]


def cnn() -> onnx.ModelProto:
    """Two convolutions with max pooling, 3×64×64."""
    net = Net("cnn", (3, 64, 64))
    x = net.pool(net.conv_relu(net.x, 3, 16))
    x = net.pool(net.conv_relu(x, 16, 32))
    return net.model(net.dense(net.op("Flatten", x), 32 * 16 * 16, 10))


def lenet() -> onnx.ModelProto:
    """LeNet-5 with rectifiers, 1×28×28."""
    net = Net("lenet", (1, 28, 28))
    x = net.pool(net.conv_relu(net.x, 1, 6, 5))
    x = net.pool(net.conv_relu(x, 6, 16, 5, pads=[0] * 4))
    x = net.op("Relu", net.dense(net.op("Flatten", x), 400, 120))
    return net.model(net.dense(net.op("Relu", net.dense(x, 120, 84)), 84, 10))


def vgg() -> onnx.ModelProto:
    """Six convolutions in three stages with max pooling, 3×64×64."""
    net = Net("vgg", (3, 64, 64))
    x, channels = net.x, 3
    for width in (32, 64, 128):
        x = net.conv_relu(net.conv_relu(x, channels, width), width, width)
        x, channels = net.pool(x), width
    x = net.op("Relu", net.dense(net.op("Flatten", x), 128 * 64, 256))
    return net.model(net.dense(x, 256, 10))


def unet() -> onnx.ModelProto:
    """Down twice and up twice with skips; the mean of a map, 3×64×64."""
    net = Net("unet", (3, 64, 64))

    def double(x: str, inward: int, outward: int) -> str:
        return net.conv_relu(net.conv_relu(x, inward, outward), outward, outward)

    def up(x: str, inward: int, outward: int) -> str:
        return net.op("ConvTranspose", x, net.random(inward, outward, 2, 2, fan=inward), strides=[2, 2])

    one = double(net.x, 3, 16)
    two = double(net.pool(one), 16, 32)
    three = double(net.pool(two), 32, 64)
    x = double(net.op("Concat", up(three, 64, 32), two, axis=1), 64, 32)
    x = double(net.op("Concat", up(x, 32, 16), one, axis=1), 32, 16)
    return net.model(net.op("Flatten", net.op("GlobalAveragePool", net.conv(x, 16, 2, 1))))


def mobilenet() -> onnx.ModelProto:
    """Inverted residuals with hard-swish and gated channels, 3×96×96."""
    net = Net("mobilenet", (3, 96, 96))

    def swish(x: str) -> str:
        return net.op("HardSwish", x)

    x = swish(net.conv(net.x, 3, 16, 3, 2))
    channels = 16
    for width, stride, wide in ((24, 2, 64), (24, 1, 72), (40, 2, 96), (40, 1, 160), (80, 2, 240), (80, 1, 240)):
        inner = swish(net.conv(x, channels, wide, 1))
        inner = swish(net.conv(inner, wide, wide, 3, stride, group=wide))
        inner = net.conv(net.gate(inner, wide, wide // 4, "HardSigmoid"), wide, width, 1)
        x = net.op("Add", x, inner) if stride == 1 and channels == width else inner
        channels = width
    return net.model(net.head(swish(net.conv(x, channels, 160, 1)), 160))


def efficientnet() -> onnx.ModelProto:
    """Inverted residuals with SiLU and gated channels, 3×96×96."""
    net = Net("efficientnet", (3, 96, 96))
    x = net.silu(net.conv(net.x, 3, 16, 3, 2))
    channels = 16
    for width, stride, wide in ((24, 2, 64), (24, 1, 96), (40, 2, 96), (40, 1, 160), (80, 2, 240), (80, 1, 240)):
        inner = net.silu(net.conv(x, channels, wide, 1))
        inner = net.silu(net.conv(inner, wide, wide, 3, stride, group=wide))
        inner = net.conv(net.gate(inner, wide, wide // 8, "Sigmoid"), wide, width, 1)
        x = net.op("Add", x, inner) if stride == 1 and channels == width else inner
        channels = width
    return net.model(net.head(net.silu(net.conv(x, channels, 160, 1)), 160))


def densenet() -> onnx.ModelProto:
    """Three blocks of four layers that read all before them, norms first, 3×64×64."""
    net = Net("densenet", (3, 64, 64))
    x, channels, growth = net.conv(net.x, 3, 32, 3, 2), 32, 16
    for stage in range(3):
        for _ in range(4):
            inner = net.conv(net.op("Relu", net.norm(x, channels)), channels, 4 * growth, 1)
            inner = net.conv(net.op("Relu", net.norm(inner, 4 * growth)), 4 * growth, growth, 3)
            x, channels = net.op("Concat", x, inner, axis=1), channels + growth
        if stage < 2:
            x = net.conv(net.op("Relu", net.norm(x, channels)), channels, channels // 2, 1)
            x, channels = net.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), channels // 2
    return net.model(net.head(net.op("Relu", net.norm(x, channels)), channels))


def convnext() -> onnx.ModelProto:
    """Depthwise 7×7, layer norm over channels, GELU; two stages, 3×64×64."""
    net = Net("convnext", (3, 64, 64))
    x = net.conv(net.x, 3, 48, 4, 4, pads=[0] * 4)
    for stage, width in enumerate((48, 96)):
        if stage:
            x = net.conv(x, width // 2, width, 2, 2, pads=[0] * 4)
        for _ in range(2):
            inner = net.op("Transpose", net.conv(x, width, width, 7, group=width), perm=[0, 2, 3, 1])
            inner = net.gelu(net.linear(net.layer_norm(inner, width), width, 4 * width))
            inner = net.op("Mul", net.linear(inner, 4 * width, width), net.const(np.full(width, 0.5)))
            x = net.op("Add", x, net.op("Transpose", inner, perm=[0, 3, 1, 2]))
    return net.model(net.head(x, 96))


def vit() -> onnx.ModelProto:
    """A vision transformer of four blocks, 64 patches of 8×8, 192 wide."""
    net = Net("vit", (3, 64, 64))
    patches = net.conv(net.x, 3, 192, 8, 8, pads=[0] * 4)
    tokens = net.op("Reshape", patches, net.const([-1, 192, 64], np.int64))
    x = net.op("Add", net.op("Transpose", tokens, perm=[0, 2, 1]), net.random(1, 64, 192, fan=50))
    for _ in range(4):
        x = net.block(x, 192, 3, 64, first=True)
    mean = net.op("ReduceMean", net.layer_norm(x, 192), axes=[1], keepdims=0)
    return net.model(net.dense(mean, 192, 10))


def cnn_float16() -> onnx.ModelProto:
    """Three convolutions with strides in half precision, 3×64×64."""
    net = Net("cnn_float16", (3, 64, 64))
    x, channels = net.x, 3
    for width in (32, 64, 64):
        x, channels = net.conv_relu(x, channels, width, 3, 2), width
    return _halved(net.model(net.head(x, channels)))


def _halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model with its weights, inputs and outputs in half precision."""
    del model.graph.value_info[:]
    for weight in model.graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight).astype(np.float16), weight.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return onnx.shape_inference.infer_shapes(model)


def cnn_int8() -> onnx.ModelProto:
    """Three convolutions quantized to eight bits, with QuantizeLinear and DequantizeLinear around each, 3×64×64."""
    net = Net("cnn_int8", (3, 64, 64))
    zero = net.const(0, np.int8)

    def rounded(x: str, scale: float) -> str:
        step = net.const(scale)
        return net.op("DequantizeLinear", net.op("QuantizeLinear", x, step, zero), step, zero)

    rng = np.random.default_rng(1)
    x, channels = rounded(net.x, 0.04), 3
    for width in (32, 64, 64):
        whole = net.const(rng.integers(-127, 128, (width, channels, 3, 3)), np.int8)
        weight = net.op("DequantizeLinear", whole, net.const(0.02 / np.sqrt(channels)), zero)
        x = net.op("Conv", x, weight, net.const(rng.normal(size=width) * 0.1), strides=[2, 2], pads=[1] * 4)
        x, channels = rounded(net.op("Relu", x), 0.05), width
    return net.model(net.head(x, channels))


IMAGES = (cnn, lenet, vgg, unet, mobilenet, efficientnet, densenet, convnext, vit, cnn_int8, cnn_float16)
