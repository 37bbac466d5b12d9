"""The similarity of an embedding to a reference as the score: in Python, in a file of its own, and in the shell."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from PIL import Image

from onnxplain import Explainer, Explanation, rewrite
from onnxplain.cli.main import main
from onnxplain.errors import InputError, MethodError
from tests.support.paths import FIXTURES

RESNET = FIXTURES / "resnet" / "model.onnx"
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(3, 3, 48, 48)).astype(np.float32)
REFERENCE = RANDOM.normal(size=10)

# An embedding without bias, so that relevance is known by hand.
LINEAR = """
<ir_version: 8, opset_import: ["" : 18]>
linear (float[N, 6] x) => (float[N, 4] e, float[N, 4] twice) <float[6, 4] w, float[1] two = {2}> {
    e = MatMul (x, w)
    twice = Mul (e, two)
}
"""
WEIGHTS = RANDOM.normal(size=(6, 4)).astype(np.float32)
X = RANDOM.normal(size=(3, 6)).astype(np.float32)
R = RANDOM.normal(size=4)


def linear(double: bool = False) -> onnx.ModelProto:
    model = onnx.parser.parse_model(LINEAR.replace("float", "double") if double else LINEAR)
    kept = [t for t in model.graph.initializer if t.name != "w"]
    del model.graph.initializer[:]
    weights = WEIGHTS.astype(np.float64) if double else WEIGHTS
    model.graph.initializer.extend([*kept, onnx.numpy_helper.from_array(weights, "w")])
    return model


def cosine(x: np.ndarray, r: np.ndarray = R) -> np.ndarray:
    e = x.astype(np.float64) @ WEIGHTS
    return np.asarray((e @ r) / np.linalg.norm(e, axis=1) / np.linalg.norm(r))


def dot(x: np.ndarray, r: np.ndarray = R) -> np.ndarray:
    return np.asarray(x.astype(np.float64) @ WEIGHTS @ r)


MEASURES: dict[str, Callable[..., np.ndarray]] = {"cosine": cosine, "dot": dot}


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("double", [False, True])
def test_gradient_against_finite_differences(measure: str, double: bool) -> None:
    explainer = Explainer(linear(double), "gradient", output="e", reference=R, similarity=measure)
    found = explainer(X.astype(np.float64) if double else X)
    assert found.outputs["similarity"].ravel() == pytest.approx(MEASURES[measure](X), rel=1e-5)
    assert list(found.outputs) == ["e", "twice", "similarity"]
    assert found.label(0) == f"{measure} to the reference"
    step = 1e-5
    for place in range(6):
        moved = np.zeros(6)
        moved[place] = step
        slope = (MEASURES[measure](X + moved) - MEASURES[measure](X - moved)) / (2 * step)
        assert found.attribution[:, place] == pytest.approx(slope, abs=1e-5)


def test_relevance_by_hand() -> None:
    """The norm is a constant to relevance: x_i w_ij r_j / (|e| |r|), summed over j."""
    found = Explainer(linear(), "lrp-epsilon", output="e", reference=R)(X)
    e = X @ WEIGHTS
    by_hand = X * (WEIGHTS @ R) / np.linalg.norm(e, axis=1, keepdims=True) / np.linalg.norm(R)
    assert found.attribution == pytest.approx(by_hand, rel=1e-3, abs=1e-5)
    assert found.attribution.sum(1) == pytest.approx(cosine(X), rel=1e-3)


def test_forward_passes_alone() -> None:
    found = Explainer(linear(), "occlusion", output="e", reference=R, baseline=0.0, window=1)(X)
    for place in range(6):
        hidden = X.copy()
        hidden[:, place] = 0
        assert found.attribution[:, place] == pytest.approx(cosine(X) - cosine(hidden), abs=1e-5)


@pytest.mark.parametrize("method", ["gradient", "input-x-gradient", "grad-cam", "guided-backprop"])
@pytest.mark.parametrize("measure", MEASURES)
def test_the_same_as_the_slope_of_the_similarity_handed_over(method: str, measure: str) -> None:
    """Of methods that are linear in what they start from, the slope at the embedding says it all."""
    embedded = Explainer(RESNET, method)(IMAGES, 0).outputs["logits"].astype(np.float64)
    norms = np.linalg.norm(embedded, axis=1, keepdims=True)
    unit = REFERENCE / np.linalg.norm(REFERENCE)
    slopes = (
        (unit - (embedded @ unit)[:, None] * embedded / norms**2) / norms if measure == "cosine" else np.tile(REFERENCE, (3, 1))
    )
    expected = Explainer(RESNET, method)(IMAGES, cotangent=slopes.astype(np.float32)).attribution
    found = Explainer(RESNET, method, reference=REFERENCE, similarity=measure)(IMAGES).attribution
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4 * float(np.abs(expected).max()))


def test_a_reference_at_run_time() -> None:
    """A host gives a reference per sample; the file has the model's outputs, then the similarity, then the attribution."""
    references = RANDOM.normal(size=(3, 4)).astype(np.float32)
    for measure, score in MEASURES.items():
        model = rewrite(linear(), "gradient", output="e", reference="input", similarity=measure, inputs=["x"])
        assert [i.name for i in model.graph.input] == ["x", "reference"]
        assert [o.name for o in model.graph.output] == ["e", "twice", "similarity", "x_attribution"]
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        _, _, similarity, attribution = session.run(None, {"x": X, "reference": references})
        for row in range(3):
            assert similarity[row, 0] == pytest.approx(score(X[row : row + 1], references[row])[0], rel=1e-4)
            alone = Explainer(linear(), "gradient", output="e", reference=references[row], similarity=measure)(X[row : row + 1])
            assert attribution[row] == pytest.approx(alone.attribution[0], abs=1e-5)
    both = Explainer(linear(), "input-x-gradient", output="e", reference="input", similarity="dot")
    made = both({"x": X, "reference": references})
    assert made.attributions["x"].sum(1) == pytest.approx(made.attributions["reference"].sum(1), rel=1e-4)  # bilinear


