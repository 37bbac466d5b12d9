"""Prototypes: penalties and density by finite differences, the search by what it finds, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import onnxplain
from onnxplain import GaussianRBM, Prototypes
from onnxplain.cli.main import main
from onnxplain.concepts.penalties import PENALTIES
from onnxplain.errors import InputError, LayerError, MethodError, OnnxplainError, OutputError, TargetError
from onnxplain.runtime.session import Session
from tests.support.models import model, node
from tests.support.paths import ROOT

pytest.importorskip("sklearn", reason="prototypes need scipy, from the extra 'concepts'")

DIGITS = ROOT / "fixtures" / "digits" / "model.onnx"
DECODER = ROOT / "examples" / "prototypes" / "decoder.onnx"
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def data() -> Array:
    """All of scikit-learn's digits as the model takes them."""
    from sklearn.datasets import load_digits

    return (load_digits().images / 16).astype(np.float32)[:, None]


@pytest.fixture(scope="module")
def density(data: Array) -> GaussianRBM:
    return GaussianRBM.fit(data)


def difference(f: Callable[[Array], float], x: Array, step: float = 1e-6) -> Array:
    """The gradient by central differences."""
    slope = np.zeros(x.size)
    for i in range(x.size):
        way = np.zeros(x.size)
        way[i] = step
        slope[i] = (f(x + way.reshape(x.shape)) - f(x - way.reshape(x.shape))) / (2 * step)
    return slope.reshape(x.shape)


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("shape", [(1, 5), (1, 2, 4, 5)])
def test_penalties_have_the_slopes_they_say(name: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    penalty = PENALTIES[name][0]
    np.testing.assert_allclose(penalty(x)[1], difference(lambda v: penalty(v)[0], x), atol=1e-6)


def test_total_variation_counts_the_length_of_edges() -> None:
    x = np.zeros((1, 1, 6, 6))
    x[..., 3:] = 2  # one upright edge, six long and two high
    assert PENALTIES["tv"][0](x)[0] == pytest.approx(12, abs=0.01)


def test_density_has_the_slope_it_says_and_knows_its_data(density: GaussianRBM, data: Array) -> None:
    x = np.random.default_rng(0).random((1, 1, 8, 8))
    found = density.log_density(x)[1]
    np.testing.assert_allclose(found, difference(lambda v: float(density.log_density(v)[0][0]), x), rtol=1e-5, atol=1e-4)
    shuffled = np.random.default_rng(0).permuted(data.reshape(len(data), -1), axis=0)
    assert density.log_density(data)[0].mean() > density.log_density(shuffled)[0].mean() + 20, "it is more than its pixels' means"


def test_density_is_that_of_its_joint_distribution() -> None:
    """log p(x) is the sum of exp(-energy) over all states of the hidden units."""
    rng = np.random.default_rng(0)
    rbm = GaussianRBM(rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=3), 0.7)
    x = rng.normal(size=(5, 3))
    total = np.zeros(5)
    for number in range(16):
        h = np.array([number >> i & 1 for i in range(4)])
        energy = ((x - rbm.visible) ** 2).sum(axis=1) / (2 * 0.7**2) - x @ rbm.weights @ h / 0.7 - rbm.hidden @ h
        total += np.exp(-energy)
    np.testing.assert_allclose(rbm.log_density(x)[0], np.log(total))


def test_prototypes_of_digits(density: GaussianRBM, data: Array) -> None:
    """Each is its class with more than 99 %, as the plain model says, and the last two lie closer to the data."""
    found = {
        "l2": onnxplain.prototype(DIGITS, "all", penalty={"l2": 0.001}, bounds=(0, 1), starts=2),
        "expert": onnxplain.prototype(DIGITS, "all", penalty=None, expert=density, bounds=(0, 1)),
        "decoder": onnxplain.prototype(DIGITS, "all", penalty={"l2": 0.001}, decoder=DECODER, starts=2),
    }
    session = Session(onnx.load(DIGITS), "cpu")
    for prototypes in found.values():
        logits = session.run({"image": prototypes.x})["logits"].astype(np.float64)
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p = np.diag(p / p.sum(axis=1, keepdims=True))
        assert (p > 0.99).all()
        np.testing.assert_allclose(prototypes.probabilities, p, atol=1e-5)
        assert prototypes.x.min() >= 0
        assert prototypes.x.max() <= 1
    near = {name: prototypes.nearest(data) for name, prototypes in found.items()}
    assert (near["expert"] < near["l2"]).all()
    assert (near["decoder"] < near["l2"]).all()
    made = Session(onnx.load(DECODER), "cpu").run({"code": found["decoder"].codes.astype(np.float32)})["picture"]
    np.testing.assert_allclose(made, found["decoder"].x, atol=1e-6)


def quadratic(opset: int = 18, batch: int | str = "n") -> onnx.ModelProto:
    """score₀ = −‖x − c‖², score₁ = 0: what maximizes the first is known."""
    return model(
        [
            node("Sub", "x c", "d"),
            node("Mul", "d d", "s"),
            node("MatMul", "s minus", "score"),
        ],
        {"x": [batch, 3]},
        {"score": [batch, 2]},
        {"c": np.float32([1, -2, 0.5]), "minus": np.float32([[-1, 0]] * 3)},
        opset=opset,
    )


