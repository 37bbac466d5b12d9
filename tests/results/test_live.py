"""What live pages say of their files, and what they refuse. No browser: that is tests/hosts/test_live_page.py."""

from __future__ import annotations

import io
import json
import re
import stat
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import Explainer, rewrite
from onnxplain.errors import InputError, MissingDependencyError, ModelError, OutputError
from onnxplain.io.pictures.preprocessing import Preprocessing
from onnxplain.results.live import runtime
from onnxplain.results.live.description import PageSettings, describe_page
from onnxplain.results.live.explained_file import ExplainedFile, read_explained
from onnxplain.results.live.page import check_page_place, write_page
from onnxplain.results.live.program import page_program
from tests.support.paths import ROOT

FIXTURES = ROOT / "fixtures"


def explained(folder: Path, name: str, method: str = "gradient", **given: Any) -> ExplainedFile:
    path = folder / f"{name.replace('/', '-')}-{method}.onnx"
    onnx.save(rewrite(FIXTURES / name / "model.onnx", method, **{"target": "input", **given}), path)
    return read_explained(path)


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """A folder that looks like onnxruntime-web."""
    folder = tmp_path / "web"
    folder.mkdir()
    for name in runtime.FILES:
        (folder / name).write_text(f"// {name}", encoding="utf-8")
    return folder


def test_a_small_grey_picture_is_drawn_and_a_row_has_fields(tmp_path: Path) -> None:
    digits = describe_page([explained(tmp_path, "digits")], PageSettings(look=Preprocessing(scale=0.5)))
    assert (digits["kind"], digits["draws"], digits["layout"], digits["height"], digits["width"]) == (
        "picture",
        True,
        "NCHW",
        8,
        8,
    )
    assert digits["scale"] == 0.5
    assert digits["score"] == {"name": "logits", "title": "logits", "activation": None, "count": 1, "extents": [10]}
    assert describe_page([explained(tmp_path, "digits_keras")], PageSettings())["layout"] == "NHWC"
    assert not describe_page([explained(tmp_path, "resnet")], PageSettings())["draws"]
    names = (FIXTURES / "cancer" / "features.txt").read_text().splitlines()
    rows = np.array([[1.1, np.nan, *range(28)]], np.float32)
    cancer = describe_page([explained(tmp_path, "cancer")], PageSettings(features=names, examples={"features": rows}))
    assert cancer["kind"] == "row"
    assert [f["label"] for f in cancer["fields"]] == names
    assert cancer["rows"] == [[1.1, None, *range(28)]]
    assert cancer["inputs"][0]["dims"] == [1, 30]


def test_a_list_of_maps_becomes_the_tensor_that_is_explained(tmp_path: Path) -> None:
    file = explained(tmp_path, "iris_sklearn")
    assert file.score.tensor.name == file.about["score"]["tensor"]
    assert file.score.labels == ("0", "1", "2")
    assert file.score.tensor.name in {o.name for o in onnx.load_from_string(file.content).graph.output}
    assert describe_page([file], PageSettings())["labels"] == ["0", "1", "2"]


def test_several_files_are_of_one_model(tmp_path: Path) -> None:
    gradient, lrp = explained(tmp_path, "digits"), explained(tmp_path, "digits", "lrp-epsilon")
    both = describe_page([gradient, lrp], PageSettings())
    assert [f["name"] for f in both["files"]] == ["gradient", "lrp-epsilon"]
    with pytest.raises(ModelError, match="explain different models"):
        describe_page([gradient, explained(tmp_path, "cancer")], PageSettings())
    with pytest.raises(InputError, match="is by the same method"):
        describe_page([gradient, gradient], PageSettings())
    fixed = explained(tmp_path, "digits", "saliency", target=7)
    assert [f["fixed"] for f in describe_page([gradient, fixed], PageSettings())["files"]] == [None, 7]


