"""What people hand over and get back: wrong models and inputs, tables, pictures, and explanations as arrays, files and data sets."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import polars as pl
import pytest
import xarray
from PIL import Image

import onnxplain
from onnxplain import Explainer, Explanation, OnnxplainError, load_image, plan
from onnxplain.errors import InputError, LayerError, ModelError
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits" / "model.onnx"
IMAGES = np.load(FIXTURES / "digits" / "data.npz")["image"]
COLUMNS = """
<ir_version: 8, opset_import: ["" : 18]>
columns (float[N, 1] age, int64[N, 1] rooms, float[N] size) => (float[N, 2] y) <int64[1] one = {1}, float[1, 2] w = {2, -1}> {
    r = Cast <to = 1> (rooms)
    flat = Unsqueeze (size, one)
    both = Mul (age, r)
    sum = Add (both, flat)
    y = MatMul (sum, w)
}
"""


class Requiring:
    """As torch's tensors do: refuses to become an array."""

    __module__ = "torch"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")


def of(package: str, name: str) -> Any:
    return type(name, (), {"__module__": package})()


def test_public_names_are_listed() -> None:
    assert set(onnxplain.__all__) <= set(dir(onnxplain))


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        (None, "not None"),
        (7, "not builtins's int"),
        (of("torch.nn.modules.module", "Module"), "torch.onnx.export"),
        (of("torch.onnx._internal.exporter", "ONNXProgram"), ".model_proto"),
        (of("sklearn.base", "BaseEstimator"), "skl2onnx"),
        (io.BytesIO(b""), "getvalue"),
        (onnx.GraphProto(), "make_model"),
    ],
)
@pytest.mark.parametrize("entry", [Explainer, plan, onnxplain.rewrite, onnxplain.check])
def test_no_models(given: Any, advice: str, entry: Callable[..., Any]) -> None:
    with pytest.raises(ModelError, match=r"a model is a path, the bytes of a file, or an onnx\.ModelProto") as raised:
        entry(given)
    assert advice in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_session_is_no_model() -> None:
    session = onnxruntime.InferenceSession(str(DIGITS), providers=["CPUExecutionProvider"])
    with pytest.raises(ModelError, match="a session gives no graph back"):
        Explainer(session)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "input 'image' is None"),
        (Requiring(), r"torch's Requiring is no array .*requires grad.*; hand over x.detach\(\).cpu\(\).numpy\(\)"),
        ("three.png", "'three.png' names a file; read a file first"),
        (Image.fromarray(np.zeros((8, 8), np.uint8)), r"got \[8, 8\]; onnxplain.load_image\(picture, model\)"),
    ],
)
def test_no_inputs(given: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        Explainer(DIGITS)(given)
    assert "\n" not in str(raised.value)


def test_labels() -> None:
    with pytest.raises(InputError, match="not the text 'digits'"):
        Explainer(DIGITS, labels="digits")
    with pytest.raises(InputError, match="2 labels for the 10 outputs of 'logits'"):
        Explainer(DIGITS, labels=["a", "b"])
    assert Explainer(DIGITS, labels=list("abcdefghij"))(IMAGES[:1]).label(0) in "abcdefghij"


def test_samples_of_an_explanation() -> None:
    found = Explainer(DIGITS)(IMAGES[:3])
    for number, one in enumerate(found):
        assert one.attribution.tolist() == found.attribution[number : number + 1].tolist()
    assert found[np.int64(1)].attribution.shape == (1, 1, 8, 8)
    with pytest.raises(IndexError, match="no sample 3"):
        found[3]


def test_an_explanation_is_an_array() -> None:
    found = Explainer(DIGITS)(IMAGES[:3])
    assert np.asarray(found).tolist() == found.attribution.tolist()
    assert np.abs(found).sum() == pytest.approx(np.abs(found.attribution).sum())  # type: ignore[call-overload]
    columns = Explainer(onnx.parser.parse_model(COLUMNS))
    fed = {"age": np.ones((2, 1), np.float32), "rooms": np.ones((2, 1), np.int64), "size": np.ones(2, np.float32)}
    with pytest.raises(LayerError, match="several tensors were explained"):
        np.asarray(columns(fed, 0))


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_rows_of_one_input(kind: Any) -> None:
    rows = np.load(FIXTURES / "cancer" / "data.npz")["features"]
    names = [f"f{i}" for i in range(rows.shape[1])]
    explainer = Explainer(FIXTURES / "cancer" / "model.onnx", "input-x-gradient")
    found = explainer(kind(dict(zip(names, rows.T, strict=True))))
    assert found.attribution == pytest.approx(explainer(rows).attribution)
    assert tuple(found.features) == tuple(names)
    assert found[:1].to_pandas()["feature"].tolist() == names


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_an_input_per_column(kind: Any) -> None:
    explainer = Explainer(onnx.parser.parse_model(COLUMNS))
    found = explainer(kind({"size": [1.0, 2.0], "age": [3.0, 4.0], "rooms": [2, 5]}), 0)
    # y = 2 (age · rooms + size)
    assert found.attributions["age"].ravel() == pytest.approx([4, 10])
    assert found.attributions["size"].ravel() == pytest.approx([2, 2])
    with pytest.raises(
        InputError, match=r"no input 'sizes' in the model; did you mean 'size'\?; input 'size' \[N\] of float32 is"
    ):
        explainer(kind({"sizes": [1.0], "age": [3.0], "rooms": [2]}), 0)
    with pytest.raises(InputError, match="column 'age' holds 'old', input 'age' takes float32"):
        explainer(kind({"size": [1.0], "age": ["old"], "rooms": [2]}), 0)


def test_missing_cells_are_nan() -> None:
    forest = Explainer(FIXTURES / "blackbox" / "forest.onnx", "feature-ablation", baseline=0.0)
    nullable = pd.DataFrame({c: pd.array([1, 2], dtype="Int64") for c in "abcd"}).mask(
        pd.DataFrame({c: [False, c == "b"] for c in "abcd"})
    )
    assert np.isnan(forest(nullable).inputs[forest.inputs[0].name]).tolist() == [[False] * 4, [False, True, False, False]]


def test_pictures_in_python(tmp_path: Path) -> None:
    path = FIXTURES / "digits" / "digit_8.png"
    explainer = Explainer(DIGITS)
    expected = np.asarray(Image.open(path).convert("L"), np.float64)[None, None] / 255
    for model in (DIGITS, explainer):
        for picture in (path, str(path), Image.open(path)):
            assert load_image(picture, model, scale=1 / 255) == pytest.approx(expected, abs=1e-6)
    assert load_image(path, explainer, scale=1 / 255, mean=0.5, std=[0.5]) == pytest.approx((expected - 0.5) / 0.5, abs=1e-6)
    with pytest.raises(InputError, match="no file at"):
        load_image(tmp_path / "none.png", explainer)
    with pytest.raises(InputError, match="a picture is a path or an image of Pillow, not ndarray"):
        load_image(expected, explainer)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"no input 'imag' in the model; did you mean 'image'"):
        load_image(path, explainer, input="imag")