def test_logit_of_a_quadratic_has_the_known_maximum() -> None:
    c = np.array([1, -2, 0.5])
    plain = onnxplain.prototype(quadratic(), 0, penalty=None, score="logit")
    np.testing.assert_allclose(plain.x[0], c, atol=1e-3)
    held = onnxplain.prototype(quadratic(), 0, penalty={"l2": 3.0}, score="logit")
    np.testing.assert_allclose(held.x[0], c / 4, atol=1e-3)  # the maximum of −‖x − c‖² − 3‖x‖²
    fixed = onnxplain.prototype(quadratic(batch=4), 0, penalty=None, score="logit")
    np.testing.assert_allclose(fixed.x, plain.x, atol=1e-3)
    boxed = onnxplain.prototype(quadratic(), 0, penalty=None, score="logit", bounds=(-1, 1))
    np.testing.assert_allclose(boxed.x[0], np.clip(c, -1, 1), atol=1e-3)


def test_search_through_a_decoder_of_another_operator_set() -> None:
    """x = 2z + 1, so the maximum at x = c is at z = (c − 1) / 2."""
    decoder = model(
        [node("Mul", "z two", "t"), node("Add", "t one", "made")], {"z": [1, 3]}, {"made": [1, 3]},
        {"two": np.float32(2), "one": np.float32(1)}, opset=20,
    )  # fmt: skip
    found = onnxplain.prototype(quadratic(), 0, penalty=None, decoder=decoder, score="logit")
    assert found.codes is not None
    np.testing.assert_allclose(found.codes[0], [0, -1.5, -0.25], atol=1e-3)
    np.testing.assert_allclose(found.x[0], [1, -2, 0.5], atol=2e-3)


@pytest.mark.parametrize("end", ["Softmax", "Sigmoid"])
def test_log_probability_of_models_that_end_in_probabilities(end: str) -> None:
    made = model(
        [node("MatMul", "x w", "z"), node(end, "z", "p")], {"x": ["n", 2]}, {"p": ["n", 2]},
        {"w": np.float32([[1, -1], [0.5, 2]])},
    )  # fmt: skip
    found = onnxplain.prototype(made, [0, 1], penalty={"l2": 0.05})
    p = Session(made, "cpu").run({"x": found.x})["p"]
    np.testing.assert_allclose(found.probabilities, np.diag(p), atol=1e-6)
    better = onnxplain.prototype(made, [0, 1], penalty={"l2": 0.05}, start=np.zeros(2))
    np.testing.assert_allclose(found.x, better.x, atol=1e-2)  # concave: every start leads to the same


def test_what_does_not_fit_is_refused(density: GaussianRBM) -> None:
    two = model([node("Add", "a b", "y")], {"a": ["n", 2], "b": ["n", 2]}, {"y": ["n", 2]})
    open_ended = model([node("Mul", "a a", "y")], {"a": ["n", "m"]}, {"y": ["n", "m"]})
    single = model([node("ReduceSum", "a axis", "y")], {"a": ["n", 2]}, {"y": ["n", 1]}, {"axis": np.array([1])})

    def refused(kind: type[OnnxplainError], match: str, made: Any = DIGITS, target: Any = 3, **changed: Any) -> None:
        with pytest.raises(kind, match=match):
            onnxplain.prototype(made, target, **changed)

    refused(InputError, "over one input; the model has 2", two, 0)
    refused(InputError, "must be numbers", open_ended, 0)
    refused(LayerError, "single score", single, 0)
    refused(InputError, "decoder makes .* but input 'x' takes", quadratic(), 0, decoder=DECODER)
    refused(TargetError, "class 10: the model has 10", target=10)
    refused(TargetError, "'some'", target="some")
    refused(MethodError, "no penalty 'l1'", penalty="l1")
    refused(MethodError, "not below zero", penalty={"l2": -1.0})
    refused(MethodError, "choose one", expert=density, decoder=DECODER)
    refused(MethodError, "score must be", score="p")
    refused(MethodError, "least and the greatest", bounds=(1, 0))
    refused(InputError, "expected a start", start=np.zeros(3))
    refused(InputError, "the density is of 64 elements", quadratic(), 0, expert=density)
    with pytest.raises(InputError, match="at least 50 samples"):
        GaussianRBM.fit(np.zeros((3, 2)))


def test_command(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main,
        ["prototype", str(DIGITS), "-t", "3,7", "--bounds", "0", "1", "--starts", "1", "--penalty", "l2=0.001",
         "-o", str(tmp_path / "p.png"), "-o", str(tmp_path / "p.npz")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "probability" in done.output
    with np.load(tmp_path / "p.npz") as found:
        assert found["x"].shape == (2, 1, 8, 8)
        again = Prototypes(found["x"], (3, 7), found["scores"], found["objective"], "log-probability")
        assert (again.probabilities > 0.99).all()
    assert (tmp_path / "p.png").stat().st_size > 2000
    wrong = CliRunner().invoke(main, ["prototype", str(DIGITS), "-t", "3", "-o", str(tmp_path / "p.jpg")])
    assert wrong.exit_code == 2
    assert "as .png or .npz" in wrong.output


def test_no_picture_of_what_is_none(tmp_path: Path) -> None:
    found = onnxplain.prototype(quadratic(), 0, starts=1)
    with pytest.raises(OutputError, match=r"write \.npz"):
        found.save(tmp_path / "p.png")
