"""Reading models: forms, damage, opsets, functions, external data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from onnxplain import rewrite
from onnxplain.errors import ModelError
from onnxplain.io.reader import read
from onnxplain.ir.graph import Graph
from onnxplain.passes import prepare
from tests.support.models import model, node, run
from tests.support.paths import FIXTURES

W = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def small(opset: int = 18) -> onnx.ModelProto:
    return model([node("MatMul", "x w", "h"), node("Relu", "h", "y")], {"x": ["n", 4]}, {"y": ["n", 3]}, {"w": W}, opset=opset)


def expected(x: np.ndarray) -> np.ndarray:
    top = np.maximum(x @ W, 0).argmax(axis=1)
    return np.where((x @ W)[np.arange(len(x)), top, None] > 0, W.T[top], 0)


X = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)


def explains(made: onnx.ModelProto) -> None:
    np.testing.assert_allclose(run(made, {"x": X})["x_attribution"], expected(X), rtol=1e-5)


def test_path_bytes_and_proto_give_the_same(tmp_path: Path) -> None:
    onnx.save(small(), tmp_path / "m.onnx")
    data = (tmp_path / "m.onnx").read_bytes()
    results = [rewrite(m) for m in (tmp_path / "m.onnx", str(tmp_path / "m.onnx"), data, onnx.load_from_string(data))]
    for made in results:
        explains(made)
        assert made.graph == results[0].graph


def test_given_proto_is_left_as_it_is() -> None:
    given = small()
    before = given.SerializeToString()
    rewrite(given)
    assert given.SerializeToString() == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no ONNX model"),
        (b"this is a text file, not a model\n" * 20, "no ONNX model"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "no ONNX model"),
        (b"{}", "no ONNX model"),
    ],
    ids=["empty", "text", "picture", "json"],
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=says):
        rewrite(path)


def test_missing_file() -> None:
    with pytest.raises(ModelError, match=r"no file at .*nowhere\.onnx"):
        rewrite("nowhere.onnx")


def test_model_cut_off_anywhere_is_refused() -> None:
    data = (FIXTURES / "digits" / "model.onnx").read_bytes()
    for part in np.linspace(1, len(data) - 1, 60).astype(int):
        with pytest.raises(ModelError, match=r"cut off|no graph"):
            rewrite(data[:part])


def test_external_data_missing_or_cut_off(tmp_path: Path) -> None:
    onnx.save_model(small(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    explains_external = rewrite(tmp_path / "m.onnx")
    assert explains_external.graph.initializer[0].data_location == onnx.TensorProto.EXTERNAL
    data = (tmp_path / "m.data").read_bytes()
    (tmp_path / "m.data").write_bytes(data[:-4])
    with pytest.raises(ModelError, match="cut off"):
        rewrite(tmp_path / "m.onnx")
    (tmp_path / "m.data").unlink()
    with pytest.raises(ModelError, match=r"missing.*m\.data"):
        rewrite(tmp_path / "m.onnx")


@pytest.mark.parametrize("opset", [7, 9, 11, 12, 13, 15, 17, 18, 19, 20, 21, 22, 23, 24])
def test_every_opset_lands_between_18_and_21(opset: int) -> None:
    made = rewrite(small(opset))
    assert 18 <= made.opset_import[0].version <= 21
    assert made.ir_version <= 10
    onnx.checker.check_model(made, full_check=True)
    explains(made)


def test_newer_operator_keeps_its_opset() -> None:
    """RMSNormalization exists from opset 23 on: lowering would break the model."""
    if tuple(map(int, ort.__version__.split(".")[:2])) < (1, 23):
        pytest.skip(f"ONNX Runtime {ort.__version__} does not load opset 23")
    made = model(
        [node("RMSNormalization", "x s", "h"), node("MatMul", "h w", "y")], {"x": ["n", 4]}, {"y": ["n", 3]}, {"w": W, "s": np.ones(4, np.float32)}, opset=23
    )  # fmt: skip
    explained = rewrite(made)
    assert explained.opset_import[0].version == 23
    result = run(explained, {"x": X})
    step = 1e-2
    moved = [run(made, {"x": X + sign * step * np.eye(4, dtype=np.float32)[1]})["y"] for sign in (1, -1)]
    top = result["y"].argmax(axis=1)
    slope = ((moved[0] - moved[1]) / (2 * step))[np.arange(5), top]
    np.testing.assert_allclose(result["x_attribution"][:, 1], slope, rtol=2e-2, atol=2e-3)


def test_old_file_with_weights_among_its_inputs() -> None:
    made = small(9)
    made.graph.input.append(helper.make_tensor_value_info("w", 1, [4, 3]))
    made.ir_version = 3
    explained = rewrite(made)
    assert [i.name for i in explained.graph.input] == ["x"]
    explains(explained)


def test_weights_in_constant_nodes() -> None:
    made = small()
    constant = helper.make_node("Constant", [], ["w"], name="", value=made.graph.initializer[0])
    del made.graph.initializer[:]
    made.graph.node.insert(0, constant)
    explains(rewrite(made))


def test_equal_and_empty_node_names() -> None:
    made = small()
    for n in made.graph.node:
        n.name = "same"
    made.graph.node.append(node("Relu", "h", "other"))
    made.graph.node[-1].name = ""
    made.graph.output.append(helper.make_tensor_value_info("other", 1, ["n", 3]))
    explained = rewrite(made)
    names = [n.name for n in explained.graph.node]
    assert len(set(names)) == len(names)
    assert "" not in names
    explains(explained)


def test_local_functions_are_inlined_with_their_scopes() -> None:
    body = helper.make_function("local", "Block", ["a", "b"], ["c"], [node("MatMul", "a b", "m"), node("Relu", "m", "c")],
                                [helper.make_opsetid("", 18)])  # fmt: skip
    made = model(
        [helper.make_node("Block", ["x", "w"], ["y"], domain="local", name="block")],
        {"x": ["n", 4]},
        {"y": ["n", 3]},
        {"w": W},
    )
    made.functions.append(body)
    made.opset_import.append(helper.make_opsetid("local", 1))
    explained = rewrite(made)
    assert not explained.functions
    explains(explained)


def test_metadata_of_model_and_nodes_is_kept() -> None:
    for opset in (13, 18):
        made = small(opset)
        made.producer_name, made.doc_string = "someone", "a model"
        made.metadata_props.add(key="author", value="me")
        made.graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'layer1', 'layer1.linear', 'matmul']")
        made.graph.node[0].doc_string = "first"
        explained = rewrite(made)
        assert {p.key: p.value for p in explained.metadata_props}["author"] == "me"
        assert (explained.producer_name, explained.doc_string) == ("someone", "a model")
        prepared = read(made).model
        prepare(prepared)
        assert Graph(prepared).nodes[0].scope == "layer1.linear"
        assert explained.graph.node[0].metadata_props[0].value.startswith("['', 'layer1'")


def test_stale_shapes_in_the_file_do_no_harm() -> None:
    """People set the batch free and leave the old extents on inner tensors and outputs."""
    made = small()
    made.graph.value_info.append(helper.make_tensor_value_info("h", 1, [1, 3]))
    del made.graph.output[:]
    made.graph.output.append(helper.make_tensor_value_info("y", 1, [1, 3]))
    explains(rewrite(made))


def test_model_without_float_inputs() -> None:
    made = model(
        [node("Not", "x", "y")],
        {"x": ["n"]},
        {"y": ["n"]},
        kinds={"x": onnx.TensorProto.BOOL, "y": onnx.TensorProto.BOOL},
    )
    with pytest.raises(Exception, match="no output holds floating-point scores"):
        rewrite(made)


def test_exotic_attributes_survive() -> None:
    """Type and sparse attributes are beyond graphsurgeon: the node's own message passes through."""
    optional = helper.make_node("Optional", [], ["empty"], name="opt", type=helper.make_tensor_type_proto(1, [2]))
    has = node("OptionalHasElement", "empty", "has")
    made = model(
        [*small().graph.node, optional, has],
        {"x": ["n", 4]},
        {"y": ["n", 3], "has": []},
        {"w": W},
        kinds={"has": onnx.TensorProto.BOOL},
    )
    explained = rewrite(made)
    assert explained.graph.node[2] == optional
    explains(explained)


def test_nodes_out_of_order_are_sorted() -> None:
    """As ONNX Runtime's float16 converter leaves them; nodes that may keep their order do."""
    path = FIXTURES / "resnet" / "model.onnx"
    made = onnx.load(path)
    kept = [n.name for n in made.graph.node]
    assert "sort-nodes" not in prepare(read(made).model)
    moved = [made.graph.node[-1], *made.graph.node[5:-1], *made.graph.node[:5]]
    del made.graph.node[:]
    made.graph.node.extend(moved)
    source = read(made)
    assert "sort-nodes" in prepare(source.model)
    original = read(onnx.load(path))
    prepare(original.model)
    assert {n.name for n in source.model.graph.node} == {n.name for n in original.model.graph.node}
    assert set(kept) >= {n.name for n in source.model.graph.node}
    feeds = {"image": np.load(path.with_name("data.npz"))["image"]}
    expected, found = (run(rewrite(m), feeds) for m in (path, made))
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6)