def test_explanations_are_read_back(tmp_path: Path) -> None:
    rows = pd.DataFrame(np.load(FIXTURES / "cancer" / "data.npz")["features"])
    made = Explainer(FIXTURES / "cancer" / "model.onnx", "integrated-gradients", baseline=0.0)(rows)
    found = Explanation.load(made.save(tmp_path / "e.npz"))
    assert isinstance(found, Explanation)
    assert found.attribution.tolist() == made.attribution.tolist()
    assert found.delta is not None
    assert made.delta is not None
    assert found.delta.tolist() == made.delta.tolist()
    assert found.label(3) == made.label(3)
    assert tuple(found.features) == tuple(made.features)
    assert {k: v.tolist() for k, v in found.outputs.items()} == {k: v.tolist() for k, v in made.outputs.items()}
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    np.savez(tmp_path / "other.npz", x=np.ones(3))
    for name, words in (
        ("none.npz", "no file at"),
        ("bad.npz", "cannot read"),
        ("other.npz", "holds no explanation"),
        ("e.csv", r"\.npz"),
    ):
        with pytest.raises(InputError, match=words):
            Explanation.load(tmp_path / name)


def test_maps_of_classes_are_read_back(tmp_path: Path) -> None:
    rows = np.load(FIXTURES / "iris_sklearn" / "data.npz")
    made = Explainer(FIXTURES / "iris_sklearn" / "model.onnx")(rows[rows.files[0]].astype(np.float32)[:2])
    found = Explanation.load(made.save(tmp_path / "e.npz"))
    assert [found.label(i) for i in range(2)] == [made.label(i) for i in range(2)]


