"""Where commands write: nothing is replaced unasked, and standard output carries a file."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from onnxplain.cli.main import COMMANDS, main
from onnxplain.io.parts import PREFIX, claimed
from tests.support.paths import FIXTURES, ROOT

LLAMA = FIXTURES / "llama/model.onnx"
MODEL, THREE = FIXTURES / "digits/model.onnx", FIXTURES / "digits/digit_3.npy"
DATA = FIXTURES / "digits/data.npz"

WRITING = {
    "rewrite": (["rewrite", MODEL], ".onnx"),
    "explain": (["explain", MODEL, THREE], ".npz"),
    "evaluate": (["evaluate", MODEL, THREE, "-m", "gradient", "-q", "sparseness"], ".json"),
    "bench": (["bench", MODEL, "--rounds", "1", "--seconds", "0", "--batch", "1"], ".json"),
    "debug-bundle": (["debug-bundle", MODEL], ".zip"),
    "prototype": (["prototype", MODEL, "-t", "3", "--starts", "1"], ".npz"),
    "attention": (["attention", FIXTURES / "reviews/model.onnx", "A fine film"], ".json"),
    "generate": (["generate", LLAMA, "3,1,4", "-n", "1"], ".json"),
}
"""Every command that takes `-o`, with an ending that it writes."""

ELSEWHERE = {"map": "tests/explain/streaming", "drift": "tests/results/summary", "page": "tests/cli/test_page.py"}
"""Commands whose outputs are more than a file, or are made of such, and where they are tested."""


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_these_are_all_the_commands_that_write() -> None:
    taking = [name for name in COMMANDS if any("--out" in p.opts for p in main.get_command(None, name).params)]  # type: ignore[arg-type, union-attr]
    assert sorted(taking) == sorted([*WRITING, *ELSEWHERE])


@pytest.mark.parametrize("command", WRITING)
def test_what_exists_is_replaced_only_by_force(command: str, tmp_path: Path) -> None:
    words, ending = WRITING[command]
    out = tmp_path / f"out{ending}"
    out.write_bytes(b"precious")
    refused = invoke(*words, "-o", out)
    assert refused.exit_code == 2
    assert "exists; give --force" in refused.output
    assert out.read_bytes() == b"precious"
    done = invoke(*words, "-o", out, "--force")
    assert done.exit_code == 0, done.output
    assert out.read_bytes() != b"precious"
    assert os.listdir(tmp_path) == [out.name]


@pytest.mark.parametrize("command", WRITING)
def test_what_is_read_is_not_replaced_even_by_force(command: str, tmp_path: Path) -> None:
    words, ending = WRITING[command]
    model = tmp_path / f"model{ending}"
    model.write_bytes(MODEL.read_bytes())
    link = tmp_path / f"link{ending}"
    link.symlink_to(model)
    for out in (model, link):
        refused = invoke(words[0], model, *words[2:], "-o", out, "--force")
        assert refused.exit_code == 2
        assert "is read by this command" in refused.output
    assert model.read_bytes() == MODEL.read_bytes()


@pytest.mark.parametrize("command", WRITING)
def test_two_processes_do_not_write_one_file(command: str, tmp_path: Path) -> None:
    words, ending = WRITING[command]
    out = tmp_path / f"out{ending}"
    with claimed(out):
        refused = invoke(*words, "-o", out)
    assert refused.exit_code == 2
    assert "another process is writing" in refused.output
    assert os.listdir(tmp_path) == []


def test_weights_that_the_model_reads_are_not_replaced(tmp_path: Path) -> None:
    model = onnx.load(MODEL)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.onnx", size_threshold=0)
    weights = (tmp_path / "w.onnx").read_bytes()
    refused = invoke("rewrite", tmp_path / "m.onnx", "-o", tmp_path / "w.onnx", "--force")
    assert refused.exit_code == 2
    assert "weights of the model are read from" in refused.output
    assert (tmp_path / "w.onnx").read_bytes() == weights
    nowhere = invoke("rewrite", tmp_path / "m.onnx", "-o", "-")
    assert nowhere.exit_code == 2
    assert "external data" in nowhere.output


def test_one_file_named_twice(tmp_path: Path) -> None:
    refused = invoke("explain", MODEL, THREE, "-o", tmp_path / "a.npz", "-o", tmp_path / "." / "a.npz")
    assert refused.exit_code == 2
    assert "named twice" in refused.output


def run(*words: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "onnxplain", *map(str, words)], cwd=ROOT, capture_output=True, check=True)


def test_standard_output_carries_the_file_and_nothing_else() -> None:
    rewritten = run("rewrite", MODEL, "-o", "-")
    onnx.checker.check_model(onnx.ModelProto.FromString(rewritten.stdout))
    assert b"image_attribution" in rewritten.stderr
    explained = run("explain", MODEL, THREE, "-o", "-.npz")
    with np.load(io.BytesIO(explained.stdout)) as arrays:
        assert arrays["image_attribution"].shape == (1, 1, 8, 8)
    assert json.loads(run("evaluate", MODEL, THREE, "-m", "gradient", "-q", "sparseness", "-o", "-.json").stdout)


def test_what_a_killed_run_left_is_cleared_and_what_others_write_is_not(tmp_path: Path) -> None:
    left = tmp_path / f"{PREFIX}0123.part"
    left.write_bytes(b"half a file")
    (tmp_path / f"{PREFIX}old.onnx.claim").touch()
    with claimed(tmp_path / "other.onnx"):
        assert invoke("rewrite", MODEL, "-o", tmp_path / "e.onnx").exit_code == 0
        assert sorted(os.listdir(tmp_path)) == [f"{PREFIX}other.onnx.claim", "e.onnx"]
