"""TCAV: planted concepts are found, random ones are not, and what does not fit is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import onnxplain
from onnxplain.cli.main import main
from onnxplain.concepts.vectors import concept_vector
from onnxplain.errors import InputError, LayerError, OnnxplainError, TargetError
from onnxplain.runtime.session import Session
from tests.support.models import model, node
from tests.support.paths import FIXTURES

pytest.importorskip("sklearn", reason="concepts need scikit-learn, from the extra 'concepts'")

FIXTURE = FIXTURES / "digits" / "model.onnx"
Array = np.ndarray[Any, Any]

BARS = {"top": (slice(0, 2), slice(1, 7)), "bottom": (slice(6, 8), slice(1, 7)), "left": (slice(1, 7), slice(0, 2))}


@pytest.fixture(scope="module")
def digits() -> tuple[Array, Array]:
    """All of scikit-learn's digits as the model takes them, in random order, and their classes."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    return (found.images / 16).astype(np.float32)[order, None], found.target[order]


def with_bar(x: Array, bar: str) -> Array:
    planted = x.copy()
    planted[(slice(None), slice(None), *BARS[bar])] = 1
    return planted


def test_planted_concepts_act_as_planting_them_does(digits: tuple[Array, Array]) -> None:
    """What bars do to the score of the seven is measured by painting them in; TCAV never sees that."""
    x, y = digits
    sevens = x[y == 7]
    concepts = {bar: with_bar(x[300 + 100 * i : 400 + 100 * i], bar) for i, bar in enumerate(BARS)}
    found = onnxplain.tcav(FIXTURE, "relu", {**concepts, "random": x[800:900]}, x[:300], sevens, 7)
    import onnx

    session = Session(onnx.load(FIXTURE), "cpu")

    def score(pictures: Array) -> Array:
        return np.asarray(session.run({"image": pictures})["logits"])[:, 7]

    for bar in BARS:
        change = score(with_bar(sevens, bar)) - score(sevens)
        raises = float((change > 0).mean())
        assert not 0.2 < raises < 0.8, "the bar acts one way"
        assert found[bar].significant, bar
        assert found[bar].accuracy > 0.95
        assert (found[bar].score > 0.5) == (raises > 0.5), bar
    assert not found["random"].significant
    assert found["random"].accuracy < 0.75
    assert (found.layer, found.target, found.samples, len(found.random)) == ("relu", "7", len(sevens), 10)


def two_features() -> Any:
    """score = tanh(h₀) + 0 · h₁ with h = Wx: the model has feature 1 and does not use it."""
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0].astype(np.float32)
    use = np.zeros((6, 2), np.float32)
    use[0, 0] = 1
    made = model(
        [node("MatMul", "x w", "h"), node("Tanh", "h", "t"), node("MatMul", "t use", "score")],
        {"x": ["n", 6]},
        {"score": ["n", 2]},
        {"w": rotation, "use": use},
    )
    return made, rotation


def test_what_the_model_has_and_does_not_use_is_no_evidence() -> None:
    made, rotation = two_features()
    rng = np.random.default_rng(2)

    def samples(n: int) -> Array:
        return rng.normal(size=(n, 6)).astype(np.float32)

    def moved(x: Array, feature: int) -> Array:
        return (x + 3 * rotation[:, feature]).astype(np.float32)

    concepts = {
        "used": moved(samples(200), 0),
        "unused": moved(samples(200), 1),
        "against": moved(samples(200), 0) - 6 * rotation[:, 0],
    }
    sets = [samples(30) for _ in range(20)]
    found = onnxplain.tcav(made, "h", concepts, sets, samples(100), 0)
    assert found["used"].score == 1
    assert found["used"].significant
    assert found["against"].score == 0
    assert found["against"].significant
    assert found["unused"].accuracy > 0.9, "the layer knows the concept"
    assert not found["unused"].significant, "and the score does not depend on it"
    assert found["used"].vectors[:, 0].mean() > 0.9


