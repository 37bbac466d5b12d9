"""Metrics against Quantus's own, on the same attributions, masks, weights and random draws (fixtures/quantus_metrics.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain.evaluation.case import MetricBatch
from onnxplain.evaluation.data import Data
from onnxplain.evaluation.metric import MetricResult, metric_named
from onnxplain.evaluation.metrics import correlation, randomisation, robustness
from onnxplain.evaluation.metrics._weights import prepared_model, with_values
from onnxplain.evaluation.metrics.selectivity import area
from onnxplain.evaluation.subject import Subject
from onnxplain.runtime.scorer import Array
from tests.support.paths import FIXTURES

METHODS = ("gradient", "input-x-gradient")
TOLERANCE = 2e-5
"""What Quantus works out in float32, with PyTorch, and we in float64, with ONNX Runtime."""


@pytest.fixture(scope="module")
def known() -> dict[str, Array]:
    with np.load(FIXTURES / "quantus" / "digits.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def about(known: dict[str, Array]) -> dict[str, Any]:
    return dict(json.loads(str(known["about"])))


@pytest.fixture(scope="module")
def data(known: dict[str, Array]) -> Data:
    return Data(FIXTURES / "digits" / "model.onnx", known["image"], target=known["target"], masks=known["masks"])


@pytest.fixture(scope="module", params=METHODS)
def case(request: pytest.FixtureRequest, data: Data) -> MetricBatch:
    """The samples explained by our own method; `case.subject.label` is the key of Quantus's numbers."""
    return MetricBatch.of(Subject(request.param, data, method=request.param))


def theirs(known: dict[str, Array], batch: MetricBatch, key: str) -> Array:
    return known[f"{batch.subject.label}.{key}"]


def measured(name: str, batch: MetricBatch, **options: Any) -> MetricResult:
    return metric_named(name).compute(batch, **options)


def ours(batch: MetricBatch, name: str, **options: Any) -> Array:
    return measured(name, batch, **options).score


def close(made: Array, wanted: Array) -> None:
    np.testing.assert_allclose(made, wanted, rtol=TOLERANCE, atol=TOLERANCE)


def told_apart(values: Array, top: Array) -> Array:
    """Whether the top places of each sample are all above the others, bool [n]."""
    ordered = -np.sort(-values.reshape(len(values), -1), axis=1)
    at = np.arange(len(values))
    return np.asarray(ordered[at, top - 1] > ordered[at, top])


def test_attributions_are_the_same(known: dict[str, Array], case: MetricBatch) -> None:
    np.testing.assert_allclose(case.attribution, known[case.subject.label], atol=1e-5)


# -- faithfulness --------------------------------------------------------------------------------------------------------

FLIPPING: dict[str, Any] = {"features": "elements", "steps": 16}


def test_pixel_flipping_is_selectivity(known: dict[str, Array], case: MetricBatch) -> None:
    """Quantus's curve lacks the input itself, and its area counts steps rather than shares."""
    made = measured("selectivity", case, **FLIPPING).curves["morf"]
    close(made[:, 1:], theirs(known, case, "pixel-flipping"))
    close(area(made[:, 1:], np.arange(16)), theirs(known, case, "pixel-flipping.auc"))


def test_selectivity_of_patches(known: dict[str, Array], case: MetricBatch) -> None:
    close(measured("selectivity", case, patch=2).curves["morf"][:, 1:], theirs(known, case, "selectivity"))


@pytest.mark.parametrize(("name", "order"), [("selectivity", "morf"), ("selectivity-lerf", "lerf")])
def test_region_perturbation(name: str, order: str, known: dict[str, Array], case: MetricBatch) -> None:
    curve = measured(name, case, patch=2).curves[order]
    close(curve[:, :1] - curve[:, 1:], theirs(known, case, f"region-perturbation.{order}"))


