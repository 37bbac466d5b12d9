"""Metrics against Quantus's own, on the same attributions, masks, weights and random draws (fixtures/quantus_metrics.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain.blackbox.forward import Array
from onnxplain.evaluation import randomisation, robustness
from onnxplain.evaluation.case import Case
from onnxplain.evaluation.data import Data
from onnxplain.evaluation.metric import Measured, metric_named
from onnxplain.evaluation.subject import Subject
from onnxplain.evaluation.weights import prepared_model, with_values

FIXTURES = Path(__file__).parent.parent / "fixtures"
METHODS = ("gradient", "input-x-gradient")
TOLERANCE = 1e-4
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
def case(request: pytest.FixtureRequest, data: Data) -> Case:
    """The samples explained by our own method; `case.subject.label` is the key of Quantus's numbers."""
    return Case.of(Subject(request.param, data, method=request.param))


def theirs(known: dict[str, Array], case: Case, key: str) -> Array:
    return known[f"{case.subject.label}.{key}"]


def ours(case: Case, name: str, **options: Any) -> Array:
    return metric_named(name).compute(case, **options).score


def close(made: Array, wanted: Array) -> None:
    np.testing.assert_allclose(made, wanted, rtol=TOLERANCE, atol=TOLERANCE)


def test_attributions_are_the_same(known: dict[str, Array], case: Case) -> None:
    np.testing.assert_allclose(case.attribution, known[case.subject.label], atol=1e-5)


# -- localisation and complexity -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", ["signed", "absolute"])
@pytest.mark.parametrize("name", ["pointing-game", "relevance-mass", "localisation-auc"])
def test_localisation(name: str, sign: str, known: dict[str, Array], case: Case) -> None:
    key = "auc" if name == "localisation-auc" else name
    close(ours(case, name, sign=sign), theirs(known, case, f"{key}.{sign}"))


@pytest.mark.parametrize("sign", ["signed", "absolute"])
@pytest.mark.parametrize("name", ["relevance-rank", "top-k-intersection"])
def test_localisation_of_top_places(name: str, sign: str, known: dict[str, Array], case: Case) -> None:
    """Where equal places lie at the border Quantus takes whichever its sort leaves first; we take what chance would."""
    values = case.map.reshape(len(case), -1)
    values = -np.sort(-(np.abs(values) if sign == "absolute" else values), axis=1)
    inside = known["masks"].reshape(len(case), -1).sum(axis=1)
    border = np.full(len(case), 10) if name == "top-k-intersection" else inside
    at = np.arange(len(case))
    clear = values[at, border - 1] > values[at, border]
    key = "top-k" if name == "top-k-intersection" else name
    options = {"k": 10} if name == "top-k-intersection" else {}
    made, wanted = ours(case, name, sign=sign, **options), theirs(known, case, f"{key}.{sign}")
    assert clear.sum() >= len(case) // 4
    close(made[clear], wanted[clear])


def test_relevance_mass_of_what_is_positive(known: dict[str, Array], case: Case) -> None:
    close(ours(case, "relevance-mass"), theirs(known, case, "relevance-mass.positive"))


def test_attribution_localisation_is_the_relevance_mass_where_quantus_says_anything(known: dict[str, Array], case: Case) -> None:
    """It says nothing of more than the whole, which signed attributions inside may be."""
    wanted = theirs(known, case, "attribution-localisation.signed")
    said = np.isfinite(wanted)
    made = ours(case, "relevance-mass", sign="signed")
    close(made[said], wanted[said])
    assert (made[~said] > 1).all()


@pytest.mark.parametrize("name", ["sparseness", "entropy"])
def test_complexity(name: str, known: dict[str, Array], case: Case) -> None:
    close(ours(case, name), theirs(known, case, {"entropy": "complexity"}.get(name, name)))


def test_active_elements_are_quantus_effective_complexity(known: dict[str, Array], case: Case) -> None:
    close(ours(case, "active-elements", eps=0.01), theirs(known, case, "effective-complexity"))


