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


SECRET = "SECRET"


def private_model() -> onnx.ModelProto:
    """A model that holds numbers and texts of its maker wherever ONNX has a place for them."""
    numbers = (np.arange(100) + 0.5).astype(np.float32)
    weight = numpy_helper.from_array(numbers, "w")
    sparse = onnx.helper.make_sparse_tensor(
        numpy_helper.from_array(numbers, "s"), numpy_helper.from_array(np.arange(100), "p"), [100]
    )
    few = numpy_helper.from_array(np.array([SECRET, "b"], object), "few")
    encoder = onnx.helper.make_node(
        "LabelEncoder", ["k"], ["l"], domain="ai.onnx.ml", keys_int64s=[1, 2], values_strings=[SECRET, "b"], default_string=SECRET
    )
    constant = onnx.helper.make_node("Constant", [], ["c"], sparse_value=sparse)
    custom = onnx.helper.make_node(
        "Own", ["x"], ["o"], domain="my.ops", code=SECRET, names=[SECRET], table=list(map(float, numbers[:9]))
    )
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "w"], ["y"]), encoder, constant, custom],
        SECRET,
        [value("x", 1, [1, 100]), value("k", 7, [1])],
        [value("y", 1, [1, 100])],
        [weight, few],
        doc_string=SECRET,
        sparse_initializer=[sparse],
    )
    model = onnx.helper.make_model(graph, producer_name=SECRET, producer_version=SECRET, domain=SECRET, doc_string=SECRET)
    for message in (graph.node[0], graph.input[0], graph.initializer[0], graph):
        message.doc_string = SECRET
    model.graph.CopyFrom(graph)
    for holder in (model, model.graph, model.graph.node[0], model.graph.initializer[0]):
        holder.metadata_props.add(key="k", value=SECRET)
    model.training_info.add().algorithm.initializer.append(weight)
    return model


def test_the_structure_holds_nothing_private() -> None:
    model = private_model()
    assert model.SerializeToString().count(SECRET.encode()) > 12
    made = without_values(model).SerializeToString()
    assert SECRET.encode() not in made
    assert np.float32(50.5).tobytes() not in made
    assert np.float32(8.5).tobytes() not in made
    assert [n.op_type for n in onnx.ModelProto.FromString(made).graph.node] == ["Add", "LabelEncoder", "Constant", "Own"]


def test_messages_name_files_without_their_folders(tmp_path: Path) -> None:
    folder = tmp_path / "of a customer"
    folder.mkdir()

    def fails() -> None:
        raise ValueError(f"cannot read {folder}/model.onnx: the tensor '/layer/Add' is odd")

    with zipfile.ZipFile(io.BytesIO(debug_bundle(DIGITS, fails))) as archive:
        text = archive.read("report.json").decode()
    assert "cannot read model.onnx: the tensor '/layer/Add' is odd" in text
    assert "customer" not in text
    (folder / "m.onnx").write_bytes(b"none")
    with zipfile.ZipFile(io.BytesIO(debug_bundle(folder / "m.onnx"))) as archive:
        assert "customer" not in archive.read("report.json").decode()
