"""The script that measures deployed files, benchmarks/deployed.py, on two models of our own and one that is broken."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from benchmarks import deployed, deployed_measure
from benchmarks.deployed_inputs import SAMPLES, Hint, InputsError, inputs_of
from benchmarks.deployed_packages import Package, distinct, files_of, given
from benchmarks.deployed_page import page

FIXTURES = Path(__file__).resolve().parent.parent.parent / "fixtures"
DIGITS = FIXTURES / "digits" / "model.onnx"
TOKENS = FIXTURES / "lrp_bert" / "model.onnx"
QUICK = ["inputs", "plan", "prediction", "gradient", deployed_measure.LRP, "deeplift"]


ARGUMENTS = argparse.Namespace(steps=QUICK, again=False, threads=1, seconds=60.0, memory=12.0, until=float("inf"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the script finds in a picture model, a token model and a file that is no model."""
    folder = tmp_path_factory.mktemp("deployed")
    broken = folder / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deployed, "ROWS", folder / "rows.json")
        measured: dict[str, Any] = {}
        deployed.update(measured, [given(path) for path in (DIGITS, TOKENS, broken)], ARGUMENTS)
        assert json.loads(deployed.ROWS.read_text()) == measured
        yield measured


def test_a_picture_model_is_measured(rows: dict[str, Any]) -> None:
    picture, _, _ = rows.values()
    found = picture["steps"]
    assert found["inputs"]["inputs"] == {"image": [2, 1, 8, 8]}
    assert found["prediction"]["plain"] < 1e-6
    assert found["gradient"]["error"] < 1e-3 + 3 * found["gradient"]["certain"]
    assert found["deeplift"]["gap"] < 1e-4
    assert found[deployed_measure.LRP]["lost"] < 1e-3


def test_a_token_model_is_moved_at_its_embedding(rows: dict[str, Any]) -> None:
    _, tokens, _ = rows.values()
    found = tokens["steps"]
    assert found["gradient"]["explained"] == ["embedding"]
    assert found["gradient"]["error"] < 1e-3 + 3 * found["gradient"]["certain"]


def test_a_broken_file_is_reported_and_the_rest_goes_on(rows: dict[str, Any]) -> None:
    _, _, broken = rows.values()
    found = broken["steps"]
    assert list(found) == QUICK
    assert all("problem" in step for step in found.values())
    text = page(list(rows.values()), {"processor": "p", "cores": "2", "threads": 1, "date": "d"}, {"numpy": "2"})
    assert "3 distinct files: 2 get a gradient, 2 relevance." in text
    assert "- broken.onnx, " in text


def test_what_was_measured_is_not_measured_again(rows: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployed, "measure", lambda *_, **__: pytest.fail("measured again"))
    deployed.update(rows, [given(DIGITS)], ARGUMENTS)


def test_a_wrong_gradient_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = deployed_measure.Subject(DIGITS, "digits", 1)
    right = deployed_measure._run
    wrong = {"image_attribution": lambda g: np.where(np.arange(g.size).reshape(g.shape) % 64 == 27, 0, g)}
    monkeypatch.setattr(
        deployed_measure,
        "_run",
        lambda *given: {n: wrong.get(n, lambda a: a)(a) for n, a in right(*given).items()},
    )
    found = deployed_measure.measured(subject, "gradient")
    assert found["error"] > 1e-2 + 3 * found["certain"]


def test_a_process_that_ends_costs_one_step_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = tmp_path / "child.py"
    child.write_text(
        "import json, os, sys, time\n"
        "for step in json.loads(sys.argv[1])['steps']:\n"
        "    print(json.dumps({'begins': step}), flush=True)\n"
        "    if step == 'plan': os._exit(7)\n"
        "    if step == 'gradient': time.sleep(60)\n"
        "    print(json.dumps({'step': step, 'found': {}}), flush=True)\n"
    )
    monkeypatch.setattr(deployed, "CHILD", child)
    steps = ["inputs", "plan", "prediction", "gradient", "deeplift"]
    found = dict(deployed.measure(given(DIGITS), steps, threads=1, seconds=2, memory=12))
    assert found == {
        "inputs": {},
        "plan": {"problem": "the process ended with status 7"},
        "prediction": {},
        "gradient": {"problem": "not finished in 2 s"},
        "deeplift": {},
    }


def look_up(rows: int) -> ort.InferenceSession:
    """A model of tokens with so many rows, a mask, a setting and a state whose second axis counts samples."""
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["looked"]),
        helper.make_node("Cast", ["mask"], ["weight"], to=1),
        helper.make_node("Mul", ["looked", "weight"], ["kept"]),
        helper.make_node("Identity", ["state"], ["next"]),
    ]
    integer, real = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    inputs = [
        helper.make_tensor_value_info("state", real, [1, "n", 3]),
        helper.make_tensor_value_info("tokens", integer, ["n", "length"]),
        helper.make_tensor_value_info("mask", integer, ["n", "length"]),
    ]
    outputs = [helper.make_tensor_value_info(name, real, None) for name in ("kept", "next")]
    table = onnx.numpy_helper.from_array(np.arange(rows, dtype=np.float32), "table")
    graph = helper.make_graph(nodes, "look-up", inputs, outputs, [table])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_integers_stay_within_look_ups_and_masks_are_ones() -> None:
    feeds = inputs_of(look_up(40), Hint({"length": 500}), 2)
    assert feeds["tokens"].shape == (2, 500)
    assert 16 <= feeds["tokens"].max() < 40
    assert (feeds["mask"] == 1).all()
    assert feeds["state"].shape == (1, 2, 3)


def test_hints_choose_extents_values_and_ranges() -> None:
    feeds = inputs_of(look_up(40), Hint({"state[1]": SAMPLES, "length": 3}, {"mask": 0}, {"tokens": 2}), 5)
    assert feeds["state"].shape == (1, 5, 3)
    assert feeds["tokens"].max() < 2
    assert not feeds["mask"].any()
    with pytest.raises(InputsError, match="takes none of the integers"):
        inputs_of(look_up(1), Hint(below={"tokens": 2**40}), 2)


def test_files_of_an_installed_package(tmp_path: Path) -> None:
    light = Package("onnx", "installed", "backend/test/data/light/light_s*.onnx")
    found = list(files_of(light, tmp_path))
    assert [f.name for f in found] == ["onnx/light_shufflenet.onnx", "onnx/light_squeezenet.onnx"]
    assert found[0].package == f"onnx {onnx.__version__}"
    assert found[0].licence == "Apache-2.0"
    assert distinct(iter([*found, *found])) == found
