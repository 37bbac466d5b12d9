"""Files of samples for inputs that do not have their samples first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from onnxplain.cli.main import main
from onnxplain.errors import InputError
from onnxplain.io.samples import read_inputs
from onnxplain.ir.tensor import Tensor
from tests.support.models import model, node

STEPS = Tensor("x", np.dtype(np.float32), (4, "n", 2))
X = np.random.default_rng(0).random((4, 3, 2)).astype(np.float32)


def test_every_file_is_a_sample(tmp_path: Path) -> None:
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", X[:, i])
    found = read_inputs([str(tmp_path / f"{i}.npy") for i in range(3)], [STEPS], axes={"x": 1})
    np.testing.assert_array_equal(found["x"], X)


def test_files_with_several_samples_are_joined_along_their_axis(tmp_path: Path) -> None:
    np.save(tmp_path / "two.npy", X[:, :2])
    np.save(tmp_path / "one.npy", X[:, 2:])
    found = read_inputs([str(tmp_path / "two.npy"), str(tmp_path / "one.npy")], [STEPS], axes={"x": 1})
    np.testing.assert_array_equal(found["x"], X)
    np.save(tmp_path / "one.npy", X[:3, 2:])
    with pytest.raises(InputError, match="hold samples of different shapes"):
        read_inputs([str(tmp_path / "two.npy"), str(tmp_path / "one.npy")], [STEPS], axes={"x": 1})


@pytest.mark.parametrize("ending", ["csv", "txt"])
def test_rows_are_samples(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{ending}"
    np.savetxt(path, X.transpose(1, 0, 2).reshape(3, 8), delimiter="," if ending == "csv" else " ")
    np.testing.assert_allclose(read_inputs([str(path)], [STEPS], axes={"x": 1})["x"], X)


def test_the_shell_lays_samples_where_the_model_has_them(tmp_path: Path) -> None:
    """Time first: the squares of all steps summed up, so that the gradient is 2x for the chosen feature."""
    nodes = [node("Mul", "x x", "xx"), node("ReduceSum", "xx time", "y", keepdims=0)]
    onnx.save(model(nodes, {"x": [4, "n", 2]}, {"y": ["n", 2]}, {"time": np.array([0])}), tmp_path / "model.onnx")
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", X[:, i])
    files = [str(tmp_path / f"{i}.npy") for i in range(3)]
    words = ["explain", str(tmp_path / "model.onnx"), *files, "-m", "gradient", "-t", "1", "-o", str(tmp_path / "out.npz")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "out.npz") as made:
        array = made["x_attribution"]
    np.testing.assert_allclose(array, 2 * X * [0, 1], rtol=1e-5)
    done = CliRunner().invoke(main, ["check", str(tmp_path / "model.onnx"), *files, "-m", "gradient"])
    assert done.exit_code == 0, done.output
