"""Linear operators of every form, and their matrices: what relevance rules for linear maps are tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import onnx

from onnxplain.verification.finite_differences import run
from tests.support.models import model, node

Array = np.ndarray[Any, Any]


def random(*shape: int, seed: int = 0) -> Array:
    """Numbers of both signs, none near zero, so that every weight counts."""
    generator = np.random.default_rng([seed, *shape])
    return np.asarray(generator.uniform(0.2, 1.5, shape) * generator.choice([-1.0, 1.0], shape))


@dataclass(frozen=True)
class Linear:
    """A linear operator with its constants: nodes from `x` to `y`."""

    name: str
    nodes: Sequence[onnx.NodeProto]
    shape: tuple[int, ...]
    weights: Mapping[str, Array] = field(default_factory=dict)

    def model(self, *, rectified: bool = False) -> onnx.ModelProto:
        """The operator in float64 on `x`, or on max(x, 0), which is provably not below zero."""
        nodes = list(self.nodes)
        if rectified:
            renamed = []
            for n in nodes:
                copy = onnx.NodeProto()
                copy.CopyFrom(n)
                copy.input[:] = ["rectified" if i == "x" else i for i in n.input]
                renamed.append(copy)
            nodes = [node("Relu", "x", "rectified"), *renamed]
        double = onnx.TensorProto.DOUBLE
        return model(nodes, {"x": self.shape}, {"y": None}, self.weights, opset=19, kinds={"x": double, "y": double})

    def __call__(self, x: Array) -> Array:
        (y,) = run(self.model(), {"x": x}, ["y"])
        return np.asarray(y)

    @cached_property
    def bias(self) -> Array:
        """What the operator makes of nothing, flat [outputs]."""
        return self(np.zeros(self.shape)).ravel()

    @cached_property
    def matrix(self) -> Array:
        """w_ij [inputs, outputs], from basis vectors."""
        units = np.eye(int(np.prod(self.shape)))
        return np.stack([self(e.reshape(self.shape)).ravel() - self.bias for e in units])

    @property
    def has_bias(self) -> bool:
        return bool(np.any(self.bias))


def linear(name: str, nodes: Sequence[onnx.NodeProto] | onnx.NodeProto, shape: Sequence[int], **weights: Any) -> Linear:
    made = {k: np.asarray(v, np.float64) for k, v in weights.items()}
    return Linear(name, [nodes] if isinstance(nodes, onnx.NodeProto) else nodes, tuple(shape), made)


def matmul_add(product: onnx.NodeProto, left: bool = False) -> list[onnx.NodeProto]:
    """A product into `p`, and the bias added behind it."""
    return [product, node("Add", "b p" if left else "p b", "y")]


LINEAR = [
    linear("gemm", node("Gemm", "x w", "y"), (2, 4), w=random(4, 3)),
    linear("gemm-bias", node("Gemm", "x w b", "y", transB=1), (2, 4), w=random(3, 4), b=random(3)),
    linear("gemm-trans-both", node("Gemm", "x w b", "y", transA=1, transB=1), (4, 2), w=random(3, 4), b=random(1, 3)),
    linear("gemm-alpha-beta", node("Gemm", "x w b", "y", alpha=0.5, beta=2.0), (2, 4), w=random(4, 3), b=random(2, 3)),
    linear("gemm-negative", node("Gemm", "x w b", "y", alpha=-0.5, beta=-2.0), (2, 4), w=random(4, 3), b=random(3)),
    linear("gemm-weight-left", node("Gemm", "w x b", "y"), (4, 2), w=random(3, 4), b=random(3, 1)),
    linear("gemm-add", matmul_add(node("Gemm", "x w", "p", alpha=-2.0)), (2, 4), w=random(4, 3), b=random(3)),
    linear("matmul", node("MatMul", "x w", "y"), (2, 4), w=random(4, 3)),
    linear("matmul-left", node("MatMul", "w x", "y"), (4, 2), w=random(3, 4)),
    linear("matmul-batched", node("MatMul", "x w", "y"), (2, 3, 4), w=random(4, 3)),
    linear("matmul-batched-weight", node("MatMul", "x w", "y"), (2, 3, 4), w=random(2, 4, 3)),
    linear("matmul-stretched", node("MatMul", "x w", "y"), (3, 4), w=random(2, 4, 3)),
    linear("matmul-left-batched", node("MatMul", "w x", "y"), (2, 4, 3), w=random(3, 4)),
    linear("matmul-left-stretched", node("MatMul", "w x", "y"), (4, 3), w=random(2, 3, 4)),
    linear("matmul-vector", node("MatMul", "x w", "y"), (4,), w=random(4, 3)),
    linear("matmul-left-vector", node("MatMul", "w x", "y"), (4,), w=random(3, 4)),
    linear("matmul-add", matmul_add(node("MatMul", "x w", "p")), (2, 4), w=random(4, 3), b=random(3)),
    linear("matmul-add-left", matmul_add(node("MatMul", "x w", "p"), left=True), (2, 3, 4), w=random(4, 3), b=random(1, 3)),
    linear("matmul-left-add", matmul_add(node("MatMul", "w x", "p")), (4, 2), w=random(3, 4), b=random(3, 1)),
    linear("conv1d", node("Conv", "x w", "y", strides=[2], pads=[1, 2]), (2, 2, 7), w=random(3, 2, 3)),
    linear("conv1d-dilated", node("Conv", "x w b", "y", dilations=[2], pads=[2, 2]), (1, 2, 7), w=random(3, 2, 3), b=random(3)),
    linear("conv2d", node("Conv", "x w b", "y"), (2, 2, 4, 4), w=random(3, 2, 3, 3), b=random(3)),
    linear("conv2d-strided", node("Conv", "x w b", "y", strides=[2, 1], pads=[1, 1, 0, 1]), (1, 2, 5, 4), w=random(3, 2, 3, 2),
           b=random(3)),
    linear("conv2d-same", node("Conv", "x w", "y", strides=[2, 2], auto_pad="SAME_UPPER"), (1, 2, 5, 5), w=random(2, 2, 3, 3)),
    linear("conv2d-grouped", node("Conv", "x w b", "y", group=2, pads=[1, 1, 1, 1]), (1, 4, 3, 3), w=random(6, 2, 3, 3), b=random(6)),
    linear("conv2d-depthwise", node("Conv", "x w", "y", group=3, strides=[2, 2]), (2, 3, 5, 5), w=random(3, 1, 3, 3)),
    linear("conv2d-add", matmul_add(node("Conv", "x w", "p", pads=[1, 1, 1, 1])), (1, 2, 3, 3), w=random(3, 2, 3, 3),
           b=random(1, 3, 1, 1)),
    linear("conv3d", node("Conv", "x w b", "y", strides=[1, 2, 1], pads=[0, 1, 0, 1, 1, 0]), (1, 2, 3, 3, 3), w=random(2, 2, 2, 2, 2),
           b=random(2)),
    linear("transposed1d", node("ConvTranspose", "x w", "y", strides=[3], dilations=[2]), (1, 2, 4), w=random(2, 3, 3)),
    linear("transposed2d", node("ConvTranspose", "x w b", "y", strides=[2, 2], pads=[1, 0, 1, 1], output_padding=[1, 0]),
           (1, 2, 3, 3), w=random(2, 3, 3, 3), b=random(3)),
    linear("transposed2d-grouped", node("ConvTranspose", "x w b", "y", group=2, strides=[2, 1]), (1, 4, 2, 3), w=random(4, 2, 2, 3),
           b=random(4)),
    linear("transposed-add", matmul_add(node("ConvTranspose", "x w", "p")), (1, 2, 3, 2), w=random(2, 2, 2, 2), b=random(2, 1, 1)),
    linear("einsum", node("Einsum", "x w", "y", equation="bij,jk->bik"), (2, 2, 3), w=random(3, 4)),
    linear("einsum-left", node("Einsum", "w x", "y", equation="ij,bjk->kbi"), (2, 3, 2), w=random(4, 3)),
    linear("einsum-heads", node("Einsum", "x w", "y", equation="bqd,dhk->bhqk"), (1, 3, 4), w=random(4, 2, 3)),
    linear("einsum-add", matmul_add(node("Einsum", "x w", "p", equation="...j,jk")), (2, 3, 3), w=random(3, 4), b=random(4)),
]  # fmt: skip
"""Each link between an input and an output goes by one weight, so that the matrix's elements are weights."""
