"""Scores that are computed from logits: their values, and their gradients against differences of the model's own outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner

from onnxplain import Explainer, check, plan, rewrite, verify
from onnxplain.cli.main import main
from onnxplain.errors import LayerError
from tests.support.models import model, node, run

DERIVED = ("log-probability", "loss", "entropy")
X = np.random.default_rng(4).standard_normal((3, 5)).astype(np.float32)
GPT = "fixtures/gpt2/model.onnx"


def network(activation: str = "", classes: int = 4, axis: int = -1) -> onnx.ModelProto:
    """Two layers, and an activation or none behind them."""
    random = np.random.default_rng(2)
    shapes = {"v": (5, 6), "a": (6,), "w": (6, classes)}
    weights = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    last = "z" if activation else "y"
    nodes = [node("Gemm", "x v a", "h"), node("Tanh", "h", "t"), node("MatMul", "t w", last)]
    if activation:
        nodes.append(node(activation, "z", "y", **({} if activation == "Sigmoid" else {"axis": axis})))
    return model(nodes, {"x": ["batch", 5]}, {"y": ["batch", classes]}, weights)


def value(score: str, logits: np.ndarray, target: int, *, sigmoid: bool = False) -> np.ndarray:
    """By the textbook, from probabilities in float64."""
    powers = np.exp(logits.astype(np.float64))
    p = powers / (1 + powers) if sigmoid else powers / powers.sum(axis=-1, keepdims=True)
    if score == "entropy":
        terms = p * np.log(p) + (1 - p) * np.log(1 - p) if sigmoid else p * np.log(p)
        return -terms[..., target] if sigmoid else -terms.sum(axis=-1)
    return np.log(p[..., target]) * (-1 if score == "loss" else 1)


@pytest.mark.parametrize("activation", ["", "Softmax", "LogSoftmax", "Sigmoid"])
@pytest.mark.parametrize("score", DERIVED)
def test_gradients_against_differences(score: str, activation: str) -> None:
    """Of what the model without its activation returns, by the formulas of the textbook."""
    found = Explainer(network(activation), "gradient", score=score, providers="cpu", expose=["score"])(X, 2)
    plain, sigmoid = network(), activation == "Sigmoid"
    shown = np.asarray(found.outputs[found.about["score"]["tensor"]])
    assert shown.shape == (3, 4)
    assert shown[:, 2] == pytest.approx(value(score, run(plain, {"x": X})["y"], 2, sigmoid=sigmoid), rel=1e-4)
    step, differences = 1e-2, np.zeros(X.shape)
    for place in np.ndindex(X.shape):
        moved = np.zeros_like(X)
        moved[place] = step
        up, down = (value(score, run(plain, {"x": X + s * moved})["y"], 2, sigmoid=sigmoid)[place[0]] for s in (1, -1))
        differences[place] = (up - down) / (2 * step)
    assert found.attribution == pytest.approx(differences, abs=2e-3)
    assert found.about["score"]["kind"] == score


@pytest.mark.parametrize("score", DERIVED)
@pytest.mark.parametrize("method", ["integrated-gradients", "deeplift", "occlusion", "kernel-shap"])
def test_every_method_explains_them(method: str, score: str) -> None:
    """Shares of the change since the baseline, where the method promises that."""
    options: dict[str, Any] = {"steps": 256} if method == "integrated-gradients" else {}
    found = Explainer(network("Softmax"), method, score=score, providers="cpu", baseline=0.0, **options)(X, 1)
    logits = [run(network(), {"x": x})["y"] for x in (X, np.zeros_like(X))]
    change = value(score, logits[0], 1) - value(score, logits[1], 1)
    if method != "occlusion":
        assert found.attribution.sum(axis=1) == pytest.approx(change, abs=1e-3)
    else:
        hidden = X.copy()
        hidden[:, 0] = 0
        gone = value(score, run(network(), {"x": hidden})["y"], 1)
        assert found.attribution[:, 0] == pytest.approx(value(score, logits[0], 1) - gone, abs=1e-4)


@pytest.mark.parametrize("score", DERIVED)
def test_files_for_other_hosts(score: str) -> None:
    """Outputs and the top prediction are the model's own; a file says what it explains, and verification makes it again."""
    made = rewrite(network("Softmax"), "lrp-epsilon", score=score, target="input")
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    y, attribution = session.run(None, {"x": X, "target": np.array([-1])})
    assert y == pytest.approx(run(network("Softmax"), {"x": X})["y"], abs=1e-6)
    found = Explainer(network("Softmax"), "lrp-epsilon", score=score, providers="cpu")(X)
    assert attribution == pytest.approx(found.attribution, abs=1e-6)
    assert found.target is not None
    assert found.target.tolist() == y.argmax(axis=1).tolist()


