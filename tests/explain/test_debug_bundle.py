"""What a report of a mistake holds, and what it does not."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxplain
from onnxplain.explain.debug_bundle import debug_bundle, without_values
from onnxplain.io.lazy_weights import all_tensors
from tests.fuzz import seeds
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits/model.onnx"


@pytest.mark.parametrize("name", seeds.FILES)
def test_the_structure_is_that_of_the_model_without_a_weight(name: str) -> None:
    model = onnx.load(FIXTURES / name)
    made = without_values(model)
    assert [(n.op_type, list(n.input), list(n.output)) for n in made.graph.node] == [
        (n.op_type, list(n.input), list(n.output)) for n in model.graph.node
    ]
    for tensor in all_tensors(made):
        array = numpy_helper.to_array(tensor)
        assert array.size <= 8 or array.dtype.kind in "ib" or not array.astype(bool).any(), tensor.name
    extents = {t.name: list(t.dims) for t in model.graph.initializer}
    assert {t.values.name: list(t.dims) for t in made.graph.sparse_initializer}.items() <= extents.items()


@pytest.mark.parametrize(
    "name", ["digits/model.onnx", "lrp_lstm/model.onnx", "cnn1d/model_legacy.onnx", "unet/model_legacy.onnx"]
)
def test_the_structure_is_rewritten_into_the_same_nodes(name: str) -> None:
    model = onnx.load(FIXTURES / name)
    there, here = (onnxplain.rewrite(m, "gradient") for m in (model, without_values(model)))
    assert [n.op_type for n in there.graph.node] == [n.op_type for n in here.graph.node]


def test_what_happened_is_told_without_paths_and_values(tmp_path: Path) -> None:
    secret = 0.1234567
    model = onnx.load(DIGITS)
    weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights[...] = secret
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, model.graph.initializer[0].name))
    model.doc_string = "made by somebody"
    data = debug_bundle(model, lambda: onnxplain.rewrite(model, "gradient", target=99))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        report = json.loads(archive.read("report.json"))
        structure = archive.read("structure.onnx")
    assert np.float32(secret).tobytes() not in structure
    assert b"somebody" not in structure
    (error,) = report["attempt"]["errors"]
    assert error["error"].startswith("TargetError: ")
    assert any(line.startswith("onnxplain/explain/rewrite.py:") for line in error["through"])
    assert not any(line.startswith("/") for line in error["through"])
    assert report["operators"]["ai.onnx.Conv"] == 2


def test_of_a_file_that_cannot_be_read_the_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(DIGITS.read_bytes()[:1000])
    with zipfile.ZipFile(io.BytesIO(debug_bundle(tmp_path / "m.onnx"))) as archive:
        assert archive.namelist() == ["report.json"]
        assert "m.onnx" in json.loads(archive.read("report.json"))["reading"]
