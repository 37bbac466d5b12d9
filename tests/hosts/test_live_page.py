"""Live pages of rows and photographs, used as a person does in headless Chromium; every number is compared with Python's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from onnxplain import Explainer, load_image, rewrite
from onnxplain.cli.main import main
from onnxplain.io.metadata import read_metadata
from onnxplain.io.samples import read_labels
from onnxplain.results.live.runtime import FILES, VERSION
from tests.support import host_cases
from tests.support.host_cases import FIXTURES
from tests.support.paths import ROOT
from tests.support.web import EXAMPLE, array, browser_needed, close, node_needed, use

pytestmark = [node_needed, browser_needed, pytest.mark.browser]

CANCER = FIXTURES / "cancer"
FIELD = "#fields .field:nth-child({})"


def run(*words: object) -> Result:
    done = CliRunner().invoke(main, [str(w) for w in words])
    assert done.exit_code == 0, done.output
    return done


def expect(shown: dict[str, Any], model: onnx.ModelProto, bound: float = 1e-5) -> dict[str, Any]:
    """What the page holds is what ONNX Runtime computes from the same inputs and target, to a part of the largest value."""
    about = read_metadata(model)
    assert about is not None
    types = {t.name: onnx.helper.tensor_dtype_to_np_dtype(t.type.tensor_type.elem_type) for t in model.graph.input}
    feeds = {name: array(tensor, types[name]) for name, tensor in shown["feeds"].items()}
    if "target" in about["run_time_inputs"]:
        feeds["target"] = np.array([shown["target"]])
    found = host_cases.run(model, feeds)
    for name in about["attributions"]:
        close(array(shown["outputs"][name]), found[name], bound)
    if isinstance(found[about["output"]], np.ndarray):
        close(array(shown["outputs"][about["output"]]), found[about["output"]], bound)
    return found


@pytest.fixture(scope="module")
def cancer(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page for rows, by two methods, as one file."""
    folder = tmp_path_factory.mktemp("cancer")
    files = []
    for method in ("lrp-epsilon", "gradient"):
        files.append(folder / f"{method}.onnx")
        onnx.save(rewrite(CANCER / "model.onnx", method, target="input"), files[-1])
    made = folder / "cancer.html"
    words = ["--data", CANCER / "cancer_samples.csv", "--labels", CANCER / "labels.txt", "--runtime", EXAMPLE]
    run("page", *files, "-o", made, *words)
    return made


def test_a_row_is_changed_compared_and_linked_on_a_page_from_the_disk(cancer: Path, tmp_path: Path) -> None:
    model = onnx.load(cancer.parent / "lrp-epsilon.onnx")
    labels = read_labels(CANCER / "labels.txt")
    steps = [
        {},
        {"click": "#keep"},
        {"slide": {FIELD.format(1) + " input[type=range]": "15"}},
        {"fill": {FIELD.format(2) + " input[type=text]": "12,5"}},
        {"fill": {FIELD.format(2) + " input[type=text]": "12.5"}},
        {"select": {"#order": "strength"}},
        {"click": "#chances button:nth-child(2)"},
        {"method": "gradient"},
        {"click": "#link", "clipboard": "text"},
        {"click": "#copy", "wait": 1500},
        {"click": "#back"},
    ]
    (shown,) = use(cancer, tmp_path, {"steps": steps})
    first, kept, slid, wrong, typed, ordered, aimed, other, linked, copied, back = shown
    rows = np.loadtxt(CANCER / "cancer_samples.csv", delimiter=",", skiprows=1, dtype=np.float32)
    assert first["source"] == f"{len(rows)} examples"
    close(array(first["feeds"]["features"])[0], rows[0], 1e-7)
    found = expect(first, model)
    assert first["top"] == labels[found["probabilities"].argmax()]
    assert kept["kept"][0] == "keptnow"
    moved = array(slid["feeds"]["features"])[0]
    assert moved[0] == pytest.approx(15, abs=0.2)  # a slider has 200 steps
    assert (moved[1:] == array(first["feeds"]["features"])[0][1:]).all()
    assert slid["values"] != first["values"]
    expect(slid, model)
    assert wrong["sentence"].endswith("'12,5' is no number")
    assert array(typed["feeds"]["features"])[0, 1] == 12.5
    expect(typed, model)
    assert ordered["values"] == typed["values"], "the order on the screen is not that of the page"
    assert aimed["explained"] == 1
    expect(aimed, model)
    assert other["method"] == "gradient"
    expect(other, onnx.load(cancer.parent / "gradient.onnx"))
    assert "#method=gradient&target=1&x=" in linked["clipboard"]
    assert copied["done"] == "The picture is in the clipboard."
    assert back["method"] == "lrp-epsilon"
    assert back["feeds"] == first["feeds"]
    assert back["target"] == -1
    ((again,),) = use(cancer, tmp_path, {"hash": linked["hash"]})
    assert again["method"] == "gradient"
    assert again["target"] == 1
    assert again["feeds"] == other["feeds"]


