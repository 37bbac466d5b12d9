"""ONNX Runtime's own operators: what they are written out as gives the same numbers, and gradients follow from it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import erf
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from onnxplain import Explainer, rewrite
from onnxplain.errors import UnsupportedOperatorError
from onnxplain.ir.own_kernels import only_written
from onnxplain.ir.registry import load_registry
from onnxplain.passes import prepare
from onnxplain.propagation.vjp import vjp
from onnxplain.verification.finite_differences import compare
from tests.rules.test_fixtures import IDS, MODELS, error, feeds
from tests.support.contrib_cases import (
    CALLS,
    MS,
    Call,
    attention,
    embed,
    group_query,
    multi_head,
    n_bits,
    real,
)
from tests.support.contrib_quantized_cases import FLOAT_FROM_INTEGERS, QUANTIZED
from tests.support.models import model, node, run

EVERY = [pytest.param(c, id=c.id) for c in CALLS]


def written(made: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(made)
    prepare(copy)
    only_written(copy)
    return copy


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize("call", EVERY)
def test_same_numbers(call: Call, symbolic: bool) -> None:
    if not call.kernel:
        pytest.skip("ONNX Runtime has no kernel for it on the CPU")
    if symbolic and call.static == "all":
        pytest.skip("its extents must be known")
    before = run(call.model(), call.feeds)
    made = written(call.model(symbolic=symbolic))
    assert all(not n.domain for n in made.graph.node)
    assert [o.domain for o in made.opset_import] == [""]
    after = run(made, call.feeds)
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=call.tolerance, atol=call.tolerance * np.abs(value).max())


@pytest.mark.parametrize("call", FLOAT_FROM_INTEGERS, ids=lambda c: c.id)
def test_same_numbers_from_integers(call: Call) -> None:
    before, made = run(call.model(), call.feeds), written(call.model())
    assert all(not n.domain for n in made.graph.node)
    after = run(made, call.feeds)
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=call.tolerance, atol=call.tolerance * np.abs(value).max())


def test_gradient_through_a_rounded_factor() -> None:
    """Straight through: as though A had not been rounded."""
    call = next(c for c in FLOAT_FROM_INTEGERS if c.id == "DynamicQuantizeMatMul-columns")
    seed = real(2, 3, 5)
    found = run(vjp(written(call.model()), ["a"], ["y"]), {**call.feeds, "y_seed": seed})["a_gradient"]
    w = (call.inputs["w"].astype(np.float32) - call.inputs["wz"]) * call.inputs["ws"]
    np.testing.assert_allclose(found, seed @ w.T, rtol=1e-5, atol=1e-6)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def exact_gelu(x: Any) -> Any:
    return x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2


def tanh_gelu(x: Any) -> Any:
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


def group_norm(x: Any, scale: Any, shift: Any, skip: Any = None, bias: Any = None, *, last: bool, silu: bool = False) -> Any:
    x = x if skip is None else x + skip[:, None, None] + bias
    x = np.moveaxis(x, -1, 1) if last else x
    grouped = x.reshape(len(x), 4, -1)
    normal = (grouped - grouped.mean(-1, keepdims=True)) / np.sqrt(grouped.var(-1, keepdims=True) + 1e-5)
    y = normal.reshape(x.shape) * scale[:, None, None] + shift[:, None, None]
    y = y * sigmoid(y) if silu else y
    return np.moveaxis(y, 1, -1) if last else y


def gated(query: Any, bias: Any, position: Any, w: Any, c: Any, a: Any) -> Any:
    q = (query + bias).reshape(2, 4, 3, 4).transpose(0, 2, 1, 3)
    u, r = np.split(sigmoid((q @ w + c).reshape(2, 3, 4, 2, 4).sum(-1)), 2, axis=-1)
    return (u * (r * a - 1) + 2) * position


FORMULAS: dict[str, Callable[..., Any]] = {
    "FusedMatMulActivation-relu": lambda a, w: np.tanh(a @ w.swapaxes(1, 2)),
    "GemmFastGelu-bias": lambda x, w, b: tanh_gelu(x @ w + b),
    "BiasSplitGelu-plain": lambda x, b: (x + b)[..., :4] * exact_gelu((x + b)[..., 4:]),
    "BiasAdd-plain": lambda x, b, skip: x + b + skip,
    "BiasSoftmax-inner": lambda x, b: softmax(x + b),
    "BiasSoftmax-flat": lambda x, b: softmax((x + b).reshape(2, -1)).reshape(x.shape),
    "GroupNorm-last": lambda x, scale, shift: group_norm(x, scale, shift, last=True),
    "GroupNorm-first": lambda x, scale, shift: group_norm(x, scale, shift, last=False, silu=True),
    "SkipGroupNorm-skip": lambda *given: group_norm(*given, last=True),
    "GatedRelativePositionBias-plain": gated,
    "MultiHeadAttention-packed-qkv": lambda query: heads_apart(*(query[:, :, :, i] for i in range(3))),
    "MultiHeadAttention-packed-kv": lambda query, key: heads_apart(query.reshape(2, 4, 3, 4), key[:, :, :, 0], key[:, :, :, 1]),
}
"""What the operators without a kernel on the CPU compute, by their descriptions."""


def heads_apart(q: Any, k: Any, v: Any) -> Any:
    q, k, v = (t.transpose(0, 2, 1, 3) for t in (q, k, v))
    return (softmax(q @ k.swapaxes(2, 3) / 2) @ v).transpose(0, 2, 1, 3).reshape(2, 4, 12)


@pytest.mark.parametrize("call", [c for c in CALLS if not c.kernel], ids=lambda c: c.id)
def test_formula_where_there_is_no_kernel(call: Call) -> None:
    expected = FORMULAS[call.id](*(v.astype(np.float64) for v in call.feeds.values()))
    np.testing.assert_allclose(run(written(call.model()), call.feeds)["y"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("call", EVERY)
def test_gradient(call: Call) -> None:
    """In float64: finite differences of what the node is written out as."""
    varied = [k for k, v in call.feeds.items() if v.dtype == np.float32]
    targets = [o for o in call.outputs if o and o != "counts"]
    found = compare(written(call.model()), call.feeds, varied, targets, tolerance=1e-8)
    assert found.smooth
    assert found.ok, str(found)


SMOOTH = [
    c for c in CALLS if c.kernel and not {"Relu", "LeakyRelu", "Clip", "HardSigmoid", "Elu"} & {c.attributes.get("activation")}
]


@pytest.mark.parametrize("call", SMOOTH, ids=lambda c: c.id)
def test_gradient_of_the_kernel(call: Call) -> None:
    """In float32: finite differences of ONNX Runtime's own kernel along one direction, of fourth order in the step."""
    generator = np.random.default_rng(3)
    source = next(k for k, v in call.feeds.items() if v.dtype == np.float32)
    x = call.feeds[source]
    v, made = generator.standard_normal(x.shape).astype(np.float32), call.model()
    size = generator.standard_normal(run(made, call.feeds)["y"].shape)

    def value(h: float) -> float:
        return float(np.sum(run(made, {**call.feeds, source: x + np.float32(h) * v})["y"].astype(np.float64) * size))

    h = 2**-7
    numeric = (4 * (value(h / 2) - value(-h / 2)) / h - (value(h) - value(-h)) / (2 * h)) / 3
    graph = vjp(written(made), [source], ["y"])
    gradient = run(graph, {**call.feeds, "y_seed": size.astype(np.float32)})[f"{source}_gradient"]
    analytic, scale = float(np.sum(gradient * v)), float(np.linalg.norm(gradient) * np.linalg.norm(v))
    assert abs(analytic - numeric) < 2e-3 * scale


