"""Files are written whole or not at all, and give back the numbers that went in."""

from __future__ import annotations

import csv
import json
import os
import re
import stat
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data

from onnxplain.errors import InputError, MissingDependencyError, OutputError
from onnxplain.io.writer import check_writable, write_file, write_model
from onnxplain.results.save import check_explanation_ending, save_explanation
from onnxplain.results.tables import long_columns, long_table
from tests.support.made import explanation, image, table

VOID = {"meta", "img", "link", "br", "hr", "input", "polyline"}


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


class TestWriteFile:
    def test_bytes_and_writer(self, tmp_path: Path) -> None:
        assert write_file(tmp_path / "a", b"one").read_bytes() == b"one"
        write_file(tmp_path / "a", lambda file: file.write(b"two"))
        assert (tmp_path / "a").read_bytes() == b"two"
        assert left(tmp_path) == ["a"]

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
    def test_failing_writer_leaves_the_old_file(self, tmp_path: Path, error: type[BaseException]) -> None:
        (tmp_path / "a").write_bytes(b"old")

        def fails(file: IO[bytes]) -> None:
            file.write(b"half")
            raise error("no")

        with pytest.raises(OutputError if error is OSError else error):
            write_file(tmp_path / "a", fails)
        assert (tmp_path / "a").read_bytes() == b"old"
        assert left(tmp_path) == ["a"]

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match=r"there is no folder .*missing; create it first"):
            write_file(tmp_path / "missing" / "a", b"")
        with pytest.raises(OutputError, match="it is a folder"):
            write_file(tmp_path, b"")
        with pytest.raises(OutputError, match="there is no folder"):
            check_writable(tmp_path / "missing" / "a")

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
    def test_no_permission(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        with pytest.raises(OutputError, match="no permission"):
            write_file(tmp_path / "a", b"")

    @pytest.mark.skipif(sys.platform == "win32", reason="modes and links are POSIX's")
    def test_keeps_links_and_modes(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"old")
        (tmp_path / "a").chmod(0o640)
        (tmp_path / "link").symlink_to("a")
        write_file(tmp_path / "link", b"new")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "a").read_bytes() == b"new"
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640

    @pytest.mark.skipif(sys.platform == "win32", reason="there is no /dev/null")
    def test_devices_stay_devices(self) -> None:
        write_file("/dev/null", b"gone")
        assert not Path("/dev/null").is_file()


def external_model(folder: Path) -> onnx.ModelProto:
    """A model whose weight lies in weights.bin."""
    weight = numpy_helper.from_array(np.arange(2048, dtype=np.float32), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2048])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2048])
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, folder / "model.onnx")
    return onnx.load(folder / "model.onnx", load_external_data=False)


