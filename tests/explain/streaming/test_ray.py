"""The same run on a cluster of Ray, started on this machine for real."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import onnxplain
from onnxplain.errors import InputError, ProviderError
from tests.support.paths import FIXTURES

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray", reason="ray is not installed: it comes with the extra 'ray'")
DIGITS = FIXTURES / "digits" / "model.onnx"
SETTINGS = {"batch_size": 10, "part": 100, "providers": "cpu", "threads": 1, "progress": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("data") / "x.npy"
    np.save(path, np.random.default_rng(0).random((2000, 1, 8, 8), np.float32))
    yield path
    ray.shutdown()


def test_the_bytes_are_those_of_a_local_run_even_if_an_actor_dies(tmp_path: Path, data: Path) -> None:
    onnxplain.map(DIGITS, data, tmp_path / "local.parquet", "lrp-epsilon", **SETTINGS)
    told: list[BaseException] = []

    def kill_one() -> None:
        work = tmp_path / ".ray.parquet.parts"
        until = time.time() + 120
        while time.time() < until and not list(work.glob("*000003.json")):
            time.sleep(0.005)
        listed = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True).stdout.splitlines()
        actors = [int(line.split()[0]) for line in listed if "ray::" in line and "PartWorker" in line]
        if not actors:
            told.append(AssertionError("no actor was found"))
            return
        os.kill(actors[0], signal.SIGKILL)

    thread = threading.Thread(target=kill_one)
    thread.start()
    onnxplain.map(DIGITS, data, tmp_path / "ray.parquet", "lrp-epsilon", engine="ray", processes=2, **SETTINGS)
    thread.join()
    assert not told
    assert (tmp_path / "ray.parquet").read_bytes() == (tmp_path / "local.parquet").read_bytes()


def test_a_sample_that_fails_ends_the_run_with_its_name(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((300, 1, 8, 8), np.float32)
    x[250, 0, 0, 0] = np.inf
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(InputError, match="sample 250"):
        onnxplain.map(DIGITS, tmp_path / "x.npy", tmp_path / "a.parquet", engine="ray", **SETTINGS)
    x[250, 0, 0, 0] = 0
    np.save(tmp_path / "x.npy", x)
    done = onnxplain.map(DIGITS, tmp_path / "x.npy", tmp_path / "a.parquet", resume=True, **SETTINGS)
    assert done.count == 300


def test_no_cluster_there(tmp_path: Path, data: Path) -> None:
    ray.shutdown()
    with pytest.raises(ProviderError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        onnxplain.map(DIGITS, data, tmp_path / "a.parquet", engine="ray", address="127.0.0.1:1", **SETTINGS)
