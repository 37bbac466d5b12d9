"""Preprocessing by name and from files, against torchvision, transformers and OpenCV, and every way to say it wrongly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxplain.errors import InputError
from onnxplain.io.images import read_pictured
from onnxplain.io.pictures.config_files import from_transformers, read_preprocessing
from onnxplain.io.pictures.finding import find_preprocessing, preprocessing_of
from onnxplain.io.pictures.preprocessing import Preprocessing
from onnxplain.io.pictures.presets import PRESETS
from onnxplain.io.samples import read_inputs
from onnxplain.ir.tensor import Tensor
from tests.support.paths import FIXTURES

FOLDER = FIXTURES / "pictures"
REFERENCE = np.load(FOLDER / "reference.npz")
CONFIGS: dict[str, Any] = json.loads((FOLDER / "processors.json").read_text(encoding="utf-8"))["configs"]


def colour(*extents: Any) -> Tensor:
    return Tensor("x", np.dtype(np.float32), extents)


def saved(tmp_path: Path, pixels: np.ndarray, name: str = "a.png", **options: Any) -> Path:
    Image.fromarray(pixels).save(tmp_path / name, **options)
    return tmp_path / name


def made(path: Path, tensor: Tensor, look: Preprocessing) -> np.ndarray:
    return read_pictured(path, tensor, look).values


@pytest.mark.parametrize("name", [n for n in REFERENCE.files if not n.startswith("picture.")])
def test_what_other_programs_make(name: str, tmp_path: Path) -> None:
    kind, what, which = name.split(".")
    expected = REFERENCE[name]
    look = PRESETS[what] if kind == "preset" else from_transformers(CONFIGS[what], "preprocessor_config.json")
    size = (384, 384) if what == "convnext_large" else expected.shape[1:]
    found = made(saved(tmp_path, REFERENCE[f"picture.{which}"]), colour("N", 3, *size), look)[0]
    found = found[:, ::16, ::16] if what == "convnext_large" else found
    if what in ("imagenet", "inception"):  # Pillow's own filter
        assert found == pytest.approx(expected, abs=1e-6)
        return
    # Others' filters round at other places; one step of 255 is 1/255/std, where bicubic overshoots four.
    step = 1 / 255 / np.asarray(look.std or [1.0]).min()
    apart = np.abs(found - expected) / step
    assert apart.max() < 4.1
    assert apart.mean() < 0.4


def test_timm(tmp_path: Path) -> None:
    """The same as torchvision's transform of the same numbers, since timm's evaluation is made of it."""
    given = {"input_size": [3, 28, 28], "crop_pct": 0.875, "interpolation": "bilinear", "mean": [0.485, 0.456, 0.406],
             "std": [0.229, 0.224, 0.225], "crop_mode": "center"}  # fmt: skip
    for content in ({"architecture": "resnet", "pretrained_cfg": given}, given):
        (tmp_path / "config.json").write_text(json.dumps(content), encoding="utf-8")
        look = read_preprocessing(tmp_path / "config.json")
        found = made(saved(tmp_path, REFERENCE["picture.wide"]), colour("N", 3, 28, 28), look)
        assert found[0] == pytest.approx(REFERENCE["preset.imagenet.wide"], abs=1e-6)


def test_every_way_to_say_it(tmp_path: Path) -> None:
    for preset in PRESETS.values():
        assert Preprocessing.from_dict(json.loads(json.dumps(preset.to_dict()))).to_dict() == preset.to_dict()
        (tmp_path / "mine.json").write_text(json.dumps(preset.to_dict()), encoding="utf-8")
        assert preprocessing_of(str(tmp_path / "mine.json")).in_words().partition(": ")[2] == preset.in_words().partition(": ")[2]
        assert preprocessing_of(preset.to_dict()).to_dict() == preset.to_dict()
    assert preprocessing_of("none") == Preprocessing()
    assert preprocessing_of("imagenet").in_words() == (
        "imagenet: shorter side to the model's size / 0.875 (bilinear), middle the model's size, RGB, × 1/255, − 0.485, 0.456, "
        "0.406, ÷ 0.229, 0.224, 0.225"
    )


def test_what_is_found(tmp_path: Path) -> None:
    assert find_preprocessing({}, None) is None
    assert find_preprocessing({}, tmp_path) is None
    (tmp_path / "config.json").write_text('{"model_type": "vit"}', encoding="utf-8")  # of the network, not of pictures
    assert find_preprocessing({}, tmp_path) is None
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(CONFIGS["vit"]), encoding="utf-8")
    (tmp_path / "onnx").mkdir()
    for folder in (tmp_path, tmp_path / "onnx"):
        found = find_preprocessing({}, folder)
        assert found is not None
        assert found.size == (24, 20)
    assert preprocessing_of(tmp_path) == found
    own = find_preprocessing({"onnxplain_preprocess": '{"resize": "stretch", "size": [4, 6]}'}, tmp_path)
    assert own is not None
    assert own.size == (4, 6)
    told = {"author": "Ultralytics", "imgsz": "[32, 48]", "task": "detect"}
    yolo = find_preprocessing(told, tmp_path)
    assert yolo is not None
    assert (yolo.resize, yolo.size, yolo.fill) == ("letterbox", (32, 48), 114)
    classifier = find_preprocessing({**told, "task": "classify"}, tmp_path)
    assert classifier is not None
    assert (classifier.resize, classifier.crop) == ("shortest", True)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("imagnet", "no preprocessing 'imagnet'; known: imagenet, clip, inception, yolo, unit, none, or name a JSON file"),
        ({"means": [1]}, "preprocessing has no 'means'; did you mean 'mean'"),
        ({"mean": 0.5}, "'mean' is a list of numbers, not 0.5"),
        ({"std": [0.5, 0]}, "'std' is a list of numbers above zero"),
        ({"resize": "fit"}, "'resize' is one of none, shortest, stretch, letterbox, not 'fit'"),
        ({"size": 224}, r"'size' is \[height, width\], not 224"),
        ({"size": [0, 3]}, r"'size' is \[height, width\]"),
        ({"size": [1e9, 3]}, r"'size' is \[height, width\]"),
        ({"crop_ratio": 0}, "'crop_ratio' is a number above 0, at most 1"),
        ({"fill": 300}, "'fill' is a whole number from 0 to 255"),
        ({"scale": float("nan")}, "'scale' is a number"),
        ({"crop": 1}, "'crop' is true or false"),
        ({"background": [1, 2]}, r"'background' is \[red, green, blue\]"),
        ({"antialias": False, "interpolation": "bicubic"}, "without antialias pictures are resized by bilinear or nearest"),
    ],
)
def test_what_is_said_wrongly(given: Any, told: str) -> None:
    with pytest.raises(InputError, match=told) as raised:
        preprocessing_of(given)
    assert "\n" not in str(raised.value)


VIT = {"image_processor_type": "ViTImageProcessor", "size": {"height": 8, "width": 8}, "image_mean": [0.5], "image_std": [0.5]}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "as JSON"),
        ("[1]", "holds no JSON object with preprocessing in it"),
        ("{" * 5000, "as JSON"),
        (json.dumps({"do_resize": True, "size": 8, "image_mean": [0.5]}), 'does not say whether both sides are meant; write {"hei'),
        (json.dumps({**VIT, "size": {"shortest_edge": 8, "longest_edge": 12}}), "other sizes are not supported"),
        (json.dumps({**VIT, "size": "large"}), "'size' is {height, width} or {shortest_edge}, not 'large'"),
        (json.dumps({**VIT, "size": {"shortest_edge": "x"}}), "'shorter_side' is a whole number"),
        (json.dumps({**VIT, "size": {"shortest_edge": "x"}, "crop_pct": 0.9}), "of a whole 'shortest_edge', not 'x'"),
        (json.dumps({**VIT, "resample": "cubic"}), "'resample' is a number from 0 to 5, not 'cubic'"),
        (json.dumps({**VIT, "resample": 9}), "'resample' is a number from 0 to 5, not 9"),
        (json.dumps({**VIT, "image_std": [0]}), "'std' is a list of numbers above zero, not"),
        (json.dumps({**VIT, "image_mean": "half"}), "'mean' is a list of numbers, not 'half'"),
        (json.dumps({**VIT, "do_pad": True}), "ViTImageProcessor pads or splits pictures, which is not supported"),
        (json.dumps({**VIT, "crop_size": {"height": 4, "width": 4}}), "a crop of .* after a resize to .* is not supported"),
        (json.dumps({"pretrained_cfg": {"mean": [0.5]}}), "timm's pretrained_cfg has 'input_size'"),
        (json.dumps({"pretrained_cfg": 3}), "timm's pretrained_cfg has 'input_size'"),
        (json.dumps({"pretrained_cfg": {"input_size": [3, 8, 8], "mean": [0], "std": [1], "crop_mode": "border"}}), "not supported"),
        (json.dumps({"resize": "fit"}), "'resize' is one of none, shortest, stretch, letterbox"),
    ],
)  # fmt: skip
def test_malformed_files(content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(content, encoding="utf-8")
    for ask in (lambda: preprocessing_of(tmp_path), lambda: find_preprocessing({}, tmp_path)):
        with pytest.raises(InputError, match=told) as raised:
            ask()
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("metadata", [{"onnxplain_preprocess": "{"}, {"onnxplain_preprocess": "[1]"},
                                      {"author": "Ultralytics", "imgsz": "640"}, {"author": "Ultralytics", "imgsz": "[a"},
                                      {"author": "Ultralytics", "imgsz": "[-1, 4]"}])  # fmt: skip
def test_malformed_metadata(metadata: dict[str, str]) -> None:
    with pytest.raises(InputError, match="the model's metadata"):
        find_preprocessing(metadata, None)


class TestPictures:
    """Pictures as cameras, scanners and programs write them."""

    PIXELS = REFERENCE["picture.wide"]

    def test_turned_by_exif(self, tmp_path: Path) -> None:
        turned = Image.Exif()
        turned[0x0112] = 6  # a quarter turn clockwise brings it upright
        straight = saved(tmp_path, np.rot90(self.PIXELS, -1).copy(), "straight.png")
        path = saved(tmp_path, self.PIXELS, "turned.png", exif=turned)
        found = [read_pictured(p, colour("N", 3, 16, 16), PRESETS["imagenet"]) for p in (straight, path)]
        assert found[0].values.tolist() == found[1].values.tolist()
        assert found[1].placed().size == self.PIXELS.shape[1::-1]

    def test_grey_for_colour_and_colour_for_grey(self, tmp_path: Path) -> None:
        grey = saved(tmp_path, self.PIXELS[..., 0])
        found = made(grey, colour("N", 3, 16, 16), PRESETS["unit"])
        assert found.shape == (1, 3, 16, 16)
        assert found[0, 0].tolist() == found[0, 2].tolist()
        assert made(saved(tmp_path, self.PIXELS), colour("N", 1, 16, 16), PRESETS["unit"]).shape == (1, 1, 16, 16)

    def test_sixteen_bits(self, tmp_path: Path) -> None:
        deep = saved(tmp_path, self.PIXELS[..., 0].astype(np.uint16) * 257)
        shallow = saved(tmp_path, self.PIXELS[..., 0], "b.png")
        tensor = colour("N", 3, 20, 20)
        assert made(deep, tensor, PRESETS["imagenet"]) == pytest.approx(made(shallow, tensor, PRESETS["imagenet"]), abs=0.02)

    def test_transparency(self, tmp_path: Path) -> None:
        glass = np.dstack([self.PIXELS, np.full(self.PIXELS.shape[:2], 255, np.uint8)])
        solid = made(saved(tmp_path, glass), colour("N", 3, 16, 16), PRESETS["unit"])
        assert solid.tolist() == made(saved(tmp_path, self.PIXELS, "b.png"), colour("N", 3, 16, 16), PRESETS["unit"]).tolist()
        glass[..., 3] = 0
        with pytest.raises(InputError, match=r"has transparent pixels, .* takes none; lay it on a background first"):
            made(saved(tmp_path, glass), colour("N", 3, 16, 16), PRESETS["unit"])
        white = preprocessing_of({**PRESETS["unit"].to_dict(), "background": [255, 255, 255]})
        assert made(saved(tmp_path, glass), colour("N", 3, 16, 16), white).min() == 1

    def test_channels_layout_and_type(self, tmp_path: Path) -> None:
        path = saved(tmp_path, self.PIXELS)
        usual = made(path, colour("N", 3, 16, 16), PRESETS["unit"])
        swapped = preprocessing_of({**PRESETS["unit"].to_dict(), "channels": "BGR"})
        assert made(path, colour("N", 3, 16, 16), swapped).tolist() == usual[:, ::-1].tolist()
        assert made(path, colour("N", 16, 16, 3), PRESETS["unit"]).tolist() == np.moveaxis(usual, 1, -1).tolist()
        bytes_of = Preprocessing.from_dict({"resize": "stretch"}, "mine")
        found = made(path, Tensor("x", np.dtype(np.uint8), ("N", 3, 16, 16)), bytes_of)
        assert found.dtype == np.uint8
        assert found / np.float32(255) == pytest.approx(usual, abs=1e-6)
        assert made(path, Tensor("x", np.dtype(np.float16), (1, 3, 16, 16)), PRESETS["clip"]).dtype == np.float16

    def test_sizes(self, tmp_path: Path) -> None:
        path = saved(tmp_path, self.PIXELS)
        assert made(path, colour("N", 3, "h", "w"), PRESETS["clip"]).shape == (1, 3, 224, 224)
        assert made(path, colour("N", 3, 32, 64), PRESETS["imagenet"]).shape == (1, 3, 32, 64)
        with pytest.raises(InputError, match="leaves height and width open, and unit names no size"):
            made(path, colour("N", 3, "h", "w"), PRESETS["unit"])
        vit = from_transformers(CONFIGS["vit"], "preprocessor_config.json")
        with pytest.raises(
            InputError, match=r"preprocessor_config.json makes 24×20 \(height × width\), input 'x' .* another size"
        ):
            made(path, colour("N", 3, 32, 32), vit)
        with pytest.raises(InputError, match=r"a.png: 37×63 pixels .* is smaller than the crop of 64×64"):
            made(path, colour("N", 3, 64, 64), Preprocessing(crop=True))
        with pytest.raises(InputError, match="takes rows of pixels, whose height and width nothing tells"):
            made(path, colour("N", 300), PRESETS["unit"])

    def test_four_channels_for_three(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="takes 5 channels; pictures have 1, 3 or 4"):
            made(
                saved(tmp_path, self.PIXELS),
                Tensor("x", np.dtype(np.float32), ("N", 5, 8, 8)),
                PRESETS["unit"].with_numbers(None, None, None, "NCHW"),
            )
        with pytest.raises(InputError, match="4 numbers as mean for the 3 channels"):
            made(
                saved(tmp_path, self.PIXELS), colour("N", 3, 8, 8), preprocessing_of({"resize": "stretch", "mean": [0, 0, 0, 0]})
            )


def test_folders_and_patterns(tmp_path: Path) -> None:
    for name in ("cats/b.png", "cats/a.png", "dogs/old/c.png", ".hidden.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        saved(tmp_path, REFERENCE["picture.tall"], name)
    (tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    tensor, pictures = colour("N", 3, 16, 16), {}
    found = read_inputs([str(tmp_path)], [tensor], look=PRESETS["unit"], pictures=pictures)
    assert found["x"].shape == (3, 3, 16, 16)
    assert [p.name for p in pictures["x"]] == ["a.png", "b.png", "c.png"]
    assert read_inputs([str(tmp_path / "cats" / "*")], [tensor], look=PRESETS["unit"])["x"].shape == (2, 3, 16, 16)
    assert read_inputs([f"x={tmp_path}/**/c.png"], [tensor], look=PRESETS["unit"])["x"].shape == (1, 3, 16, 16)
    with pytest.raises(InputError, match=r"no picture fits .*/\*.jpg"):
        read_inputs([f"{tmp_path}/*.jpg"], [tensor], look=PRESETS["unit"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is a folder without pictures"):
        read_inputs([str(tmp_path / "empty")], [tensor], look=PRESETS["unit"])