class TestWriteModel:
    @pytest.fixture
    def folders(self, tmp_path: Path) -> tuple[Path, Path]:
        (tmp_path / "from").mkdir()
        (tmp_path / "to").mkdir()
        return tmp_path / "from", tmp_path / "to"

    def test_weights_come_along(self, folders: tuple[Path, Path]) -> None:
        source, goal = folders
        model = external_model(source)
        write_model(model, goal / "out.onnx", source)
        assert left(goal) == ["out.onnx", "weights.bin"]
        loaded = numpy_helper.to_array(onnx.load(goal / "out.onnx").graph.initializer[0])
        np.testing.assert_array_equal(loaded, np.arange(2048))
        onnx.load(source / "model.onnx")  # which refuses weights that became links
        write_model(model, goal / "again.onnx", source)  # the same weights may be there already

    def test_plain_copy_where_the_file_system_knows_no_other(
        self, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuses(*_: Any) -> None:
            raise OSError("not on this file system")

        monkeypatch.setattr(os, "copy_file_range", refuses, raising=False)
        source, goal = folders
        write_model(external_model(source), goal / "out.onnx", source)
        assert (goal / "weights.bin").read_bytes() == (source / "weights.bin").read_bytes()

    def test_same_folder_needs_nothing(self, folders: tuple[Path, Path]) -> None:
        source, _ = folders
        write_model(external_model(source), source / "out.onnx", source)
        assert left(source) == ["model.onnx", "out.onnx", "weights.bin"]

    def test_another_file_of_that_name_is_safe(self, folders: tuple[Path, Path]) -> None:
        source, goal = folders
        (goal / "weights.bin").write_bytes(b"precious")
        with pytest.raises(OutputError, match="exists and differs"):
            write_model(external_model(source), goal / "out.onnx", source)
        assert (goal / "weights.bin").read_bytes() == b"precious"
        assert left(goal) == ["weights.bin"]

    def test_unknown_place_of_weights(self, folders: tuple[Path, Path]) -> None:
        source, goal = folders
        with pytest.raises(OutputError, match="load the model from its path"):
            write_model(external_model(source), goal / "out.onnx", None)

    def test_weights_outside_are_refused(self, folders: tuple[Path, Path]) -> None:
        source, goal = folders
        model = external_model(source)
        next(e for e in model.graph.initializer[0].external_data if e.key == "location").value = "../weights.bin"
        with pytest.raises(OutputError, match="outside"):
            write_model(model, goal / "out.onnx", source)


class TestForms:
    def test_npz(self, tmp_path: Path) -> None:
        made = image()
        save_explanation(made, tmp_path / "a.npz")
        with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
            np.testing.assert_array_equal(found["x_attribution"], made.attribution)
            np.testing.assert_array_equal(found["x"], made.inputs["x"])
            np.testing.assert_array_equal(found["scores"], made.outputs["scores"])
            np.testing.assert_array_equal(found["target"], made.target)
            assert json.loads(str(found["about"]))["method"] == "gradient"
        first = (tmp_path / "a.npz").read_bytes()
        assert save_explanation(made, tmp_path / "a.npz").read_bytes() == first

    @pytest.mark.parametrize("name", ["file", "target", "about", "a/b"])
    def test_npz_takes_any_name(self, tmp_path: Path, name: str) -> None:
        save_explanation(explanation(np.ones((1, 2)), np.zeros((1, 2)), name=name), tmp_path / "a.npz")
        with np.load(tmp_path / "a.npz") as found:
            assert found[f"{name}_attribution"].sum() == 2
            assert found[f"input.{name}" if name in ("target", "about") else name].sum() == 0

    def test_npz_of_maps_and_text(self, tmp_path: Path) -> None:
        fed = np.array([["red"], ["blue"]], dtype=object)
        save_explanation(explanation(np.ones((2, 1)), fed, scores=[{"no": 0.4, "yes": 0.6}] * 2), tmp_path / "a.npz")
        with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
            assert json.loads(str(found["scores"]))[0] == {"no": 0.4, "yes": 0.6}
            assert found["x"].tolist() == [["red"], ["blue"]]

    def test_json(self, tmp_path: Path) -> None:
        made = image()
        save_explanation(made, tmp_path / "a.json")
        found = json.loads((tmp_path / "a.json").read_text())
        np.testing.assert_array_equal(np.float32(found["attributions"]["x"]), made.attribution)

    def test_json_has_no_nan(self, tmp_path: Path) -> None:
        save_explanation(explanation(np.array([[np.nan, 1.0, np.inf]])), tmp_path / "a.json")
        text = (tmp_path / "a.json").read_text()
        assert json.loads(text, parse_constant=pytest.fail)["attributions"]["x"] == [[None, 1.0, None]]

    def test_csv(self, tmp_path: Path) -> None:
        made = table()
        save_explanation(made, tmp_path / "a.csv", features=["a", "b,c", "d", "é"])
        with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["sample", "target", "feature", "value", "attribution"]
        assert [r["feature"] for r in rows[:4]] == ["a", "b,c", "d", "é"]
        np.testing.assert_array_equal(np.float32([r["attribution"] for r in rows]), made.attribution.ravel())
        np.testing.assert_array_equal(np.float32([r["value"] for r in rows]), made.inputs["x"].ravel())

    def test_parquet_and_pandas(self, tmp_path: Path) -> None:
        pd = pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        made = image()
        save_explanation(made, tmp_path / "a.parquet")
        found = pd.read_parquet(tmp_path / "a.parquet")
        np.testing.assert_array_equal(found["attribution"].to_numpy(), made.attribution.ravel())
        assert found["attribution"].dtype == np.float32
        assert found["index"][9] == "0,1,1"
        assert list(long_table(made).columns) == list(found.columns)

    def test_several_methods_in_one_table(self, tmp_path: Path) -> None:
        save_explanation([image(), image(method="saliency")], tmp_path / "a.csv")
        rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
        assert [rows[0]["method"], rows[-1]["method"]] == ["gradient", "saliency"]
        assert len(rows) == 2 * 2 * 64
        save_explanation([image(), image(method="saliency")], tmp_path / "a.json")
        assert len(json.loads((tmp_path / "a.json").read_text())) == 2
        with pytest.raises(OutputError, match="one file per method"):
            save_explanation([image(), image()], tmp_path / "a.npz")

    def test_png(self, tmp_path: Path) -> None:
        image_module = pytest.importorskip("PIL.Image")
        save_explanation(image(), tmp_path / "a.png", dpi=100)
        with image_module.open(tmp_path / "a.png") as opened:
            opened.load()
            assert opened.format == "PNG"
            assert min(opened.size) > 200

    def test_unknown_ending(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match=r"unknown ending '.xyz'; known: .npz, .json"):
            save_explanation(image(), tmp_path / "a.xyz")

    def test_missing_package_says_how_to_install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "jinja2", None)
        with pytest.raises(MissingDependencyError, match=r"jinja2, .* pip install 'onnxplain\[plot\]'"):
            save_explanation(image(), tmp_path / "a.html")
        assert left(tmp_path) == []