def test_named_axes() -> None:
    found = Explainer(DIGITS, labels=list("abcdefghij"))(IMAGES[:3], "all").to_xarray()
    assert isinstance(found, xarray.Dataset)
    assert found["image_attribution"].dims == ("sample", "target_class", "image_1", "image_2", "image_3")
    assert found["image"].dims == ("sample", "image_1", "image_2", "image_3")
    expected = Explainer(DIGITS)(IMAGES[:3], 2).attribution
    assert found["image_attribution"].sel(target_class="c").to_numpy() == pytest.approx(expected, abs=1e-5)


def test_every_refusal_is_a_known_error() -> None:
    for wrong in (None, 7, b"", io.BytesIO()):
        with pytest.raises(OnnxplainError):
            Explainer(wrong)  # type: ignore[arg-type]


def test_what_is_printed() -> None:
    explainer = Explainer(DIGITS, "lrp-epsilon")
    assert repr(explainer) == "Explainer(lrp-epsilon, model.onnx, image [batch, 1, 8, 8] → logits [batch, 10])"
    assert repr(explainer(IMAGES[:1])) == "Explanation(lrp-epsilon, 1 sample, image [1, 1, 8, 8])"
    assert repr(plan(DIGITS)).startswith("Plan(gradient, ")
    report = onnxplain.check(DIGITS, x=IMAGES[:1], progress=False)
    assert all(f"{finding.name}: {finding.detail}" in repr(report) for finding in report.findings)


def test_what_notebooks_show(monkeypatch: pytest.MonkeyPatch) -> None:
    explainer = Explainer(DIGITS, "lrp-epsilon", labels=[f"<{c}>" for c in "abcdefghij"])
    page = explainer(IMAGES)._repr_html_()
    assert page.startswith("<iframe srcdoc=")
    assert "4 of 20 samples" in page
    assert "&amp;lt;" in page, "names are escaped for the page, and the page for the frame"
    found = onnxplain.evaluate(DIGITS, IMAGES[:2], ["gradient"], ["sparseness"], progress=False)
    for shown, words in (
        (explainer, ("epsilon", "image [batch, 1, 8, 8] of float32")),
        (plan(DIGITS), ("Conv:0", "logits")),
        (onnxplain.check(DIGITS, x=IMAGES[:1], progress=False), ("✓",)),
        (found, ("sparseness", "gradient")),
    ):
        assert all(word in shown._repr_html_() for word in words)
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    assert "<table>" in explainer(IMAGES)._repr_html_()


@pytest.mark.parametrize(
    ("kind", "value"),
    [(np.uint8, 300), (np.uint8, -1), (np.int32, 2**40), (np.int64, 1e300), (np.float16, 70_000.0), (np.float32, 1e300)],
)
def test_numbers_that_the_type_cannot_hold(kind: Any, value: Any) -> None:
    """They would wrap around, or become infinite, and another input would be explained."""
    number = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    nodes = [onnx.helper.make_node("Cast", ["x"], ["z"], to=1), onnx.helper.make_node("Exp", ["z"], ["y"])]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", number, ["n", 2])],
        [onnx.helper.make_tensor_value_info("y", 1, ["n", 2])],
    )
    explainer = Explainer(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8))
    with pytest.raises(InputError, match=f"input 'x' takes {np.dtype(kind)}, which cannot hold .* at \\[0, 1\\]"):
        explainer(np.array([[1, value]]), 0)
    assert explainer(np.array([[1, 2]]), 0).attribution.shape == (1, 2)


