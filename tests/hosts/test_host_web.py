"""Explained models in JavaScript, in Node."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import rewrite
from onnxplain.io.metadata import METADATA_KEY, read_metadata
from tests.support import host_cases
from tests.support.host_cases import FIXTURES, Case
from tests.support.web import EXAMPLE, NODE, close, node_needed, shell

pytestmark = [node_needed]


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
