"""A network under construction: layers as exporters write them, with He-scaled random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Net"]

OPSET, IR_VERSION = 17, 8


class Net:
    """Nodes and weights, grown layer by layer; every layer takes the names that it reads and returns that of its result.

    Args:
        name: of the network.
        shape: the extents of one sample.
        dtype: of the input.

    Example:
        >>> from onnxplain.bench.networks.net import Net
        >>> net = Net("small", (4,))
        >>> len(net.model(net.dense(net.x, 4, 2)).graph.node)
        1
    """

    def __init__(self, name: str, shape: Sequence[int], dtype: int = TensorProto.FLOAT) -> None:
        self.name, self.shape, self.dtype = name, tuple(shape), dtype
        self.x = "x"
        self._rng = np.random.default_rng(0)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    # -- the pieces ------------------------------------------------------------------------------------------------------

    def op(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output."""
        return self.ops(op, *inputs, outputs=1, **attributes)[0]

    def ops(self, op: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """A node with several outputs."""
        name = f"{op.lower()}_{len(self._nodes)}"
        made = [name if i == 0 else f"{name}_{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(op, list(inputs), made, name=name, **attributes))
        return made

    def const(self, value: Any, dtype: Any = np.float32) -> str:
        """A constant of the file."""
        name = f"constant_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def random(self, *shape: int, fan: int | None = None) -> str:
        """A weight, He-scaled for so many inputs of each unit (all but the first extent, unless told)."""
        scale = np.sqrt(2 / (fan or np.prod(shape[1:])))
        return self.const(self._rng.normal(size=shape) * scale)

    def model(self, *outputs: str) -> onnx.ModelProto:
        """The network as a model with a free batch axis."""
        x = helper.make_tensor_value_info(self.x, self.dtype, ["batch", *self.shape])
        made = [helper.make_tensor_value_info(o, TensorProto.FLOAT, ["batch", None]) for o in outputs]
        graph = helper.make_graph(self._nodes, self.name, [x], made, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        return onnx.shape_inference.infer_shapes(model, data_prop=True)

    # -- images ----------------------------------------------------------------------------------------------------------

    def conv(self, x: str, inward: int, outward: int, kernel: int, stride: int = 1, group: int = 1, **more: Any) -> str:
        """A convolution that keeps the extents, up to its stride."""
        axes = more.pop("axes", 2)
        weight = self.random(outward, inward // group, *[kernel] * axes)
        pads = more.pop("pads", [kernel // 2] * (2 * axes))
        bias = self.const(self._rng.normal(size=outward) * 0.1)
        return self.op("Conv", x, weight, bias, strides=[stride] * axes, pads=pads, group=group, **more)

    def conv_relu(self, x: str, inward: int, outward: int, kernel: int = 3, stride: int = 1, **more: Any) -> str:
        """A convolution and its rectification."""
        return self.op("Relu", self.conv(x, inward, outward, kernel, stride, **more))

    def norm(self, x: str, channels: int) -> str:
        """A batch norm that nothing has folded."""
        positive = np.abs(self._rng.normal(size=channels)) + 0.5
        shift = self._rng.normal(size=channels) * 0.1
        return self.op("BatchNormalization", x, self.const(positive), self.const(shift), self.const(shift), self.const(positive))

    def pool(self, x: str, size: int = 2) -> str:
        """The maxima of windows side by side."""
        return self.op("MaxPool", x, kernel_shape=[size] * 2, strides=[size] * 2)

    def silu(self, x: str) -> str:
        """x · σ(x)."""
        return self.op("Mul", x, self.op("Sigmoid", x))

    def gate(self, x: str, channels: int, inner: int, last: str) -> str:
        """Channels times a number made of their means: squeeze and excitation."""
        mean = self.op("GlobalAveragePool", x)
        small = self.op("Relu", self.conv(mean, channels, inner, 1))
        return self.op("Mul", x, self.op(last, self.conv(small, inner, channels, 1)))

    def head(self, x: str, channels: int, classes: int = 10) -> str:
        """The mean over an image, and a dense layer."""
        return self.dense(self.op("Flatten", self.op("GlobalAveragePool", x)), channels, classes)

    # -- vectors and tokens ------------------------------------------------------------------------------------------------

    def dense(self, x: str, inward: int, outward: int) -> str:
        """A dense layer on vectors."""
        bias = self.const(self._rng.normal(size=outward) * 0.1)
        return self.op("Gemm", x, self.random(outward, inward), bias, transB=1)

    def linear(self, x: str, inward: int, outward: int) -> str:
        """A dense layer on tokens."""
        product = self.op("MatMul", x, self.random(inward, outward, fan=inward))
        return self.op("Add", product, self.const(self._rng.normal(size=outward) * 0.1))

    def layer_norm(self, x: str, width: int) -> str:
        """A layer norm over the last axis."""
        return self.op("LayerNormalization", x, self.const(np.ones(width)), self.const(np.zeros(width)), axis=-1)

    def gelu(self, x: str) -> str:
        """x · Φ(x), written out."""
        cumulative = self.op("Add", self.op("Erf", self.op("Div", x, self.const(np.sqrt(2)))), self.const(1))
        return self.op("Mul", self.op("Mul", x, cumulative), self.const(0.5))

    def attention(self, x: str, width: int, heads: int, tokens: int) -> str:
        """Self-attention over tokens."""
        each = width // heads
        split, join = self.const([-1, tokens, heads, each], np.int64), self.const([-1, tokens, width], np.int64)
        q, k, v = (self.op("Reshape", self.linear(x, width, width), split) for _ in "qkv")
        q, v = (self.op("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, v))
        k = self.op("Transpose", k, perm=[0, 2, 3, 1])
        scores = self.op("Div", self.op("MatMul", q, k), self.const(np.sqrt(each)))
        mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1), v)
        return self.linear(self.op("Reshape", self.op("Transpose", mixed, perm=[0, 2, 1, 3]), join), width, width)

    def block(self, x: str, width: int, heads: int, tokens: int, *, first: bool) -> str:
        """A transformer block, with its norms first or behind the sums."""
        if first:
            x = self.op("Add", x, self.attention(self.layer_norm(x, width), width, heads, tokens))
            inner = self.gelu(self.linear(self.layer_norm(x, width), width, 4 * width))
            return self.op("Add", x, self.linear(inner, 4 * width, width))
        x = self.layer_norm(self.op("Add", x, self.attention(x, width, heads, tokens)), width)
        inner = self.gelu(self.linear(x, width, 4 * width))
        return self.layer_norm(self.op("Add", x, self.linear(inner, 4 * width, width)), width)
