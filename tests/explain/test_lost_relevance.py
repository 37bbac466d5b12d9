"""Relevance that becomes exactly zero, or far larger than the score, is reported, and the node is named."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import Explainer, check, plan
from onnxplain.errors import RelevanceWarning
from tests.support.linear_cases import Array, random
from tests.support.paths import FIXTURES
from tests.support.writer import Writer

X = random(2, 3, 5, seed=5).astype(np.float32)


def vanishing() -> onnx.ModelProto:
    """A softmax over one number: always 1, whatever the input."""
    w = Writer()
    ones = w.Softmax(w.ReduceMean(w.MatMul("x", random(5, 7, seed=1)), np.array([2])), axis=-1)
    return w.model(w.MatMul(ones, random(1, 4, seed=2)), {"x": ("n", 3, 5)})


def growing() -> onnx.ModelProto:
    """The difference of two features."""
    w = Writer()
    return w.model(w.MatMul("x", np.array([[1.0, 0.5], [-1.0, 0.5]])), {"x": ("n", 2)})


ALIKE = np.array([[1, 1.0001], [2, 2.0001]], np.float32)
"""Features whose difference is a ten-thousandth."""


@pytest.mark.parametrize(
    ("made", "x", "target", "said"),
    [
        (vanishing(), X, (1, 0), r"'t2' \(Softmax, softmax\) makes relevance exactly zero"),
        (growing(), ALIKE, 0, r"'t0' \(MatMul, epsilon\) sends relevance .* times as large as the score"),
    ],
    ids=["vanishes", "grows"],
)
def test_a_warning_names_the_node_once(made: onnx.ModelProto, x: Array, target: Any, said: str) -> None:
    explainer = Explainer(made, "lrp-epsilon", progress=False)
    with pytest.warns(RelevanceWarning, match=said):
        explainer(x, target)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explainer(x, target)


def test_check_says_where() -> None:
    (found,) = (f for f in check(vanishing(), "lrp-epsilon", X, progress=False).findings if f.name == "relevance on its way")
    assert (found.ok, found.detail) == (None, "'t2' (Softmax, softmax) makes relevance exactly zero")


@pytest.mark.parametrize("method", ["lrp-epsilon", "lrp-epsilon-plus", "lrp-alpha2-beta1"])
def test_ordinary_relevance_is_not_accused(method: str) -> None:
    images = np.load(FIXTURES / "digits" / "data.npz")["image"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Explainer(FIXTURES / "digits" / "model.onnx", method, progress=False)(images)
    report = check(FIXTURES / "digits" / "model.onnx", method, images[:2], progress=False)
    assert next(f for f in report.findings if f.name == "relevance on its way").ok


def test_plan_knows_what_never_gets_any() -> None:
    """With attention weights held constant, queries and keys get nothing."""
    w = Writer()
    q, k, v = (w.MatMul(name, random(5, 4, seed=i)) for i, name in enumerate("qkv"))
    weights = w.Softmax(w.MatMul(q, w.Transpose(k, perm=[0, 2, 1])))
    made = w.model(w.MatMul(weights, v), dict.fromkeys("qkv", ("n", 3, 5)))
    assert plan(made, "attnlrp").lost == ()
    assert [line.partition(" hands")[0] for line in plan(made, "cp-lrp").lost] == [
        f"'{name}' gets no relevance, whatever the input: onnxplain.Attend 't6'" for name in "qk"
    ]
