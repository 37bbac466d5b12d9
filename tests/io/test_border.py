"""What comes in through a model file: one clear line, or a right answer."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxplain
from onnxplain.errors import InternalError, ModelError, OnnxplainError
from onnxplain.io.border.functions import MOST_NODES
from onnxplain.io.reader import read
from onnxplain.ir.edit import Names
from onnxplain.runtime.guarded import guarded, refusal
from tests.support.models import node
from tests.support.onnx_cases import cases
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits/model.onnx"

Change = Callable[[onnx.ModelProto], None]


def tensor(m: onnx.ModelProto) -> TensorProto:
    return m.graph.initializer[0]


def conv(m: onnx.ModelProto) -> onnx.NodeProto:
    return next(n for n in m.graph.node if n.op_type == "Conv")


def attribute(m: onnx.ModelProto, name: str) -> onnx.AttributeProto:
    return next(a for a in conv(m).attribute if a.name == name)


def external(**entries: str) -> Change:
    def change(m: onnx.ModelProto) -> None:
        tensor(m).ClearField("raw_data")
        tensor(m).data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor(m).external_data.add(key=key, value=value)

    return change


def trained(**entries: str) -> Change:
    """External data that only the graph of the training names."""

    def change(m: onnx.ModelProto) -> None:
        external(**entries)(m)
        m.training_info.add().initialization.initializer.append(tensor(m))
        tensor(m).CopyFrom(
            helper.make_tensor(tensor(m).name, TensorProto.FLOAT, tensor(m).dims, bytes(4 * prod(tensor(m).dims)), raw=True)
        )

    return change


DAMAGE: dict[str, tuple[Change, str]] = {
    "too few bytes": (lambda m: setattr(tensor(m), "raw_data", tensor(m).raw_data[:-1]), "needs"),
    "no type": (lambda m: setattr(tensor(m), "data_type", 0), "no data type"),
    "unknown type": (lambda m: setattr(tensor(m), "data_type", 99), "no data type"),
    "negative extent": (lambda m: tensor(m).dims.__setitem__(0, -1), "negative extent"),
    "huge extent": (lambda m: tensor(m).dims.__setitem__(0, 1 << 60), "needs"),
    "stride 0": (lambda m: attribute(m, "strides").ints.__setitem__(0, 0), "has 0 in 'strides'"),
    "huge window": (lambda m: attribute(m, "dilations").ints.__setitem__(0, 1 << 40), "in 'dilations'"),
    "kind of attribute": (lambda m: attribute(m, "strides").CopyFrom(helper.make_attribute("strides", "2")), "integers is expected"),
    "attribute twice": (lambda m: conv(m).attribute.append(attribute(m, "strides")), "twice"),
    "no operator": (lambda m: conv(m).ClearField("op_type"), "names no operator"),
    "no inputs": (lambda m: conv(m).ClearField("input"), "has 0 inputs"),
    "input left out": (lambda m: conv(m).input.__setitem__(1, ""), "leaves out an input"),
    "dangling": (lambda m: conv(m).input.__setitem__(0, "nowhere"), "nothing makes it"),
    "made twice": (lambda m: m.graph.node[-1].output.__setitem__(0, m.graph.node[0].output[0]), "made twice"),
    "opset beyond": (lambda m: setattr(m.opset_import[0], "version", 1 << 20), "knows 1 to"),
    "opset twice": (lambda m: m.opset_import.append(helper.make_opsetid("ai.onnx", 3)), "imports the standard operator set as"),
    "no file": (external(location=""), "names no file"),
    "NUL in a path": (external(location="a\0b"), "names no file"),
    "missing file": (external(location="w.bin"), "no file at"),
    "folder": (external(location="."), "no file at"),
    "textual offset": (external(location="w.bin", offset="x"), "no number as offset"),
    "negative offset": (external(location="w.bin", offset="-1"), "no number as offset"),
    "huge length": (external(location="w.bin", length="9" * 30), "no number as length"),
    "above the folder": (external(location="../w.bin"), "outside the folder"),
    "of the training": (trained(location="../w.bin"), "outside the folder"),
    "absolute": (external(location="/etc/hostname"), "outside the folder"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told_in_one_line(damage: str, tmp_path: Path) -> None:
    change, told = DAMAGE[damage]
    made = onnx.load(DIGITS)
    change(made)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(ModelError, match=told) as caught:
        onnxplain.rewrite(tmp_path / "m.onnx")
    assert len(str(caught.value).splitlines()) == 1


def test_cases_of_the_standard_pass_the_border() -> None:
    assert len([read(case.model) for case in cases()[::4]]) > 1000


def if_of(depth: int) -> onnx.ModelProto:
    """Constant Ifs, one in the other."""
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])

    def body(level: int) -> onnx.GraphProto:
        other = helper.make_graph([node("Identity", "x", "y")], "other", [], [value])
        own = (
            node("If", "c", "y", "a_name_of_a_node", then_branch=body(level - 1), else_branch=other)
            if level
            else node("Tanh", "x", "y")
        )
        return helper.make_graph([own], "body", [], [value])

    graph = helper.make_graph(
        list(body(depth).node), "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])], [value],
        [helper.make_tensor("c", TensorProto.BOOL, [], [True])],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_branches_in_branches_grow_neither_names_nor_time() -> None:
    made = if_of(20)
    begin = time.process_time()
    explained = onnxplain.rewrite(made)
    assert time.process_time() - begin < 10
    assert explained.ByteSize() < 20 * made.ByteSize()
    x = np.array([[0.1, 0.2, 0.3]], np.float32)
    found = onnxplain.Explainer(made, providers="cpu")(x, target=1)
    np.testing.assert_allclose(found.attribution, [[0, 1 - np.tanh(0.2) ** 2, 0]], atol=1e-6)


def functions(depth: int, *, circle: bool = False) -> onnx.ModelProto:
    """Functions that call the one before ten times."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    made = [helper.make_function("own", "F0", ["x"], ["y"], [node("Relu", "x", "y")], opsets)]
    for level in range(1, depth + 1):
        names = ["x", *(f"t{i}" for i in range(9)), "y"]
        called = "F1" if circle else f"F{level - 1}"
        nodes = [helper.make_node(called, [a], [b], domain="own") for a, b in itertools.pairwise(names)]
        made.append(helper.make_function("own", f"F{level}", ["x"], ["y"], nodes, opsets))
    graph = helper.make_graph(
        [helper.make_node(f"F{depth}", ["x"], ["y"], domain="own")], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])], [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=made)