def test_random_concepts_are_rejected_as_often_as_the_level_says(digits: tuple[Array, Array]) -> None:
    """Of 20 random concepts at 5 % one is expected below; six or more have a chance of 3 in 10,000."""
    x, y = digits
    below = 0
    for seed in range(2):
        order = np.random.default_rng(seed).permutation(len(x))
        concepts = {str(i): x[order[500 + 100 * i : 600 + 100 * i]] for i in range(10)}
        found = onnxplain.tcav(FIXTURE, "relu", concepts, x[order[:500]], x[y == 7], 7, seed=seed)
        below += sum(c.p < 0.05 for c in found.concepts)
    assert below < 6


def test_vector_of_separated_normals_is_the_difference_of_their_means() -> None:
    rng = np.random.default_rng(0)
    shift = np.array([2.0, -1.0, 0, 0])
    found = concept_vector(rng.normal(size=(4000, 4)) + shift, rng.normal(size=(4000, 4)), 1e-3, "h")
    np.testing.assert_allclose(found.direction, shift / np.linalg.norm(shift), atol=0.05)


def test_same_seed_same_result() -> None:
    made, _ = two_features()
    rng = np.random.default_rng(0)
    a, b, x = (rng.normal(size=(n, 6)).astype(np.float32) for n in (40, 60, 20))
    first, second = (onnxplain.tcav(made, "h", {"a": a}, b, x, 0, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first["a"].scores, second["a"].scores)


def test_what_does_not_fit_is_refused() -> None:
    made, _ = two_features()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 6)).astype(np.float32)

    def refused(kind: type[OnnxplainError], match: str, **changed: Any) -> None:
        given: dict[str, Any] = {"layer": "h", "concepts": {"a": x}, "random": x, "x": x, "target": 0, **changed}
        with pytest.raises(kind, match=match):
            onnxplain.tcav(
                made, given.pop("layer"), given.pop("concepts"), given.pop("random"), given.pop("x"), given.pop("target"), **given
            )

    refused(InputError, "no concepts", concepts={})
    refused(InputError, "'a' has 12 examples; 10 runs need at least 20", concepts={"a": x[:12]})
    refused(InputError, "at least 3 sets", random=[x[:10], x[10:20]])
    refused(InputError, "got \\[60, 5\\]", concepts={"a": x[:, :5]})
    refused(InputError, "level of significance", level=5)
    refused(LayerError, "no tensor|did you mean|nothing", layer="hh")
    refused(LayerError, "one layer at a time", layer=["h", "t"])
    refused(LayerError, "no slope", target=1)
    refused(TargetError, "one target at a time", target="all")
    refused(LayerError, "same activations", concepts={"a": np.ones_like(x)}, random=np.ones_like(x))


def test_command(tmp_path: Path, digits: tuple[Array, Array]) -> None:
    x, y = digits
    for name, array in {"sevens": x[y == 7], "random": x[:200], "top": with_bar(x[200:300], "top")}.items():
        np.savez(tmp_path / f"{name}.npz", image=array)
    common = [
        "tcav",
        str(FIXTURE),
        str(tmp_path / "sevens.npz"),
        "--layer",
        "relu",
        "-t",
        "7",
        "--random",
        str(tmp_path / "random.npz"),
    ]
    shown = CliRunner().invoke(main, [*common, "--concept", f"top bar={tmp_path / 'top.npz'}"])
    assert shown.exit_code == 0, shown.output
    assert "top bar" in shown.output
    assert "raises the score" in shown.output
    told = CliRunner().invoke(main, [*common, "--concept", f"top bar={tmp_path / 'top.npz'}", "--json"])
    assert json.loads(told.output)["concepts"][0]["significant"] is True
    wrong = CliRunner().invoke(main, [*common, "--concept", "top"])
    assert wrong.exit_code == 2
    assert "--concept takes NAME=FILE" in wrong.output
