"""Real exported models: our gradients against arrays computed by the frameworks that trained them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import Explainer, check, plan, rewrite
from tests.support.models import run
from tests.support.paths import FIXTURES

MODELS = sorted(FIXTURES.glob("*/model*.onnx"))
IDS = [f"{p.parent.name}-{p.stem}" for p in MODELS]


def arrays(path: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(path.parent / name) as found:
        return dict(found)


def feeds(path: Path) -> dict[str, np.ndarray]:
    names = {i.name for i in onnx.load(path).graph.input}
    return {k: v for k, v in arrays(path, "data.npz").items() if k in names}


def references(path: Path) -> dict[str, np.ndarray]:
    """Reference gradients of the logit by the name of the input they belong to."""
    found = {k.removeprefix("gradient."): v for k, v in arrays(path, "reference.npz").items() if k.startswith("gradient.")}
    return {{"embedding": "input_ids"}.get(k, k): v for k, v in found.items()}


def error(actual: np.ndarray, expected: np.ndarray) -> float:
    assert actual.shape == expected.shape
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def test_there_are_fixtures_of_every_kind() -> None:
    assert len(MODELS) >= 28
    frameworks = {json.loads((p.parent / "about.json").read_text())["framework"].split()[0].lower() for p in MODELS}
    assert len(frameworks) >= 3


@pytest.mark.parametrize("path", MODELS, ids=IDS)
def test_gradient_equals_the_frameworks(path: Path) -> None:
    """Against float64 autograd arrays, relative to the largest value: 1e-5, in float32 on ONNX Runtime."""
    explainer = Explainer(path)
    target = arrays(path, "reference.npz")["target"]
    explanation = explainer(feeds(path), target.tolist())
    for name, expected in references(path).items():
        assert error(explanation.attributions[name], expected) < 1e-5
    if len(explainer.about["score"]["shape"]) == 2:  # language models: the reference explains the last position only
        explanation = explainer(feeds(path))
        np.testing.assert_array_equal(explanation.target, target)
        for name, expected in references(path).items():
            assert error(explanation.attributions[name], expected) < 1e-5


@pytest.mark.parametrize("path", MODELS, ids=IDS)
def test_prediction_is_the_models_own(path: Path) -> None:
    """The explained model returns the very outputs of the original, first and in order."""
    before = run(onnx.load(path), feeds(path))
    explained = rewrite(path)
    onnx.checker.check_model(explained, full_check=True)
    after = run(explained, feeds(path))
    assert list(after)[: len(before)] == list(before)
    for name, value in before.items():
        if isinstance(value, np.ndarray):
            # The gradient graph reads inner tensors, so ONNX Runtime fuses the forward pass differently: rounding differs.
            np.testing.assert_allclose(after[name], value, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(value).max())))


@pytest.mark.parametrize("path", MODELS, ids=IDS)
def test_both_targets_of_probability_and_logit(path: Path) -> None:
    """A probability is rounded to its type, which moves p (1 − p), and so its gradient, by as much of the logit's."""
    stored = arrays(path, "reference.npz")
    wanted = {k.removeprefix("gradient_probability."): v for k, v in stored.items() if k.startswith("gradient_probability.")}
    if not wanted:
        assert Explainer(path).about["score"]["kind"] == "output"
        return
    explanation = Explainer(path, score="probability")(feeds(path))
    for name, expected in wanted.items():
        found = explanation.attributions[name]
        rounding = np.finfo(found.dtype).eps * np.abs(stored[f"gradient.{name}"]).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max() + rounding)


@pytest.mark.parametrize("path", MODELS, ids=IDS)
def test_plan_serves_every_call(path: Path) -> None:
    made = plan(path)
    assert not made.problem
    assert not made.missing
    served = [r for r in made.rows if r.status == "rule"]
    assert served
    assert all(r.rule and r.reason for r in served)


@pytest.mark.parametrize("path", MODELS, ids=IDS)
def test_check_passes(path: Path) -> None:
    report = check(path, x=feeds(path), nodes=True)
    assert report.ok, report
    names = [f.name for f in report.findings]
    assert names[:3] == ["prediction", "gradient against finite differences", "gradient of each node"]
    assert names[3:] in ([], ["samples"], ["logit of the prediction"])


@pytest.mark.parametrize("name", ["digits", "unet", "gpt2", "cancer", "cnn1d"])
def test_two_exporters_give_the_same_explanation(name: str) -> None:
    """Implementation invariance: the same function, two graphs."""
    results: list[dict[str, Any]] = []
    for stem in ("model", "model_legacy"):
        path = FIXTURES / name / f"{stem}.onnx"
        results.append(dict(Explainer(path, "input-x-gradient")(feeds(path)).attributions))
    for key, value in results[0].items():
        assert error(results[1][key], value) < 1e-5
