"""Perceptrons trained by numpy alone and written as ONNX, for studies that no training framework should be needed for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxplain.method.blackbox.adam import Adam

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Perceptron:
    """Linear layers, weights [in, out] and biases [out], with ReLU between; a sigmoid follows the last."""

    weights: list[Array]
    biases: list[Array]

    def activations(self, x: Array, masks: Sequence[Array] = ()) -> list[Array]:
        """The input of every layer, [n, in], and the logits; `masks` multiply what ReLU lets through (dropout)."""
        values = [x]
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True), 1):
            z = values[-1] @ weight + bias
            if i < len(self.weights):
                z = np.maximum(z, 0) * (masks[i - 1] if masks else 1)
            values.append(z)
        return values


def made(widths: Sequence[int], random: np.random.Generator) -> Perceptron:
    """A perceptron before training: weights after He et al. 2015, biases 0."""
    weights = [random.normal(0, np.sqrt(2 / n), (n, m)) for n, m in pairwise(widths)]
    return Perceptron(weights, [np.zeros(m) for m in widths[1:]])


def loss_and_slopes(
    net: Perceptron, x: Array, y: Array, masks: Sequence[Array] = (), emphasis: float = 1.0
) -> tuple[float, list[Array]]:
    """The mean cross-entropy of y [n, out] in {0, 1}, its ones counting `emphasis` times, and its derivatives by weights, then
    biases."""
    values = net.activations(x, masks)
    z, weight = values[-1], np.where(y > 0, emphasis, 1.0) / y.size
    loss = float((weight * (np.logaddexp(0, z) - y * z)).sum())
    message = weight * (0.5 * (1 + np.tanh(z / 2)) - y)
    weights, biases = [], []
    for i in reversed(range(len(net.weights))):
        weights.append(values[i].T @ message)
        biases.append(message.sum(axis=0))
        if i:
            message = (message @ net.weights[i].T) * (values[i] > 0) * (masks[i - 1] if masks else 1)
    return loss, [*weights[::-1], *biases[::-1]]


def trained(
    x: Array, y: Array, hidden: Sequence[int], *, epochs: int, rate: float, batch: int = 32, dropout: float = 0.0,
    decay: float = 0.0, emphasis: float = 1.0, seed: int = 0,
) -> Perceptron:  # fmt: skip
    """A perceptron fitted to y [n, out] in {0, 1} by Adam, the rate falling to zero on a cosine.

    Args:
        dropout: the share of hidden units that are silent in a step; the others count for more in turn.
        decay: of the weights in a step, as a share of the rate (decoupled: Loshchilov, Hutter 2019).
        emphasis: how often a 1 counts for what a 0 counts once.
    """
    random = np.random.default_rng(seed)
    net = made([x.shape[1], *hidden, y.shape[1]], random)
    adam, steps, step = Adam([*net.weights, *net.biases]), epochs * -(-len(x) // batch), 0
    for _ in range(epochs):
        order = random.permutation(len(x))
        for start in range(0, len(x), batch):
            rows = order[start : start + batch]
            masks = [(random.random((len(rows), n)) >= dropout) / (1 - dropout) for n in hidden] if dropout else []
            now = rate * 0.5 * (1 + np.cos(np.pi * step / steps))
            for weight in net.weights:
                weight *= 1 - now * decay
            adam.step(loss_and_slopes(net, x[rows], y[rows], masks, emphasis)[1], now)
            step += 1
    return net


def exported(net: Perceptron, takes: str, gives: str) -> onnx.ModelProto:
    """The perceptron as ONNX, float32, any batch: input `takes` [batch, in], probabilities `gives` [batch, out]."""
    nodes, arrays, value = [], [], takes
    for i, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True), 1):
        last = i == len(net.weights)
        arrays += [numpy_helper.from_array(a.astype(np.float32), f"{n}{i}") for n, a in (("W", weight), ("b", bias))]
        nodes.append(helper.make_node("Gemm", [value, f"W{i}", f"b{i}"], [f"z{i}"], name=f"linear{i}"))
        value = gives if last else f"relu{i}"
        nodes.append(helper.make_node("Sigmoid" if last else "Relu", [f"z{i}"], [value], name=value))
    ends = [(takes, net.weights[0].shape[0]), (gives, net.weights[-1].shape[1])]
    infos = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", size]) for name, size in ends]
    graph = helper.make_graph(nodes, "perceptron", infos[:1], infos[1:], arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model
