"""Path and noise methods against arrays that Captum computed in float64 (fixtures/captum_path.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import Explainer
from tests.support.paths import FIXTURES

FILES = sorted((FIXTURES / "captum").glob("path_*.npz"))
NAMES = [p.stem.removeprefix("path_") for p in FILES]
QUADRATURES = ("gauss-legendre", "riemann-left", "riemann-right", "riemann-middle", "riemann-trapezoid")
NOISE = {"noise": "input", "noise_unit": "absolute"}
DRAWN = ("position", "reference", "noise")

Arrays = dict[str, np.ndarray]


def case(key: str, of: Arrays, about: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]] | None:
    """The method, its settings, and what it gets at run time, for one of Captum's arrays."""
    kind, _, rest = key.partition(".")
    steps = {"steps": about["steps"]}
    if kind == "integrated-gradients":
        if rest in QUADRATURES:
            return kind, {"baseline": 0.0, "quadrature": rest, **steps}, {}
        return kind, *{
            "array": ({"baseline": of["baseline"], **steps}, {}),
            "each": ({"baseline": "input", **steps}, {"baseline": of["each"]}),
            "steps": ({"baseline": 0.0, "steps": 32}, {}),
            "several": ({"baseline": of["several"], **steps}, {}),
            "local": ({"baseline": 0.0, "multiply": False, **steps}, {}),
        }[rest]  # fmt: skip
    if kind in ("expected-gradients", "gradient-shap"):
        level = 0.0 if kind == "expected-gradients" else about["level"]
        drawn = {k: of[k] for k in (DRAWN if level else DRAWN[:2])}
        return kind, {"baseline": of["references"], "noise_level": level, **NOISE}, drawn
    if kind in ("smoothgrad", "smoothgrad-squared", "vargrad"):
        inner = {"inner": rest, **({"baseline": 0.0, **steps} if rest == "integrated-gradients" else {})}
        return kind, {"noise_level": about["level"], **NOISE, **inner}, {"noise": of["noise"]}
    return None


CASES = [
    (path, key)
    for path in FILES
    for key in np.load(path).files
    if case(key, {k: np.zeros(1) for k in np.load(path).files}, {"steps": 1, "level": 1}) is not None
]


def fixed(path: Path, count: int) -> onnx.ModelProto:
    """The model with a batch of that size, as many are deployed."""
    made = onnx.load(path)
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = count
    return made


FORMS = [
    (p, k, form)
    for p, k in CASES
    for form in ("symbolic", "fixed")
    if form == "symbolic" or p.stem in ("path_digits", "path_lstm")
]


@pytest.mark.parametrize(("path", "key", "batch"), FORMS, ids=[f"{p.stem}-{k}-{form}" for p, k, form in FORMS])
def test_equals_captum(path: Path, key: str, batch: str) -> None:
    """To 1e-5 of the largest value; points ride on a symbolic batch in chunks, and take turns where it is fixed."""
    name = path.stem.removeprefix("path_")
    with np.load(path) as held:
        of = {k: held[k] for k in held.files}
    about = json.loads(str(of["about"]))
    count = len(of["target"])
    with np.load(FIXTURES / name / "data.npz") as data:
        x = {k: data[k][:count] for k in data.files if k != "label"}
    found = case(key, of, about)
    assert found is not None
    method, settings, run_time = found
    file = FIXTURES / name / "model.onnx"
    model: Any = file if batch == "symbolic" else fixed(file, count)
    explainer = Explainer(model, method, **settings, **({"chunk": 3 * count} if batch == "symbolic" else {}))
    explanation = explainer(x, of["target"], **run_time)
    expected = of[key]
    assert np.abs(expected).max() > 1e-6
    np.testing.assert_allclose(explanation.attribution, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    delta = of.get(key.replace("integrated-gradients", "delta")) if method == "integrated-gradients" else None
    if delta is not None:
        assert explanation.delta is not None
        scale = np.abs(expected).reshape(count, -1).sum(1).max()
        np.testing.assert_allclose(explanation.delta, delta, rtol=0, atol=1e-5 * scale)
