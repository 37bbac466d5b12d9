"""Faults put back into the passes, one at a time: `check` and the first run of an Explainer find each and name the pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxplain import Explainer, check
from onnxplain.errors import PredictionChanged
from onnxplain.passes import (
    PREPARATION,
    conversion,
    dense,
    expand,
    inline,
    last_windows,
    linear_map,
    merge,
    opset,
    parts,
    sigmoid,
    yes_or_no,
)  # fmt: skip
from tests.support.models import model, node

Patch = Callable[[pytest.MonkeyPatch], None]


def floats(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


@dataclass(frozen=True)
class Fault:
    """A model that goes through a pass, and what is done to that pass.

    Attributes:
        found: the name of the pass.
        made: the model.
        x: its input, or inputs.
        patch: puts the fault in.
        method: of the explanation.
    """

    found: str
    made: onnx.ModelProto
    x: Any
    patch: Patch
    method: str = "gradient"
    settings: Mapping[str, Any] = field(default_factory=dict)


def normed(**attributes: Any) -> onnx.ModelProto:
    nodes = [node("Gemm", "x w c", "z"), node("BatchNormalization", "z s b m v", "y", **attributes)]
    weights = {n: floats(4, seed=i) for i, n in enumerate("csbm")}
    weights |= {"w": floats(4, 4), "v": np.array([0.5, 1, 2, 4], np.float32)}
    return model(nodes, {"x": ["n", 4]}, {"y": ["n", 4]}, weights)


def swapped_scale(patch: pytest.MonkeyPatch) -> None:
    """β · x / √(v + ε) in place of s · x / √(v + ε)"""
    right = linear_map.MapWriter._norm_factor

    def factor(self: Any, step: Any) -> str:
        return right(self, replace(step, constants={**step.constants, "scale": step.constants["shift"]}))

    patch.setattr(linear_map.MapWriter, "_norm_factor", factor)


def swapped_channels(patch: pytest.MonkeyPatch) -> None:
    """The factor along the rows of the weights in place of their columns."""
    right = linear_map.LinearMap.axis
    patch.setattr(linear_map.LinearMap, "axis", lambda self, outgoing: right(self, outgoing=not outgoing))


def lost_epsilon(patch: pytest.MonkeyPatch) -> None:
    """The usual ε in place of the file's."""
    right = linear_map.MapWriter._number
    patch.setattr(linear_map.MapWriter, "_number", lambda self, value: right(self, 1e-5 if value < 1 else value))


def forgetful(nodes: Any, given: Any) -> None:
    """No attribute that a function hands to an operator."""
    for each in nodes:
        kept = [a for a in each.attribute if not a.ref_attr_name]
        del each.attribute[:]
        each.attribute.extend(kept)


def rootless(self: Any, step: Any) -> str:
    """s / v"""
    return str(self("Div", step.constants["scale"], step.constants["variance"]))


def replaced(where: Any, name: str, with_: Any) -> Patch:
    return lambda patch: patch.setattr(where, name, with_)


LOCAL = """
<ir_version: 9, opset_import: ["" : 18, "my" : 1]>
g (float[N, 4] x) => (float[N, 4] y) { a = my.Act (x) y = Sin (a) }
<domain: "my", opset_import: ["" : 18]>
Act <k: float = 0.5> (x) => (y) { y = LeakyRelu <alpha: float = @k> (x) }
"""


def old(nodes: list[onnx.NodeProto], to: list[Any], version: int, **weights: Any) -> onnx.ModelProto:
    made = model(nodes, {"x": ["n", 2, 3]}, {"y": to}, weights, opset=version)
    return made


def resized(version: int) -> onnx.ModelProto:
    """A picture [1, 1, 2, 4] made larger, as operator set 10 has it."""
    nodes = [node("Resize", "x s", "r", mode="linear"), node("Mul", "r r", "y")]
    return model(nodes, {"x": ["n", 1, 2, 4]}, {"y": ["n", 1, 4, 8]}, {"s": np.array([1, 1, 2, 2], np.float32)}, opset=version)


def sparse() -> onnx.ModelProto:
    made = model([node("MatMul", "x w", "y")], {"x": ["n", 3]}, {"y": ["n", 2]})
    values = numpy_helper.from_array(np.array([2, 3], np.float32), "w")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([1, 4])), [3, 2]))
    return made


def backwards(values: onnx.SparseTensorProto, right: Any) -> onnx.TensorProto:
    made = right(values)
    return numpy_helper.from_array(numpy_helper.to_array(made)[::-1].copy(), made.name)


