"""Function bodies in place of nodes: the same numbers, the same modules, nothing left that has no rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain.explain.rewrite import rewrite
from onnxplain.ir.graph import Graph
from onnxplain.ir.registry import OpSpec, Registry, load_registry
from onnxplain.passes import prepare
from onnxplain.passes.expand import expand_functions
from onnxplain.verification.reference.evaluator import evaluate_reference
from tests.rules.test_gradients import run_in_onnxruntime
from tests.support.models import model, node, run
from tests.support.onnx_cases import Case, cases

EXPANDED = (
    *("Attention", "FlexAttention", "RotaryEmbedding", "SwiGLU", "LinearAttention"),
    *("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"),
)


def expandable() -> list[Case]:
    """Cases of one node that has a body and no rule."""
    return [c for c in cases() if c.name.split("-")[0] in EXPANDED and c.form != "constant"]


def attention(name: str = "/block/attn/Attention", weights: int = 8) -> onnx.ModelProto:
    """Attention of opset 23 between two linear maps."""
    text = f"""<ir_version: 11, opset_import: ["" : 23]>
    graph (float[batch,4,8] x, float[8,{weights}] w) => (float[batch,4,{weights}] y) {{
        k = MatMul(x, w)
        a = Attention<q_num_heads=2, kv_num_heads=2, is_causal=1>(x, x, k)
        y = Tanh(a)
    }}"""
    model = onnx.parser.parse_model(text)
    generator = np.random.default_rng(0)
    w = onnx.numpy_helper.from_array(generator.standard_normal((8, weights)).astype(np.float32), "w")
    model.graph.initializer.append(w)
    del model.graph.input[1:]
    model.graph.node[1].name = name
    return model


def prepared(model: onnx.ModelProto, registry: Registry | None = None) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    prepare(copy, registry)
    return copy


@pytest.mark.parametrize("case", expandable(), ids=lambda c: c.id)
def test_forward_numbers_stay(case: Case) -> None:
    if not case.precision <= {onnx.TensorProto.FLOAT}:
        pytest.skip("half precision: a body rounds where the evaluator does not")
    model = prepared(case.model)
    assert not {n.op_type for n in model.graph.node} & set(EXPANDED)
    given = {k: np.asarray(v, np.float32) if k in case.varied else v for k, v in case.inputs.items()}
    before, after = (evaluate_reference(m, given, list(case.targets)) for m in (case.model, model))
    for expected, found in zip(before, after, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_numbers_and_opset_in_onnxruntime() -> None:
    x = np.random.default_rng(1).standard_normal((2, 4, 8)).astype(np.float32)
    model = attention()
    explained = rewrite(model, target=(":", 0))
    assert {o.version for o in explained.opset_import} == {21}
    (expected,) = run_in_onnxruntime(model.SerializeToString(), {"x": x}, ["y"])
    found, attribution = run_in_onnxruntime(explained.SerializeToString(), {"x": x}, ["y", "x_attribution"])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.isfinite(attribution).all()
    assert attribution.any()


@pytest.mark.parametrize(
    ("name", "metadata", "scope"),
    [
        ("/block/attn/Attention", {}, "block.attn"),
        ("Attention_3", {}, ""),
        ("node", {"pkg.torch.onnx.name_scopes": "['', 'block', 'block.attn', 'sdpa']"}, "block.attn"),
        ("node", {"namespace": "decoder/layer"}, "decoder/layer"),
    ],
)
def test_scopes_are_kept(name: str, metadata: dict[str, str], scope: str) -> None:
    model = attention(name)
    onnx.helper.set_model_props(model.graph.node[1], metadata)  # type: ignore[arg-type]
    graph = Graph(prepared(model))
    softmax = next(c for c in graph.nodes if c.op == "Softmax")
    assert softmax.scope == scope


def test_weights_are_left_alone() -> None:
    model = attention(weights=400)
    weight = model.graph.initializer[0].SerializeToString()
    expand_functions(model)
    assert weight in [t.SerializeToString() for t in model.graph.initializer]


def test_an_operator_with_a_rule_stays() -> None:
    registry = Registry({k: list(v) for k, v in load_registry().entries.items()})
    registry.add(OpSpec("Attention", "", 23, lambda b, node, dy: None, "function"))
    model = prepared(attention(), registry)
    assert "Attention" in [n.op_type for n in model.graph.node]


def test_two_calls_of_one_name() -> None:
    model = attention()
    model.graph.node[2].CopyFrom(model.graph.node[1])
    model.graph.node[2].input[:], model.graph.node[2].output[:] = ["a", "a", "k"], ["y"]
    x = np.random.default_rng(1).standard_normal((2, 4, 8)).astype(np.float32)
    (expected,), (found,) = evaluate_reference(model, {"x": x}), evaluate_reference(prepared(model), {"x": x})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_within_a_branch() -> None:
    text = """<ir_version: 11, opset_import: ["" : 23]>
    graph (float[2,4,8] x, bool c) => (float[2,4,8] y) {
        y = If (c) <
            then_branch = then_graph () => (float[2,4,8] t) { t = Attention<q_num_heads=2, kv_num_heads=2>(x, x, x) },
            else_branch = else_graph () => (float[2,4,8] e) { e = Identity(x) }
        >
    }"""
    model = onnx.parser.parse_model(text)
    x: dict[str, Any] = {"x": np.random.default_rng(1).standard_normal((2, 4, 8)).astype(np.float32), "c": np.array(True)}
    after = prepared(model)
    (branching,) = (n for n in after.graph.node if n.op_type == "If")
    inner = {n.op_type for a in branching.attribute for n in a.g.node}
    assert "Softmax" in inner
    assert "Attention" not in inner
    np.testing.assert_allclose(evaluate_reference(after, x)[0], evaluate_reference(model, x)[0], rtol=1e-5, atol=1e-6)


def test_random_and_shape_operators_stay() -> None:
    text = """<ir_version: 8, opset_import: ["" : 18]>
    graph (float[3] x, int64 n) => (float[3] y, float[m] w) { b = Bernoulli(x) y = Mul(b, x) w = HannWindow(n) }"""
    model = onnx.parser.parse_model(text)
    assert not expand_functions(model)
    assert [n.op_type for n in model.graph.node] == ["Bernoulli", "Mul", "HannWindow"]


@pytest.mark.parametrize("known", [True, False])
def test_a_branch_that_is_known_stands_in_place_of_its_if(known: bool) -> None:
    text = """<ir_version: 8, opset_import: ["" : 18]>
    graph (float[3] x) => (float[3] y) <bool c = {1}> {
        h = Exp(x)
        y = If (c) <
            then_branch = then_graph () => (float[3] r) { r = Mul(h, x) },
            else_branch = else_graph () => (float[3] r) { q = Neg(h) r = Identity(x) }
        >
    }"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.array(known), "c"))
    after = prepared(model)
    assert "If" not in [n.op_type for n in after.graph.node]
    x = {"x": np.array([1.0, -2.0, 0.5], np.float32)}
    np.testing.assert_array_equal(evaluate_reference(after, x)[0], evaluate_reference(model, x)[0])