# -- robustness ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def given(known: dict[str, Array], monkeypatch: pytest.MonkeyPatch) -> None:
    """The noise that Quantus was given."""

    def drawn(case: Case, what: str, noise: str, samples: int) -> Iterator[Array]:
        assert samples == len(known[noise])
        yield from known[noise][:, case.samples].astype(np.float64)

    monkeypatch.setattr(robustness, "drawn", drawn)


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize(
    ("name", "noise"), [("max-sensitivity", "uniform"), ("average-sensitivity", "uniform"), ("local-lipschitz", "normal")]
)
def test_sensitivity(name: str, noise: str, known: dict[str, Array], about: dict[str, Any], case: Case) -> None:
    made = ours(case, name, samples=about["draws"], radius=about["noise"][noise], noise=noise, scale=1.0)
    close(made, theirs(known, case, name))


def test_continuity_along_a_translation(known: dict[str, Array], case: Case) -> None:
    """Quantus's sixteen steps over eight columns move by −7 to 8."""
    made = metric_named("translation-continuity").compute(case, reach=8, pairs="original")
    assert made.at is not None
    curve = made.curves["slope"][:, (made.at >= -7) & (made.at <= 8)]
    close(np.nanmax(curve, axis=1), theirs(known, case, "continuity"))


# -- randomisation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "key"), [("top-down", "top_down"), ("bottom-up", "bottom_up"), ("independent", "independent")]
)
def test_parameters(order: str, key: str, known: dict[str, Array], data: Data, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def fresh(data: Data, parameters: Any, draw: str) -> onnx.ModelProto:
        return with_values(prepared_model(data), {name: known[f"fresh.{name}"] for name in parameters})

    monkeypatch.setattr(randomisation, "randomised", fresh)
    new = Case.of(Subject(case.subject.label, data, method=case.subject.label))
    made = metric_named("parameter-randomisation").compute(new, order=order, sign="signed")
    layers = ["0", "3", "6"] if order != "top-down" else ["6", "3", "0"]
    if order == "independent":
        layers = layers[::-1]
    wanted = np.stack([theirs(known, case, f"mprt.{key}.{layer}") for layer in layers], axis=1)
    close(made.curves["similarity"], wanted)
    close(made.score, wanted.mean(axis=1))


@pytest.mark.parametrize("measure", ["spearman", "pearson"])
def test_random_logit(measure: str, known: dict[str, Array], case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    other = known["other"] + (known["other"] >= known["target"])
    monkeypatch.setattr(randomisation, "other_targets", lambda _: other)
    close(ours(case, "random-logit", measure=measure), theirs(known, case, f"random-logit.{measure}"))


# -- axioms --------------------------------------------------------------------------------------------------------------


def test_non_sensitivity(known: dict[str, Array], case: Case) -> None:
    close(ours(case, "non-sensitivity", eps=1e-5, relative=False), theirs(known, case, "non-sensitivity"))


def measured(name: str, case: Case, **options: Any) -> Measured:
    return metric_named(name).compute(case, **options)


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
        made = measured("input-invariance", Case.of(Subject(name, data, method=name)), shift=about["shift"])
        np.testing.assert_array_equal(made.facts["invariant"], known[f"{name}.input-invariance.everywhere"])


def test_where_quantus_differs(known: dict[str, Array], case: Case) -> None:
    """What docs/evaluation.md says of it, so that a newer Quantus makes itself heard when the numbers are made again."""
    assert not theirs(known, case, "completeness").any()  # equality of floating-point sums
    assert theirs(known, case, "input-invariance.unpadded").sum() < len(case)  # the first pixel is left out
    border = measured("input-invariance", case, shift=0.75)
    if case.subject.label == "gradient":  # a border of zeros is no shift of the first bias: ours becomes one of the shift
        assert border.facts["invariant"].all()
        assert not theirs(known, case, "input-invariance").any()
