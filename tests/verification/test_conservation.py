"""What `check` says of conservation: for each node what it receives, sends and keeps."""

from __future__ import annotations

import numpy as np
import onnx
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


SHIFTED = """
<ir_version: 8, opset_import: ["" : 18]>
shifted (float[N, 3] x) => (float[N, 1] y)
<float[3, 3] w = {1, -2, 0.5, 3, 1, -1, 0.25, 2, 1}, float[3] code = {0.5, -1, 2}, float[3] scale = {1, 2, 0.5},
 float[3] shift = {0.3, -0.2, 1}, float[3, 1] v = {1, 2, -1}, float[3] early = {0.25, 0.5, -3}> {
    a = Sub (x, early)
    h = MatMul (a, w)
    p = Add (h, code)
    r = Relu (p)
    q = Sum (r, code)
    n = LayerNormalization <axis = -1> (q, scale, shift)
    y = MatMul (n, v)
}
"""


@pytest.mark.parametrize("method", ["lrp-epsilon", "lrp-epsilon-plus", "attnlrp"])
def test_constant_summands_and_shifts_of_norms_keep_their_share_as_biases_do(method: str) -> None:
    data = np.random.default_rng(3).normal(size=(1, 3)).astype(np.float32)
    report = check(onnx.parser.parse_model(SHIFTED), method, data, progress=False)
    assert all(abs(r.lost) < 1e-3 * max(abs(r.received), abs(r.bias)) for r in report.conservation), report.conservation
    kept = {r.operator: r.bias for r in report.conservation}
    assert kept["LayerNormalization"] == pytest.approx(0.3 * 1 - 0.2 * 2 - 1 * 1, abs=1e-5)  # shift · v
    explanation = Explainer(onnx.parser.parse_model(SHIFTED), method)(data)
    score = float(explanation.outputs["y"][0, 0])
    assert score == pytest.approx(explanation.attribution.sum() + sum(kept.values()), rel=1e-4)
    assert all(abs(kept[operator]) > 0.1 for operator in ("Sub", "onnxplain.Linear", "Sum"))


def test_scales_of_a_resize_are_no_summands() -> None:
    resized = """
    <ir_version: 8, opset_import: ["" : 18]>
    resized (float[1, 1, 2, 2] x) => (float[1, 1] y)
    <float[4] scales = {1, 1, 2, 2}, float[8, 1] w = {1, -2, 3, 0.5, -1, 2, 1, 4}, int64[2] rows = {2, 8}, int64[1] last = {0}> {
        z = Resize <mode = "linear"> (x, , scales)
        q = Reshape (z, rows)
        p = MatMul (q, w)
        y = ReduceSum (p, last)
    }
    """
    data = np.array([[[[1, -2], [0.5, 3]]]], np.float32)
    report = check(onnx.parser.parse_model(resized), "lrp-epsilon", data, progress=False)
    kept = next(r for r in report.conservation if r.operator == "Resize")
    assert kept.bias == 0
    assert abs(kept.lost) < 1e-3 * abs(kept.received)


def test_means_of_stored_norms_keep_their_share() -> None:
    """A pooling in front keeps the norm from being folded: what is not of the input is of its mean and shift."""
    normed = """
    <ir_version: 8, opset_import: ["" : 18]>
    normed (float[1, 2, 4, 4] x) => (float[1, 1] y)
    <float[2] scale = {2, -1}, float[2] shift = {0.5, 1}, float[2] mean = {-3, 4}, float[2] variance = {4, 1},
     float[8, 1] w = {1, -2, 3, 0.5, -1, 2, 1, 4}> {
        p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
        n = BatchNormalization <epsilon = 0.0> (p, scale, shift, mean, variance)
        r = Relu (n)
        q = Flatten (r)
        y = MatMul (q, w)
    }
    """
    data = np.random.default_rng(5).normal(size=(1, 2, 4, 4)).astype(np.float32)
    report = check(onnx.parser.parse_model(normed), "lrp-epsilon", data, progress=False)
    pooled = data.reshape(1, 2, 2, 2, 2, 2).max(axis=(3, 5))
    slope, offset = np.array([1, -1], np.float32), np.array([3.5, 5], np.float32)  # scale / √variance, shift − slope · mean
    live = slope[:, None, None] * pooled[0] + offset[:, None, None] > 0
    weights = np.array([1, -2, 3, 0.5, -1, 2, 1, 4], np.float32).reshape(2, 2, 2)
    kept = sum(r.bias for r in report.conservation)
    assert kept == pytest.approx(float((weights * live * offset[:, None, None]).sum()), rel=1e-4)
    assert all(abs(r.lost) < 1e-3 * max(abs(r.received), abs(r.bias)) for r in report.conservation)
