"""Explained models in JavaScript: in Node, and in the page of examples/web as a person uses it, in headless Chromium."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import rewrite
from onnxplain.io.metadata import METADATA_KEY, read_metadata
from onnxplain.method.registry import all_methods
from tests.support import host_cases
from tests.support.host_cases import FIXTURES, Case
from tests.support.paths import ROOT

EXAMPLE = ROOT / "examples" / "web"
NODE, NPM = shutil.which("node"), shutil.which("npm")
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)

pytestmark = [
    pytest.mark.skipif(NODE is None or NPM is None, reason="no Node.js with npm on this machine"),
]
browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (or name one by CHROMIUM)")


def shell(*words: object, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(w) for w in words], cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}
    )  # fmt: skip


@pytest.fixture(scope="session")
def modules() -> Path:
    """The packages that package-lock.json names, installed beside it."""
    installed, lock = EXAMPLE / "node_modules" / ".package-lock.json", EXAMPLE / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        # Without install scripts: they would fetch CUDA libraries that nothing here uses.
        done = shell(NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=EXAMPLE)
        assert done.returncode == 0, done.stderr
        installed.touch()
    return EXAMPLE / "node_modules"


# -- Node ----------------------------------------------------------------------------------------------------------------


def words(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], folder: Path) -> list[str]:
    """The command line that runs a model with every input from a .npy file and writes the results into a folder."""
    path = folder / "explained.onnx"
    path.write_bytes(model.SerializeToString())
    for i, array in enumerate(feeds.values()):
        np.save(folder / f"{i}.npy", array)
    return [str(path), *(f"{name}={folder / f'{i}.npy'}" for i, name in enumerate(feeds)), "--out", str(folder / "results")]


def explain(
    model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], folder: Path, *more: object
) -> subprocess.CompletedProcess[str]:
    """Run the program on a model."""
    return shell(NODE, EXAMPLE / "explain.mjs", *words(model, feeds, folder), *more)


class Host:
    """The program in a process that stays, for one command line after another."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [str(NODE), str(EXAMPLE / "test" / "explain_many.mjs")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip

    def explain(self, line: Sequence[str]) -> list[str]:
        """What it prints for the words of a command line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"Node has ended with {self._process.wait()}"
        found: dict[str, Any] = json.loads(answer)
        assert "error" not in found, found["error"]
        lines: list[str] = found["lines"]
        return lines

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()


@pytest.fixture(scope="module")
def host(modules: Path) -> Iterator[Host]:
    found = Host()
    yield found
    found.stop()


def results(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path) for path in (folder / "results").glob("*.npy")}


def close(found: Any, expected: Any, bound: float, least: float = 0) -> None:
    """Equal up to a part of the largest number, or of `least` where that is larger."""
    wide, exact = (np.asarray(a, np.float64) for a in (found, expected))
    assert wide.shape == exact.shape
    np.testing.assert_allclose(wide, exact, rtol=0, atol=bound * max(np.abs(exact).max(initial=0), least, 1e-30))


@pytest.mark.node
@pytest.mark.parametrize("case", host_cases.cases(), ids=str)
def test_node_has_the_numbers_of_python(case: Case, host: Host, tmp_path: Path) -> None:
    model, feeds, expected = host_cases.made(case)
    about = read_metadata(model)
    assert about is not None
    assert host.explain(words(model, feeds, tmp_path))[0] == f"{about['method']} of '{about['output']}', target {about['target']}"
    found = results(tmp_path)
    compared = 0
    for name, array in expected.items():
        if isinstance(array, np.ndarray) and array.dtype.kind in "fiub":
            mine = found[re.sub(r"[^A-Za-z0-9._-]", "_", name)]
            assert mine.dtype == array.dtype
            # A completeness gap is a difference of sums of attributions: their size is what its rounding is measured by.
            sums = [np.abs(expected[n]).sum() for n in about["attributions"]] if name in about["reports"].values() else []
            close(mine, array, 2e-3 if array.dtype == np.float16 else 1e-5, least=max(sums, default=0))
            compared += 1
    assert compared


@pytest.mark.node
def test_node_fills_in_the_top_prediction(modules: Path, tmp_path: Path) -> None:
    model = rewrite(FIXTURES / "digits" / "model.onnx", target="input")
    image = {"image": np.load(FIXTURES / "digits" / "digit_3.npy")}
    for more, target in [([], -1), (["--target=7"], 7)]:
        assert explain(model, image, tmp_path, *more).returncode == 0
        close(
            results(tmp_path)["image_attribution"],
            host_cases.run(model, {**image, "target": np.array([target])})["image_attribution"],
            1e-5,
        )


@pytest.mark.node
def test_node_says_what_is_wrong(modules: Path, tmp_path: Path) -> None:
    model = rewrite(FIXTURES / "digits" / "model.onnx", target="input")
    image = np.load(FIXTURES / "digits" / "digit_3.npy")
    assert "input 'image' is missing" in explain(model, {}, tmp_path).stderr
    assert "Got invalid dimensions" in explain(model, {"image": image[:, :, :7]}, tmp_path).stderr
    wrong = explain(model, {"image": image.astype(np.float64)}, tmp_path)
    assert wrong.returncode == 2
    assert "float" in wrong.stderr
    assert "no explained model; make one" in explain(onnx.load(FIXTURES / "digits" / "model.onnx"), {}, tmp_path).stderr
    next(p for p in model.metadata_props if p.key == METADATA_KEY).value = '{"contract": 99}'
    assert "follows contract 99" in explain(model, {}, tmp_path).stderr
    (tmp_path / "cut.onnx").write_bytes(model.SerializeToString()[:1000])
    assert "cut off" in shell(NODE, EXAMPLE / "explain.mjs", tmp_path / "cut.onnx").stderr


# -- the page --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def site(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = shell(sys.executable, EXAMPLE / "build.py", out, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    return out


def use(site: Path, folder: Path, *jobs: dict[str, Any]) -> list[dict[str, Any]]:
    """What the page shows after each step of each job."""
    (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    done = shell(NODE, EXAMPLE / "test" / "browser.mjs", site, folder / "jobs.json", CHROMIUM=str(CHROMIUM))
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    for answer in answers:
        assert answer["problems"] == []
    return answers


def arc(x: float, y: float, width: float, height: float, start: float, stop: float) -> list[list[float]]:
    """Points of an ellipse around (x, y); angles in half turns."""
    angles = np.linspace(start * math.pi, stop * math.pi, 12)
    return [[x + width * math.cos(a), y + height * math.sin(a)] for a in angles]


ZERO = [arc(0.5, 0.5, 0.19, 0.3, -0.5, 1.5)]
TWO = [[*arc(0.5, 0.35, 0.18, 0.16, -1, 0.2), [0.32, 0.78], [0.7, 0.78]]]
THREE = [arc(0.46, 0.32, 0.17, 0.15, -0.85, 0.5) + arc(0.46, 0.64, 0.2, 0.18, -0.5, 0.8)]
FOUR = [[[0.55, 0.2], [0.3, 0.6], [0.72, 0.6]], [[0.58, 0.4], [0.58, 0.82]]]
PHONE = {"width": 390, "height": 844}


def expect(shown: Mapping[str, Any], site: Path) -> None:
    """What the page shows is what Python computes from the very file the page has loaded, to 1e-5."""
    model = onnx.load(site / "models" / f"digits-{shown['method']}.onnx")
    about = read_metadata(model)
    assert about is not None
    pixels = np.array(shown["pixels"], np.float32).reshape(1, 1, 8, 8)
    result = host_cases.run(model, {"image": pixels, "target": np.array([shown["target"]])})
    close([shown["logits"]], result["logits"], 1e-5)
    (name,) = about["attributions"]
    close(np.reshape(shown["relevance"], result[name].shape), result[name], 1e-5)
    assert shown["digit"] == str(result["logits"].argmax())


@browser
@pytest.mark.browser
def test_a_stroke_is_predicted_and_explained_as_it_is_drawn(site: Path, tmp_path: Path) -> None:
    steps = [
        {},
        {"strokes": THREE},
        {"click": "#chances button:nth-child(9)"},
        {"click": "#top"},
        {"click": "#clear"},
        {"strokes": FOUR},
    ]
    (answer,) = use(site, tmp_path, {"steps": steps})
    empty, three, eight, back, cleared, four = answer["shown"]
    assert empty["logits"] is None
    assert empty["digit"] == "–"
    for shown in (three, eight, back, four):
        expect(shown, site)
        assert sum(p > 0 for p in shown["pixels"]) > 12
    assert three["digit"] == back["digit"] == "3"
    assert four["digit"] == "4"
    assert three["runs"] - empty["runs"] > 5, "explained while drawing, not at the end alone"
    assert eight["target"] == 8
    assert eight["relevance"] != three["relevance"] == back["relevance"]
    assert cleared["logits"] is None
    assert cleared["target"] == -1
    assert three["chances"][3].endswith("%")


@browser
@pytest.mark.browser
def test_every_method_of_the_page(site: Path, tmp_path: Path) -> None:
    names = [m["name"] for m in json.loads((site / "site.json").read_text())["methods"]]
    assert set(names) >= set(host_cases.BASIC)
    assert set(names) <= set(all_methods())
    steps = [{"strokes": TWO}, *({"method": name} for name in names)]
    (answer,) = use(site, tmp_path, {"steps": steps})
    assert [s["method"] for s in answer["shown"][1:]] == names
    for shown in answer["shown"]:
        expect(shown, site)


@browser
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_finger_on_a_phone(scheme: str, site: Path, tmp_path: Path) -> None:
    """Nothing is wider than the screen, and the picture shows the colours of the relevance where the finger drew."""
    from PIL import Image

    pictures = [str(tmp_path / f"{i}.png") for i in range(2)]
    steps: Sequence[dict[str, Any]] = [
        {"select": "gradient", "picture": pictures[0]},
        {"strokes": ZERO, "picture": pictures[1]},
        {"click": "#samples button:nth-child(6)"},
    ]
    (answer,) = use(site, tmp_path, {"screen": PHONE, "touch": True, "scheme": scheme, "hash": "#saliency", "steps": steps})
    assert all(s["wide"] <= 0 for s in answer["shown"])
    drawn, sample = answer["shown"][1:]
    assert drawn["method"] == "gradient"
    assert drawn["digit"] == "0"
    assert sample["digit"] == "5"
    for shown in (drawn, sample):
        expect(shown, site)
    blank, coloured = (np.asarray(Image.open(p).convert("RGB")).astype(int) for p in pictures)
    assert blank.shape[1] == 2 * PHONE["width"]
    assert (blank.mean() > 128) == (scheme == "light")

    def colourful(picture: np.ndarray) -> int:
        top = picture[: 2 * 560]  # above the legend, which is coloured always
        return int((np.ptp(top, axis=-1) > 60).sum())

    assert colourful(blank) == 0
    assert colourful(coloured) > 2000
