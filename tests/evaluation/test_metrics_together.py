"""All metrics side by side, as an evaluation runs them."""

from __future__ import annotations

import numpy as np
import pytest

import onnxplain
from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.evaluation.data import Data
from onnxplain.evaluation.metric import FAMILIES, all_metrics
from onnxplain.evaluation.subject import Subject
from tests.support.judged import Array
from tests.support.paths import FIXTURES


@pytest.fixture(scope="module")
def data() -> Data:
    with np.load(FIXTURES / "digits" / "data.npz") as file:
        image = file["image"][:6]
    return Data(FIXTURES / "digits" / "model.onnx", image, masks=image > 0.4)


@pytest.fixture(scope="module")
def cases(data: Data) -> dict[str, MetricBatch]:
    """Contributions, something like them, and what has nothing to do with the model."""
    known = MetricBatch.of(Subject("integrated-gradients", data, method="integrated-gradients"))
    generator = np.random.default_rng(0)
    noise = generator.standard_normal(known.attribution.shape)
    near = known.attribution * (1 + 0.1 * noise)
    made = {"near": near, "noise": noise}
    return {"method": known, **{k: MetricBatch.of(Subject(k, data, attribution=v)) for k, v in made.items()}}


def scores(batch: MetricBatch, name: str) -> Array:
    return all_metrics()[name].compute(batch).score


@pytest.mark.parametrize("name", [n for n in all_metrics() if n != "random-labels"])
def test_every_metric_is_defined_and_alone_with_its_sample(name: str, data: Data, cases: dict[str, MetricBatch]) -> None:
    """One score per sample whichever samples share the batch; facts and curves too."""
    batch = cases["method"]
    assert not all_metrics()[name].problems(MetricContext.of(batch.subject), {})
    whole = all_metrics()[name].compute(batch)
    assert whole.score.shape == (6,)
    assert np.isfinite(whole.score).any()
    part = all_metrics()[name].compute(MetricBatch.of(batch.subject, np.array([4, 1])))
    np.testing.assert_allclose(part.score, whole.score[[4, 1]], rtol=1e-3, atol=1e-5)
    for kind in ("facts", "curves"):
        for key, values in getattr(whole, kind).items():
            assert values.shape[0] == 6
            np.testing.assert_allclose(getattr(part, kind)[key], values[[4, 1]], rtol=1e-3, atol=1e-5, err_msg=key)
    for values in whole.curves.values():
        assert whole.at is not None
        assert values.shape == (6, len(whole.at))


@pytest.mark.parametrize("name", ["pointing-game", "relevance-mass", "relevance-rank", "localisation-auc", "sparseness", "entropy",
                                  "effective-complexity", "completeness", "dummy", "non-sensitivity"])  # fmt: skip
def test_an_explanation_beats_noise(name: str, cases: dict[str, MetricBatch]) -> None:
    sign = 1 if all_metrics()[name].better == "higher" else -1
    good, near, noise = (sign * np.nanmean(scores(cases[k], name)) for k in ("method", "near", "noise"))
    assert good > noise
    assert near > noise


def test_the_families_in_one_evaluation(data: Data) -> None:
    """By the names of families: what applies to a file is measured, what does not is left out with its reason."""
    families = [f for f in FAMILIES if f != "faithfulness"]
    masks = data.masks
    attributions = {"mine": np.abs(data.x)}
    found = onnxplain.evaluate(
        FIXTURES / "digits" / "model.onnx", data.x, ["gradient"], families, attributions=attributions, masks=masks, progress=False
    )
    wanted = {n for n, m in all_metrics().items() if m.family in families} - {"random-labels"}
    rows = {(row["method"], row["metric"]) for row in found.table()}
    assert {metric for method, metric in rows if method == "gradient"} == wanted
    files = {metric for method, metric in rows if method == "mine"}
    assert files == {n for n in wanted if not all_metrics()[n].needs & {"method", "weights"}}
    assert any("random-labels" in reason for reason in found.skipped)
