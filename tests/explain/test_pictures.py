"""Pictures from the file to a map on their own pixels, in Python and in the shell."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image

from onnxplain import Explainer, Explanation, load_image
from onnxplain.cli.main import main
from onnxplain.errors import InputError, LayerError
from tests.support.paths import FIXTURES

REFERENCE = np.load(FIXTURES / "pictures" / "reference.npz")

# A linear model, whose gradient is its weights: what it says of a picture is known without us.
LINEAR = """
<ir_version: 8, opset_import: ["" : 18]>
linear (float[N, 3, 8, 8] x) => (float[N, 2] y) <float[192, 2] w> {
    rows = Flatten (x)
    y = MatMul (rows, w)
}
"""
PAIR = """
<ir_version: 8, opset_import: ["" : 18]>
pair (float[N, 3, 8, 8] a, float[N, 3, 8, 8] b) => (float[N, 1] y) <int64[1] one = {1}> {
    product = Mul (a, b)
    rows = Flatten (product)
    y = ReduceSum (rows, one)
}
"""
WEIGHTS = np.random.default_rng(0).normal(size=(192, 2)).astype(np.float32)


def linear() -> onnx.ModelProto:
    model = onnx.parser.parse_model(LINEAR)
    del model.graph.initializer[:]
    model.graph.initializer.append(onnx.numpy_helper.from_array(WEIGHTS, "w"))
    return model


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for which in ("tall", "wide"):
        Image.fromarray(REFERENCE[f"picture.{which}"]).save(folder / f"{which}.png")
    return folder


def test_every_way_to_give_pictures(photos: Path) -> None:
    explainer = Explainer(linear(), "input-x-gradient", preprocess="imagenet")
    expected = explainer(np.concatenate([load_image(photos / f"{n}.png", explainer) for n in ("tall", "wide")]), 1)
    opened = [Image.open(photos / f"{n}.png") for n in ("tall", "wide")]
    ways: list[Any] = [
        photos, f"{photos}/*.png", [str(photos / "tall.png"), photos / "wide.png"], opened, {"x": photos}, {"x": opened},
    ]  # fmt: skip
    for given in ways:
        found = explainer(given, 1)
        assert found.attribution.tolist() == expected.attribution.tolist()
        assert [p.size for p in found.pictures["x"]] == [(71, 34), (37, 63)]
    assert tuple(found.sample_names) == ("tall.png", "wide.png")
    one = explainer(str(photos / "wide.png"), 1)
    assert one.attribution == pytest.approx(expected.attribution[1:], abs=1e-6)
    assert one.about["preprocess"]["x"] == {
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "scale": 1 / 255, "resize": "shortest", "crop": True,
        "crop_ratio": 0.875, "usual_size": [224, 224], "size": [8, 8], "name": "imagenet", "layout": "NCHW",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "part"), [("imagenet", 8 / 9), ("clip", 1), ("inception", 8 / 9), ("yolo", None), ("unit", None)]
)
def test_a_map_on_the_picture(preset: str, part: float | None, photos: Path) -> None:
    """Of a linear model the gradient is the weights; on the picture they lie, by area, where the crop or the letterbox has them."""
    found = Explainer(linear(), "gradient", preprocess=preset)(photos, 1)
    weights = WEIGHTS[:, 1].reshape(3, 8, 8).sum(0, dtype=np.float64)
    for sample, (height, width) in enumerate([(71, 34), (37, 63)]):
        back = found.on_picture(sample)
        assert back.shape == (height, width)
        if preset == "unit":  # every pixel of the input is 1/8 of the height by 1/8 of the width
            assert back[0, 0] == pytest.approx(weights[0, 0] / (height / 8 * width / 8))
            assert back[-1, -1] == pytest.approx(weights[7, 7] / (height / 8 * width / 8))
        elif preset == "yolo":  # the longer side is 8 pixels of the input; the shorter lies in the middle, 4 or 5 wide
            seen = weights[:, 2:6] if height > width else weights[1:6]
            assert back.sum() == pytest.approx(seen.sum())
        if preset != "yolo":
            assert back.sum() == pytest.approx(weights.sum())
        if part is not None:  # a square in the middle
            lit = np.argwhere(back != 0)
            assert lit.max(0) - lit.min(0) + 1 == pytest.approx(np.full(2, part * min(height, width)), abs=3)
            assert (lit.max(0) + lit.min(0)) / 2 == pytest.approx([(height - 1) / 2, (width - 1) / 2], abs=height / 8)


def test_saved_and_read_back(photos: Path, tmp_path: Path) -> None:
    found = Explainer(linear(), "gradient", preprocess="clip")(photos, 0)
    again = Explanation.load(found.save(tmp_path / "e.npz"))
    assert again.on_picture(1).tolist() == found.on_picture(1).tolist()
    assert again.pictures["x"][0].preview.tolist() == REFERENCE["picture.tall"].tolist()
    told = json.loads(found.save(tmp_path / "e.json").read_text(encoding="utf-8"))
    assert told["pictures"]["x"][1] == {"name": "wide.png", "height": [37, 8, 0, 8], "width": [63, 13, -2, 8]}
    assert told["about"]["preprocess"]["x"]["resize"] == "shortest"
    assert found[1].on_picture().tolist() == found.on_picture(1).tolist()
    page = found.save(tmp_path / "e.html").read_text(encoding="utf-8")
    assert "clip: shorter side to 8 (bicubic)" in page
    assert found.save(tmp_path / "e.png").stat().st_size > 1000


def test_all_targets_layers_and_maps(photos: Path) -> None:
    every = Explainer(linear(), "gradient", preprocess="unit")(photos, "all")
    with pytest.raises(InputError, match="all targets were explained: say which one is meant, target=0"):
        every.on_picture()
    assert every.on_picture(target=1).sum() == pytest.approx(WEIGHTS[:, 1].sum(dtype=np.float64), abs=1e-4)
    cam = Explainer(FIXTURES / "resnet" / "model.onnx", "grad-cam", preprocess="imagenet")(photos)
    back = cam.on_picture(0)
    assert back.shape == (71, 34)
    assert back.max() <= cam.attribution[0].max() + 1e-6
    layer = Explainer(FIXTURES / "resnet" / "model.onnx", "gradient", layer="Gemm:-1", preprocess="imagenet")(photos)
    with pytest.raises(LayerError, match="of one sample is no map over the picture"):
        layer.on_picture()
    with pytest.raises(InputError, match="no pictures were explained: give the Explainer preprocess="):
        Explainer(linear())(np.zeros((1, 3, 8, 8), np.float32)).on_picture()


def test_a_model_with_two_pictures(photos: Path) -> None:
    explainer = Explainer(onnx.parser.parse_model(PAIR), "gradient", preprocess="unit")
    with pytest.raises(InputError, match=r"has 2 inputs \(a, b\): say which one pictures are for"):
        explainer(photos)
    found = explainer({"a": photos / "tall.png", "b": photos / "wide.png"})
    assert found.on_picture(name="a").shape == (71, 34)
    assert found.on_picture(name="b").shape == (37, 63)


def test_what_lies_beside_the_model(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(linear(), path)
    with pytest.raises(
        InputError, match=r"names a file; read a file first, .* or say preprocess= \(--preprocess\) imagenet, clip"
    ):
        Explainer(path)(str(photos / "tall.png"))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"resize": "stretch", "scale": 1 / 255}), encoding="utf-8")
    explainer = Explainer(path)
    found = explainer(photos)
    assert found.attribution.tolist() == Explainer(path, preprocess="unit")(photos).attribution.tolist()
    assert found.inputs["x"].tolist() == Explainer(path, preprocess="unit")(photos).inputs["x"].tolist()
    assert pickle.loads(pickle.dumps(explainer))(photos).inputs["x"].tolist() == found.inputs["x"].tolist()
    with pytest.raises(InputError, match=r"takes 8×8; say how pictures are prepared"):
        Explainer(path, preprocess="none")(photos)
    (tmp_path / "preprocessor_config.json").write_text('{"resize": "fit"}', encoding="utf-8")
    arrays = Explainer(path)  # arrays need no preprocessing, so a damaged file does no harm
    assert len(arrays(np.zeros((1, 3, 8, 8), np.float32))) == 1
    with pytest.raises(InputError, match=r"preprocessor_config.json: 'resize' is one of"):
        arrays(photos)


def invoke(*given: object, code: int = 0) -> str:
    found = CliRunner().invoke(main, [str(g) for g in given])
    assert found.exit_code == code, found.output
    return found.output


def test_the_shell_does_the_same(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(linear(), path)
    told = invoke("explain", path, photos, "-t", 1, "--preprocess", "imagenet", "-o", tmp_path / "e.npz")
    assert "onnxplain: pictures by imagenet: shorter side to 9 (bilinear), middle 8×8" in told
    shell, python = Explanation.load(tmp_path / "e.npz"), Explainer(path, preprocess="imagenet")(photos, 1)
    assert shell.attribution.tolist() == python.attribution.tolist()
    assert shell.about["preprocess"] == python.about["preprocess"]
    assert shell.on_picture(1).tolist() == python.on_picture(1).tolist()
    assert tuple(shell.sample_names) == ("tall.png", "wide.png")
    shutil.copy(FIXTURES / "pictures" / "processors.json", tmp_path / "config.json")  # of no picture
    (tmp_path / "preprocessor_config.json").write_text('{"resize": "stretch", "scale": 0.5}', encoding="utf-8")
    told = invoke("explain", path, f"{photos}/*.png", "-o", tmp_path / "f.npz")
    assert "onnxplain: pictures by preprocessor_config.json: stretched to 8×8" in told
    assert "× 1/2" in told
    assert "onnxplain: pictures by unit" in invoke("check", path, photos, "--preprocess", "unit")
    invoke("map", path, photos, "-o", tmp_path / "m", "--form", "npy", "--preprocess", "imagenet", "-t", 1)
    assert np.load(tmp_path / "m" / "x_attribution.npy").tolist() == python.attribution.tolist()
    invoke("explain", path, f"x={photos}", "--preprocess", "imagenet", "-t", 1, "-o", tmp_path / "g.npz")
    assert Explanation.load(tmp_path / "g.npz").attribution.tolist() == python.attribution.tolist()
    (tmp_path / "preprocessor_config.json").unlink()
    assert "pictures by clip" in invoke("evaluate", path, photos, "-m", "gradient", "-m", "random", "-q", "sparseness",
                                        "--preprocess", "clip")  # fmt: skip


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--preprocess", "imagnet"), "no preprocessing 'imagnet'; known: imagenet, clip, inception, yolo, unit, none"),
        (("--preprocess", "none"), "takes 8×8; say how pictures are prepared for it"),
        (
            ("--preprocess", "imagenet", "--slide", 1),
            "--slide moves the model over pictures of any size, and --preprocess imagenet",
        ),
        ((), "takes 8×8; say how pictures are prepared for it"),
    ],
)
def test_what_is_said_wrongly(given: tuple[object, ...], told: str, photos: Path, tmp_path: Path) -> None:
    onnx.save(linear(), tmp_path / "model.onnx")
    assert told in invoke("explain", tmp_path / "model.onnx", photos, *given, code=2)


def test_preprocessing_of_arrays(tmp_path: Path) -> None:
    onnx.save(linear(), tmp_path / "model.onnx")
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 8, 8), np.float32))
    told = invoke("explain", tmp_path / "model.onnx", tmp_path / "x.npy", "--preprocess", "unit", code=2)
    assert "are for pictures" in told
    (tmp_path / "preprocessor_config.json").write_text("{", encoding="utf-8")
    invoke("explain", tmp_path / "model.onnx", tmp_path / "x.npy")


def test_names_of_classes(photos: Path, tmp_path: Path) -> None:
    """From the metadata that Ultralytics writes, or the config.json of transformers and timm; only as many as there are outputs."""
    path = tmp_path / "model.onnx"
    onnx.save(linear(), path)
    for config, names in (
        ({"id2label": {"1": "dog", "0": "cat"}}, ["cat", "dog"]), ({"label_names": ["a", "b"]}, ["a", "b"]), ({"label_names": ["a"]}, []),
        ({"id2label": {"0": "a", "2": "b"}}, []), ({"id2label": [1, 2]}, []), ([], []),
    ):  # fmt: skip
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
        assert Explainer(path).labels == names
    found = Explainer(path, labels=["x", "y"], preprocess="unit")(photos, "y")
    assert found.label(0) == "y"
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    assert Explainer(path).labels == []
    for text, names in (
        ("{0: 'tench', 1: 'goldfish'}", ["tench", "goldfish"]),
        ("['a', 'b']", ["a", "b"]),
        ("{0: open('x')}", []),
        ("(" * 999, []),
    ):
        model = linear()
        entry = model.metadata_props.add()
        entry.key, entry.value = "names", text
        assert Explainer(model).labels == names
