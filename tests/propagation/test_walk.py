"""The walk: how messages are added up, stopped and reported, on graphs of every shape."""

from __future__ import annotations

import time

import numpy as np
import onnx
import pytest

from onnxplain import RuleError, rewrite
from onnxplain.errors import LayerError, UnsupportedOperatorError
from onnxplain.passes import prepare
from onnxplain.propagation.vjp import vjp
from tests.support.models import model, node, run, slopes

RNG = np.random.default_rng(3)


def check(made: onnx.ModelProto, feeds: dict[str, np.ndarray], sources: list[str], targets: list[str]) -> onnx.ModelProto:
    """Gradients of all sources against finite differences, with random target messages at all targets."""
    before = run(made, feeds)
    seeds = {t: RNG.normal(size=before[t].shape).astype(np.float32) for t in targets}
    explained = gradients(made, sources, targets)
    onnx.checker.check_model(explained, full_check=True)
    after = run(explained, {**feeds, **{f"{t}_seed": s for t, s in seeds.items()}})
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
    for source in sources:
        expected = sum(slopes(made, feeds, source, t, seeds[t]) for t in targets)
        np.testing.assert_allclose(after[f"{source}_gradient"], expected, rtol=2e-3, atol=2e-3)
    return explained


def gradients(made: onnx.ModelProto, sources: list[str], targets: list[str]) -> onnx.ModelProto:
    """A prepared copy with the gradients of the sources."""
    copy = onnx.ModelProto()
    copy.CopyFrom(made)
    prepare(copy)
    return vjp(copy, sources, targets)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def test_fan_out_adds_messages() -> None:
    made = model([node("Mul", "x x", "a"), node("Add", "a x", "c"), node("Mul", "x c", "y")], {"x": ["n", 3]}, {"y": ["n", 3]})
    x = floats(2, 3)
    result = run(gradients(made, ["x"], ["y"]), {"x": x, "y_seed": np.ones_like(x)})
    np.testing.assert_allclose(result["x_gradient"], 3 * x**2 + 2 * x, rtol=1e-5, atol=1e-5)


def test_diamonds_do_not_blow_up() -> None:
    """Forty diamonds in a row have 2⁴⁰ paths; the walk visits each node once."""
    nodes = []
    for i in range(40):
        nodes += [
            node("Mul", f"x{i} c", f"a{i}"),
            node("Mul", f"x{i} c", f"b{i}", name=f"second{i}"),
            node("Add", f"a{i} b{i}", f"x{i + 1}"),
        ]
    made = model(nodes, {"x0": ["n"]}, {"x40": ["n"]}, {"c": np.float32(0.5)})
    explained = check(made, {"x0": floats(3)}, ["x0"], ["x40"])
    assert len(explained.graph.node) < 6 * len(nodes)


def test_several_inputs_and_outputs() -> None:
    made = model(
        [node("MatMul", "x w", "h"), node("Add", "h v", "y"), node("Mul", "y y", "z"), node("Neg", "v", "u")],
        {"x": ["n", 3], "v": ["n", 2]},
        {"y": ["n", 2], "z": ["n", 2], "u": ["n", 2]},
        {"w": floats(3, 2)},
    )
    check(made, {"x": floats(4, 3), "v": floats(4, 2)}, ["x", "v"], ["y", "z", "u"])


def test_dead_branches_emit_nothing() -> None:
    made = model(
        [node("MatMul", "x w", "y"), node("Relu", "x", "dead"), node("MatMul", "dead w", "other")],
        {"x": ["n", 3]},
        {"y": ["n", 2], "other": ["n", 2]},
        {"w": floats(3, 2)},
    )
    explained = check(made, {"x": floats(2, 3)}, ["x"], ["y"])
    added = [n.op_type for n in explained.graph.node[3:]]
    assert sorted(added) == ["Identity", "MatMul"], "no mask for the dead Relu, no gradient of the weight"


