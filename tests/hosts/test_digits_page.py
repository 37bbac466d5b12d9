"""The page of examples/web, which explains a digit as it is drawn: used as a person does, in headless Chromium."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxplain import rewrite
from onnxplain.io.metadata import read_metadata
from onnxplain.method.registry import all_methods, find_method
from tests.support import host_cases
from tests.support.host_cases import FIXTURES
from tests.support.paths import ROOT
from tests.support.web import EXAMPLE, array, browser_needed, close, node_needed, shell, use

pytestmark = [node_needed, browser_needed, pytest.mark.browser]

PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def site(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = shell(sys.executable, EXAMPLE / "build.py", out, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    return out


def arc(x: float, y: float, width: float, height: float, start: float, stop: float) -> list[list[float]]:
    """Points of an ellipse around (x, y); angles in half turns."""
    angles = np.linspace(start * math.pi, stop * math.pi, 12)
    return [[x + width * math.cos(a), y + height * math.sin(a)] for a in angles]


ZERO = [arc(0.5, 0.5, 0.19, 0.3, -0.5, 1.5)]
TWO = [[*arc(0.5, 0.35, 0.18, 0.16, -1, 0.2), [0.32, 0.78], [0.7, 0.78]]]
THREE = [arc(0.46, 0.32, 0.17, 0.15, -0.85, 0.5) + arc(0.46, 0.64, 0.2, 0.18, -0.5, 0.8)]
FOUR = [[[0.55, 0.2], [0.3, 0.6], [0.72, 0.6]], [[0.58, 0.4], [0.58, 0.82]]]


def expect(shown: Mapping[str, Any]) -> None:
    """What the page holds is what Python computes by the method from the same pixels, to 1e-5."""
    method = find_method(shown["method"])
    model = rewrite(
        FIXTURES / "digits" / "model.onnx", method.name, target="input", baseline=0 if method.needs_baseline else None
    )
    about = read_metadata(model)
    assert about is not None
    image = array(shown["feeds"]["image"], np.float32)
    result = host_cases.run(model, {"image": image, "target": np.array([shown["target"]])})
    (name,) = about["attributions"]
    for output in ("logits", name):
        close(array(shown["outputs"][output]), result[output], 1e-5)
    assert shown["top"] == str(result["logits"].argmax())


def test_a_stroke_is_predicted_and_explained_as_it_is_drawn(site: Path, tmp_path: Path) -> None:
    steps = [
        {},
        {"strokes": THREE},
        {"click": "#chances button:nth-child(9)"},
        {"click": "#top"},
        {"click": "#clear"},
        {"strokes": FOUR},
    ]
    ((empty, three, eight, back, cleared, four),) = use(site, tmp_path, {"steps": steps})
    assert empty["outputs"] is None
    assert empty["top"] == "–"
    for shown in (three, eight, back, four):
        expect(shown)
        ink = array(shown["feeds"]["image"])
        assert (ink > 0).sum() > 12
        assert ink.min() >= 0
        assert ink.max() <= 1
    assert three["top"] == back["top"] == "3"
    assert four["top"] == "4"
    assert three["runs"] - empty["runs"] > 5, "explained while drawing, not at the end alone"
    assert eight["target"] == eight["explained"] == 8
    assert eight["outputs"] != three["outputs"] == back["outputs"]
    assert cleared["outputs"] is None
    assert cleared["target"] == -1
    assert three["chances"][3].endswith("%")
    assert re.fullmatch(r"Relevance of 8 by 8 places; the strongest is in row \d, column \d, (for|against) it", three["heat"])


def test_every_method_of_the_page(site: Path, tmp_path: Path) -> None:
    about = json.loads(re.findall(r'id="about">(.*?)</script>', (site / "index.html").read_text(encoding="utf-8"))[0])
    names = [m["name"] for m in about["files"]]
    assert set(names) >= set(host_cases.BASIC)
    assert set(names) <= set(all_methods())
    (shown,) = use(site, tmp_path, {"steps": [{"strokes": TWO}, *({"method": name} for name in names)]})
    assert [s["method"] for s in shown[1:]] == names
    for step in shown:
        expect(step)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_finger_on_a_phone(scheme: str, site: Path, tmp_path: Path) -> None:
    """Nothing is wider than the screen, and the picture shows the colours of the relevance where the finger drew."""
    from PIL import Image

    pictures = [str(tmp_path / f"{i}.png") for i in range(2)]
    steps: Sequence[dict[str, Any]] = [
        {"select": {"#method": "gradient"}, "picture": pictures[0]},
        {"strokes": ZERO, "picture": pictures[1]},
        {"click": "#examples button:nth-child(6)"},
    ]
    (shown,) = use(site, tmp_path, {"screen": PHONE, "touch": True, "scheme": scheme, "hash": "#method=saliency", "steps": steps})
    assert all(s["wide"] <= 0 for s in shown)
    drawn, sample = shown[1:]
    assert drawn["method"] == "gradient"
    assert drawn["top"] == "0"
    assert sample["top"] == "5"
    for step in (drawn, sample):
        expect(step)
    blank, coloured = (np.asarray(Image.open(p).convert("RGB")).astype(int) for p in pictures)
    assert blank.shape[1] == 2 * PHONE["width"]
    assert (blank.mean() > 128) == (scheme == "light")

    def colourful(picture: np.ndarray) -> int:
        top = picture[: 2 * 560]  # above the legend, which is coloured always
        return int((np.ptp(top, axis=-1) > 60).sum())

    assert colourful(blank) == 0
    assert colourful(coloured) > 2000


def test_the_keyboard_alone_draws_chooses_and_compares(site: Path, tmp_path: Path) -> None:
    down = [" ", "ArrowDown"]
    steps = [
        {"focus": "#pad", "press": ["ArrowUp", "ArrowUp", "ArrowUp", "ArrowUp", *down * 8]},
        {"focus": '#chances button[aria-checked="true"]', "press": ["ArrowDown"]},
        {"focus": "#keep", "press": ["Enter"]},
        {"focus": "#pad", "press": ["Escape"]},
        {"focus": '#methods button[aria-checked="true"]', "press": ["ArrowRight"]},
    ]
    ((drawn, aimed, kept, cleared, other),) = use(site, tmp_path, {"steps": steps})
    image = array(drawn["feeds"]["image"])[0, 0]
    assert image[:, 4].tolist() == [1] * 8
    assert image.sum() == 8
    expect(drawn)
    assert aimed["target"] == (drawn["explained"] + 1) % 10
    assert aimed["focus"] == str(aimed["target"])
    expect(aimed)
    assert kept["kept"][0] == "keptnow"
    assert cleared["outputs"] is None
    assert cleared["kept"] is not None
    assert other["method"] != cleared["method"]


def test_a_link_brings_the_drawing_back(site: Path, tmp_path: Path) -> None:
    ((_, chosen, linked),) = use(
        site,
        tmp_path,
        {"steps": [{"strokes": THREE}, {"click": "#chances button:nth-child(6)"}, {"click": "#link", "clipboard": "text"}]},
    )
    assert linked["clipboard"].endswith(linked["hash"])
    ((again,), (damaged,)) = use(
        site,
        tmp_path,
        {"hash": linked["hash"]},
        {"steps": [{"follow": linked["hash"][:-20]}]},
    )
    assert again["target"] == chosen["target"] == 5
    assert again["top"] == "3"
    close(array(again["feeds"]["image"]), array(chosen["feeds"]["image"]), 1e-5)
    expect(again)
    assert damaged["sentence"] == "the input in this link is damaged or cut off; ask for the link again"
