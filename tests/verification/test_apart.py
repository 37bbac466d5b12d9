"""Axes that are taken for samples, tried out on the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import check
from tests.support.models import model, node

RANDOM = np.random.default_rng(3)


def draw(*shape: int) -> np.ndarray[Any, Any]:
    return RANDOM.standard_normal(shape).astype(np.float32)


class TestApart:
    """Where the dataflow proves nothing, check changes a sample."""

    @staticmethod
    def rolled(*, by: int) -> onnx.ModelProto:
        """Every row from the row `by` places on."""
        nodes = [node("Slice", "x at end zero", "a"), node("Slice", "x zero at zero", "b"), node("Concat", "a b", "c", axis=0),
                 node("Tanh", "c", "y")]  # fmt: skip
        constants = {"at": np.array([by]), "end": np.array([2**40]), "zero": np.array([0])}
        return model(nodes, {"x": ["n", 3]}, {"y": ["n", 3]}, constants)

    @pytest.mark.parametrize(("by", "ok"), [(0, True), (1, False)])
    def test_a_sample_moves_its_own_scores_alone(self, by: int, ok: bool) -> None:
        report = check(self.rolled(by=by), x=draw(4, 3), progress=False)
        (found,) = [f for f in report.findings if f.name == "samples"]
        assert (found.ok, report.ok) == (ok, ok)
        assert ("moves its own scores alone" in found.detail) is ok
        assert "samples" not in {f.name for f in check(self.rolled(by=by), x=draw(1, 3), progress=False).findings}

    def test_what_is_proven_is_not_tried(self) -> None:
        made = model([node("Tanh", "x", "y")], {"x": ["n", 3]}, {"y": ["n", 3]})
        assert "samples" not in {f.name for f in check(made, x=draw(4, 3), progress=False).findings}
