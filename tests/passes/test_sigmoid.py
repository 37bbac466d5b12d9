"""Sigmoids written out as 1 / (1 + exp(−x)): finite derivatives where the exponential overflows, one activation, a gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxplain import Explainer, plan, rewrite
from onnxplain.passes import prepare
from tests.support.models import model, node, run
from tests.support.paths import FIXTURES

CHAINS = {
    "sgd": [("Mul", "{x} minus", "n"), ("Exp", "n", "e"), ("Add", "e one", "d"), ("Reciprocal", "d", "{y}")],
    "quotient": [("Neg", "{x}", "n"), ("Exp", "n", "e"), ("Add", "one e", "d"), ("Div", "one d", "{y}")],
    "power": [("Sub", "zero {x}", "n"), ("Exp", "n", "e"), ("Add", "one e", "d"), ("Pow", "d minus", "{y}")],
}
"""How converters write it, from x to y."""

NUMBERS = {"one": np.ones(1, np.float32), "minus": -np.ones(1, np.float32), "zero": np.zeros((), np.float32)}


def chain(form: str, x: str, y: str) -> list[onnx.NodeProto]:
    """The nodes of one written-out sigmoid; inner tensors are named after y."""
    own = {"n", "e", "d"}

    def named(words: str) -> str:
        return " ".join(f"{y}/{w}" if w in own else w for w in words.format(x=x, y=y).split())

    return [node(op, named(inputs), named(outputs)) for op, inputs, outputs in CHAINS[form]]


def written_out(path: Path, form: str) -> onnx.ModelProto:
    """A model with its sigmoids written out; where it has none, its Tanh as 2 σ(2x) − 1."""
    made = onnx.load(path)
    nodes: list[onnx.NodeProto] = []
    for n in made.graph.node:
        x, y = (n.input[0], n.output[0]) if n.input else ("", "")
        if n.op_type == "Sigmoid":
            nodes += chain(form, x, y)
        elif n.op_type == "Tanh":
            nodes += [node("Mul", f"{x} two", f"{y}/2x"), *chain(form, f"{y}/2x", f"{y}/s")]
            nodes += [node("Mul", f"{y}/s two", f"{y}/2s"), node("Sub", f"{y}/2s one", y)]
        else:
            nodes.append(n)
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    numbers = {**NUMBERS, "two": np.full(1, 2, np.float32)}
    made.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in numbers.items())
    return made


@pytest.mark.parametrize("method", ["gradient", "input-x-gradient", "lrp-epsilon", "lrp-zplus"])
@pytest.mark.parametrize("form", CHAINS)
@pytest.mark.parametrize("name", ["cancer_sklearn", "iris_sklearn"])
def test_models_of_scikit_learn_at_large_inputs(name: str, form: str, method: str) -> None:
    """As with the operator itself, also where exp(−x) is infinite."""
    path = FIXTURES / name / "model.onnx"
    with np.load(path.with_name("data.npz")) as data:
        x = np.concatenate([data["features"], 1e4 * data["features"], -1e4 * data["features"]])
    for score in ("logit", "probability"):
        plain = Explainer(path, method, score=score)(x)
        found = Explainer(written_out(path, form), method, score=score)(x, plain.target.tolist())
        assert np.isfinite(found.attribution).all()
        scale = np.abs(plain.attribution).max(1, keepdims=True) + 1e-30
        if name == "iris_sklearn" and method.startswith("lrp"):
            continue  # 2 σ(2x) − 1 is no single activation to relevance
        np.testing.assert_allclose(found.attribution / scale, plain.attribution / scale, atol=1e-3)


@pytest.mark.parametrize("form", CHAINS)
def test_slope_is_that_of_the_sigmoid(form: str) -> None:
    x = np.array([[-1e4, -200, -95, -30, -1, 0, 2, 30, 200, 1e4]], np.float32)
    made = model(chain(form, "x", "y"), {"x": [1, 10]}, {"y": [1, 10]}, NUMBERS)
    found = run(rewrite(made, target="cotangent", score="probability"), {"x": x, "seed": np.ones_like(x)})
    with np.errstate(over="ignore"):
        expected = 1 / (2 + np.exp(np.float64(x)) + np.exp(-np.float64(x)))
    np.testing.assert_allclose(found["x_attribution"], expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found["y"], run(made, {"x": x})["y"], rtol=1e-6, atol=1e-7)
    assert Explainer(made).about["score"]["activation"] == "Sigmoid"


def test_without_the_minus_it_is_the_other_side() -> None:
    """As CalibratedClassifierCV writes it: 1 / (1 + exp(a x + b))."""
    nodes = [node("Mul", "a x", "p"), node("Add", "p b", "z"), node("Exp", "z", "e"), node("Add", "one e", "d")]
    made = model([*nodes, node("Div", "one d", "y")], {"x": ["n", 1]}, {"y": ["n", 1]},
                 {**NUMBERS, "a": np.full(1, -2, np.float32), "b": np.full(1, 0.5, np.float32)})  # fmt: skip
    x = np.array([[-300], [-1], [0], [2], [300]], np.float32)
    found = run(rewrite(made, target=0, score="probability"), {"x": x})
    z = np.float64(x) * -2 + 0.5
    np.testing.assert_allclose(found["y"], 1 / (1 + np.exp(z)), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found["x_attribution"], 2 / (2 + np.exp(z) + np.exp(-z)), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("form", CHAINS)
def test_relevance_sees_an_activation_and_a_gate(form: str) -> None:
    """x · σ(x) is one activation; in σ(x·W) · (x·V) the signal takes all."""
    silu = model([*chain(form, "x", "s"), node("Mul", "x s", "y")], {"x": [1, 3]}, {"y": [1, 3]}, NUMBERS)
    rows = {r.node: r for r in plan(silu, "lrp-epsilon").rows}
    assert rows["y"].rule == "pass"
    weights = {**NUMBERS, "w": np.eye(3, dtype=np.float32), "v": np.eye(3, dtype=np.float32)}
    nodes = [node("MatMul", "x w", "a"), node("MatMul", "x v", "b"), *chain(form, "a", "s"), node("Mul", "s b", "y")]
    gated = model(nodes, {"x": [1, 3]}, {"y": [1, 3]}, weights)
    rows = {r.node: r for r in plan(gated, "lrp-epsilon").rows}
    assert rows["y"].rule == "signal"
    assert rows["a"].rule in ("", "epsilon")
    x = np.array([[1.0, -2.0, 300.0]], np.float32)
    found = run(rewrite(gated, "lrp-epsilon", target="cotangent"), {"x": x, "seed": np.ones_like(x)})
    np.testing.assert_allclose(found["x_attribution"], found["y"], rtol=1e-4)


def test_what_is_no_sigmoid_stays() -> None:
    """Another number than one, or a one that adds an axis."""
    two = {**NUMBERS, "one": np.full(1, 2, np.float32)}
    axis = {**NUMBERS, "one": np.ones((1, 1, 1), np.float32)}
    for weights in (two, axis):
        made = model(chain("quotient", "x", "y"), {"x": [1, 3]}, {"y": None}, weights)
        assert "merge-sigmoids" not in prepare(made)
    shared: dict[str, Any] = {"y": [1, 3], "y/e": [1, 3]}
    made = model(chain("quotient", "x", "y"), {"x": [1, 3]}, shared, NUMBERS)
    x = np.array([[0.3, -2, 5]], np.float32)
    before = run(made, {"x": x})
    prepare(made)
    after = run(made, {"x": x})
    assert list(after) == ["y", "y/e"]
    for key, value in before.items():
        np.testing.assert_allclose(after[key], value, rtol=1e-6)