def two_scales() -> onnx.ModelProto:
    """One tensor of integers, dequantized along its rows and along its columns."""
    nodes = [node("DequantizeLinear", "q s", "rows", axis=0), node("DequantizeLinear", "q s", "columns", axis=1),
             node("Add", "rows columns", "w"), node("MatMul", "x w", "y")]  # fmt: skip
    weights = {"q": np.arange(9, dtype=np.int8).reshape(3, 3), "s": np.array([0.1, 0.2, 0.4], np.float32)}
    return model(nodes, {"x": ["n", 3]}, {"y": ["n", 3]}, weights)


def loss() -> tuple[onnx.ModelProto, dict[str, Any]]:
    nodes = [node("LogSoftmax", "x", "p", axis=1), node("NegativeLogLikelihoodLoss", "p t", "y", reduction="sum")]
    made = model(nodes, {"x": ["n", 3], "t": ["n"]}, {"y": []}, kinds={"t": TensorProto.INT64})
    return made, {"x": floats(2, 3), "t": np.array([0, 2])}


def without_attributes(n: onnx.NodeProto, schema: Any, right: Any) -> Any:
    bare = onnx.NodeProto()
    bare.CopyFrom(n)
    del bare.attribute[:]
    return right(bare, schema)


def chosen(first: bool) -> onnx.ModelProto:
    """A branch that is known when the file is read."""
    info = helper.make_tensor_value_info("t", TensorProto.FLOAT, None)
    other = helper.make_tensor_value_info("e", TensorProto.FLOAT, None)
    then = helper.make_graph([node("Sin", "x", "t")], "then", [], [info])
    otherwise = helper.make_graph([node("Cos", "x", "e")], "else", [], [other])
    nodes = [helper.make_node("If", ["c"], ["h"], then_branch=then, else_branch=otherwise), node("Mul", "h x", "y")]
    return model(nodes, {"x": ["n", 3]}, {"y": ["n", 3]}, {"c": np.array(first)})


def other_branch(patch: pytest.MonkeyPatch) -> None:
    right = PREPARATION["settle-branches"]

    def wrong(made: onnx.ModelProto) -> bool:
        for tensor in made.graph.initializer:
            if tensor.data_type == TensorProto.BOOL:
                tensor.CopyFrom(numpy_helper.from_array(~numpy_helper.to_array(tensor), tensor.name))
        return right(made)

    patch.setitem(PREPARATION, "settle-branches", wrong)


def swapped_axis(patch: pytest.MonkeyPatch) -> None:
    """Normalization along the axis before."""
    right = PREPARATION["lower-opset"]

    def wrong(made: onnx.ModelProto) -> bool:
        for each in made.graph.node:
            if each.op_type == "Softmax":
                each.attribute[0].i -= 1
        right(made)
        return True

    patch.setitem(PREPARATION, "lower-opset", wrong)


def sigmoid_by_hand() -> onnx.ModelProto:
    nodes = [
        node("Neg", "x", "n"),
        node("Exp", "n", "e"),
        node("Add", "e one", "d"),
        node("Div", "one d", "s"),
        node("Mul", "s s", "y"),
    ]
    return model(nodes, {"x": ["n", 3]}, {"y": ["n", 3]}, {"one": np.float32(1)})


def relus() -> onnx.ModelProto:
    nodes = [node("Conv", "x w", "h"), node("Relu", "h", "r"), node("Conv", "r v", "z"), node("Flatten", "z", "y")]
    weights = {"w": floats(16, 2, 3, 3), "v": floats(16, 16, 3, 3)}
    return model(nodes, {"x": ["n", 2, 6, 6]}, {"y": ["n", 64]}, weights)


def twice(patch: pytest.MonkeyPatch) -> None:
    """The positive part of a map twice, and the negative part not at all."""
    right = parts._Parts.of
    patch.setattr(parts._Parts, "of", lambda self, n: None if (found := right(self, n)) is None else [found[0], found[0]])