@pytest.mark.parametrize("call", [pytest.param(c, id=c.id) for c in QUANTIZED])
def test_quantized_numbers(call: Call) -> None:
    """Integers that differ by one step at most, as kernels round on the way."""
    made = written(call.model())
    assert all(not n.domain for n in made.graph.node)
    difference = run(made, call.feeds)["y"].astype(int) - run(call.model(), call.feeds)["y"].astype(int)
    assert np.abs(difference).max() <= 1
    assert np.mean(difference != 0) < 0.1


def test_nothing_is_written_out_without_a_test() -> None:
    tested = {c.op for c in (*CALLS, *QUANTIZED, *FLOAT_FROM_INTEGERS)} | {"LayerNormalization", "QuantizeLinear"}  # below
    ours = {e.op for e in load_registry().expansions.values() if Path(e.source).stem.startswith("contrib")}
    assert not ours - tested


# -- models that ONNX Runtime optimized ------------------------------------------------------------------------------------


def optimized(path: Path, folder: Path, level: Any = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED) -> Path:
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return folder / "optimized.onnx"


@pytest.mark.parametrize("path", MODELS, ids=IDS)
def test_optimized_model_gives_the_same_explanation(path: Path, tmp_path: Path) -> None:
    smaller = optimized(path, tmp_path)
    given = feeds(path)
    before, after = Explainer(path)(given), Explainer(smaller)(given)
    for (_, expected), (_, actual) in zip(before.attributions.items(), after.attributions.items(), strict=True):
        assert error(actual, expected) < 1e-5
    made = rewrite(smaller)
    assert {n.domain for n in made.graph.node} <= {"", "ai.onnx.ml"}
    assert {o.domain for o in made.opset_import} <= {"", "ai.onnx.ml"}


