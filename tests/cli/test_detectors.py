"""Detectors and masks in the shell: what is found, drawn and written, and refusals in one line."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.patches
import numpy as np
import onnx
import pytest

from onnxplain import Explainer, Explanation
from tests.cli.test_cli import good, refused
from tests.support.detectors import SHAPES, pictures

MODEL, SEGMENTER = SHAPES / "detector.onnx", SHAPES / "segmenter.onnx"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", pictures(2))
    return tmp_path / "x.npy"


def test_detections_are_listed_and_one_is_explained(images: Path) -> None:
    text = good("explain", MODEL, images, "--detect", "auto", "-t", "best cross")
    lines = [line.split() for line in text.splitlines()]
    assert any(line[:4] == ["0", "0", "frame", "0.993"] for line in lines)
    assert any(line[:3] == ["0", "1", "cross"] and line[-1] == "explained" for line in lines)


def test_several_explanations_of_a_picture_have_its_name(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.npy" for name in "ab"]
    for file, image in zip(files, pictures(2), strict=True):
        np.save(file, image)
    text = good("explain", MODEL, *files, "--detect", "auto", "-t", "each detection")
    _, *rows = [line.split()[0] for line in text.splitlines() if "(detection" in line]
    assert rows == ["a.npy", "a.npy", "b.npy", "b.npy"]


def test_boxes_are_on_the_page_and_in_the_file(images: Path, tmp_path: Path) -> None:
    page, array = tmp_path / "out.html", tmp_path / "out.npz"
    good("explain", MODEL, images, "--detect", "auto", "-m", "grad-cam", "-o", page, "-o", array)
    text = page.read_text(encoding="utf-8")
    assert text.count('<i class="box explained') == 4  # on two inputs and on two maps
    assert "0 frame 0.99" in text
    loaded = Explanation.load(array)
    assert loaded.facts["detections"].shape == (2, 2, 8)
    assert loaded[1:].facts["detections"][0, 0, 7] == 1


def test_boxes_are_drawn() -> None:
    figure = Explainer(str(MODEL), "gradient", detect="auto")(pictures(1)).plot()
    drawn = [[p for p in axes.patches if isinstance(p, matplotlib.patches.Rectangle)] for axes in figure.axes]
    assert [len(rectangles) for rectangles in drawn[:2]] == [
        4,
        2,
    ]  # two with their rims on the input, the explained one on the map
    left, top, right, _ = Explainer(str(MODEL), detect="auto").detections(pictures(1))[0].boxes[0]
    assert drawn[1][0].get_x() == pytest.approx(left - 0.5)
    assert drawn[1][0].get_y() == pytest.approx(top - 0.5)
    assert drawn[1][0].get_width() == pytest.approx(right - left)


def test_columns_are_told(images: Path) -> None:
    told = good("explain", MODEL, images, "--boxes", "output0[0:4]@1=cxcywh", "--scores", "output0[4:]@1", "--json")
    found = good("explain", MODEL, images, "--detect", "yolov8", "--json")
    one, other = (json.loads(text) for text in (told, found))
    one, other = (found[0] if isinstance(found, list) else found for found in (one, other))
    assert one["labels"] == other["labels"]
    assert one["attributions"] == other["attributions"]


def test_a_file_for_a_host(tmp_path: Path) -> None:
    out = tmp_path / "explained.onnx"
    text = good("rewrite", MODEL, "-o", out, "--detect", "auto", "-t", "input")
    assert "candidate · classes + class" in text
    assert [o.name for o in onnx.load(out).graph.output] == [
        "output0",
        "detection_boxes",
        "detection_scores",
        "images_attribution",
    ]


def test_a_mask(images: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("background\ndisc\ncross\nframe\n", encoding="utf-8")
    assert "mask of frame" in good("explain", SEGMENTER, images, "--labels", labels, "-t", "mask of frame", "-m", "grad-cam")
    assert "no class 'dog'" in refused("explain", SEGMENTER, images, "--labels", labels, "-t", "mask of dog")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detect", "yolo"], "no layout 'yolo'"),
        (["--detect", "yolov5"], "layout 'yolov5' does not fit"),
        (["--detect", "auto", "-t", "best disc"], "no disc was detected in picture 0"),
        (["--detect", "auto", "-t", "best dog"], "no class 'dog'"),
        (["--detect", "auto", "--confidence", "1"], "no detection in picture 0 has a score of 1 or more"),
        (["--detect", "auto", "--labels", "/nowhere/labels.txt"], "/nowhere/labels.txt"),
        (["--detect", "auto", "--output", "output0"], "a detector is explained at its candidates"),
        (["--confidence", "0.5"], "--confidence is of a detector: give --detect auto too"),
        (["--boxes", "output0[0:4]@1=cxcywh"], "are told without scores"),
        (["-m", "d-rise"], "d-rise explains the detections of a detector"),
        (["--detect", "auto", "--slide", "8", "-t", "best"], "detections are of whole pictures"),
    ],
)
def test_refusals(images: Path, arguments: list[str], message: str) -> None:
    assert message in refused("explain", MODEL, images, *arguments)


def test_verify_and_detect_exclude_each_other(images: Path, tmp_path: Path) -> None:
    text = refused("rewrite", MODEL, "-o", tmp_path / "a.onnx", "--detect", "auto", "--verify", images)
    assert "leave one out" in text