def test_texts_and_names_come_back(tmp_path: Path) -> None:
    folder = FIXTURES / "reviews"
    labels = (folder / "labels.txt").read_text().split()
    made = Explainer(folder / "model.onnx", "attnlrp", labels=labels)(["A fine film.", "bad"], "positive-negative")
    found = Explanation.load(made.save(tmp_path / "e.npz"))
    assert list(found.texts) == list(made.texts)
    assert list(found.target_names) == list(made.target_names) != []
    assert found.text_units("word") == made.text_units("word")


@pytest.mark.parametrize("name", ["target", "delta", "texts", "explanation", "about"])
def test_inputs_with_the_names_of_our_own(name: str, tmp_path: Path) -> None:
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Tanh", [name], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info(name, 1, ["n", 3])],
        [onnx.helper.make_tensor_value_info("y", 1, ["n", 3])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    made = Explainer(model)(np.ones((2, 3), np.float32), {0: 1, 1: -1})
    found = Explanation.load(made.save(tmp_path / "e.npz"))
    np.testing.assert_array_equal(found.inputs[name], np.ones((2, 3)))
    assert (found.target, found.delta, list(found.texts)) == (None, None, [])


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", explanation=np.array("{}"), about=np.array("{}"))
    with pytest.raises(InputError, match="is damaged, or of another version"):
        Explanation.load(tmp_path / "e.npz")


def test_maps_have_places_of_their_own() -> None:
    found = Explainer(DIGITS, "grad-cam", layer="Conv:1")(IMAGES[:3]).to_xarray()
    assert found["image"].dims == ("sample", "image_1", "image_2", "image_3")
    assert "image_2" not in found["image_attribution"].dims


def test_text_columns_have_no_missing_cells() -> None:
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("LabelEncoder", ["word"], ["y"], domain="ai.onnx.ml", keys_strings=["a"], values_floats=[1.0])],
        "g",
        [onnx.helper.make_tensor_value_info("word", onnx.TensorProto.STRING, ["n", 1])],
        [onnx.helper.make_tensor_value_info("y", 1, ["n", 1])],
    )
    imports = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("ai.onnx.ml", 2)]
    model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=8)
    explainer = Explainer(model, "feature-ablation", baseline="a")
    for frame in (pd.DataFrame({"word": ["a", None]}), pl.DataFrame({"word": ["a", None]})):
        with pytest.raises(InputError, match="column 'word' lacks a value in row 1"):
            explainer(frame, 0)


DAMAGE: dict[str, dict[str, Any]] = {
    "a list": {"about": "[]"},
    "nothing": {"about": "{}"},
    "deep": {"about": "[" * 100_000},
    "many digits": {"about": '{"a": ' + "9" * 5000 + "}"},
    "null": {"explanation": "null"},
    "attributions that are none": {"about": {"attributions": []}},
    "no attribution": {"explanation": {"attributions": {}}},
    "labels that are none": {"explanation": {"labels": 3}},
    "names that are none": {"explanation": {"sample_names": [[1]]}},
    "too few names": {"explanation": {"target_names": ["a"]}},
    "text for a target": {"target": ["a", "b"]},
    "targets of others": {"target": [1] * 7},
    "text for an attribution": {"image_attribution": ["a", "b"]},
    "a number for an attribution": {"image_attribution": 3.0},
    "attributions of others": {"image_attribution": np.zeros((5, 1, 8, 8))},
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_every_damage_is_one_line(kind: str, tmp_path: Path) -> None:
    whole = dict(np.load(Explainer(DIGITS, "saliency")(IMAGES[:2]).save(tmp_path / "e.npz")))
    for name, value in DAMAGE[kind].items():
        whole[name] = np.array(json.dumps({**json.loads(str(whole[name])), **value}) if isinstance(value, dict) else value)
    np.savez(tmp_path / "damaged.npz", **whole)
    with pytest.raises(InputError, match="is damaged, or of another version") as caught:
        Explanation.load(tmp_path / "damaged.npz")
    assert len(str(caught.value).splitlines()) == 1