@pytest.mark.parametrize("score", DERIVED)
def test_relevance_starts_with_the_linear_part_at_the_logits(score: str) -> None:
    """R_z = z · ∂s/∂z: of log p z · (1 − p) for the class and −z · p for the others; here of a linear model, where ε → 0."""
    weights = {"w": np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)}
    linear = model([node("MatMul", "x w", "y")], {"x": ["batch", 5]}, {"y": ["batch", 4]}, weights)
    found = Explainer(linear, "attnlrp", score=score, providers="cpu")(X, 3).attribution
    logits = (X @ weights["w"]).astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    surprise = (p * np.log(p)).sum(axis=1, keepdims=True)
    slopes = {"log-probability": np.eye(4)[3] - p, "loss": p - np.eye(4)[3], "entropy": -p * (np.log(p) - surprise)}
    assert found == pytest.approx(X * (slopes[score] @ weights["w"].T), abs=1e-3)


@pytest.mark.parametrize("score", DERIVED)
def test_rules_that_are_no_derivatives_are_for_the_model_alone(score: str) -> None:
    """Guided backpropagation of a network without rectifiers is its gradient, whatever the appended nodes are."""
    linear = model([node("MatMul", "x w", "y")], {"x": ["batch", 5]}, {"y": ["batch", 4]}, {"w": np.eye(5, 4, dtype=np.float32)})
    guided, plain = (Explainer(linear, name, score=score, providers="cpu")(X, 1) for name in ("guided-backprop", "gradient"))
    assert guided.attribution == pytest.approx(plain.attribution, abs=1e-6)
    assert np.abs(plain.attribution).max() > 0.05


def test_a_language_model_is_explained_at_its_next_token() -> None:
    ids = np.array([[5, 9, 2, 30]])
    logits = Explainer(GPT, "gradient", providers="cpu")(ids)
    assert logits.elements is not None
    for score in DERIVED:
        found = Explainer(GPT, "gradient", providers="cpu", score=score)(ids)
        assert found.elements is not None
        assert found.elements.tolist() == logits.elements.tolist()
        assert found.about["positions"] == logits.about["positions"]
    entropies = [Explainer(GPT, "gradient", providers="cpu", score="entropy")(ids, [(3, t)]).attribution for t in (1, 2)]
    assert entropies[0] == pytest.approx(entropies[1], abs=1e-7)


def test_what_has_no_classes_is_refused() -> None:
    random = np.random.default_rng(0).standard_normal((2, 3, 1, 1)).astype(np.float32)
    maps = model(
        [node("Conv", "x w", "y")], {"x": ["batch", 3, 4, 4]}, {"y": ["batch", 2, 4, 4]}, {"w": random}
    )  # fmt: skip
    with pytest.raises(LayerError, match=r"nothing says which axis of 'y' \[batch, 2, 4, 4\] counts classes"):
        Explainer(maps, score="entropy")(np.zeros((1, 3, 4, 4), np.float32))
    with pytest.raises(LayerError, match="a single score, and no sigmoid follows it"):
        rewrite(network(classes=1), score="log-probability")
    with pytest.raises(
        LayerError, match="score must be 'logit', 'probability', 'log-probability', 'entropy' or 'loss', not 'nll'"
    ):
        rewrite(network(), score="nll")


@pytest.mark.parametrize("score", DERIVED)
def test_check_plan_and_verify_know_them(score: str, tmp_path: Any) -> None:
    onnx.save(network("Softmax"), tmp_path / "model.onnx")
    report = check(tmp_path / "model.onnx", "input-x-gradient", X[:1], score=score)
    assert report.ok, report
    assert plan(tmp_path / "model.onnx", "attnlrp", score=score).score.kind == score
    given = ["rewrite", str(tmp_path / "model.onnx"), "-m", "input-x-gradient", "--score", score, "-o", str(tmp_path / "e.onnx")]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.output
    verified = verify(tmp_path / "e.onnx", tmp_path / "model.onnx")
    assert verified.ok, verified
