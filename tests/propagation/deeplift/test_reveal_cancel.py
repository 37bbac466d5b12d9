"""The RevealCancel rule against the paper's formulas, unit by unit in numpy (Shrikumar et al. 2017, sections 3.5.1, 3.5.2)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from onnxplain import plan, rewrite
from tests.support.models import model, node, run
from tests.support.multipliers import multipliers
from tests.support.paths import FIXTURES

Function = Callable[[float], float]

FUNCTIONS: dict[str, Function] = {
    "Relu": lambda z: max(z, 0.0),
    "Tanh": lambda z: float(np.tanh(z)),
    "Sigmoid": lambda z: float(1 / (1 + np.exp(-z))),
    "Softplus": lambda z: float(np.log1p(np.exp(z))),
}


def unit(f: Function, terms: np.ndarray, z0: float) -> tuple[float, float, float, float]:
    """Δz⁺ and Δz⁻ of a unit whose inputs change z by these terms, and the changes Δy⁺ and Δy⁻ that the paper attributes to them."""
    up, down = float(terms[terms > 0].sum()), float(terms[terms < 0].sum())
    y_up = 0.5 * (f(z0 + up) - f(z0)) + 0.5 * (f(z0 + down + up) - f(z0 + down))
    y_down = 0.5 * (f(z0 + down) - f(z0)) + 0.5 * (f(z0 + up + down) - f(z0 + up))
    return up, down, y_up, y_down


def limit(f: Function, z0: float, other: float, h: float = 1e-5) -> float:
    """Δy⁺/Δz⁺ (or of the falling part) as that part goes to zero: the mean slope at the baseline and where the other leads."""
    return sum(f(z + h) - f(z - h) for z in (z0, z0 + other)) / (4 * h)


def layer(f: Function, w: np.ndarray, bias: np.ndarray, x: np.ndarray, x0: np.ndarray, m: np.ndarray) -> np.ndarray:
    """The multipliers of a dense layer's inputs from those of its outputs."""
    found = np.zeros(len(x))
    for j in range(w.shape[1]):
        terms = w[:, j] * (x - x0)
        up, down, y_up, y_down = unit(f, terms, float(x0 @ w[:, j] + bias[j]))
        z0 = float(x0 @ w[:, j] + bias[j])
        rising = m[j] * (y_up / up if up else limit(f, z0, down))
        falling = m[j] * (y_down / down if down else limit(f, z0, up))
        for i, term in enumerate(terms):
            found[i] += w[i, j] * (rising if term > 0 else falling if term < 0 else 0.5 * (rising + falling))
    return found