@pytest.mark.parametrize("path", MODELS, ids=IDS)
def test_optimized_model_gives_the_same_prediction(path: Path, tmp_path: Path) -> None:
    smaller = onnx.load(optimized(path, tmp_path))
    before, after = run(onnx.load(path), feeds(path)), run(written(smaller), feeds(path))
    for name, value in before.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(after[name], value, rtol=1e-5, atol=1e-5 * float(np.abs(value).max()))


# -- what stays, what goes, what is refused ---------------------------------------------------------------------------------


def gelu(name: str = "block/gelu") -> onnx.NodeProto:
    made = helper.make_node("Gelu", ["x"], ["y"], name=name, domain=MS)
    entry = made.metadata_props.add()
    entry.key, entry.value = "namespace", "net.block"
    return made


def with_contrib(made: onnx.ModelProto) -> onnx.ModelProto:
    made.opset_import.append(helper.make_opsetid(MS, 1))
    return made


def test_nodes_keep_name_and_scope() -> None:
    made = written(with_contrib(model([gelu()], {"x": [2, 3]}, {"y": [2, 3]})))
    assert made.graph.node[-1].name == "block/gelu"
    assert all(n.name.startswith("block/gelu") for n in made.graph.node)
    assert all(p.value == "net.block" for n in made.graph.node for p in n.metadata_props)
    assert len({n.name for n in made.graph.node}) == len(made.graph.node)


def test_domain_stays_where_it_is_needed() -> None:
    other = helper.make_node("Inverse", ["x"], ["d"], name="inverse", domain=MS)
    made = written(with_contrib(model([gelu(), other], {"x": [2, 2]}, {"y": [2, 2], "d": [2, 2]})))
    assert {o.domain for o in made.opset_import} == {"", MS}
    assert [n.op_type for n in made.graph.node if n.domain] == ["Inverse"]


def test_within_a_branch() -> None:
    x = real(2, 3)
    branch = [helper.make_node("Gelu", ["x"], [f"{i}_y"], name=f"{i}_gelu", domain=MS) for i in range(2)]
    branch[1] = helper.make_node("Tanh", ["x"], ["1_y"], name="1_tanh")
    graphs = [helper.make_graph([n], n.name, [], [helper.make_tensor_value_info(n.output[0], 1, [2, 3])]) for n in branch]
    choice = helper.make_node("If", ["c"], ["y"], name="if", then_branch=graphs[0], else_branch=graphs[1])
    made = with_contrib(model([choice], {"c": [], "x": [2, 3]}, {"y": [2, 3]}, kinds={"c": onnx.TensorProto.BOOL}))
    for c in (True, False):
        given = {"c": np.array(c), "x": x}
        np.testing.assert_allclose(run(written(made), given)["y"], run(made, given)["y"], rtol=1e-6)


@pytest.mark.parametrize("opset", [11, 13, 15, 17, 18, 21])
def test_every_opset(opset: int) -> None:
    """The converter leaves the operators alone, those in the standard's own domain too."""
    nodes = [
        node("LayerNormalization", "x s", "n", axis=-1),  # the standard has it from opset 17 on, ONNX Runtime always
        node("SimplifiedLayerNormalization", "n s", "a", axis=-1),
        helper.make_node("FusedMatMul", ["a", "w"], ["b"], name="b", domain=MS, alpha=0.5, transB=1),
        node("Softmax", "b", "y", axis=-1),
    ]
    weights = {"s": real(4), "w": real(5, 4)}
    made = with_contrib(model(nodes, {"x": ["n", 4]}, {"y": ["n", 5]}, weights, opset=opset))
    x = real(3, 4)
    after = written(made)
    assert after.opset_import[0].version >= 18
    np.testing.assert_allclose(run(after, {"x": x})["y"], run(made, {"x": x})["y"], rtol=1e-5, atol=1e-6)


def test_half_precision() -> None:
    nodes = [
        node("SimplifiedLayerNormalization", "x s", "a", axis=-1),
        helper.make_node("FastGelu", ["a"], ["y"], name="y", domain=MS),
    ]
    kinds = {"x": onnx.TensorProto.FLOAT16, "y": onnx.TensorProto.FLOAT16}
    made = with_contrib(model(nodes, {"x": ["n", 4]}, {"y": ["n", 4]}, {"s": real(4).astype(np.float16)}, kinds=kinds))
    x = real(3, 4).astype(np.float16)
    after = run(written(made), {"x": x})["y"]
    assert after.dtype == np.float16
    np.testing.assert_allclose(after, run(made, {"x": x})["y"], rtol=2e-2, atol=2e-3)


