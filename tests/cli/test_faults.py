"""Full disks, closed pipes, kills and interrupts: one line, nothing half-written, nothing left behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxplain.io.parts import PREFIX
from tests.cli.test_outputs import MODEL, THREE, WRITING
from tests.support.paths import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals, limits and devices as Linux has them")

LONG = ["explain", MODEL, THREE, "-m", "smoothgrad", "--option", "samples=600000", "-t", "3"]
"""A command that takes long enough to be stopped on its way."""


def start(*words: object, folder: Path, **more: Any) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "onnxplain", *map(str, words)]
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.Popen(command, cwd=folder, env=environment, **more)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, (out or b"").decode() + (err or b"").decode()


def limited() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))


@pytest.mark.parametrize("command", WRITING)
def test_a_disk_that_is_full(command: str, tmp_path: Path) -> None:
    """Files of this process may have 200 bytes. What was there stays; no part of the new one does."""
    words, ending = WRITING[command]
    out = tmp_path / f"out{ending}"
    out.write_bytes(b"precious")
    code, text = ended(start(*words, "-o", out, "--force", folder=tmp_path, preexec_fn=limited))
    assert code == 2, text
    assert "cannot write" in text
    assert "Traceback" not in text
    assert out.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == [out.name]


def test_devices_and_folders_that_take_nothing(tmp_path: Path) -> None:
    for out in ("/dev/full", "/proc/e.onnx", tmp_path / "nowhere" / "e.onnx", tmp_path):
        code, text = ended(start("rewrite", MODEL, "-o", out, folder=tmp_path))
        assert code == 2, (out, text)
        assert text.startswith("onnxplain: cannot write")
        assert len(text.splitlines()) == 1


def to_full() -> dict[str, Any]:
    return {"stdout": open("/dev/full", "wb")}


def closed() -> dict[str, Any]:
    return {"stdout": None, "preexec_fn": lambda: os.close(1)}


def broken() -> dict[str, Any]:
    reading, writing = os.pipe()
    os.close(reading)
    return {"stdout": writing}


@pytest.mark.parametrize("stdout", [to_full, closed, broken])
@pytest.mark.parametrize("words", [["plan", MODEL], ["plan", MODEL, "--json"], ["rewrite", MODEL, "-o", "-"], ["methods"]])
def test_a_standard_output_that_takes_nothing(words: list[Any], stdout: Callable[[], dict[str, Any]], tmp_path: Path) -> None:
    code, text = ended(start(*words, folder=tmp_path, **stdout()))
    assert "Traceback" not in text
    assert "Exception ignored" not in text
    assert len(text.splitlines()) <= 1, text
    told = stdout is broken and words[0] in ("plan", "methods")  # a reader such as `head` has had enough
    assert code != 0 or stdout is closed or told


def claimed_by(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until a process works on its output."""
    deadline = time.monotonic() + 60
    while not any(name.startswith(PREFIX) for name in os.listdir(folder)):
        assert process.poll() is None, ended(process)
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ctrl_c(tmp_path: Path) -> None:
    process = start(*LONG, "-o", "out.npz", folder=tmp_path)
    claimed_by(process, tmp_path)
    process.send_signal(signal.SIGINT)
    code, text = ended(process)
    assert code != 0
    assert "Traceback" not in text
    assert os.listdir(tmp_path) == []


HOLDER = """
import time
from pathlib import Path
from onnxplain.io.parts import claimed, part_of
with claimed(Path("out.npz").resolve()), part_of(Path("out.npz").resolve()) as file:
    file.write(b"half")
    file.flush()
    time.sleep(100)
"""


def test_a_kill_leaves_nothing_that_the_next_run_does_not_clear(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", HOLDER], cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 60
    while sum(name.startswith(PREFIX) for name in os.listdir(tmp_path)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    code, text = ended(start(*WRITING["explain"][0], "-o", "out.npz", folder=tmp_path))
    assert code == 2
    assert "another process is writing" in text
    process.kill()
    process.wait()
    assert ended(start(*WRITING["explain"][0], "-o", "out.npz", folder=tmp_path))[0] == 0
    assert os.listdir(tmp_path) == ["out.npz"]


@pytest.mark.slow
@pytest.mark.parametrize("command", WRITING)
def test_kills_at_any_moment(command: str, tmp_path: Path) -> None:
    """The output is whole or not there; the next run writes it and clears the rest."""
    words, ending = WRITING[command]
    out, rng = tmp_path / f"out{ending}", random.Random(0)
    begin = time.monotonic()
    assert ended(start(*words, "-o", out, folder=tmp_path))[0] == 0
    whole, size = time.monotonic() - begin, out.stat().st_size
    for _ in range(10):
        out.unlink(missing_ok=True)
        process = start(*words, "-o", out, folder=tmp_path)
        time.sleep(rng.uniform(0.2, 1.1) * whole)
        process.kill()
        process.wait()
        assert not out.exists() or abs(out.stat().st_size - size) < 0.2 * size
    out.unlink(missing_ok=True)
    assert ended(start(*words, "-o", out, folder=tmp_path))[0] == 0
    assert os.listdir(tmp_path) == [out.name]


def test_a_result_is_whole_under_its_name(tmp_path: Path) -> None:
    """What is read under the name of an output while it is replaced is the old file or the new one."""
    from onnxplain.io.writer import write_file

    out, contents = tmp_path / "a.bin", [bytes([i]) * 200_000 for i in range(40)]
    out.write_bytes(contents[0])
    for content in contents:

        def write(file: Any, content: bytes = content) -> None:
            file.write(content[:100_000])
            assert len(set(out.read_bytes())) == 1
            file.write(content[100_000:])

        write_file(out, write)
    assert np.all(np.frombuffer(out.read_bytes(), np.uint8) == 39)