def test_a_reference_that_the_model_embeds(tmp_path: Path) -> None:
    explainer = Explainer(linear(), "gradient", output="e", reference={"x": X[:1]})
    assert explainer(X).outputs["similarity"][0, 0] == pytest.approx(1, abs=1e-6)
    assert pickle.loads(pickle.dumps(explainer))(X).attribution.tolist() == explainer(X).attribution.tolist()
    file = rewrite(linear(), "gradient", output="e", reference={"x": X[:1]})
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(["similarity"], {"x": X[:1]})[0][0, 0] == pytest.approx(1, abs=1e-6)
    fixed = linear()
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3  # exported for three samples at a time
    made = Explainer(fixed, "gradient", output="e", reference={"x": X[:1]})(X[:2])
    assert made.attribution == pytest.approx(explainer(X[:2]).attribution, abs=1e-6)
    with pytest.raises(InputError, match="the reference has 2 samples, and one is needed"):
        Explainer(linear(), "gradient", output="e", reference={"x": X[:2]})


def test_a_pair_of_pictures(tmp_path: Path) -> None:
    pixels = np.load(FIXTURES / "pictures" / "reference.npz")
    for which in ("tall", "wide"):
        Image.fromarray(pixels[f"picture.{which}"]).save(tmp_path / f"{which}.png")
    explainer = Explainer(RESNET, "saliency", preprocess="imagenet", reference=tmp_path / "wide.png")
    found = explainer([tmp_path / "tall.png", tmp_path / "wide.png"])
    assert found.outputs["similarity"][1, 0] == pytest.approx(1, abs=1e-5)
    assert found.label(0) == "cosine to wide.png"
    assert np.abs(found.attribution[1]).max() < 1e-4 * np.abs(found.attribution[0]).max()  # nothing is more similar than itself
    again = Explanation.load(found.save(tmp_path / "e.npz"))
    assert again.reference is not None
    assert again.reference.preview.tolist() == pixels["picture.wide"].tolist()
    assert list(again.pictures) == ["image"]
    assert "compared with wide.png" in found.save(tmp_path / "e.html").read_text(encoding="utf-8")
    told = invoke("explain", RESNET, tmp_path / "tall.png", "--preprocess", "imagenet", "--reference", tmp_path / "wide.png",
                  "-m", "saliency", "-o", tmp_path / "s.npz", "-o", tmp_path / "s.png")  # fmt: skip
    assert "wrote" in told
    assert Explanation.load(tmp_path / "s.npz").attribution == pytest.approx(found.attribution[:1], abs=1e-7)