@pytest.mark.parametrize("method", ["lrp-epsilon", "lrp-zplus", "attnlrp", "cp-lrp"])
def test_relevance_through_the_body_of_attention(method: str) -> None:
    """As through the same attention written by hand: its weights are recognized in the standard's body."""
    generator = np.random.default_rng(0)
    weights: dict[str, Any] = {k: generator.standard_normal((8, 8)).astype(np.float32) / 2 for k in ("wq", "wk", "wv", "wo")}
    first = [node("MatMul", "x wq", "q"), node("MatMul", "x wk", "k"), node("MatMul", "x wv", "v")]
    last = [node("MatMul", "a wo", "o"), node("Add", "o x", "y")]
    whole = [node("Attention", "q k v", "a", q_num_heads=2, kv_num_heads=2)]
    parts = [node("Reshape", f"{t} heads", f"{t}4") for t in "qkv"]
    parts += [node("Transpose", f"{t}4", f"{t}t", perm=[0, 2, 3, 1] if t == "k" else [0, 2, 1, 3]) for t in "qkv"]
    parts += [node("MatMul", "qt kt", "s0"), node("Mul", "s0 scale", "s"), node("Softmax", "s", "p", axis=-1)]
    parts += [node("MatMul", "p vt", "m"), node("Transpose", "m", "mt", perm=[0, 2, 1, 3]), node("Reshape", "mt back", "a")]
    shapes: Any = {"x": ["n", 5, 8]}, {"y": ["n", 5, 8]}
    short = model([*first, *whole, *last], *shapes, weights, opset=23)
    short.ir_version = 10
    more = {"heads": np.array([0, 0, 2, 4]), "back": np.array([0, 0, 8]), "scale": np.float32(0.5)}
    long = model([*first, *parts, *last], *shapes, {**weights, **more})
    x, cotangent = generator.standard_normal((2, 5, 8)).astype(np.float32), np.zeros((2, 5, 8), np.float32)
    cotangent[:, 2, 3] = 1
    found, expected = (
        run(rewrite(m, method, target="cotangent"), {"x": x, "seed": cotangent})["x_attribution"] for m in (short, long)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