def test_faithfulness_correlation(known: dict[str, Array], case: MetricBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    subsets = known["subsets"]

    def given(batch: MetricBatch, count: int, size: int, runs: int, what: str) -> Array:
        chosen = np.zeros((runs, len(batch), count), bool)
        np.put_along_axis(chosen, subsets, True, axis=2)
        return chosen

    monkeypatch.setattr(correlation, "_subsets", given)
    runs, _, size = subsets.shape
    close(ours(case, "faithfulness-correlation", runs=runs, size=size), theirs(known, case, "faithfulness-correlation"))


def test_faithfulness_estimate(known: dict[str, Array], case: MetricBatch) -> None:
    close(ours(case, "faithfulness-estimate"), theirs(known, case, "faithfulness-estimate"))


class Given:
    """A generator whose normal numbers are known: all at once, or one draw after the other."""

    def __init__(self, noise: Array) -> None:
        self.noise, self.drawn = noise, 0

    def normal(self, mean: float, deviation: float, shape: tuple[int, ...]) -> Array:
        if len(shape) == self.noise.ndim:
            return self.noise
        self.drawn += 1
        return self.noise[self.drawn - 1]


@pytest.mark.parametrize(
    ("name", "sign", "options"),
    [("monotonicity-correlation", 1, {"steps": 64}), ("infidelity", -1, {"perturb": "noise", "units": "slope"})],
)
def test_noise(
    name: str, sign: int, options: dict[str, Any], known: dict[str, Array], about: dict[str, Any], case: MetricBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Infidelity takes its step off the input, so the noise changes sign."""
    noise = known["normal"] * (sign * about["noise"]["normal"])
    monkeypatch.setattr(MetricBatch, "random", lambda self, row, what="": Given(noise[:, row]))
    count = {"infidelity": "runs"}.get(name, "samples")
    close(ours(case, name, **{count: about["draws"]}, **options), theirs(known, case, name))


def test_road(known: dict[str, Array], case: MetricBatch) -> None:
    """Quantus averages over the samples, share by share; of equal places it removes whichever its sort leaves first."""
    shares = (0.125, 0.25, 0.375, 0.5, 0.75)
    made = measured("road", case, shares=shares, noise=0.0).curves["kept"].mean(axis=0)
    clear = np.array([told_apart(case.map, np.full(len(case), int(64 * s))).all() for s in shares])
    assert clear.any()
    close(made[clear], theirs(known, case, "road")[clear])


def test_sufficiency(known: dict[str, Array], case: MetricBatch) -> None:
    """Where no other explanation is alike Quantus says 0, and we that nothing can be said."""
    made = ours(case, "sufficiency", threshold=0.5)
    close(np.nan_to_num(made), theirs(known, case, "sufficiency"))
    assert np.isfinite(made).sum() >= len(case) // 2


# -- localisation and complexity -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", ["signed", "absolute"])
@pytest.mark.parametrize("name", ["pointing-game", "relevance-mass", "localisation-auc"])
def test_localisation(name: str, sign: str, known: dict[str, Array], case: MetricBatch) -> None:
    key = "auc" if name == "localisation-auc" else name
    close(ours(case, name, sign=sign), theirs(known, case, f"{key}.{sign}"))


@pytest.mark.parametrize("sign", ["signed", "absolute"])
@pytest.mark.parametrize("name", ["relevance-rank", "top-k-intersection"])
def test_localisation_of_top_places(name: str, sign: str, known: dict[str, Array], case: MetricBatch) -> None:
    """Where equal places lie at the border Quantus takes whichever its sort leaves first; we take what chance would."""
    inside = known["masks"].reshape(len(case), -1).sum(axis=1)
    top = np.full(len(case), 10) if name == "top-k-intersection" else inside
    clear = told_apart(np.abs(case.map) if sign == "absolute" else case.map, top)
    key = "top-k" if name == "top-k-intersection" else name
    options = {"k": 10} if name == "top-k-intersection" else {}
    made, wanted = ours(case, name, sign=sign, **options), theirs(known, case, f"{key}.{sign}")
    assert clear.any()
    close(made[clear], wanted[clear])


def test_relevance_mass_of_what_is_positive(known: dict[str, Array], case: MetricBatch) -> None:
    close(ours(case, "relevance-mass"), theirs(known, case, "relevance-mass.positive"))


def test_attribution_localisation_is_the_relevance_mass_where_quantus_says_anything(
    known: dict[str, Array], case: MetricBatch
) -> None:
    """It says nothing of more than the whole, which signed attributions inside may be."""
    wanted = theirs(known, case, "attribution-localisation.signed")
    said = np.isfinite(wanted)
    made = ours(case, "relevance-mass", sign="signed")
    close(made[said], wanted[said])
    assert (made[~said] > 1).all()


@pytest.mark.parametrize("name", ["sparseness", "entropy"])
def test_complexity(name: str, known: dict[str, Array], case: MetricBatch) -> None:
    close(ours(case, name), theirs(known, case, {"entropy": "complexity"}.get(name, name)))


def test_active_elements_are_quantus_effective_complexity(known: dict[str, Array], case: MetricBatch) -> None:
    close(ours(case, "active-elements", eps=0.01), theirs(known, case, "effective-complexity"))


# -- robustness ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def given(known: dict[str, Array], monkeypatch: pytest.MonkeyPatch) -> None:
    """The noise that Quantus was given."""

    def drawn(batch: MetricBatch, what: str, noise: str, samples: int) -> Iterator[Array]:
        assert samples == len(known[noise])
        yield from known[noise][:, batch.samples].astype(np.float64)

    monkeypatch.setattr(robustness, "drawn", drawn)


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize(
    ("name", "noise"), [("max-sensitivity", "uniform"), ("average-sensitivity", "uniform"), ("local-lipschitz", "normal")]
)
def test_sensitivity(name: str, noise: str, known: dict[str, Array], about: dict[str, Any], case: MetricBatch) -> None:
    made = ours(case, name, samples=about["draws"], radius=about["noise"][noise], noise=noise, scale=1.0)
    close(made, theirs(known, case, name))


def test_continuity_along_a_translation(known: dict[str, Array], case: MetricBatch) -> None:
    """Quantus's sixteen steps over eight columns move by −7 to 8."""
    made = measured("translation-continuity", case, reach=8, pairs="original")
    assert made.at is not None
    curve = made.curves["slope"][:, (made.at >= -7) & (made.at <= 8)]
    close(np.nanmax(curve, axis=1), theirs(known, case, "continuity"))


# -- randomisation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("order", "key"), [("top-down", "top_down"), ("bottom-up", "bottom_up"), ("independent", "independent")])
def test_parameters(
    order: str, key: str, known: dict[str, Array], data: Data, case: MetricBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fresh(data: Data, parameters: Any, draw: str) -> onnx.ModelProto:
        return with_values(prepared_model(data), {name: known[f"fresh.{name}"] for name in parameters})

    monkeypatch.setattr(randomisation, "randomised", fresh)
    new = MetricBatch.of(Subject(case.subject.label, data, method=case.subject.label))
    made = measured("parameter-randomisation", new, order=order, sign="signed")
    layers = ["0", "3", "6"] if order != "top-down" else ["6", "3", "0"]
    if order == "independent":
        layers = layers[::-1]
    wanted = np.stack([theirs(known, case, f"mprt.{key}.{layer}") for layer in layers], axis=1)
    close(made.curves["similarity"], wanted)
    close(made.score, wanted.mean(axis=1))


@pytest.mark.parametrize("measure", ["spearman", "pearson"])
def test_random_logit(measure: str, known: dict[str, Array], case: MetricBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    other = known["other"] + (known["other"] >= known["target"])
    monkeypatch.setattr(randomisation, "other_targets", lambda _: other)
    close(ours(case, "random-logit", measure=measure), theirs(known, case, f"random-logit.{measure}"))


# -- axioms --------------------------------------------------------------------------------------------------------------


def test_non_sensitivity(known: dict[str, Array], case: MetricBatch) -> None:
    close(ours(case, "non-sensitivity", eps=1e-5, relative=False), theirs(known, case, "non-sensitivity"))


def test_input_invariance_where_the_first_convolution_pads_nothing(known: dict[str, Array], about: dict[str, Any]) -> None:
    """Given a shift of every element: Quantus's own leaves the first out."""
    model = onnx.load(FIXTURES / "digits" / "model.onnx")
    node = next(n for n in model.graph.node if n.op_type == "Conv")
    kept = [a for a in node.attribute if a.name != "pads"]
    del node.attribute[:]
    node.attribute.extend(kept)
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 10
    wide = np.pad(known["image"], ((0, 0), (0, 0), (1, 1), (1, 1)))
    data = Data(model, wide, target=known["target"])
    for name in METHODS:
        made = measured("input-invariance", MetricBatch.of(Subject(name, data, method=name)), shift=about["shift"])
        np.testing.assert_array_equal(made.facts["invariant"], known[f"{name}.input-invariance.everywhere"])


def test_where_quantus_differs(known: dict[str, Array], case: MetricBatch) -> None:
    """What docs/evaluation.md says of it, so that a newer Quantus makes itself heard when the numbers are made again."""
    assert not theirs(known, case, "completeness").any()  # equality of floating-point sums
    assert theirs(known, case, "monotonicity").all()  # nothing is ever put back
    assert theirs(known, case, "input-invariance.unpadded").sum() < len(case)  # the first pixel is left out
    border = measured("input-invariance", case, shift=0.75)
    if case.subject.label == "gradient":  # a border of zeros is no shift of the first bias: ours becomes one of the shift
        assert border.facts["invariant"].all()
        assert not theirs(known, case, "input-invariance").any()