def test_tables_are_pasted_and_dropped(cancer: Path, tmp_path: Path) -> None:
    model = onnx.load(cancer.parent / "lrp-epsilon.onnx")
    rows = np.loadtxt(CANCER / "cancer_samples.csv", delimiter=",", skiprows=1, dtype=np.float32)
    names = (CANCER / "cancer_samples.csv").read_text().splitlines()[0].split(",")
    order = np.random.default_rng(0).permutation(len(names))
    table = ";".join(names[i] for i in order) + "\n" + "\n".join(";".join(map(str, row[order])) for row in rows[1:3])
    (tmp_path / "short.csv").write_text("1,2,3\n", encoding="utf-8")
    steps = [
        {"paste": table},
        {"select": {"#row": "1"}},
        {"drop": str(tmp_path / "short.csv")},
        {"click": "#paste summary"},
        {"fill": {"#pasted": ",".join(map(str, rows[1]))}, "click": "#take"},
        {"click": "#clear"},
        {"fill": {FIELD.format(1) + " input[type=text]": "nan"}},
        {"drop": str(CANCER / "cancer_samples.csv")},
    ]
    ((pasted, second, short, _, taken, cleared, begun, dropped),) = use(cancer, tmp_path, {"steps": steps})
    for shown, row in ((pasted, rows[1]), (second, rows[2]), (taken, rows[1]), (dropped, rows[0])):
        close(array(shown["feeds"]["features"])[0], row, 1e-6)
        expect(shown, model)
    assert short["sentence"] == "row 1 has 3 values, the model takes 30"
    assert cleared["outputs"] is None
    assert begun["sentence"] == "1 of 30 fields are filled in; type nan where a number is missing."


def test_a_row_on_a_phone_in_the_dark(cancer: Path, tmp_path: Path) -> None:
    phone = {"screen": {"width": 360, "height": 740}, "touch": True, "scheme": "dark"}
    ((shown,),) = use(cancer, tmp_path, phone)
    assert shown["wide"] <= 0
    assert shown["values"][0]


def test_a_pipeline_whose_output_is_a_list_of_maps(modules: Path, tmp_path: Path) -> None:
    """JavaScript reads tensors only: the page shows the logits' probabilities, with the classes that the file names."""
    fixture = FIXTURES / "iris_sklearn"
    file = tmp_path / "iris.onnx"
    onnx.save(rewrite(fixture / "model.onnx", "input-x-gradient", target="input"), file)
    with np.load(fixture / "data.npz") as data:
        x = next(data[name] for name in data.files if data[name].ndim == 2)[:5].astype(np.float32)
    np.save(tmp_path / "rows.npy", x)
    run("page", file, "-o", tmp_path / "iris", "--data", tmp_path / "rows.npy", "--runtime", EXAMPLE)
    ((shown, second),) = use(tmp_path / "iris", tmp_path, {"steps": [{}, {"click": "#chances button:nth-child(3)"}]})
    expected = host_cases.run(onnx.load(file), {"features": x[:1], "target": np.array([-1])})
    (probabilities,) = expected["output_probability"]
    expect(shown, onnx.load(file))
    assert shown["top"] == str(max(probabilities, key=probabilities.get))
    assert shown["chances"] == [
        ("100 %" if p == 1 else ">99 %" if p > 0.995 else "<1 %" if 0 < p < 0.005 else f"{round(100 * p)} %")
        for p in probabilities.values()
    ]
    assert second["explained"] == 2
    expect(second, onnx.load(file), bound=1e-4)  # a probability near 0, whose logit is a difference of large numbers


