"""Networks on vectors, series and tokens."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from onnxplain.bench.networks.net import Net

__all__ = ["SEQUENCES"]


def mlp() -> onnx.ModelProto:
    """Three dense layers on 64 numbers."""
    net = Net("mlp", (64,))
    x = net.op("Relu", net.dense(net.x, 64, 256))
    return net.model(net.dense(net.op("Relu", net.dense(x, 256, 256)), 256, 10))


def cnn1d() -> onnx.ModelProto:
    """Three convolutions over a series with max pooling, 8 channels, 512 steps."""
    net = Net("cnn1d", (8, 512))
    x, channels = net.x, 8
    for width in (32, 64, 64):
        x = net.conv_relu(x, channels, width, 5, axes=1)
        x, channels = net.op("MaxPool", x, kernel_shape=[2], strides=[2]), width
    return net.model(net.head(x, channels))


def tcn() -> onnx.ModelProto:
    """Causal dilated convolutions with residual sums, 8 channels, 256 steps."""
    net = Net("tcn", (8, 256))
    x = net.conv(net.x, 8, 32, 1, axes=1)
    for dilation in (1, 2, 4, 8):
        inner = net.conv_relu(x, 32, 32, 3, axes=1, dilations=[dilation], pads=[2 * dilation, 0])
        inner = net.conv_relu(inner, 32, 32, 3, axes=1, dilations=[dilation], pads=[2 * dilation, 0])
        x = net.op("Relu", net.op("Add", x, inner))
    return net.model(net.head(x, 32))


def _recurrent(name: str, op: str, gates: int) -> onnx.ModelProto:
    net, hidden = Net(name, (64, 16)), 64
    x = net.op("Transpose", net.x, perm=[1, 0, 2])
    weight = net.random(1, gates * hidden, 16, fan=32)
    again = net.random(1, gates * hidden, hidden, fan=2 * hidden)
    bias = net.const(np.zeros((1, 2 * gates * hidden)))
    every = net.ops(op, x, weight, again, bias, outputs=2, hidden_size=hidden)
    last = net.op("Squeeze", every[1], net.const([0], np.int64))
    return net.model(net.dense(last, hidden, 10))


def lstm() -> onnx.ModelProto:
    """An LSTM of 64 units over 64 steps of 16 numbers."""
    return _recurrent("lstm", "LSTM", 4)


def gru() -> onnx.ModelProto:
    """A GRU of 64 units over 64 steps of 16 numbers."""
    return _recurrent("gru", "GRU", 3)


def bert() -> onnx.ModelProto:
    """A text encoder of four blocks, 64 tokens of 2,000 words, 128 wide."""
    net = Net("bert", (64,), TensorProto.INT64)
    words = net.op("Gather", net.random(2000, 128, fan=50), net.x)
    x = net.layer_norm(net.op("Add", words, net.random(1, 64, 128, fan=50)), 128)
    for _ in range(4):
        x = net.block(x, 128, 4, 64, first=False)
    first = net.op("Gather", x, net.const(0, np.int64), axis=1)
    return net.model(net.dense(net.op("Tanh", net.dense(first, 128, 128)), 128, 4))


SEQUENCES = (mlp, cnn1d, tcn, lstm, gru, bert)
