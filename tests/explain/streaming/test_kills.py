"""Runs that are killed, stopped and repeated: nothing is lost, nothing is doubled, and the bytes are those of one run."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits" / "model.onnx"
COUNT = 2000


def command(data: Path, out: Path, *more: str) -> list[str]:
    settings = ["--batch-size", "10", "--part", "50", "--provider", "cpu", "--threads", "1", "--on-error", "skip"]
    return [
        sys.executable,
        "-m",
        "onnxplain",
        "map",
        str(DIGITS),
        str(data),
        "-o",
        str(out),
        "-m",
        "lrp-epsilon",
        *settings,
        *more,
    ]


def files(path: Path) -> dict[str, bytes]:
    """Every file of a result, by name."""
    found = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    beside = list(path.parent.glob(f"{path.name}.*"))
    return {str(p.relative_to(path.parent)).replace(path.stem, "result"): p.read_bytes() for p in (*found, *beside)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    x = np.random.default_rng(0).random((COUNT, 1, 8, 8), np.float32)
    x[777, 0, 0, 0] = np.inf  # a sample that is left out
    path = tmp_path_factory.mktemp("data") / "x.npy"
    np.save(path, x)
    return path


@pytest.mark.parametrize(
    ("ending", "more", "kills"),
    [
        ("parquet", (), 2),
        pytest.param("parquet", ("--processes", "2"), 20, marks=pytest.mark.slow),
        pytest.param("d", ("--form", "npy"), 8, marks=pytest.mark.slow),
        pytest.param("zarr", (), 8, marks=pytest.mark.slow),
        pytest.param("d", ("--form", "npz"), 5, marks=pytest.mark.slow),
    ],
)
def test_killed_at_random(tmp_path: Path, data: Path, ending: str, more: tuple[str, ...], kills: int) -> None:
    if ending == "zarr":
        pytest.importorskip("zarr", reason="zarr is not installed: it comes with the extra 'zarr', from Python 3.11 on")
    whole, parted = tmp_path / f"whole.{ending}", tmp_path / f"parted.{ending}"
    subprocess.run(command(data, whole, *more), check=True, capture_output=True)
    chance, work = random.Random(len(more) + kills), tmp_path / f".{parted.name}.parts"
    killed = 0
    for _ in range(kills):
        before = len(list(work.glob("*.json"))) if work.exists() else 0
        run = subprocess.Popen(command(data, parted, "--resume", *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        goal = before + 1 + chance.randrange(max(1, COUNT // 50 // kills))
        while run.poll() is None and len(list(work.glob("*.json"))) <= goal:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.02)
        run.send_signal(signal.SIGKILL)
        killed += run.wait() == -signal.SIGKILL
        if parted.exists():
            break
    assert killed
    if not parted.exists():
        subprocess.run(command(data, parted, "--resume", *more), check=True, capture_output=True)
    assert files(parted) == files(whole)
    assert not work.exists()


def test_interrupted(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "a.parquet"
    work = tmp_path / ".a.parquet.parts"
    run = subprocess.Popen(command(data, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while run.poll() is None and not list(work.glob("*000001.json")):
        time.sleep(0.002)
    run.send_signal(signal.SIGINT)
    _, told = run.communicate()
    assert run.returncode == 130, told
    assert "go on with --resume" in told
    assert "Traceback" not in told
    again = subprocess.run(command(data, out), capture_output=True, text=True)
    assert again.returncode == 2
    assert "is not complete; go on with resume" in again.stderr


def test_a_full_disk(tmp_path: Path, data: Path) -> None:
    """The limit on the size of a file stands for it: writing fails with an error of the system."""
    out = tmp_path / "a"

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    run = subprocess.run(command(data, out, "--form", "npy"), preexec_fn=limited, capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert "cannot write" in run.stderr
    subprocess.run(command(data, out, "--form", "npy", "--resume"), check=True, capture_output=True)
    assert len(np.load(out / "index.npy")) == COUNT


@pytest.mark.slow
def test_a_process_of_the_run_is_killed(tmp_path: Path, data: Path) -> None:
    whole, parted = tmp_path / "whole.parquet", tmp_path / "parted.parquet"
    subprocess.run(command(data, whole), check=True, capture_output=True)
    work = tmp_path / ".parted.parquet.parts"
    run = subprocess.Popen(
        command(data, parted, "--processes", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while run.poll() is None and not list(work.glob("*000001.json")):
        time.sleep(0.002)
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(run.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(children[0]), signal.SIGKILL)
    _, told = run.communicate()
    assert run.returncode == 2
    assert "ended by itself (signal 9); what was done is kept" in told
    subprocess.run(command(data, parted, "--resume"), check=True, capture_output=True)
    assert files(parted) == files(whole)