def test_the_documentation_works_as_it_stands(modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands and the Python of docs/live.md, in an empty folder; the runtime is taken as if npm had fetched it before."""
    kept = tmp_path / "cache" / "onnxplain" / f"onnxruntime-web-{VERSION}"
    kept.mkdir(parents=True)
    for name in FILES:
        (kept / name).symlink_to(modules / "onnxruntime-web" / "dist" / name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
    for line in re.findall(r"^\$ onnxplain (.*)$", text, re.MULTILINE):
        run(*shlex.split(line))
    exec(text.split("```python")[1].split("```")[0], {})
    click = {"click": "#examples button"}
    ((shell,),) = use(tmp_path / "page.html", tmp_path, {"steps": [click]})
    ((python,),) = use(tmp_path / "digits.html", tmp_path, {"steps": [click]})
    assert shell["top"] == python["top"] == "8"
    assert shell["feeds"] == python["feeds"]
    assert shell["outputs"] == python["outputs"]


@pytest.fixture(scope="module")
def photographs(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page for coloured pictures, in a folder, made in Python."""
    folder = tmp_path_factory.mktemp("photographs")
    explainer = Explainer(FIXTURES / "resnet" / "model.onnx", "lrp-epsilon-plus")
    beside = [Explainer(FIXTURES / "resnet" / "model.onnx", "grad-cam", layer="Conv:-1")]
    colours = {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    made = explainer.page(folder / "page", beside=beside, title="Photographs", runtime=EXAMPLE, **colours)
    assert made == folder / "page" / "index.html"
    explainer.save(folder / "explained.onnx")
    return folder


def test_a_photograph_is_dropped_fitted_and_kept(photographs: Path, tmp_path: Path) -> None:
    from PIL import Image

    yy, xx = np.mgrid[0:60, 0:80]
    photo = np.stack([127 + 127 * np.sin(xx / 9), 127 + 127 * np.cos(yy / 11), (xx + yy) % 256], -1).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "large.png")
    Image.fromarray(photo[:48, :48]).save(tmp_path / "fits.png")
    Image.fromarray(np.dstack([photo, np.full(photo.shape[:2], 100, np.uint8)])).save(tmp_path / "pale.png")
    steps = [
        {"drop": str(tmp_path / "fits.png"), "picture": str(tmp_path / "seen.png")},
        {"method": "grad-cam"},
        {"click": "#keep"},
        {"drop": str(tmp_path / "large.png")},
        {"select": {"#fit": "stretch"}},
        {"drop": str(tmp_path / "pale.png")},
        {"drop": str(CANCER / "cancer_samples.csv")},
    ]
    (shown,) = use(photographs / "page", tmp_path, {"steps": steps})
    fits, cam, kept, cropped, stretched, pale, table = shown
    explainer = Explainer(FIXTURES / "resnet" / "model.onnx", "lrp-epsilon-plus")
    colours = {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    close(array(fits["feeds"]["image"]), load_image(tmp_path / "fits.png", explainer, **colours), 1e-6)  # pixel by pixel
    expect(fits, onnx.load(photographs / "explained.onnx"))
    assert fits["source"] == "fits.png, 48 × 48"
    assert cam["heat"].startswith("Relevance of ")
    assert kept["kept"] is not None
    assert cropped["source"] == "large.png, 80 × 60, cropped to its middle and resized to 48 × 48 by this browser"
    assert "stretched to 48 × 48" in stretched["source"]
    assert cropped["feeds"] != stretched["feeds"]
    assert pale["sentence"] == "pale.png has transparency, which the model does not take; save it without"
    assert table["sentence"].startswith("that is no picture")


def test_a_digit_page_reads_a_picture_as_python_does(modules: Path, tmp_path: Path) -> None:
    """A grey model takes a picture by its luma; the page of a fixed target says so and lets nobody choose."""
    digits = FIXTURES / "digits"
    file = tmp_path / "seven.onnx"
    onnx.save(rewrite(digits / "model.onnx", "gradient", target=7), file)
    run("page", file, "-o", tmp_path / "seven.html", "--scale", "1/255", "--data", digits / "digit_8.png", "--runtime", EXAMPLE)
    steps = [{"drop": str(digits / "digit_8.png")}, {"click": "#clear"}, {"click": "#examples button"}]
    ((dropped, _, example),) = use(tmp_path / "seven.html", tmp_path, {"steps": steps})
    expected = load_image(digits / "digit_8.png", onnx.load(digits / "model.onnx"), scale=1 / 255)
    for shown in (dropped, example):
        close(array(shown["feeds"]["image"]), expected, 1e-6)
        expect(shown, onnx.load(file))
        assert shown["explained"] == 7
    assert example["source"] == "digit_8.png"
