"""Unfinished files: processes that write into one folder never sweep each other's away."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from onnxplain.errors import OutputError
from onnxplain.io.parts import PREFIX, claimed, part_of
from tests.support.paths import ROOT

fcntl = pytest.importorskip("fcntl")

WRITER = """
import sys
from pathlib import Path
from onnxplain.io.parts import part_of
for i in range(300):
    with part_of(Path(sys.argv[1], f"{sys.argv[2]}.{i % 5}")) as file:
        file.write(b"whole")
"""


def test_many_writers_in_one_folder(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(n)], env=environment) for n in range(3)]
    assert [w.wait(120) for w in writers] == [0, 0, 0]
    assert sorted(os.listdir(tmp_path)) == sorted(f"{n}.{i}" for n in range(3) for i in range(5))
    assert {p.read_bytes() for p in tmp_path.iterdir()} == {b"whole"}


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As network file systems without a lock service answer: files are written, and nobody's unfinished files are removed."""

    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    names = iter("abc")
    monkeypatch.setattr("secrets.token_hex", lambda _: next(names))
    theirs = tmp_path / f"{PREFIX}theirs.part"
    theirs.write_bytes(b"half")
    with claimed(tmp_path / "out"), part_of(tmp_path / "out") as file:
        file.write(b"whole")
    assert sorted(os.listdir(tmp_path)) == [theirs.name, "out"]


def test_a_sweep_holds_a_fresh_claim_for_an_instant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tries = fcntl.flock, []

    def flock(*given: Any) -> None:
        tries.append(given)
        if len(tries) <= 2:
            raise OSError(errno.EWOULDBLOCK, "held")
        real(*given)

    monkeypatch.setattr("fcntl.flock", flock)
    with claimed(tmp_path / "out"), pytest.raises(OutputError, match="another process is writing"), claimed(tmp_path / "out"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_part_that_is_given_up_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tries = fcntl.flock, []

    def flock(*given: Any) -> None:
        tries.append(given)
        if len(tries) == 1:
            raise OSError(errno.EWOULDBLOCK, "held")
        real(*given)

    monkeypatch.setattr("fcntl.flock", flock)
    with part_of(tmp_path / "out") as file:
        file.write(b"whole")
        assert len(os.listdir(tmp_path)) == 1
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("length", [238, 239, 255])
def test_names_as_long_as_a_file_system_takes(length: int, tmp_path: Path) -> None:
    path = tmp_path / ("a" * length)
    with claimed(path), part_of(path) as file:
        file.write(b"whole")
        with pytest.raises(OutputError, match="another process is writing"), claimed(path):
            pass
    assert os.listdir(tmp_path) == [path.name]