@pytest.mark.parametrize(
    ("name", "method", "given", "said"),
    [
        ("gpt2", "gradient", {}, "neither a picture nor columns"),
        ("cnn1d", "gradient", {}, "neither a picture nor columns"),
        ("digits", "integrated-gradients", {"baseline": "input"}, "asks its host for 'baseline'"),
        ("digits", "gradient", {"target": "all"}, "explains all targets at once"),
        ("digits", "gradient", {"layer": "Conv:-1"}, "explains an inner tensor"),
        ("digits", "gradient", {"only_attribution": True}, "has no output 'logits'"),
    ],
)
def test_what_a_page_cannot_show(name: str, method: str, given: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        describe_page([explained(tmp_path, name, method, **given)], PageSettings())


def test_what_does_not_fit(tmp_path: Path) -> None:
    digits, cancer = explained(tmp_path, "digits"), explained(tmp_path, "cancer")
    for file, settings, said in [
        (digits, PageSettings(labels=["one", "two"]), "2 labels for the 10 outputs"),
        (digits, PageSettings(features=["a"]), "name the columns of a row"),
        (digits, PageSettings(look=Preprocessing(mean=(1, 2, 3))), "3 numbers of mean"),
        (cancer, PageSettings(features=["a"]), "1 feature names for the 30 columns"),
        (cancer, PageSettings(examples={"features": np.zeros((1, 3), np.float32)}), "have 3 columns"),
    ]:
        with pytest.raises(InputError, match=said):
            describe_page([file], settings)
    with pytest.raises(ModelError, match="is no explained model; make one"):
        read_explained(FIXTURES / "digits" / "model.onnx")


def test_a_folder_and_a_file_hold_the_same_page(web: Path, tmp_path: Path) -> None:
    files = [explained(tmp_path, "digits")]
    title = PageSettings(title="<b>Digits</b>", labels=[f"</script>{i}" for i in range(10)])
    made = write_page(files, tmp_path / "page", title, runtime=web)
    assert {p.name for p in made.parent.iterdir()} == {"index.html", "ort.js", "page.css", "page.js", "parts"}
    (made.parent / "parts" / "old.js").touch()
    write_page(files, tmp_path / "page", title, runtime=web)
    assert {p.stem for p in (made.parent / "parts").iterdir()} == {"ort-wasm", "ort-loader", "gradient"}
    alone = write_page(files, tmp_path / "page.html", title, runtime=web).read_text(encoding="utf-8")
    text = made.read_text(encoding="utf-8")
    for page in (text, alone):
        assert "&lt;b&gt;Digits" in page
        (about,) = re.findall(r'id="about">(.*?)</script>', page)
        assert json.loads(about)["labels"][3] == "</script>3"
    assert page_program() in alone
    assert '<link rel="stylesheet"' not in alone
    assert write_page(files, tmp_path / "page.html", title, runtime=web).read_text(encoding="utf-8") == alone


def test_places_that_are_no_place_for_a_page(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"call it page\.html"):
        check_page_place(tmp_path / "page.onnx")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="it is a file"):
        check_page_place(tmp_path / "file")


def test_an_explainer_whose_method_has_no_file(web: Path, tmp_path: Path) -> None:
    from onnxplain.errors import MethodError

    with pytest.raises(MethodError, match="forward passes"):
        Explainer(FIXTURES / "digits" / "model.onnx", "lime").page(tmp_path / "page", runtime=web)


# -- the runtime -----------------------------------------------------------------------------------------------------------


def test_the_runtime_is_that_of_the_lock_file() -> None:
    lock = json.loads((ROOT / "examples" / "web" / "package-lock.json").read_text(encoding="utf-8"))
    entry = lock["packages"]["node_modules/onnxruntime-web"]
    assert (entry["version"], entry["integrity"]) == (runtime.VERSION, runtime.INTEGRITY)


def test_a_folder_without_the_runtime(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds no onnxruntime-web"):
        runtime.web_runtime(tmp_path)


def test_npm_is_missing_fails_or_brings_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"there is no npm: install Node\.js, or give --runtime"):
        runtime.web_runtime()
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code E404' >&2\nexit 1\n", encoding="utf-8")
    npm.chmod(npm.stat().st_mode | stat.S_IEXEC)
    with pytest.raises(MissingDependencyError, match=r"could not fetch .*E404"):
        runtime.web_runtime()
    with tarfile.open(tmp_path / "other.tgz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("package/dist/ort.wasm.min.js"), io.BytesIO())
    npm.write_text(f'#!/bin/sh\n/bin/cp {tmp_path / "other.tgz"} "$4"\n', encoding="utf-8")
    with pytest.raises(MissingDependencyError, match="another onnxruntime-web"):
        runtime.web_runtime()
    assert not list((tmp_path / "cache" / "onnxplain" / f"onnxruntime-web-{runtime.VERSION}").iterdir())


def test_the_runtime_is_fetched_once(tmp_path: Path, web: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import base64
    import hashlib

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with tarfile.open(tmp_path / "good.tgz", "w:gz") as archive:
        for name in runtime.FILES:
            archive.add(web / name, f"package/dist/{name}")
    digest = base64.b64encode(hashlib.sha512((tmp_path / "good.tgz").read_bytes()).digest()).decode()
    monkeypatch.setattr(runtime, "INTEGRITY", f"sha512-{digest}")
    (tmp_path / "bin").mkdir()
    npm = tmp_path / "bin" / "npm"
    npm.write_text(f'#!/bin/sh\n/bin/cp {tmp_path / "good.tgz"} "$4"\n', encoding="utf-8")
    npm.chmod(npm.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    first = runtime.web_runtime()
    npm.unlink()
    assert runtime.web_runtime() == first
    assert first.script == f"// {runtime.FILES[0]}"