def test_quantized_there_and_back() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="q", domain=MS),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["a"], name="a", domain=MS),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["b"], name="b", domain=MS),
        node("Mul", "a b", "y"),
    ]
    made = with_contrib(model(nodes, {"x": ["n", 4]}, {"y": ["n", 4]}, {"s": np.float32(0.1), "z": np.uint8(128)}))
    x, after = real(3, 4), written(made)
    assert [n.op_type for n in after.graph.node] == ["QuantizeLinear", "DequantizeLinear", "Mul"]
    np.testing.assert_allclose(run(after, {"x": x})["y"], run(made, {"x": x})["y"], rtol=1e-6)
    found = Explainer(made, layer=["a"], output="y")({"x": x}, cotangent=np.ones((3, 4), np.float32)).attribution
    np.testing.assert_allclose(found, 2 * run(after, {"x": x})["y"] ** 0.5 * np.sign(found), rtol=1e-5, atol=1e-6)


def test_deep_chain_of_unknown_shapes() -> None:
    """Types are carried from operator to operator, without inferring the whole graph again for each."""
    names = ["x", *(f"t{i}" for i in range(300))]
    nodes = [
        helper.make_node("FusedMatMul", [a, "w"], [z], name=z, domain=MS, transA=0, transB=1, alpha=0.5)
        for a, z in pairwise(names)
    ]
    made = with_contrib(model(nodes, {"x": ["n", 4]}, {names[-1]: None}, {"w": real(4, 4)}))
    assert all(not n.domain for n in written(made).graph.node)


def test_embedding_is_found() -> None:
    call = embed("explained")
    tables = ("word_table", "position_table", "segment_table", "scale", "shift")
    made = Call(call.op, call.form, call.inputs, call.attributes, fixed=tables)
    found = Explainer(made.model())(made.feeds, cotangent=real(2, 4, 8))
    assert found.attributions["words"].shape == (2, 4, 8)


def test_embedding_of_a_quantized_table() -> None:
    """It is explained where the rows become real numbers; copies of that, as ONNX Runtime makes them, count together."""
    nodes = [
        node("Gather", "table ids", "rows"),
        node("DequantizeLinear", "rows s z", "first"),
        node("DequantizeLinear", "rows s z", "second"),
        node("Mul", "first second", "squared"),
        node("ReduceSum", "squared axes", "y", keepdims=0),
    ]
    table = np.arange(12, dtype=np.uint8).reshape(4, 3)
    weights = {"table": table, "s": np.float32(0.5), "z": np.uint8(6), "axes": np.array([1])}
    made = model(nodes, {"ids": ["n", 2]}, {"y": ["n", 3]}, weights, kinds={"ids": onnx.TensorProto.INT64})
    ids = np.array([[0, 3], [1, 2]])
    found = Explainer(made)({"ids": ids}, cotangent=np.ones((2, 3), np.float32)).attributions["ids"]
    np.testing.assert_allclose(found, 2 * (table[ids] - 6.0) * 0.5)


def test_made_up_symbols_are_not_mixed() -> None:
    """Inference runs before and after: what it calls the same extent the second time must not be the first time's."""
    nodes = [
        helper.make_node("FusedMatMul", ["x", "w"], ["a"], name="a", domain=MS),
        node("TopK", "a k", "b i", axis=0),
        node("NonZero", "v", "c"),
    ]
    inputs = {"x": ["n", 3], "w": [3, 4], "v": ["m", 2], "k": [1]}
    made = written(with_contrib(model(nodes, inputs, {"b": None, "c": None}, kinds={"c": 7, "k": 7})))
    symbols = {o.name: {d.dim_param for d in o.type.tensor_type.shape.dim} - {""} for o in made.graph.output}
    assert symbols["b"].isdisjoint(symbols["c"])


REFUSED = [
    (attention("rank4", mask=np.ones((2, 1, 9, 9), np.int32)), "rank 4"),
    (attention("shared", past_present_share_buffer=1), "share one buffer"),
    (multi_head("scores", ("y", "", "", "qk")), "output 3"),
    (multi_head("cross", unidirectional=1), "different lengths"),
    (group_query("sliding", 4, None, (3, 3), 4, sliding_window_cache=1), "sliding window"),
    (n_bits("odd", 5, 32), "bits"),
]


@pytest.mark.parametrize(("call", "reason"), [pytest.param(c, r, id=c.id) for c, r in REFUSED])
def test_refused_with_the_reason(call: Call, reason: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match=reason) as caught:
        rewrite(call.model())
    assert f"com.microsoft.{call.op} 'block/call'" in str(caught.value)
