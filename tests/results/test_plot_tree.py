"""Soft decision trees in pictures: filters of images, and the ways of the samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxplain import Explainer, Explanation
from onnxplain.results.plot.plot import plot
from tests.support.paths import FIXTURES

pytest.importorskip("matplotlib", reason="pictures need matplotlib, from the extra 'plot'")
from onnxplain.results.plot.tree import TreeBlock, has_pictured_filters

DEPTH = 3


def pictures(count: int) -> np.ndarray:
    """Eight by eight pixels of noise, the first column always dark."""
    made = np.random.default_rng(0).random((count, 1, 8, 8), np.float32)
    made[..., 0] = 0
    return made


@pytest.fixture(scope="module")
def explained() -> Explanation:
    explain = Explainer(FIXTURES / "digits" / "model.onnx", "soft-decision-tree", background=pictures(200), depth=DEPTH, epochs=5)
    return explain(pictures(6))


def test_filters_are_of_what_varies(explained: Explanation) -> None:
    filters = explained.facts["filters"]
    assert filters.shape == (1, 2**DEPTH - 1, 1, 8, 8)
    assert (filters[..., 0] == 0).all(), "nothing can be learned of pixels that never change"
    assert (filters[..., 1:] != 0).all()
    np.testing.assert_allclose(explained.facts["leaves"].sum(axis=-1), 1)
    for leaf, path, chances in zip(*(explained.facts[k] for k in ("leaf", "path", "leaf_classes")), strict=True):
        assert (leaf + 2**DEPTH - 2) // 2 == path[-1]
        np.testing.assert_array_equal(chances, explained.facts["leaves"][0, leaf])


def test_every_sample_comes_to_one_node_of_each_level(explained: Explanation) -> None:
    block = TreeBlock(explained, range(6))
    for level in range(DEPTH + 1):
        assert block.taken[2**level - 1 : 2 ** (level + 1) - 1].sum() == pytest.approx(1)
    alone = TreeBlock(explained, [4])
    assert set(np.flatnonzero(alone.taken)) == {*explained.facts["path"][4], explained.facts["leaf"][4] + 2**DEPTH - 1}


def test_the_tree_is_in_pictures_and_pages(explained: Explanation, tmp_path: Path) -> None:
    figure = plot([explained])
    assert len([a for a in figure.axes if a.images]) == 6 * 2 + 2**DEPTH - 1 + 1  # samples, filters, the scale of colours
    said = [t.get_text() for t in figure.texts]
    for leaf in explained.facts["leaf"]:
        assert str(explained.facts["leaves"][0, leaf].argmax()) in said
    explained.save(tmp_path / "tree.html")
    assert "data:image/svg+xml;base64," in (tmp_path / "tree.html").read_text(encoding="utf-8")


def test_deep_trees_are_cut(tmp_path: Path) -> None:
    explain = Explainer(FIXTURES / "digits" / "model.onnx", "soft-decision-tree", background=pictures(100), depth=6, epochs=1)
    figure = plot([explain(pictures(2))])
    assert any("2 levels below are not shown" in t.get_text() for t in figure.texts)
    figure.savefig(tmp_path / "deep.png")


def test_filters_of_tables_are_no_pictures() -> None:
    rows = np.random.default_rng(0).uniform([4, 2, 1, 0], [8, 4.5, 7, 2.5], (60, 4)).astype(np.float32)
    made = Explainer(FIXTURES / "iris_sklearn" / "model.onnx", "soft-decision-tree", epochs=2, background=rows)(rows[:2])
    assert made.facts["filters"].shape == (1, 15, 4)
    assert not has_pictured_filters(made)
    plot([made])