def test_functions_that_explode_or_never_end() -> None:
    with pytest.raises(ModelError, match=f"1,000,000,000 nodes once its functions are written out, more than {MOST_NODES:,}"):
        onnxplain.rewrite(functions(9))
    with pytest.raises(ModelError, match="calls itself: F1 → F1"):
        onnxplain.rewrite(functions(1, circle=True))
    assert len(onnxplain.rewrite(functions(2)).graph.node) > 100


def test_a_cycle_is_named() -> None:
    made = onnx.parser.parse_model("""
<ir_version: 8, opset_import: ["" : 18]>
g (float[N, 4] x) => (float[N, 4] y) { y = Identity (b)  b = Add (y, x) }
""")
    with pytest.raises(ModelError, match="the graph has a cycle: Identity 'y' needs Add 'b' needs Identity 'y'"):
        onnxplain.plan(made)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    private, folder = tmp_path / "private.bin", tmp_path / "models"
    folder.mkdir()
    made = onnx.load(DIGITS)
    onnx.save(made, folder / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (folder / "w.bin").rename(private)
    (folder / "w.bin").symlink_to(private)
    with pytest.raises(ModelError, match="outside the folder"):
        onnxplain.rewrite(folder / "m.onnx")
    (folder / "w.bin").unlink()
    private.rename(folder / "real.bin")
    (folder / "w.bin").symlink_to("real.bin")
    assert onnxplain.rewrite(folder / "m.onnx").graph.node


def test_control_characters_stay_out_of_messages() -> None:
    made = onnx.load(DIGITS)
    conv(made).input[0] = "\x1b[31mred\x07\u202e"
    with pytest.raises(ModelError) as caught:
        read(made)
    assert str(caught.value).isprintable()
    assert r"\x1b[31mred\x07\u202e" in str(caught.value)


# -- errors that nobody foresaw ---------------------------------------------------------------------------------------------


def fails(model: object, error: type[Exception] = KeyError, *, ours: bool = True) -> None:
    """A guarded function that fails, in the package's own code or in this file."""
    if not ours:
        raise error("mine")
    Names(None)  # type: ignore[arg-type]


guarded_failure = guarded(fails)


def test_a_mistake_of_ours_keeps_its_cause_and_asks_for_a_report() -> None:
    with pytest.raises(InternalError, match=r"TypeError: .*, in names.py, line \d+.*debug-bundle") as caught:
        guarded_failure(DIGITS)
    assert isinstance(caught.value.__cause__, TypeError)
    assert isinstance(caught.value, OnnxplainError)


def test_where_the_runtime_refuses_the_model_too_that_is_the_error() -> None:
    made = onnx.load(DIGITS)
    conv(made).op_type = "NoSuchOperator"
    reason = refusal(made)
    assert reason is not None
    assert "NoSuchOperator" in reason
    with pytest.raises(ModelError, match=r"ONNX Runtime does not load it either: .*NoSuchOperator"):
        guarded_failure(made)
    assert refusal(DIGITS) is None


def test_errors_of_the_users_code_and_calls_that_do_not_fit_pass() -> None:
    with pytest.raises(ZeroDivisionError, match="mine"):
        guarded_failure(DIGITS, ZeroDivisionError, ours=False)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        guarded_failure(DIGITS, nonsense=2)  # type: ignore[call-arg]
