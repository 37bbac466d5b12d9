"""Inputs that get no attribution are named, with the reason, wherever an explanation is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from click.testing import CliRunner
from onnx import TensorProto

from onnxplain import Explainer, plan, rewrite
from onnxplain.cli.main import main
from onnxplain.io.contract import metadata_problems
from onnxplain.io.metadata import read_metadata
from onnxplain.results.html import render_explanations
from onnxplain.results.left_out import left_out_in_words
from tests.support.models import model, node


def floats(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def atoms() -> onnx.ModelProto:
    """Edges choose among what is made of atoms; the name of the whole changes nothing."""
    nodes = [node("MatMul", "atoms v", "h"), node("Gather", "h source", "m"), node("Add", "m edges", "q"),
             node("ReduceSum", "q zero", "y", keepdims=1)]  # fmt: skip
    kinds = {"source": TensorProto.INT64, "name": TensorProto.STRING}
    inputs: dict[str, Any] = {"atoms": ["A", 4], "edges": ["E", 3], "source": ["E"], "name": ["B"]}
    return model(nodes, inputs, {"y": [1, 3]}, {"v": floats(4, 3), "zero": np.array([0])}, kinds=kinds)


FEEDS = {"atoms": floats(5, 4), "edges": floats(8, 3), "source": np.arange(8) % 5, "name": np.array(["water"])}


def left_out_of(made: onnx.ModelProto) -> list[str]:
    about = read_metadata(made)
    assert about is not None
    assert not metadata_problems(about)
    return list(about["left_out"])


def test_files_plans_explanations_and_pages_tell() -> None:
    assert list(plan(atoms()).left_out) == ["source", "name"]
    assert left_out_of(rewrite(atoms(), "saliency")) == ["source", "name"]
    assert left_out_of(rewrite(atoms(), inputs=["edges"])) == ["atoms", "source", "name"]
    assert left_out_of(rewrite(atoms(), layer="Add:0")) == [], "no input is explained"
    found = Explainer(atoms())(FEEDS, (0, 1))
    assert list(found.left_out) == ["source", "name"]
    assert "says where to look in 'h'" in found.left_out["source"]
    assert found.to_dict()["about"]["left_out"] == found.left_out
    page = render_explanations([found])
    assert page.count("not explained") == 2
    assert "holds text" in page


def test_the_command_line_tells(tmp_path: Path) -> None:
    path, explained, feeds = tmp_path / "made.onnx", tmp_path / "explained.onnx", tmp_path / "x.npz"
    made = atoms()
    del made.graph.input[-1]
    onnx.save(made, path)
    np.savez(feeds, **{k: v for k, v in FEEDS.items() if k != "name"})
    for command in (["rewrite", str(path), "-o", str(explained)], ["inspect", str(explained)], ["plan", str(path)],
                    ["explain", str(path), str(feeds), "-t", "0,1"]):  # fmt: skip
        found = CliRunner().invoke(main, command)
        assert found.exit_code == 0, found.output
        assert "'source': says where to look in 'h'" in found.output, command


def test_forward_passes_tell_what_they_leave_as_it_is() -> None:
    nodes = [node("Gather", "table ids", "rows"), node("Cast", "mask", "m", to=TensorProto.FLOAT),
             node("ReduceSum", "rows last", "s", keepdims=0), node("Mul", "s m", "p"), node("MatMul", "p w", "q"),
             node("Add", "q shift", "y")]  # fmt: skip
    inputs: dict[str, Any] = {"ids": ["n", 3], "mask": ["n", 3], "shift": [2]}
    kinds = {"ids": TensorProto.INT64, "mask": TensorProto.INT64}
    made = model(nodes, inputs, {"y": ["n", 2]}, {"table": floats(9, 4), "last": np.array([2]), "w": floats(3, 2)}, kinds=kinds)
    feeds = {"ids": np.array([[1, 2, 3], [8, 0, 5]]), "mask": np.ones((2, 3), np.int64), "shift": np.zeros(2, np.float32)}
    reasons = Explainer(made, "occlusion", baseline=0)(feeds).left_out
    assert list(reasons) == ["mask", "shift"]
    assert "whole numbers beside those that are looked up" in reasons["mask"]
    assert "no axis for samples" in reasons["shift"]


def test_many_inputs_left_out_for_one_reason_take_one_line() -> None:
    assert left_out_in_words({"a": "text", "b": "mask", "c": "text"}) == ["'a', 'c': text", "'b': mask"]
    assert left_out_in_words({f"past.{i}": "empty" for i in range(48)}) == ["'past.0', 'past.1', 'past.2' and 45 more: empty"]