@pytest.mark.parametrize("op", FUNCTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_dense_layers_equal_the_papers(op: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    weights = {
        "w1": random.normal(size=(6, 5)), "b1": random.normal(size=5), "w2": random.normal(size=(5, 4)),
        "b2": random.normal(size=4), "w3": random.normal(size=(4, 1)),
    }  # fmt: skip
    nodes = [
        node("Gemm", "x w1 b1", "z1"), node(op, "z1", "y1"), node("MatMul", "y1 w2", "p2"), node("Add", "p2 b2", "z2"),
        node(op, "z2", "y2"), node("MatMul", "y2 w3", "t"),
    ]  # fmt: skip
    made = model(nodes, {"x": [1, 6]}, {"t": [1, 1]}, {k: v.astype(np.float32) for k, v in weights.items()})
    w1, b1, w2, b2, w3 = (v.astype(np.float32).astype(np.float64) for v in weights.values())
    x, x0 = random.normal(size=(2, 6))
    x0[2] = x[2]  # one input that does not change
    f = np.vectorize(FUNCTIONS[op])
    y, y0 = f(x @ w1 + b1), f(x0 @ w1 + b1)
    expected = layer(FUNCTIONS[op], w1, b1, x, x0, layer(FUNCTIONS[op], w2, b2, y, y0, w3[:, 0]))
    given = {"x": x[None]}, {"x": x0[None]}
    found = multipliers(made, *given, ["t"], "reveal-cancel", seeds={"t": np.ones((1, 1))})
    np.testing.assert_allclose(found.values["x"][0], expected, rtol=1e-7, atol=1e-12)
    assert found.gap < 1e-12


def test_convolution_is_its_dense_layer() -> None:
    random = np.random.default_rng(7)
    w, bias = random.normal(size=(2, 1, 3)).astype(np.float32), random.normal(size=2).astype(np.float32)
    made = model([node("Conv", "x w b", "z"), node("Relu", "z", "y")], {"x": [1, 1, 7]}, {"y": [1, 2, 5]}, {"w": w, "b": bias})
    dense = np.zeros((7, 10))
    for c in range(2):
        for j in range(5):
            dense[j : j + 3, 5 * c + j] = w[c, 0]
    x, x0, m = random.normal(size=7), random.normal(size=7), random.normal(size=10)
    expected = layer(FUNCTIONS["Relu"], dense, np.repeat(bias.astype(float), 5), x, x0, m)
    given = {"x": x[None, None]}, {"x": x0[None, None]}
    found = multipliers(made, *given, ["y"], "reveal-cancel", seeds={"y": m.reshape(1, 2, 5)})
    np.testing.assert_allclose(found.values["x"].ravel(), expected, rtol=1e-9)


@pytest.mark.parametrize("op", ["Add", "Sub"])
def test_a_sum_of_two_is_a_layer_of_ones(op: str) -> None:
    random = np.random.default_rng(8)
    made = model([node(op, "a b", "z"), node("Relu", "z", "y")], {"a": [1, 8], "b": [1, 8]}, {"y": [1, 8]})
    a, b, a0, b0, m = random.normal(size=(5, 8))
    w = np.array([[1.0], [1.0 if op == "Add" else -1.0]])
    found = multipliers(
        made, {"a": a[None], "b": b[None]}, {"a": a0[None], "b": b0[None]}, ["y"], "reveal-cancel", seeds={"y": m[None]}
    )
    for k in range(8):
        x, x0 = np.array([a[k], b[k]]), np.array([a0[k], b0[k]])
        expected = layer(FUNCTIONS["Relu"], w, np.zeros(1), x, x0, m[k : k + 1])
        np.testing.assert_allclose([found.values["a"][0, k], found.values["b"][0, k]], expected, rtol=1e-9)


def test_the_papers_minimum_of_two_inputs() -> None:
    """h = i₁ − max(0, i₁ − i₂) = min(i₁, i₂) from baseline 0 (figure 2): Rescale gives all to one, RevealCancel shares."""
    nodes = [node("MatMul", "x w", "d"), node("Relu", "d", "r"), node("MatMul", "x e", "i"), node("Sub", "i r", "h")]
    weights = {"w": np.array([[1], [-1]], np.float32), "e": np.array([[1], [0]], np.float32)}
    made = model(nodes, {"x": ["n", 2]}, {"h": ["n", 1]}, weights)
    x = np.array([[3.0, 1.0], [1.0, 3.0], [2.0, 2.0]], np.float32)
    rescale, reveal = (
        run(rewrite(made, "deeplift", target=0, baseline=0.0, rule=rule), {"x": x})["x_attribution"]
        for rule in ("rescale", "reveal-cancel")
    )
    np.testing.assert_allclose(rescale, [[0, 1], [1, 0], [2, 0]], atol=1e-6)
    np.testing.assert_allclose(reveal, [[0.5, 0.5], [0.5, 0.5], [1, 1]], atol=1e-6)


def test_the_plan_says_which_rule_serves() -> None:
    rules = {row.rule for row in plan(FIXTURES / "resnet" / "model.onnx", "deeplift", rule="reveal-cancel").rows}
    assert "reveal-cancel" in rules
    rules = {row.rule for row in plan(FIXTURES / "resnet" / "model.onnx", "deeplift").rows}
    assert "rescale" in rules
    assert "reveal-cancel" not in rules
