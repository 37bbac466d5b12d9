"""What the page of the tutorial's figures claims holds for the committed models."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.support.paths import ROOT

pytest.importorskip("sklearn", reason="the study's digits are scikit-learn's")

FOLDER = ROOT / "examples" / "tutorial"
MODULES = ("digits", "measure", "figures", "prototypes", "study")


@pytest.fixture(scope="module")
def parts() -> Any:
    """The scripts of the study, imported; names that other studies use too are given back."""
    sys.path.insert(0, str(FOLDER))
    before = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
    try:
        yield {name: importlib.import_module(name) for name in MODULES}
    finally:
        sys.path.remove(str(FOLDER))
        for name in MODULES:
            sys.modules.pop(name, None)
        sys.modules.update(before)


@pytest.fixture(scope="module")
def measured(parts: dict[str, ModuleType]) -> Any:
    return parts["measure"].measure(parts["digits"].load())


def test_negative_shares_are_in_the_tutorials_order(measured: Any) -> None:
    share = {name: float(e.negative_share().mean()) for name, e in measured.explained.items()}
    assert share["LRP α1β0"] < 1e-6
    assert 0.15 < share["LRP α2β1"] < share["LRP α3β2"] < 0.5
    assert all(share[name] < measured.plain[name] for name in ("LRP α2β1", "LRP α3β2"))


def test_relevance_of_alpha_one_adds_up_to_the_score(measured: Any) -> None:
    explanation = measured.explained["LRP α1β0"]
    score = explanation.outputs["logits"].max(axis=1)
    np.testing.assert_allclose(explanation.attribution.sum(axis=(1, 2, 3)), score, rtol=1e-4)


def test_only_alpha_one_moves_smoothly(measured: Any) -> None:
    worst = {name: most for name, (_, most) in measured.largest.items()}
    assert worst["LRP α1β0"] == min(worst.values())
    assert worst["sensitivity"] == max(worst.values())
    assert worst["sensitivity"] > 3 * worst["LRP α1β0"]
    assert worst["LRP α3β2"] > worst["LRP α2β1"] > worst["simple Taylor"]


def test_signed_methods_are_the_most_selective(parts: dict[str, ModuleType], measured: Any) -> None:
    area = {name: parts["measure"].area(curve) for name, curve in measured.curves.items()}
    assert min(area, key=area.__getitem__) == "LRP α2β1"
    assert max(area, key=area.__getitem__) == "random order"
    assert measured.curves["simple Taylor"][4] < min(measured.curves[n][4] for n in area if n != "simple Taylor")
    for curve in measured.curves.values():  # nothing is left of any digit
        assert curve[-1] == pytest.approx(next(iter(measured.curves.values()))[-1], abs=1e-6)


def test_translations_take_the_grid_away(measured: Any) -> None:
    before, after = measured.grid
    assert before > 2.5
    assert after < 1.2


def test_relevance_is_at_its_own_object_and_its_parts_add_up(measured: Any) -> None:
    own = {name: share for name, (share, _) in measured.halves.items()}
    assert min(own[n] for n in own if n != "sensitivity") > 0.85
    assert own["sensitivity"] < 0.5
    assert measured.pair.rest < 1e-5


def test_a_file_with_mnist_is_read_and_others_are_refused(parts: dict[str, ModuleType], tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 28, 28), dtype=np.uint8)
    label = np.array([0, 1, 2, 3], np.uint8)
    whole = {"x_train": pictures, "y_train": label, "x_test": pictures[:2], "y_test": label[:2]}
    np.savez(tmp_path / "mnist.npz", **whole)
    read = parts["digits"].load(tmp_path / "mnist.npz")
    np.testing.assert_allclose(read.train[:, 0] * 255, pictures, atol=1e-3)
    assert read.test.shape == (2, 1, 28, 28)
    assert read.test_label.dtype == np.int64
    np.savez(tmp_path / "other.npz", **{**whole, "x_test": pictures[:, :8, :8]})
    with pytest.raises(ValueError, match=r"expected uint8 \[n, 28, 28\]"):
        parts["digits"].load(tmp_path / "other.npz")
    np.savez(tmp_path / "less.npz", x_train=pictures)
    with pytest.raises(ValueError, match="has no x_test, y_test, y_train"):
        parts["digits"].load(tmp_path / "less.npz")


@pytest.mark.slow  # the density is fitted to 784 pixels
def test_components_make_prototypes_near_digits(parts: dict[str, ModuleType]) -> None:
    digits = parts["digits"].load()
    rows = parts["prototypes"].search(digits, FOLDER / "model.onnx", [2])
    distance = {name: float(found.nearest(digits.train)[0]) for name, found in rows.items()}
    assert all(found.probabilities[0] > 0.9 for found in rows.values())
    assert 2 * distance["principal components"] < distance["class alone, ℓ2"]
    assert 1.5 * distance["density expert, RBM"] < distance["class alone, ℓ2"]


def test_the_page_says_what_is_measured(parts: dict[str, ModuleType], measured: Any) -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    for name, table in parts["study"].tables(measured).items():
        block = re.search(rf"<!-- {name}: .*? -->\n(.*?)\n<!-- end -->", text, re.DOTALL)
        assert block is not None, name
        said, now = ([float(n.replace("−", "-")) for n in re.findall(r"(?<![\w.])−?\d+(?:\.\d+)?", t)] for t in (block[1], table))
        tolerance = np.where(np.abs(said) > 5, 1.0, 0.05)  # per cent, and ratios: rounding of another machine
        assert len(said) == len(now)
        assert (np.abs(np.subtract(said, now)) <= tolerance).all(), name


def test_figures_are_drawn(parts: dict[str, ModuleType], measured: Any, tmp_path: Path) -> None:
    parts["figures"].draw(measured, tmp_path)
    assert len(list(tmp_path.glob("tutorial_*.png"))) == 5