X = floats(3, 4)
PICTURE = np.arange(8, dtype=np.float32).reshape(1, 1, 2, 4) ** 2
FAULTS = {
    "scale and shift swapped": Fault("fold-batch-norm", normed(), X, swapped_scale),
    "rows for columns": Fault("fold-batch-norm", normed(), X, swapped_channels),
    "another epsilon": Fault("fold-batch-norm", normed(epsilon=1e-2), X, lost_epsilon),
    "norm without its root": Fault(
        "fold-batch-norm", normed(), X,
        replaced(linear_map.MapWriter, "_norm_factor", rootless),
    ),
    "default of a function": Fault(
        "inline-functions", onnx.parser.parse_model(LOCAL), -np.abs(X), replaced(inline, "fill_attributes", forgetful)
    ),
    "coordinates of an old Resize": Fault(
        "normalize-opset", resized(10), PICTURE, replaced(opset, "correct_conversion", lambda *_: None)
    ),
    "rounding of an old Resize": Fault(
        "normalize-opset", resized(10), PICTURE,
        replaced(conversion, "_asymmetric", lambda n, known: [helper.make_node("Resize", [n.input[0], "", n.input[2]], list(n.output))]),
    ),
    "axes of an old Hardmax": Fault(
        "normalize-opset", old([node("Hardmax", "x", "h", axis=1), node("Mul", "h x", "y")], ["n", 2, 3], 11), floats(2, 2, 3),
        replaced(opset, "spell_out_hardmax", lambda graph: None),
    ),
    "two that means yes": Fault(
        "settle-yes-or-no", model([helper.make_node("Gemm", ["x", "w"], ["y"], transB=2)], {"x": ["n", 4]}, {"y": ["n", 4]}, {"w": floats(4, 4)}),
        X, replaced(yes_or_no, "_meant", lambda op, name, value: 0),
    ),
    "padding of the last window": Fault(
        "settle-last-windows",
        model([node("MaxPool", "x", "y", kernel_shape=[2], strides=[2], pads=[1, 1], ceil_mode=1)], {"x": ["n", 2, 5]}, {"y": ["n", 2, 3]}),
        floats(2, 2, 5), replaced(last_windows, "_ends", lambda given, extents: [0, 1]),
    ),
    "places of sparse values": Fault(
        "write-out-sparse", sparse(), floats(2, 3),
        replaced(dense, "_dense", partial(backwards, right=dense._dense)),
    ),
    "unlike scales taken for equal": Fault(
        "merge-dequantized", two_scales(), floats(2, 3), replaced(merge, "_usual", lambda attribute: True)
    ),
    "the other branch": Fault("settle-branches", chosen(True), floats(2, 3), other_branch),
    "an axis moved": Fault(
        "lower-opset", old([node("Softmax", "x", "y", axis=2)], ["n", 2, 3], 18), floats(2, 2, 3), swapped_axis
    ),
    "a sign in a sigmoid": Fault(
        "merge-sigmoids", sigmoid_by_hand(), floats(2, 3),
        replaced(sigmoid, "SIGMOID", sigmoid.inverse(1 + sigmoid.op.Exp(sigmoid.var("x")))),
    ),
    "attributes of an operator with a body": Fault(
        "expand-functions", *loss(),
        replaced(expand, "_with_defaults", partial(without_attributes, right=expand._with_defaults)),
        settings={"inputs": ["x"]},
    ),
    "a part twice": Fault(
        "sum-parts", relus(), floats(1, 2, 6, 6),
        twice, method="lrp-alpha2-beta1",
    ),
}  # fmt: skip


FLAT = {
    "norm without its root", "coordinates of an old Resize", "rounding of an old Resize", "axes of an old Hardmax", "a part twice",
}  # fmt: skip
"""Faults that leave the gradient of the top prediction as it is at these inputs, or are in what has none."""


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_a_pass_is_found_and_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = FAULTS[name]
    Explainer(fault.made, fault.method, **fault.settings)(fault.x)
    assert check(fault.made, fault.method, fault.x, progress=False, **fault.settings).findings[0].ok
    fault.patch(monkeypatch)
    with pytest.raises(PredictionChanged, match=f"after the pass '{fault.found}'") as raised:
        Explainer(fault.made, fault.method, **fault.settings)(fault.x)
    assert raised.value.culprit == fault.found
    report = check(fault.made, fault.method, fault.x, progress=False, **fault.settings)
    assert not report.ok
    assert report.findings[0].name == "prediction"
    assert report.findings[0].ok is False
    assert f"'{fault.found}'" in report.findings[0].detail
    if name not in FLAT:  # which is held against the original, that has gone through no pass
        assert report.findings[1].ok is False


@pytest.mark.parametrize("name", PREPARATION)
def test_every_pass_is_named_where_it_is_at_fault(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of a model are moved by a thousandth after the pass."""
    right = PREPARATION[name]

    def wrong(made: onnx.ModelProto, registry: Any = None) -> bool:
        right(made)
        weights = next(t for t in made.graph.initializer if t.name == "w")
        weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(1.001), "w"))
        return True

    if name in ("expand-contrib", "expand-functions"):  # they are called with the registry
        monkeypatch.setattr(f"onnxplain.passes.{name.replace('-', '_')}", wrong)
    else:
        monkeypatch.setitem(PREPARATION, name, wrong)
    made = model([node("Gemm", "x w", "y")], {"x": ["n", 4]}, {"y": ["n", 4]}, {"w": floats(4, 4)})
    with pytest.raises(PredictionChanged) as raised:
        Explainer(made)(X)
    assert raised.value.culprit == name