class TestColumns:
    def test_targets_all(self) -> None:
        values = np.arange(12.0).reshape(2, 3, 2)
        made = explanation(values, np.array([[7, 8], [9, 10]]), labels=["a", "b", "c"])
        columns = long_columns(replace(made, target=None, about={**made.about, "target": "all"}))
        assert columns["target"].tolist() == ["a", "a", "b", "b", "c", "c"] * 2
        assert columns["sample"].tolist() == [0] * 6 + [1] * 6
        assert columns["value"].tolist() == [7, 8] * 3 + [9, 10] * 3
        assert columns["attribution"].tolist() == list(range(12))

    def test_tokens_repeat_over_their_width(self) -> None:
        columns = long_columns(explanation(np.zeros((1, 2, 3)), np.array([[5, 6]])))
        assert columns["value"].tolist() == [5, 5, 5, 6, 6, 6]
        assert columns["index"][4] == "1,1"

    def test_wrong_number_of_features(self) -> None:
        with pytest.raises(InputError, match="2 feature names for 4 elements"):
            long_columns(table(), ["a", "b"])


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects what the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [v or "" for k, v in attrs if k in ("src", "href", "data", "action", "poster", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


class TestPage:
    FORMS = (
        ("image", np.random.default_rng(0).normal(size=(2, 1, 8, 8)), np.zeros((2, 1, 8, 8))),
        (
            "large",
            np.random.default_rng(0).normal(size=(2, 3, 64, 64)),
            np.random.default_rng(0).random((2, 3, 64, 64)),
        ),
        ("table", np.random.default_rng(0).normal(size=(2, 30)), np.zeros((2, 30))),
        ("series", np.random.default_rng(0).normal(size=(2, 2, 90)), np.zeros((2, 2, 90))),
        ("tokens", np.random.default_rng(0).normal(size=(2, 7, 4)), np.ones((2, 7), np.int64)),
    )

    @pytest.mark.parametrize(("attribution", "fed"), [f[1:] for f in FORMS], ids=[f[0] for f in FORMS])
    def test_stands_alone(self, tmp_path: Path, attribution: Any, fed: Any) -> None:
        evil = "<script>alert(1)</script>"
        made = [explanation(attribution, fed, labels=[evil, "b", "c"], method=m) for m in ("gradient", "input-x-gradient")]
        save_explanation(made, tmp_path / "a.html", title="T & Co", model_name="m.onnx")
        text = (tmp_path / "a.html").read_text(encoding="utf-8")
        page = Page()
        page.feed(text)
        page.close()
        assert page.open == []
        assert "script" not in page.tags
        assert all(r.startswith("data:image/png;base64,") for r in page.references)
        assert not re.search(r"url\(|@import|https?://", text)
        assert "T &amp; Co" in text
        assert "∂f/∂x" in text

    def test_facts(self, tmp_path: Path) -> None:
        save_explanation(image(), tmp_path / "a.html")
        text = (tmp_path / "a.html").read_text(encoding="utf-8")
        assert "0" * 64 in text
        assert "softmax of output" in text


@pytest.mark.parametrize(
    ("ending", "start"),
    [("png", b"\x89PNG"), ("jpg", b"\xff\xd8\xff"), ("webp", b"RIFF"), ("svg", b"<?xml"), ("pdf", b"%PDF")],
)
def test_formats_of_figures(ending: str, start: bytes, tmp_path: Path) -> None:
    first, second = (image().save(tmp_path / f"{name}.{ending}").read_bytes() for name in "ab")
    assert first.startswith(start)
    assert first == second


@pytest.mark.parametrize(("ending", "package"), [("html", "jinja2"), ("png", "matplotlib"), ("parquet", "pyarrow")])
def test_what_is_not_installed_is_said_before_the_run(ending: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxplain.results.save.find_spec", lambda name: None if name == package else name)
    with pytest.raises(MissingDependencyError, match=rf"need {package}, which is not installed: pip install 'onnxplain\["):
        check_explanation_ending(Path(f"e.{ending}"), 1)


class TestPages:
    def page(self, made: Any, folder: Path) -> str:
        return save_explanation(made, folder / "e.html").read_text()

    def test_samples_have_the_names_of_their_files(self, tmp_path: Path) -> None:
        names = [f"cat_{i}.png" for i in range(5)]
        page = self.page(replace(image(5), sample_names=names), tmp_path)
        assert all(page.count(name) == 2 for name in names), "above the sample and in the index"
        assert all(f'<a href="#sample-{i}">' in page for i in range(5))
        assert "sample 3" in self.page(image(4), tmp_path)
        assert 'class="index"' not in self.page(image(3), tmp_path)

    def test_the_legend_says_what_colours_mean(self, tmp_path: Path) -> None:
        assert "full colour from percentile 99.5" in self.page(image(), tmp_path)
        cut = image(2, "saliency")
        assert "cut off below zero" not in self.page(cut, tmp_path)
        assert "cut off below zero" in self.page(replace(cut, about={**cut.about, "options": {"relu": True}}), tmp_path)
        large = np.random.default_rng(0).random((1, 1, 64, 64))
        assert "outlines of the picture" in self.page(explanation(large, large), tmp_path)

    def test_from_the_base_to_the_score(self, tmp_path: Path) -> None:
        made = table()
        made = replace(made, facts={"base_value": np.array([0.5, 0.25])}, about={**made.about, "axioms": ["completeness"]})
        made = replace(made, attributions={"x": np.full((2, 4), 0.25)})
        page = self.page(made, tmp_path)
        assert "base value 0.500, f(x) 1.50" in page
        assert "base value 0.250, f(x) 1.25" in page
        assert "base value" not in self.page(table(), tmp_path)

    def test_channels_that_are_not_shown_are_counted(self, tmp_path: Path) -> None:
        values = np.random.default_rng(0).random((1, 9, 40))
        assert "the 8 strongest of 9 channels" in self.page(explanation(values, values), tmp_path)