def invoke(*given: object, code: int = 0) -> str:
    found = CliRunner().invoke(main, [str(g) for g in given])
    assert found.exit_code == code, found.output
    return found.output


def test_the_shell(tmp_path: Path) -> None:
    onnx.save(linear(), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "r.npy", R)
    np.save(tmp_path / "one.npy", X[:1])
    own = ("explain", tmp_path / "m.onnx", tmp_path / "x.npy", "--output", "e", "-o", tmp_path / "e.npz", "--force")
    invoke(*own, "--reference", tmp_path / "r.npy")
    assert Explanation.load(tmp_path / "e.npz").outputs["similarity"].ravel() == pytest.approx(cosine(X), rel=1e-5)
    invoke(*own, "--reference", f"x={tmp_path / 'one.npy'}", "--similarity", "dot")
    found = Explanation.load(tmp_path / "e.npz")
    assert found.outputs["similarity"][0, 0] == pytest.approx(((X[0] @ WEIGHTS) ** 2).sum(), rel=1e-5)
    assert found.about["similarity"]["measure"] == "dot"
    told = invoke("rewrite", tmp_path / "m.onnx", "--output", "e", "--reference", tmp_path / "r.npy", "-o", tmp_path / "s.onnx")
    assert "cosine of the embedding and the reference" in told
    assert "✓ prediction" in invoke("verify", tmp_path / "s.onnx", "--model", tmp_path / "m.onnx")
    assert "--reference" in invoke("explain", tmp_path / "m.onnx", tmp_path / "x.npy", "--similarity", "dot", code=2)
    assert "no file at" in invoke(*own, "--reference", tmp_path / "none.npy", code=2)
    assert "say which one is the embedding, --output" in invoke(
        "explain", tmp_path / "m.onnx", tmp_path / "x.npy", "--reference", tmp_path / "r.npy", code=2
    )


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"reference": R, "similarity": "euclid"}, "unknown similarity 'euclid'; known: cosine, dot"),
        ({"similarity": "cosine"}, "similarity='cosine' compares with a reference: give reference="),
        ({"reference": R[:3]}, "the reference has 3 numbers, and the embedding 'e' 4"),
        ({"reference": np.ones((2, 4))}, r"a reference is one embedding, \[d\] or \[1, d\], not float64 \[2, 4\]"),
        ({"reference": np.zeros(4)}, "has no direction to compare with"),
        ({"reference": [1.0, float("nan"), 1, 1]}, "has no direction to compare with"),
        ({"reference": np.array(["a"])}, "a reference is one embedding"),
        ({"reference": "photo"}, "a reference is an embedding, a dict of the model's inputs, or 'input', not 'photo'"),
        ({"reference": "photo.jpg"}, r"'photo.jpg' names a file; .* or say preprocess= \(--preprocess\)"),
        ({"reference": R, "output": "f"}, "no output 'f' in the model"),
        ({"reference": R, "output": None}, "the model has 2 outputs: say which one is the embedding"),
    ],
)
def test_what_is_said_wrongly(settings: dict[str, Any], told: str) -> None:
    with pytest.raises((InputError, MethodError), match=told) as raised:
        Explainer(linear(), **{"output": "e", **settings})
    assert "\n" not in str(raised.value)


def test_outputs_that_are_no_embedding() -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 18]> m (float[N, 3] x) => (int64[N] y) { y = ArgMax <axis = 1, keepdims = 0> (x) }'
    )
    with pytest.raises(InputError, match="output 'y' is no embedding"):
        Explainer(onnx.parser.parse_model(text), reference=[1.0])
    named = '<ir_version: 8, opset_import: ["" : 18]> m (float[N, 3] reference) => (float[N, 3] y) { y = Relu (reference) }'
    with pytest.raises(InputError, match="the model has a tensor 'similarity' or 'reference' of its own; rename it"):
        Explainer(onnx.parser.parse_model(named), reference=[1.0, 0, 0])
