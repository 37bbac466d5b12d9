"""check finds what is wrong, and where; it does not cry wolf."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxplain import check
from tests.support.models import model, node
from tests.support.paths import FIXTURES

BROKEN = {
    "Relu": "@rule('Relu', role='elementwise')\ndef relu(b, node, dy):\n    return b.Where(b.Greater(node.x, 0.1), dy, 0)\n",
    "MaxPool": "@rule('MaxPool', role='select')\ndef max_pool(b, node, dy, _):\n    return b.Mul(b.full_like(node.x, 0.1), b.ReduceMean(dy))\n",
    "Gemm": "@rule('Gemm', role='linear')\ndef gemm(b, node, dy):\n    return b.Mul(b.MatMul(dy, node.inputs[1]), 1.01), None, None\n",
}


@pytest.mark.parametrize("op", BROKEN)
def test_a_rule_broken_on_purpose_is_found_and_named(op: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("from onnxplain import rule\n\n\n" + BROKEN[op])
    with np.load(FIXTURES / "digits" / "data.npz") as data:
        x = data["image"][:2]
    report = check(FIXTURES / "digits" / "model_legacy.onnx", x=x, rules=tmp_path)
    assert not report.ok
    assert op in report.culprit, report
    assert op in report.findings[2].detail


def test_right_rules_pass_on_random_input() -> None:
    for name in ("digits", "cancer", "resnet", "bert"):
        report = check(FIXTURES / name / "model.onnx")
        assert report.ok, (name, report)


def test_integer_inputs_are_checked_call_by_call() -> None:
    report = check(FIXTURES / "bert" / "model.onnx", nodes=True)
    assert report.findings[2].ok


def test_one_wrong_call_among_many_is_named(tmp_path: Path) -> None:
    """Only nodes in one scope are wrong: the first of them from the output on is named, not just any of the operator."""
    (tmp_path / "broken.py").write_text(
        "from onnxplain import rule\n\n\n@rule('Tanh', role='elementwise')\ndef tanh(b, node, dy):\n"
        "    right = b.Mul(dy, b.Sub(1, b.Mul(node.y, node.y)))\n    return b.Mul(right, 2) if node.name == 't2' else right\n"
    )
    nodes = [node("Tanh", f"x{i}", f"x{i + 1}", name=f"t{i}") for i in range(5)]
    made = model(nodes, {"x0": ["n", 3]}, {"x5": ["n", 3]})
    assert check(made, rules=tmp_path).culprit == "t2"
    assert check(made).ok


def test_method_findings() -> None:
    report = check(FIXTURES / "cancer" / "model.onnx", "input-x-gradient")
    assert [f.name for f in report.findings][3:] == ["input-x-gradient is finite", "completeness", "logit of the prediction"]
    assert report.findings[4].ok is None, "not promised"
    assert check(FIXTURES / "cancer" / "model.onnx", "taylor", baseline=0.0).ok


def test_attributions_that_are_no_numbers_fail() -> None:
    made = model(
        [node("Sqrt", "x", "r"), node("ReduceSum", "r axes", "y", keepdims=1)],
        {"x": ["n", 3]},
        {"y": ["n", 1]},
        {"axes": np.array([1])},
    )
    report = check(made, "saliency", x=np.array([[0.0, 1.0, 2.0]], np.float32))
    assert not report.ok
    assert any("NaN" in f.detail or "infinity" in f.detail for f in report.findings if f.ok is False)