def test_shared_weight_gets_both_messages() -> None:
    made = model(
        [node("MatMul", "x w", "h"), node("Relu", "h", "r"), node("MatMul", "r w", "y")],
        {"x": ["n", 3]},
        {"y": ["n", 3]},
        {"w": floats(3, 3)},
    )
    x, cotangent = floats(2, 3), floats(2, 3)
    w = onnx.numpy_helper.to_array(made.graph.initializer[0])
    got = run(gradients(made, ["w"], ["y"]), {"x": x, "y_seed": cotangent})["w_gradient"]
    as_input = model(list(made.graph.node), {"x": ["n", 3], "w": [3, 3]}, {"y": ["n", 3]})
    np.testing.assert_allclose(got, slopes(as_input, {"x": x, "w": w}, "w", "y", cotangent), rtol=2e-3, atol=2e-3)


def test_inner_tensors_as_source_and_target() -> None:
    made = model(
        [node("MatMul", "x w", "h"), node("Mul", "h h", "q"), node("Relu", "q", "y")],
        {"x": ["n", 3]},
        {"y": ["n", 2]},
        {"w": floats(3, 2)},
    )
    x, cotangent = floats(2, 3), floats(2, 2)
    got = run(gradients(made, ["h", "x"], ["q"]), {"x": x, "q_seed": cotangent})
    w = onnx.numpy_helper.to_array(made.graph.initializer[0])
    np.testing.assert_allclose(got["h_gradient"], 2 * (x @ w) * cotangent, rtol=1e-5)
    np.testing.assert_allclose(got["x_gradient"], (2 * (x @ w) * cotangent) @ w.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dims", [("n", 3), ("n", "m"), (None, None), (2, 3)], ids=str)
@pytest.mark.parametrize("other", [(), (1,), (3,), (1, 3), (2, 1), (2, 3), (4, 2, 3), (4, 1, 1)], ids=str)
def test_broadcasting_is_undone(dims: tuple, other: tuple) -> None:
    """Extents known, named or unknown: the message of a broadcast operand has the operand's shape."""
    named = [d if isinstance(dims[0], int) or d == 1 else f"d{i}" for i, d in enumerate(other)]
    for shape in (other, named):
        made = model([node("Mul", "x v", "y")], {"x": dims, "v": shape}, {"y": None})
        check(made, {"x": floats(2, 3), "v": floats(*other)}, ["x", "v"], ["y"])


def test_equal_symbols_need_no_reduction() -> None:
    made = model([node("Mul", "x v", "y")], {"x": ["n", 3], "v": ["n", 3]}, {"y": ["n", 3]})
    assert not {"ReduceSum", "Shape"} & {n.op_type for n in gradients(made, ["x", "v"], ["y"]).graph.node}


def test_deep_chain_is_walked_without_recursion_in_linear_time() -> None:
    def seconds(depth: int) -> float:
        nodes = [node("Mul", f"x{i} c", f"x{i + 1}") for i in range(depth)]
        made = model(nodes, {"x0": ["n"]}, {f"x{depth}": ["n"]}, {"c": np.float32(1.0)})
        start = time.perf_counter()
        explained = rewrite(made, target=())
        taken = time.perf_counter() - start
        assert len(explained.graph.node) < 2 * depth + 20
        return taken

    seconds(100)
    assert seconds(5000) < 60
    # Quadratic time would make the second one a hundred times as long as the first.
    assert seconds(5000) < 40 * seconds(500)


def test_derivative_zero_stops_the_walk() -> None:
    made = model([node("Floor", "x", "f"), node("Add", "f x", "y")], {"x": ["n", 3]}, {"y": ["n", 3]})
    x = floats(2, 3)
    np.testing.assert_array_equal(run(gradients(made, ["x"], ["y"]), {"x": x, "y_seed": x})["x_gradient"], x)


def test_no_differentiable_way_is_refused_with_the_place() -> None:
    made = model([node("Floor", "x", "f", name="rounding"), node("Relu", "f", "y")], {"x": ["n", 3]}, {"y": ["n", 3]})
    with pytest.raises(LayerError, match="Floor 'rounding'"):
        rewrite(made)


def test_missing_operators_are_reported_all_at_once() -> None:
    made = model(
        [
            node("MyOp", "x", "a", name="first", domain="mine"),
            node("Relu", "a", "c"),
            node("OtherOp", "c", "d", name="second", domain="mine"),
            node("Relu", "d", "y"),
        ],
        {"x": ["n", 3]},
        {"y": ["n", 3]},
    )
    made.opset_import.append(onnx.helper.make_opsetid("mine", 1))
    with pytest.raises(UnsupportedOperatorError) as raised:
        rewrite(made)
    text = str(raised.value)
    assert "2 operators" in text
    assert "mine.MyOp 'first'" in text
    assert "first → c → second → y" in text
    assert "--rules" in text


def test_missing_operator_off_the_way_does_not_matter() -> None:
    made = model([node("MyOp", "x", "a", domain="mine"), node("Relu", "x", "y")], {"x": ["n", 3]}, {"y": ["n", 3], "a": ["n", 3]})
    made.opset_import.append(onnx.helper.make_opsetid("mine", 1))
    assert "x_attribution" in [o.name for o in rewrite(made).graph.output]


def test_rule_that_forgets_an_input_is_an_error(tmp_path) -> None:
    (tmp_path / "forgetful.py").write_text(
        "from onnxplain import rule\n\n\n@rule('Mul', role='bilinear', broadcasts=True)\ndef mul(b, node, dz):\n    return b.Mul(dz, node.inputs[1])\n"
    )
    made = model([node("Mul", "x v", "y")], {"x": ["n"], "v": ["n"]}, {"y": ["n"]})
    with pytest.raises(RuleError, match="no message for input 1"):
        rewrite(made, rules=tmp_path, target=())


def test_own_rule_wins(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(
        "from onnxplain import rule\n\n\n@rule('Relu', role='elementwise')\ndef relu(b, node, dy):\n    return b.Mul(dy, 7)\n"
    )
    made = model([node("Relu", "x", "y")], {"x": ["n"]}, {"y": ["n"]})
    x = np.array([-1.0, 2.0], np.float32)
    np.testing.assert_array_equal(run(rewrite(made, rules=tmp_path, target=()), {"x": x})["x_attribution"], [7, 7])
    np.testing.assert_array_equal(run(rewrite(made, target=()), {"x": x})["x_attribution"], [0, 1])


def test_padding_that_a_transpose_is_moved_across() -> None:
    """ONNX Runtime moves transposes over a Pad without minding which axes it names: every axis has to be named."""
    nodes = [
        node("Gather", "x second", "a", axis=3),
        node("Transpose", "a", "b", perm=[0, 2, 1]),
        node("Gather", "x first", "c", axis=3),
        node("Transpose", "c", "d", perm=[0, 2, 1]),
        node("Mul", "b d", "y"),
    ]
    made = model(nodes, {"x": ["n", 3, 4, 5]}, {"y": ["n", 4, 3]}, {"first": np.int64(1), "second": np.int64(2)})
    x, cotangent = (
        np.random.default_rng(i).standard_normal(s).astype(np.float32) for i, s in enumerate([(2, 3, 4, 5), (2, 4, 3)])
    )
    explained = rewrite(made, target="cotangent")
    pads = [n for n in explained.graph.node if n.op_type == "Pad"]
    assert pads
    assert all(len(n.input) < 4 for n in pads)
    found = run(explained, {"x": x, "seed": cotangent})["x_attribution"]
    expected = np.zeros_like(x)
    expected[..., 1], expected[..., 2] = x[..., 2] * cotangent.transpose(0, 2, 1), x[..., 1] * cotangent.transpose(0, 2, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
