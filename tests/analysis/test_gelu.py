"""GELU written out with Erf: as a whole, its gradient reads x alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
import onnx
import pytest

from onnxplain import rewrite
from onnxplain.verification.finite_differences import compare
from tests.support.models import model, node, run

HALF, ROOT = np.float32(0.5), np.float32(sqrt(2))
WRITTEN = {
    "behind": ["Div x root u", "Erf u e", "Add e one a", "Mul x a m", "Mul m half y"],
    "before": ["Mul x half h", "Mul x slope u", "Erf u e", "Add one e a", "Mul h a y"],
    "between": ["Div x root u", "Erf u e", "Add e one a", "Mul a half b", "Mul b x y"],
    "scaled once": ["Mul x slope u", "Erf u e", "Add e one a", "Mul a u m", "Mul m slope y"],
    "by halves": ["Div x root u", "Erf u e", "Add e one a", "Mul x a m", "Div m two y"],
}
NUMBERS = {"root": ROOT, "slope": 1 / ROOT, "half": HALF, "one": np.float32(1), "two": np.float32([2])}
OTHER = {
    "another number": ["Div x root u", "Erf u e", "Add e two a", "Mul x a y"],
    "read besides": ["Div x root u", "Erf u e", "Add e one a", "Mul x a m", "Add m e y"],
    "not gated": ["Div x root u", "Erf u e", "Add e one a", "Mul a half y"],
    "gated by another": ["Neg x n", "Div x root u", "Erf u e", "Add e one a", "Mul a n m", "Mul m half y"],
}


def written(lines: Sequence[str]) -> onnx.ModelProto:
    nodes = [node(op, " ".join(names[:-1]), names[-1]) for op, *names in (line.split() for line in lines)]
    return model(nodes, {"x": ["n", 5]}, {"y": ["n", 5]}, NUMBERS)


def read(made: onnx.ModelProto, lines: Sequence[str]) -> set[str]:
    """Which of the model's inner tensors the backward pass reads."""
    inner = {line.split()[-1] for line in lines} - {"y"}
    own = {line.split()[-1] for line in lines}
    return {name for n in made.graph.node if n.output[0] not in own for name in n.input if name in inner}


@pytest.mark.parametrize("lines", WRITTEN.values(), ids=WRITTEN)
def test_its_gradient_reads_nothing_inside(lines: Sequence[str]) -> None:
    assert not read(rewrite(written(lines), target="cotangent"), lines)


@pytest.mark.parametrize("lines", OTHER.values(), ids=OTHER)
def test_what_only_looks_like_it_is_walked_operator_by_operator(lines: Sequence[str]) -> None:
    assert read(rewrite(written(lines), target="cotangent"), lines)


@pytest.mark.parametrize("lines", [*WRITTEN.values(), *OTHER.values()], ids=[*WRITTEN, *OTHER])
def test_gradients_agree_with_finite_differences(lines: Sequence[str]) -> None:
    x = np.array([[-6, -1.3, 1e-3, 0.7, 4]])
    found = compare(written(lines), {"x": x})
    assert found.smooth
    assert found.error <= 1e-8


@pytest.mark.parametrize("lines", WRITTEN.values(), ids=WRITTEN)
def test_far_out_it_is_a_line_or_nothing(lines: Sequence[str]) -> None:
    x = np.array([[-1e20, -30, 0, 30, 1e20]], np.float32)
    found = run(rewrite(written(lines), target="cotangent"), {"x": x, "seed": np.ones_like(x)})["x_attribution"]
    np.testing.assert_allclose(found, [[0, 0, 0.5, 1, 1]], atol=1e-7)


def test_what_is_asked_for_inside_is_not_hidden() -> None:
    lines = WRITTEN["behind"]
    made = rewrite(written(lines), layer="a", target="cotangent")
    x = np.array([[-1.0, 0.5, 2, 0, 1]], np.float32)
    found = run(made, {"x": x, "seed": np.ones_like(x)})
    (name,) = [n for n in found if n.endswith("_attribution")]
    np.testing.assert_allclose(found[name], x * HALF, rtol=1e-6)
