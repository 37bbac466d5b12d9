"""What `check` says of conservation: for each node what it receives, sends and keeps."""

from __future__ import annotations

import numpy as np
import pytest

from onnxplain import Explainer, check
from tests.support.paths import FIXTURES


@pytest.mark.parametrize("method", ["lrp-epsilon", "lrp-gamma", "lrp-alpha2-beta1", "lrp-epsilon-plus"])
def test_scores_are_relevance_and_what_biases_keep(method: str) -> None:
    model, data = FIXTURES / "lrp_vgg" / "model.onnx", np.load(FIXTURES / "lrp_vgg" / "data.npz")["image"]
    report = check(model, method, data, progress=False)
    rows = {r.node: r for r in report.conservation}
    explanation = Explainer(model, method)(data)
    score = explanation.outputs["logits"].max(axis=1).sum()
    kept = sum(r.bias + r.lost for r in rows.values())
    assert score == pytest.approx(explanation.attribution.sum() + kept, rel=1e-4)
    assert all(abs(r.lost) < 1e-3 * abs(score) for r in rows.values())
    assert any(abs(r.bias) > 1e-3 * abs(score) for r in rows.values())
    losses = [abs(r.lost) for r in report.conservation]
    assert losses == sorted(losses, reverse=True)


def test_a_large_epsilon_is_seen_where_it_takes() -> None:
    model, data = FIXTURES / "lrp_mlp" / "model.onnx", np.load(FIXTURES / "lrp_mlp" / "data.npz")["features"]
    report = check(model, "lrp-epsilon", data, epsilon=0.5, progress=False)
    finding = next(f for f in report.findings if f.name == "conservation")
    assert finding.ok is None
    worst = report.conservation[0]
    assert worst.rule == "epsilon"
    assert abs(worst.lost) > 0.01 * abs(worst.received)
    assert worst.node in finding.detail
