"""Where results go: what is read is never replaced, one run at a time writes, and a run stopped in its last steps loses nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import onnxplain
from onnxplain.cli.main import main
from onnxplain.errors import OutputError
from onnxplain.explain.streaming import place
from onnxplain.io.parts import claimed
from onnxplain.results.streams import sink
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits" / "model.onnx"
IMAGES = np.load(FIXTURES / "digits" / "data.npz")["image"]
QUIET: dict[str, Any] = {"progress": False, "providers": "cpu", "threads": 1, "batch_size": 4, "part": 8}
FORMS = [("parquet", "a.parquet"), ("npy", "a"), ("npz", "a")]


def rows(path: Path) -> list[int]:
    """The numbers of the samples in a result."""
    if path.is_file():
        return list(pq.read_table(path)["index"].to_pylist())
    if (path / "index.npy").exists():
        return list(np.load(path / "index.npy").tolist())
    return sorted(int(np.load(p)["index"]) for p in path.glob("*.npz"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", IMAGES)
    return tmp_path / "x.npy"


def test_the_data_is_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(3):
        np.save(folder / f"{i}.npy", IMAGES[i])
    (tmp_path / "link").symlink_to(folder)
    for out in (folder, tmp_path / "link", tmp_path):
        refused = CliRunner().invoke(main, ["map", str(DIGITS), str(folder), "-o", str(out), "--form", "npz", "--force"])
        assert refused.exit_code == 2
        assert "which is read" in refused.output or "is read by this command" in refused.output
    table = tmp_path / "a.parquet.errors.csv"
    table.write_text("a\n1\n", encoding="utf-8")
    with pytest.raises(OutputError, match=r"errors\.csv is read by this command"):
        onnxplain.map(DIGITS, table, tmp_path / "a.parquet", overwrite=True, **QUIET)
    assert sorted(p.name for p in folder.iterdir()) == ["0.npy", "1.npy", "2.npy"]


def test_folders_that_no_run_wrote_are_kept(tmp_path: Path, data: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("kept", encoding="utf-8")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a folder that no run wrote"):
        onnxplain.map(DIGITS, data, tmp_path / "mine", form="npy", overwrite=True, **QUIET)
    with pytest.raises(OutputError, match="it is a folder"):
        onnxplain.map(DIGITS, data, tmp_path / "mine", form="parquet", overwrite=True, **QUIET)
    with pytest.raises(OutputError, match="it is a file"):
        onnxplain.map(DIGITS, data, tmp_path / "file", form="npy", overwrite=True, **QUIET)
    with pytest.raises(OutputError, match="a name of their own"):
        onnxplain.map(DIGITS, data, ".", form="npy", overwrite=True, **QUIET)
    assert (tmp_path / "mine" / "notes").read_text(encoding="utf-8") == "kept"
    (tmp_path / "empty").mkdir()
    for _ in range(2):  # the second replaces what the first wrote
        onnxplain.map(DIGITS, data, tmp_path / "empty", form="npy", overwrite=True, **QUIET)
    assert rows(tmp_path / "empty") == list(range(20))


@pytest.mark.parametrize(("form", "name"), FORMS)
def test_stopped_while_it_cleans_up(tmp_path: Path, data: Path, form: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of the folder for parts is gone already: the results stay, and a run that is to go on says that they are complete."""
    remove, out = shutil.rmtree, tmp_path / name

    def partly(path: Path, *given: Any, **named: Any) -> None:
        if Path(path).exists() and Path(path).name.startswith(f".{name}."):
            for file in [*Path(path).glob("000001*"), *Path(path).glob("*.npz")]:
                file.unlink(missing_ok=True)
            raise KeyboardInterrupt
        remove(path, *given, **named)

    monkeypatch.setattr(shutil, "rmtree", partly)
    with pytest.raises(KeyboardInterrupt):
        onnxplain.map(DIGITS, data, out, form=form, **QUIET)
    monkeypatch.undo()
    assert rows(out) == list(range(20))
    with pytest.raises(OutputError, match="that run is complete"):
        onnxplain.map(DIGITS, data, out, form=form, resume=True, **QUIET)
    assert rows(out) == list(range(20))
    onnxplain.map(DIGITS, data, out, form=form, overwrite=True, **QUIET)
    assert [p.name for p in tmp_path.glob(".*")] == []


@pytest.mark.parametrize(("form", "name"), FORMS)
def test_stopped_between_moving_and_cleaning(
    tmp_path: Path, data: Path, form: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / name
    onnxplain.map(DIGITS, data, out, form=form, **QUIET)  # what is replaced

    def stopped(work: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("onnxplain.explain.streaming.mapping.clean", stopped)
    with pytest.raises(KeyboardInterrupt):
        onnxplain.map(DIGITS, data, out, "saliency", form=form, overwrite=True, **QUIET)
    monkeypatch.undo()
    onnxplain.map(DIGITS, data, out, "saliency", form=form, resume=True, **QUIET)
    assert rows(out) == list(range(20))
    assert [p.name for p in tmp_path.glob(".*")] == []


def test_one_run_at_a_time_and_none_removes_the_parts_of_another(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "a.parquet"
    work = place.work_of(out)
    work.mkdir()
    (work / "plan.json").write_text("{}", encoding="utf-8")
    with claimed(out), pytest.raises(OutputError, match="another process is writing"):
        onnxplain.map(DIGITS, data, out, overwrite=True, **QUIET)
    assert (work / "plan.json").exists()


@pytest.mark.slow
def test_two_runs_with_force(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((3000, 1, 8, 8), np.float32))
    out = tmp_path / "a.parquet"

    def start(part: int) -> subprocess.Popen[str]:
        settings = ["--batch-size", "1", "--part", str(part), "--provider", "cpu", "--threads", "1", "--force"]
        command = [sys.executable, "-m", "onnxplain", "map", str(DIGITS), str(tmp_path / "x.npy"), "-o", str(out), *settings]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    first = start(30)
    while not len(list(place.work_of(out).glob("*.json"))) > 3:
        assert first.poll() is None
    second = start(50)
    assert "another process is writing" in second.communicate()[1]
    assert first.communicate() is not None
    assert (first.returncode, second.returncode) == (0, 2)
    assert rows(out) == list(range(3000))


def test_a_run_that_did_not_begin_leaves_nothing_to_go_on_with(tmp_path: Path, data: Path) -> None:
    np.save(data, np.full_like(IMAGES, np.inf))
    with pytest.raises(onnxplain.errors.InputError, match="the first sample cannot be explained"):
        onnxplain.map(DIGITS, data, tmp_path / "a.parquet", **QUIET)
    np.save(data, IMAGES)
    assert onnxplain.map(DIGITS, data, tmp_path / "a.parquet", **QUIET).count == 20


def test_results_that_were_moved_are_not_removed(tmp_path: Path) -> None:
    goal = tmp_path / "a"
    goal.mkdir()
    (goal / "index.npy").write_bytes(b"done")
    sink._moved(tmp_path / "gone", goal)
    assert (goal / "index.npy").read_bytes() == b"done"
