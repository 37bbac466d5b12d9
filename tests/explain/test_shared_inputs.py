"""Inputs that all samples of a batch share: what is attributed to them is of all together, in numbers, files and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import Explainer, check, rewrite, verify
from onnxplain.errors import InputError
from tests.cli.test_cli import good
from tests.support.models import model, node, run, slopes

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(5, 3)).astype(np.float32)
W = RANDOM.normal(size=(3, 2)).astype(np.float32)
FEEDS = {"x": X, "w": W}
MODEL = model([node("MatMul", "x w", "h"), node("Tanh", "h", "y")], {"x": ["n", 3], "w": [3, 2]}, {"y": ["n", 2]})
PATHS = {"integrated-gradients": {"baseline": 0.0}, "deeplift": {"baseline": 0.0}}


def test_the_gradient_is_of_the_sum() -> None:
    seeds = np.zeros((5, 2))
    seeds[:, 1] = 1
    found = Explainer(MODEL)(FEEDS, 1)
    assert found.attributions["w"] == pytest.approx(slopes(MODEL, FEEDS, "w", "y", seeds), abs=2e-3)
    assert (found.shared, len(found)) == (["w"], 5)
    assert Explainer(MODEL, inputs=["w"])(FEEDS, 1).shared == ["w"]


@pytest.mark.parametrize("method", PATHS)
def test_what_is_missing_is_told_of_all_together(method: str) -> None:
    """Of two hundred steps little is missing; of two, what the sums say."""
    steps = {"steps": 2} if method == "integrated-gradients" else {}
    found = Explainer(MODEL, method, **PATHS[method], **steps)(FEEDS, 1)
    change = run(MODEL, FEEDS)["y"][:, 1].sum() - run(MODEL, {k: 0 * v for k, v in FEEDS.items()})["y"][:, 1].sum()
    total = sum(float(a.sum()) for a in found.attributions.values())
    assert found.delta == pytest.approx(np.full(5, (total - change) / 5), abs=1e-6)
    every = Explainer(MODEL, method, **PATHS[method], **steps)(FEEDS, "all")
    assert every.delta is not None
    assert every.delta[:, 1] == pytest.approx(found.delta, abs=1e-6)


@pytest.mark.parametrize("method", [*PATHS, "lrp-epsilon"])
def test_files_are_verified_and_checked(method: str, tmp_path: Path) -> None:
    given = PATHS.get(method, {})
    onnx.save(MODEL, tmp_path / "m.onnx")
    onnx.save(rewrite(MODEL, method, **given), tmp_path / "e.onnx")
    assert verify(tmp_path / "e.onnx", tmp_path / "m.onnx", FEEDS).ok
    report = check(MODEL, method, FEEDS, progress=False, **given)
    assert report.ok, report


def test_runs_on_parts_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"'w' is shared by all samples.* 5 samples do not go through in runs of 2: give no batch_size"
    ):
        Explainer(MODEL, batch_size=2)(FEEDS)
    assert Explainer(MODEL, batch_size=2, inputs=["x"])(FEEDS, 1).attributions["x"] == pytest.approx(
        Explainer(MODEL)(FEEDS, 1).attributions["x"]
    )
    fixed = model([node("MatMul", "x w", "h"), node("Tanh", "h", "y")], {"x": [2, 3], "w": [3, 4]}, {"y": [2, 4]})
    feeds: dict[str, Any] = {"x": X[:3], "w": RANDOM.normal(size=(3, 4)).astype(np.float32)}
    with pytest.raises(InputError, match="give 2 samples"):
        Explainer(fixed)(feeds)
    assert Explainer(fixed)({**feeds, "x": X[:2]}).attributions["w"].shape == (3, 4)


@pytest.mark.parametrize("first", ["x", "w"])
def test_pictures_pages_and_tables(first: str, tmp_path: Path) -> None:
    """With the shared input first, too."""
    order = {"x": ["n", 3], "w": [3, 2]} if first == "x" else {"w": [3, 2], "x": ["n", 3]}
    made = model([node("MatMul", "x w", "h"), node("Tanh", "h", "y")], order, {"y": ["n", 2]})
    onnx.save(made, tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", **FEEDS)
    outs = [tmp_path / f"e.{kind}" for kind in ("png", "html", "csv", "npz", "json")]
    said = good("explain", tmp_path / "m.onnx", tmp_path / "x.npz", *(word for out in outs for word in ("-o", out)))
    assert all(str(out.name) in said for out in outs)
    assert "of all samples together" in (tmp_path / "e.html").read_text(encoding="utf-8")
    assert "of all samples together, since they share it: w" in good("explain", tmp_path / "m.onnx", tmp_path / "x.npz")
    found = Explainer(made)(FEEDS)
    assert len(found) == 5
    assert len(list(found)) == 5
    assert found.samples_first("w").shape == (5, 3, 2)
    frame = found.to_pandas()
    assert {name: sorted(set(rows["sample"])) for name, rows in frame.groupby("tensor")} == {key: list(range(5)) for key in "wx"}
    assert not frame["value"].isna().any()
