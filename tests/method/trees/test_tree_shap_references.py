"""tree-shap against shap's TreeExplainer, on what four libraries' converters write (fixtures/make_trees.py)."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest

from onnxplain import Explainer
from tests.support.paths import FIXTURES

FOLDER = FIXTURES / "trees"
ABOUT = json.loads((FOLDER / "about.json").read_text(encoding="utf-8"))
MODELS = sorted(ABOUT["tables"])


@cache
def arrays() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "reference.npz") as data:
        return dict(data)


def table(name: str) -> np.ndarray:
    return arrays()[f"{ABOUT['tables'][name]}.data"]


def explained(name: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Our values and how far they are from adding up, for every output."""
    rows = table(name)
    given = {"background": rows[:20]} if kind == "interventional" else {"data": rows}
    found = Explainer(FOLDER / f"{name}.onnx", "tree-shap", providers="cpu", **given)(rows[100:112], target="all")
    assert found.delta is not None
    return found.attribution, found.delta


@pytest.mark.parametrize("kind", ["interventional", "path_dependent"])
@pytest.mark.parametrize("name", MODELS)
def test_as_shap_says(name: str, kind: str) -> None:
    reference = arrays().get(f"{name}.{kind}")
    if reference is None:
        pytest.skip("shap does not take this model so")
    values, delta = explained(name, kind)
    if values.shape[1] == 2 and reference.shape[1] == 1:  # shap explains the second of two classes only
        assert values[:, 0] == pytest.approx(-values[:, 1], abs=1e-6)
        values = values[:, 1:]
    scale = float(np.abs(reference).max())
    assert values == pytest.approx(reference, abs=1e-5 * scale)
    assert np.abs(delta).max() < 1e-5 * scale


@pytest.mark.parametrize("name", MODELS)
def test_as_all_coalitions_say(name: str) -> None:
    rows = table(name)
    values, delta = explained(name, "interventional")
    every = Explainer(FOLDER / f"{name}.onnx", "exact-shapley", providers="cpu", background=rows[:20])
    exact = every(rows[100:112], target="all").attribution
    assert values == pytest.approx(exact, abs=1e-5 * float(np.abs(exact).max()))
    assert np.abs(delta).max() < 1e-5 * np.abs(exact).max()
