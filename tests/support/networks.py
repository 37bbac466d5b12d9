"""Small whole networks with random weights, with biases or without, for tests of what holds for every layer together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from tests.support.models import model, node

Array = np.ndarray[Any, Any]


class Weights:
    """Random weights by name, He-scaled; biases only where they are asked for."""

    def __init__(self, seed: int, biased: bool) -> None:
        self.generator = np.random.default_rng(seed)
        self.biased = biased
        self.arrays: dict[str, Array] = {}

    def layer(self, name: str, *shape: int, outputs: int | None = None, fan: int | None = None) -> str:
        """The operands of a linear layer behind its input: "w" or "w b"."""
        size = fan or int(np.prod(shape[1:]))
        self.arrays[f"{name}.w"] = (self.generator.standard_normal(shape) * np.sqrt(2 / size)).astype(np.float32)
        if not self.biased:
            return f"{name}.w"
        bias = self.generator.standard_normal(outputs or shape[0]) * 0.3
        self.arrays[f"{name}.b"] = bias.astype(np.float32)
        return f"{name}.w {name}.b"

    def constant(self, name: str, value: Any, dtype: Any = np.int64) -> str:
        self.arrays[name] = np.asarray(value, dtype)
        return name


def mlp(seed: int = 0, biased: bool = False) -> onnx.ModelProto:
    """Three dense layers, so wide that every neuron has contributions of both signs."""
    w = Weights(seed, biased)
    nodes = []
    current = "x"
    for i, (fan, out) in enumerate([(24, 40), (40, 40), (40, 3)]):
        nodes.append(node("Gemm", f"{current} {w.layer(f'l{i}', out, fan)}", f"z{i}", transB=1))
        current = f"z{i}"
        if i < 2:
            nodes.append(node("Relu", current, f"a{i}"))
            current = f"a{i}"
    return _model(nodes, ("batch", 24), current, ("batch", 3), w)


def cnn(seed: int = 0, biased: bool = False, residual: bool = True) -> onnx.ModelProto:
    """Strides, overlapping maximum, average pooling, a residual block with a projection, a global mean."""
    w = Weights(seed, biased)
    nodes = [
        node("Conv", f"x {w.layer('c1', 16, 4, 3, 3)}", "z1", pads=[1, 1, 1, 1]),
        node("Relu", "z1", "a1"),
        node("MaxPool", "a1", "p1", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Conv", f"p1 {w.layer('c2', 24, 16, 3, 3)}", "z2", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", "z2", "a2"),
        node("Conv", f"a2 {w.layer('c3', 24, 24, 3, 3)}", "z3", pads=[1, 1, 1, 1]),
    ]
    if residual:
        nodes.append(node("Conv", f"p1 {w.layer('c4', 24, 16, 1, 1)}", "z4", strides=[2, 2]))
        nodes.append(node("Add", "z3 z4", "sum"))
    nodes += [
        node("Relu", "sum" if residual else "z3", "a3"),
        node("AveragePool", "a3", "p2", kernel_shape=[2, 2]),
        node("GlobalAveragePool", "p2", "g"),
        node("Flatten", "g", "f"),
        node("Gemm", f"f {w.layer('d', 3, 24)}", "y", transB=1),
    ]
    return _model(nodes, ("batch", 4, 10, 10), "y", ("batch", 3), w)


def unet(seed: int = 0, biased: bool = False) -> onnx.ModelProto:
    """Down, up by a transposed convolution and by interpolation, a skip; the score is the mean of a map."""
    w = Weights(seed, biased)
    w.constant("scales", [1, 1, 2, 2], np.float32)
    up = w.layer("t", 32, 6, 2, 2, outputs=6, fan=32)
    nodes = [
        node("Conv", f"x {w.layer('c1', 12, 4, 3, 3)}", "z1", pads=[1, 1, 1, 1]),
        node("Relu", "z1", "skip"),
        node("MaxPool", "skip", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", f"p {w.layer('c2', 32, 12, 3, 3)}", "z2", pads=[1, 1, 1, 1]),
        node("Relu", "z2", "a2"),
        node("ConvTranspose", f"a2 {up}", "u1", strides=[2, 2]),
        onnx.helper.make_node("Resize", ["a2", "", "scales"], ["u2"], name="u2", mode="linear"),
        node("Concat", "u1 u2 skip", "c", axis=1),
        node("Conv", f"c {w.layer('c3', 2, 50, 3, 3)}", "z3", pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", "z3", "g"),
        node("Flatten", "g", "y"),
    ]
    return _model(nodes, ("batch", 4, 8, 8), "y", ("batch", 2), w)


def transformer(seed: int = 0, biased: bool = False) -> onnx.ModelProto:
    """One block before a mean over tokens: layer norm, two heads, a gated unit."""
    w = Weights(seed, biased)
    w.constant("split", [0, 0, 2, 4])
    w.constant("join", [0, 0, 8])
    w.constant("axis", [1])
    w.constant("half", 0.5, np.float32)
    w.arrays["scale"] = w.generator.uniform(0.5, 1.5, 8).astype(np.float32)

    def dense(source: str, name: str, fan: int, out: int, result: str) -> list[onnx.NodeProto]:
        operands = w.layer(name, fan, out, outputs=out, fan=fan).split()
        if len(operands) == 1:
            return [node("MatMul", f"{source} {operands[0]}", result)]
        return [node("MatMul", f"{source} {operands[0]}", f"{name}.p"), node("Add", f"{name}.p {operands[1]}", result)]

    nodes = [node("LayerNormalization", "x scale", "n", axis=-1)]
    for head in "qkv":
        nodes += dense("n", head, 8, 8, f"{head}.z")
        nodes.append(node("Reshape", f"{head}.z split", f"{head}.s"))
        nodes.append(node("Transpose", f"{head}.s", head, perm=[0, 2, 3, 1] if head == "k" else [0, 2, 1, 3]))
    nodes += [
        node("MatMul", "q k", "dots"),
        node("Mul", "dots half", "scores"),
        node("Softmax", "scores", "weights", axis=-1),
        node("MatMul", "weights v", "mixed"),
        node("Transpose", "mixed", "mixed.t", perm=[0, 2, 1, 3]),
        node("Reshape", "mixed.t join", "mixed.j"),
        *dense("mixed.j", "o", 8, 8, "o"),
        node("Add", "x o", "residual"),
        *dense("residual", "gate", 8, 12, "gate"),
        *dense("residual", "up", 8, 12, "up"),
        node("Sigmoid", "gate", "gate.s"),
        node("Mul", "up gate.s", "glu"),
        *dense("glu", "down", 12, 8, "down"),
        node("Add", "residual down", "out"),
        node("ReduceMean", "out axis", "mean", keepdims=0),
        *dense("mean", "head", 8, 3, "y"),
    ]
    return _model(nodes, ("batch", 5, 8), "y", ("batch", 3), w)


def _model(
    nodes: Sequence[onnx.NodeProto], shape: Sequence[Any], output: str, scores: Sequence[Any], w: Weights
) -> onnx.ModelProto:
    return model(nodes, {"x": shape}, {output: scores}, w.arrays)
