"""Where kernels that round are written out for the backward pass, the prediction is their own, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from onnxplain import Explainer, check, plan
from onnxplain.builder.builder import Builder
from onnxplain.errors import UnsupportedOperatorError
from onnxplain.io.contract import metadata_problems
from onnxplain.ir.graph import Graph
from onnxplain.ir.own_kernels import is_join, only_written
from onnxplain.passes import prepare
from onnxplain.passes.integer_products import float_products
from onnxplain.runtime.session import Session
from tests.support.contrib_cases import MS, Call
from tests.support.contrib_quantized_cases import FLOAT_FROM_INTEGERS, QUANTIZED
from tests.support.models import model, node, run

RANDOM = np.random.default_rng(5)
WIDE, HIDDEN, CLASSES, BLOCK = 32, 32, 4, 16


def packed(rows: int, columns: int) -> dict[str, Any]:
    """4-bit weights, two to a byte, and a scale for each block of a row."""
    return {
        "w": RANDOM.integers(0, 256, (rows, columns // BLOCK, BLOCK // 2), np.uint8),
        "s": RANDOM.uniform(0.01, 0.1, rows * columns // BLOCK).astype(np.float32),
    }


FIRST, SECOND = packed(HIDDEN, WIDE), packed(CLASSES, HIDDEN)


def real(weights: dict[str, Any]) -> Any:
    """The matrix [rows, columns] that packed weights stand for, low halves first and 8 for zero."""
    w = weights["w"]
    q = np.stack([w & 15, w >> 4], -1).reshape(len(w), -1, BLOCK).astype(np.float64) - 8
    return (q * weights["s"].reshape(len(w), -1, 1)).reshape(len(w), -1)


def rounding() -> onnx.ModelProto:
    """Two layers whose kernels round what they get to int8."""
    settings: Any = {"bits": 4, "block_size": BLOCK, "accuracy_level": 4, "domain": MS}
    weights = {f"{k}{i}": v for i, packs in enumerate((FIRST, SECOND)) for k, v in packs.items()}
    nodes = [
        node("MatMulNBits", "x w0 s0", "h", K=WIDE, N=HIDDEN, **settings),
        node("Tanh", "h", "t"),
        node("MatMulNBits", "t w1 s1", "y", K=HIDDEN, N=CLASSES, **settings),
    ]
    made = model(nodes, {"x": ["batch", WIDE]}, {"y": ["batch", CLASSES]}, weights)
    made.opset_import.append(onnx.helper.make_opsetid(MS, 1))
    return made


X = RANDOM.standard_normal((3, WIDE)).astype(np.float32)


def operators(made: onnx.ModelProto) -> list[str]:
    return [n.op_type for n in made.graph.node]


@pytest.mark.parametrize("optimize", [True, False], ids=["optimized", "as it is"])
@pytest.mark.parametrize("method", ["gradient", "lrp-epsilon", "lrp-epsilon-plus", "deeplift", "integrated-gradients"])
def test_the_prediction_is_the_kernels_own(method: str, optimize: bool) -> None:
    baseline: Any = {"baseline": 0} if method in ("deeplift", "integrated-gradients") else {}
    explained = Explainer(rounding(), method, **baseline).model
    feeds = {"x": X, "target": np.array([0])}
    sessions = (Session(m, "cpu", optimize=optimize) for m in (rounding(), explained))
    before, after = (s.run({n: feeds[n] for n in s.inputs})["y"] for s in sessions)
    assert_array_equal(after, before)


def test_the_kernels_round() -> None:
    """So what is tested here is not true anyway."""
    h = np.tanh(X @ real(FIRST).T)
    assert np.abs(run(rounding(), {"x": X})["y"] - h @ real(SECOND).T).max() > 1e-3


def test_the_gradient_is_that_of_real_numbers_at_what_the_kernels_make() -> None:
    with_h = rounding()
    with_h.graph.output.append(onnx.helper.make_tensor_value_info("t", onnx.TensorProto.FLOAT, None))
    t = run(with_h, {"x": X})["t"].astype(np.float64)
    expected = (real(SECOND)[1] * (1 - t**2)) @ real(FIRST)
    found = Explainer(rounding(), "gradient")(X, target=1).attribution
    assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_of_what_is_written_only_what_the_backward_pass_reads_is_computed() -> None:
    found = operators(Explainer(rounding(), "gradient").model)
    assert found.count("MatMulNBits") == 2
    assert found.count("MatMul") + found.count("Gemm") == 2, "those of the backward pass"
    assert "CastLike" not in found


def test_points_of_a_path_are_predicted_by_the_kernels() -> None:
    made = rounding()
    prepare(made)
    graph = Graph(made)
    b = Builder(graph)
    x, y = graph.tensor("x"), graph.tensor("y")
    _, became = b.replay_all(graph.nodes, {x: b.Mul(x, 0.5)}, everything=False)
    result = graph.finish(b.nodes, b.constants, [b.rename(became[y], "moved")])
    assert_array_equal(run(result, {"x": X})["moved"], run(rounding(), {"x": X / 2})["y"])


def test_what_is_approximated_is_said() -> None:
    about = Explainer(rounding(), "gradient")(X).about
    assert about["approximated"] == {"h": f"{MS}.MatMulNBits", "y": f"{MS}.MatMulNBits"}
    assert metadata_problems(about) == []
    rows = [row for row in plan(rounding(), "gradient").rows if row.output in "hy"]
    assert [row.operator for row in rows] == ["MatMul", "MatMul"]
    assert all(f"approximates {MS}.MatMulNBits" in row.reason for row in rows)


def test_check_differences_what_the_kernels_approximate() -> None:
    report = check(rounding(), "gradient", X, progress=False)
    assert report.ok
    prediction, slopes = report.findings[:2]
    assert prediction.ok
    assert slopes.ok
    assert "approximate by rounding" in slopes.detail


@pytest.mark.parametrize("call", [*QUANTIZED, *FLOAT_FROM_INTEGERS], ids=lambda c: c.id)
def test_every_kernel_that_rounds_stays(call: Call) -> None:
    made = call.model()
    prepare(made)
    joins = [n for n in made.graph.node if is_join(n)]
    exact = call.op in ("NhwcMaxPool", "QLinearConv", "DequantizeLinear")
    assert bool(joins) != exact
    for name, value in run(call.model(), call.feeds).items():
        assert_array_equal(run(made, call.feeds)[name], value)
        assert_array_equal(run(Graph(made).finish([], {}, []), call.feeds)[name], value)


def test_integers_make_the_prediction_where_relevance_goes_through_real_numbers() -> None:
    w, scale = RANDOM.integers(0, 256, (WIDE, CLASSES), np.uint8), np.array(0.02, np.float32)
    nodes = [
        node("DynamicQuantizeLinear", "x", "q qs qz"),
        node("MatMulInteger", "q w qz z", "i"),
        node("Cast", "i", "f", to=onnx.TensorProto.FLOAT),
        node("Mul", "qs s", "scales"),
        node("Mul", "f scales", "y"),
    ]
    made = model(nodes, {"x": [3, WIDE]}, {"y": [3, CLASSES]}, {"w": w, "s": scale, "z": np.array(128, np.uint8)})
    expected = run(made, {"x": X})["y"]
    assert float_products(made)
    assert_array_equal(run(made, {"x": X})["y"], expected)
    assert only_written(made)
    assert "MatMulInteger" not in operators(made)
    assert_allclose(run(made, {"x": X})["y"], expected, rtol=1e-4, atol=1e-4)


# -- in branches and bodies ---------------------------------------------------------------------------------------------

INFO = onnx.helper.make_tensor_value_info
FLOAT, BOOL, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.BOOL, onnx.TensorProto.INT64
OUT = RANDOM.standard_normal((WIDE, CLASSES)).astype(np.float32)


def layer(source: str, result: str) -> list[onnx.NodeProto]:
    """tanh(x W) by a kernel that rounds."""
    rounded = node("MatMulNBits", f"{source} w0 s0", f"{result}_h", K=WIDE, N=HIDDEN, bits=4, block_size=BLOCK, accuracy_level=4,
                   domain=MS)  # fmt: skip
    return [rounded, node("Tanh", f"{result}_h", result)]


def branching(*, nested: bool = False) -> onnx.ModelProto:
    """One layer, its results doubled in one branch, and a dense layer behind; nested: within the branch of another If."""
    shape = ["batch", HIDDEN]

    def graph(nodes: list[onnx.NodeProto], result: str) -> onnx.GraphProto:
        return onnx.helper.make_graph(nodes, result, [], [INFO(result, FLOAT, shape)])

    twice = graph([*layer("x", "a"), node("Add", "a a", "doubled")], "doubled")
    once = graph(layer("x", "b"), "b")
    choose = node("If", "chosen", "o", then_branch=twice, else_branch=once)
    if nested:
        inner = graph([choose], "o")
        choose = node("If", "chosen", "o2", then_branch=inner, else_branch=graph([node("Identity", "x", "same")], "same"))
    made = model(
        [choose, node("MatMul", f"{choose.output[0]} out", "y")], {"x": ["batch", WIDE], "chosen": []},
        {"y": ["batch", CLASSES]}, {"w0": FIRST["w"], "s0": FIRST["s"], "out": OUT}, kinds={"chosen": BOOL},
    )  # fmt: skip
    made.opset_import.append(onnx.helper.make_opsetid(MS, 1))
    return made


def looping(*, scan: bool = False) -> onnx.ModelProto:
    """s ← x + tanh(s W), three times from s = x, as a Loop or as a Scan; a dense layer behind."""
    shape = ["batch", WIDE]
    step = [*layer("s", "t"), node("Add", "t x", "after")]
    state, after = INFO("s", FLOAT, shape), INFO("after", FLOAT, shape)
    weights: dict[str, Any] = {"w0": FIRST["w"], "s0": FIRST["s"], "out": OUT}
    if scan:
        body = onnx.helper.make_graph(step, "body", [state, INFO("i", FLOAT, [])], [after])
        nodes = [node("Scan", "x three", "end", body=body, num_scan_inputs=1)]
        weights["three"] = np.zeros(3, np.float32)
    else:
        step += [node("Identity", "go", "on")]
        body = onnx.helper.make_graph(
            step, "body", [INFO("i", INT64, []), INFO("go", BOOL, []), state], [INFO("on", BOOL, []), after]
        )
        nodes = [node("Loop", "three yes x", "end", body=body)]
        weights |= {"three": np.array(3), "yes": np.array(True)}
    made = model([*nodes, node("MatMul", "end out", "y")], {"x": shape}, {"y": ["batch", CLASSES]}, weights)
    made.opset_import.append(onnx.helper.make_opsetid(MS, 1))
    return made


def of_real_numbers(name: str, x: Any) -> Any:
    """What the kernels of these models approximate, in float64."""
    w, state = real(FIRST).T, x
    if name in ("Loop", "Scan"):
        for _ in range(3):
            state = x + np.tanh(state @ w)
        return state @ OUT.astype(np.float64)
    return (2 * np.tanh(x @ w)) @ OUT.astype(np.float64)


WITHIN: dict[str, Any] = {
    "If": branching,
    "If in If": lambda: branching(nested=True),
    "Loop": looping,
    "Scan": lambda: looping(scan=True),
}


def fed(made: onnx.ModelProto) -> dict[str, Any]:
    return {"x": X, "chosen": np.array(True)} if len(made.graph.input) > 1 else {"x": X}


@pytest.mark.parametrize("optimize", [True, False], ids=["optimized", "as it is"])
@pytest.mark.parametrize("method", ["gradient", "lrp-epsilon", "deeplift", "integrated-gradients"])
@pytest.mark.parametrize("name", WITHIN)
def test_kernels_in_branches_and_bodies_make_the_prediction(name: str, method: str, optimize: bool) -> None:
    made = WITHIN[name]()
    baseline: Any = {"baseline": 0} if method in ("deeplift", "integrated-gradients") else {}
    explained = Explainer(made, method, **baseline).model
    feeds = {**fed(made), "target": np.array([0])}
    sessions = (Session(m, "cpu", optimize=optimize) for m in (made, explained))
    before, after = (s.run({n: feeds[n] for n in s.inputs})["y"] for s in sessions)
    assert_array_equal(after, before)
    if name != "If in If":  # two levels deep ONNX Runtime takes a kernel that does not round
        assert np.abs(before - of_real_numbers(name, X.astype(np.float64))).max() > 1e-3


@pytest.mark.parametrize("name", WITHIN)
def test_the_gradient_there_is_that_of_real_numbers(name: str) -> None:
    made, x, step = WITHIN[name](), X.astype(np.float64), 1e-6
    expected = np.zeros_like(x)
    for k in range(WIDE):
        moved = np.zeros_like(x)
        moved[:, k] = step
        expected[:, k] = (of_real_numbers(name, x + moved) - of_real_numbers(name, x - moved))[:, 1] / (2 * step)
    found = Explainer(made, "gradient")(fed(made), 1)
    assert_allclose(found.attribution, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert set(found.about["approximated"].values()) == {f"{MS}.MatMulNBits"}


def test_points_of_a_path_go_through_the_kernels_in_a_body() -> None:
    made = looping()
    prepare(made)
    graph = Graph(made)
    b = Builder(graph)
    x, y = graph.tensor("x"), graph.tensor("y")
    _, became = b.replay_all(graph.nodes, {x: b.Mul(x, 0.5)}, everything=False)
    result = graph.finish(b.nodes, b.constants, [b.rename(became[y], "moved")])
    assert_array_equal(run(result, {"x": X})["moved"], run(looping(), {"x": X / 2})["y"])


def test_a_branch_that_is_known_leaves_the_kernels_their_prediction() -> None:
    made = branching()
    made.graph.node[0].input[0] = "yes"
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "yes"))
    del made.graph.input[1]
    found = Explainer(made, "gradient")(X, 1)
    assert_array_equal(found.outputs["y"], run(made, {"x": X})["y"])
    assert set(found.about["approximated"].values()) == {f"{MS}.MatMulNBits"}


def test_a_body_that_returns_a_sequence_is_refused() -> None:
    """Nothing joins two sequences."""
    made = branching()
    for graph in (a.g for a in made.graph.node[0].attribute):
        graph.node.append(node("SequenceConstruct", graph.output[0].name, f"{graph.name}_list"))
        graph.output[0].CopyFrom(onnx.helper.make_tensor_sequence_value_info(f"{graph.name}_list", FLOAT, None))
    made.graph.node.insert(1, node("SequenceAt", "o first", "row"))
    made.graph.node[2].input[0] = "row"
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0), "first"))
    with pytest.raises(UnsupportedOperatorError, match="If 'o' returns a sequence, and kernels in it round"):
        Explainer(made, "gradient")
