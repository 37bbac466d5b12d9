"""DeepLIFT against SHAP's and Captum's arrays, its definition by hand, and summation to delta on whole networks."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from onnxplain import Explainer, check, rewrite
from onnxplain.errors import InputError, MethodError, OnnxplainError, RuleError
from onnxplain.verification.finite_differences import double
from onnxplain.verification.reference.evaluator import evaluate_reference
from tests.propagation.test_precision import halved
from tests.propagation.test_precision import rounded as rounded_to_half
from tests.support.models import model, node, run
from tests.support.multipliers import multipliers
from tests.support.paths import FIXTURES

FILES = ("model", "model_legacy")
REFERENCES = [
    (fixture, file, key)
    for fixture in ("deeplift_mlp", "deeplift_cnn", "deeplift_cnn1d")
    for file in FILES
    for key in ("shap.deeplift", "shap.deeplift-shap", *(("captum.deeplift", "captum.deeplift-shap") if "mlp" in fixture else ()))
]
ARCHITECTURES = ("resnet", "lrp_vgg", "densenet", "mobilenet", "convnext", "unet", "vit", "bert", "gpt2", "llama", "cnn1d")


def arrays(fixture: str, file: str) -> dict[str, np.ndarray]:
    with np.load(FIXTURES / fixture / f"{file}.npz") as found:
        return dict(found)


def about(fixture: str) -> dict[str, Any]:
    return json.loads((FIXTURES / fixture / "about.json").read_text())  # type: ignore[no-any-return]


# -- other implementations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fixture", "file", "key"), REFERENCES)
def test_equals_the_reference(fixture: str, file: str, key: str) -> None:
    """To 1e-5 of the largest value."""
    (baselines,) = arrays(fixture, "baselines").values()
    method = key.split(".")[1]
    explainer = Explainer(
        FIXTURES / fixture / f"{file}.onnx", method, baseline=baselines if method == "deeplift-shap" else baselines[:1]
    )
    found = explainer(arrays(fixture, "data"), target=arrays(fixture, "reference")["target"])
    expected = arrays(fixture, "relevance")[key]
    assert np.abs(found.attribution - expected).max() <= 1e-5 * np.abs(expected).max()
    assert np.abs(found.delta).max() <= 1e-5 * np.abs(expected).sum(axis=tuple(range(1, expected.ndim))).max()


def test_captum_is_wrong_where_its_array_differs() -> None:
    """Max pooling: its attributions do not sum to the score's change, SHAP's and ours do."""
    for fixture in ("deeplift_cnn", "deeplift_cnn1d"):
        entries = about(fixture)["relevance"]["arrays"]
        assert entries["captum.deeplift"]["gap"] > 0.1
        assert entries["shap.deeplift"]["gap"] < 1e-6


# -- whole networks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["rescale", "reveal-cancel"])
@pytest.mark.parametrize("fixture", ARCHITECTURES)
def test_summation_to_delta_in_float64(fixture: str, rule: str) -> None:
    """To 1e-9 of the largest change of a score, with a random baseline, in the reference evaluator."""
    facts, data = about(fixture), arrays(fixture, "data")
    layer = facts.get("embedding", {}).get("model_legacy.onnx")
    source = onnx.load(FIXTURES / fixture / "model_legacy.onnx")
    resizes = any(n.op_type == "Resize" for n in source.graph.node)  # its scales are float32 in every precision
    source = source if resizes else double(source)
    explained = rewrite(source, "deeplift", output=facts["output"], layer=layer, baseline=BASELINE, rule=rule)
    explained = double(explained) if resizes else explained
    names = {v.name for v in explained.graph.input}
    feeds = {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in data.items() if k in names}
    (name,) = (o.name for o in explained.graph.output if o.name.endswith("_attribution"))
    attribution, delta = evaluate_reference(explained, feeds, [name, "delta"])
    change = attribution.reshape(len(attribution), -1).sum(axis=1) - delta
    assert np.abs(attribution).max() > 0
    assert np.abs(delta).max() <= 1e-9 * np.abs(change).max()


BASELINE = 0.1


@pytest.mark.parametrize("fixture", ARCHITECTURES)
def test_summation_to_delta_in_the_file(fixture: str) -> None:
    """To 1e-4 of the largest change of a score, from zeros, in ONNX Runtime."""
    facts, data = about(fixture), arrays(fixture, "data")
    layer = facts.get("embedding", {}).get("model.onnx")
    explainer = Explainer(FIXTURES / fixture / "model.onnx", "deeplift", output=facts["output"], layer=layer, baseline=0.0)
    found = explainer(data)
    change = found.attribution.reshape(len(found.attribution), -1).sum(axis=1) - found.delta
    assert np.abs(found.delta).max() <= 1e-4 * np.abs(change).max()


# -- the definition by hand --------------------------------------------------------------------------------------------


def test_overlapping_pooling_by_hand() -> None:
    """Each window's change goes to its maximum here where it grew, to that at the baseline where it fell; windows add up."""
    random = np.random.default_rng(3)
    made = model([node("MaxPool", "x", "y", kernel_shape=[3], strides=[1])], {"x": [1, 1, 9]}, {"y": [1, 1, 7]})
    for _ in range(20):
        x, x0, u = random.normal(size=(1, 1, 9)), random.normal(size=(1, 1, 9)), random.normal(size=(1, 1, 7))
        found = multipliers(made, {"x": x}, {"x": x0}, ["y"], seeds={"y": u}).values["x"]
        expected = np.zeros(9)
        for j in range(7):
            here, there = x[0, 0, j : j + 3], x0[0, 0, j : j + 3]
            grown = here.max() - there.max()
            at = j + int(here.argmax() if grown > 0 else there.argmax())
            expected[at] += u[0, 0, j] * grown
        np.testing.assert_allclose(found[0, 0] * (x - x0)[0, 0], expected, atol=1e-12)


def test_softmax_of_two_is_the_sigmoid_of_their_difference() -> None:
    random = np.random.default_rng(4)
    both = model([node("Softmax", "x", "y", axis=-1)], {"x": [1, 2]}, {"y": [1, 2]})
    for _ in range(20):
        x, x0 = random.normal(size=(2, 1, 2)) * 3
        found = multipliers(both, {"x": x}, {"x": x0}, ["y"], seeds={"y": np.array([[1.0, 0.0]])}).values["x"]
        z, z0 = float(x[0, 0] - x[0, 1]), float(x0[0, 0] - x0[0, 1])
        rate = (1 / (1 + np.exp(-z)) - 1 / (1 + np.exp(-z0))) / (z - z0)
        np.testing.assert_allclose(found, [[rate, -rate]], rtol=1e-10)


NETWORK: dict[str, list[onnx.NodeProto]] = {
    "gelu": [node("Gelu", "x", "y")],
    "layer-norm": [node("LayerNormalization", "x scale bias", "y", axis=-1)],
    "attention": [
        node("MatMul", "x w", "q"), node("Transpose", "x", "k", perm=[1, 0]), node("MatMul", "q k", "s"),
        node("Softmax", "s", "a", axis=-1), node("MatMul", "a x", "y"),
    ],
    "gated": [node("Sigmoid", "x", "g"), node("ReduceMean", "x", "c", keepdims=1), node("Mul", "g c", "y")],
    "ratio": [node("Exp", "x", "e"), node("ReduceSum", "e", "t", keepdims=1), node("Div", "e t", "y")],
    "norm": [node("ReduceL2", "x", "n", keepdims=1), node("Div", "x n", "y")],
    "max": [node("Neg", "x", "o"), node("Max", "x o", "y")],
    "silu": [node("Sigmoid", "x", "g"), node("Mul", "x g", "y")],
}  # fmt: skip
"""Small graphs on x [3, 4]."""


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-6, 1e-2, 1.0, 30.0]), name=st.sampled_from(sorted(NETWORK)))
def test_properties(seed: int, scale: float, name: str) -> None:
    """Summation to delta at any distance; the same multipliers with input and baseline exchanged."""
    random = np.random.default_rng(seed)
    weights = {
        "w": random.normal(size=(4, 4)).astype(np.float32),
        "scale": np.ones(4, np.float32),
        "bias": np.ones(4, np.float32),
    }
    used = {k: v for k, v in weights.items() if any(k in n.input for n in NETWORK[name])}
    made = model(NETWORK[name], {"x": [3, 4]}, {"y": None}, used, opset=20)
    x = random.normal(size=(3, 4))
    x0 = x + scale * random.normal(size=(3, 4))
    there, back = (multipliers(made, {"x": a}, {"x": b}, ["y"]) for a, b in ((x, x0), (x0, x)))
    # Changes of 1e-6 leave six digits fewer, of which the guarded quotients keep four.
    assert there.gap < (1e-9 if scale > 1e-3 else 1e-7)
    size = np.abs(there.values["x"]).max()
    np.testing.assert_allclose(there.values["x"], back.values["x"], atol=1e-9 * size, rtol=1e-6)


def test_near_the_baseline_it_is_the_gradient() -> None:
    random = np.random.default_rng(5)
    for name, nodes in NETWORK.items():
        weights = {"w": random.normal(size=(4, 4)), "scale": np.ones(4), "bias": np.ones(4)}
        used = {k: v.astype(np.float32) for k, v in weights.items() if any(k in n.input for n in nodes)}
        made = model(nodes, {"x": [3, 4]}, {"y": None}, used, opset=20)
        x = random.normal(size=(3, 4))
        same = multipliers(made, {"x": x}, {"x": x}, ["y"]).values["x"]
        near = multipliers(made, {"x": x}, {"x": x + 1e-7 * random.normal(size=(3, 4))}, ["y"]).values["x"]
        np.testing.assert_allclose(near, same, atol=1e-5 * np.abs(same).max(), err_msg=name)
        step = multipliers(made, {"x": x}, {"x": x - 1e-5 * random.normal(size=(3, 4))}, ["y"])
        np.testing.assert_allclose((same * step.changes["x"]).sum(), step.change, rtol=1e-2, err_msg=name)


# -- subgraphs ---------------------------------------------------------------------------------------------------------


def unrolled_lstm(w: np.ndarray, r: np.ndarray, bias: np.ndarray, steps: int) -> onnx.ModelProto:
    """The last state of an LSTM on x [steps, 1, 3], its steps and gates (i, o, f, c) written out one by one."""
    size = r.shape[2]
    weights: dict[str, np.ndarray] = {"h0": np.zeros((1, size), np.float32), "c0": np.zeros((1, size), np.float32)}
    joined = np.concatenate([w[0], r[0]], axis=1)
    for k, gate in enumerate("iofc"):
        rows = slice(k * size, (k + 1) * size)
        weights |= {f"w{gate}": joined[rows], f"b{gate}": bias[0][rows] + bias[0][4 * size :][rows]}
    nodes = []
    for t in range(steps):
        weights[f"at{t}"] = np.array(t)
        nodes += [node("Gather", f"x at{t}", f"x{t}", axis=0), node("Concat", f"x{t} h{t}", f"j{t}", axis=1)]
        for gate, function in zip("iofc", ("Sigmoid", "Sigmoid", "Sigmoid", "Tanh"), strict=True):
            nodes += [
                node("Gemm", f"j{t} w{gate} b{gate}", f"z{gate}{t}", transB=1), node(function, f"z{gate}{t}", f"{gate}{t}_")
            ]  # fmt: skip
        nodes += [
            node("Mul", f"f{t}_ c{t}", f"kept{t}"), node("Mul", f"i{t}_ c{t}_", f"new{t}"),
            node("Add", f"kept{t} new{t}", f"c{t + 1}"), node("Tanh", f"c{t + 1}", f"out{t}"),
            node("Mul", f"o{t}_ out{t}", f"h{t + 1}"),
        ]  # fmt: skip
    nodes.append(node("Identity", f"h{steps}", "y"))
    return model(nodes, {"x": [steps, 1, 3]}, {"y": [1, size]}, weights)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_lstm_is_its_steps_written_out(direction: str) -> None:
    random = np.random.default_rng(11)
    weights = {
        "w": random.normal(size=(1, 16, 3)), "r": random.normal(size=(1, 16, 4)), "b": random.normal(size=(1, 32)),
        "axes": np.array([0]),
    }  # fmt: skip
    weights = {k: v.astype(np.int64 if k == "axes" else np.float32) for k, v in weights.items()}
    nodes = [node("LSTM", "x w r b", "all last", hidden_size=4, direction=direction), node("Squeeze", "last axes", "y")]
    whole = model(nodes, {"x": [5, 1, 3]}, {"y": [1, 4]}, weights)
    steps = unrolled_lstm(weights["w"], weights["r"], weights["b"], 5)
    x, x0 = random.normal(size=(2, 5, 1, 3)).astype(np.float32)
    turn = slice(None, None, -1 if direction == "reverse" else 1)
    found = run(rewrite(whole, "deeplift", target=2, baseline=x0), {"x": x})
    expected = run(rewrite(steps, "deeplift", target=2, baseline=x0[turn].copy()), {"x": x[turn].copy()})
    np.testing.assert_allclose(found["x_attribution"], expected["x_attribution"][turn], atol=1e-6)
    assert np.abs(found["delta"]).max() < 1e-6


@pytest.mark.parametrize("fixture", ["lstm", "gru", "lrp_bilstm"])
def test_recurrent_networks_sum_to_delta(fixture: str) -> None:
    data = arrays(fixture, "data")
    several = np.zeros((3, 1, 1), np.float32)
    for method, baseline, rule in (
        ("deeplift", 0.0, "rescale"), ("deeplift", 0.0, "reveal-cancel"), ("deeplift-shap", several, "rescale"),
    ):  # fmt: skip
        found = Explainer(FIXTURES / fixture / "model.onnx", method, baseline=baseline, rule=rule)(data)
        change = found.attribution.reshape(len(found.attribution), -1).sum(axis=1) - found.delta
        assert np.abs(found.delta).max() <= 1e-5 * np.abs(change).max()


def test_if_walks_the_branch_that_is_taken() -> None:
    def branch(op: str) -> onnx.GraphProto:
        outputs = [onnx.helper.make_tensor_value_info(op, onnx.TensorProto.FLOAT, None)]
        return onnx.helper.make_graph([node(op, "x", "inner"), node("Mul", "inner x", op)], op, [], outputs)

    nodes = [onnx.helper.make_node("If", ["which"], ["y"], then_branch=branch("Tanh"), else_branch=branch("Exp"))]
    made = model(nodes, {"x": [2, 3], "which": []}, {"y": [2, 3]}, kinds={"which": onnx.TensorProto.BOOL})
    x = np.random.default_rng(12).normal(size=(2, 3)).astype(np.float32)
    explained = rewrite(made, "deeplift", inputs=["x"], target=1, baseline=0.5)
    for which, f in ((True, np.tanh), (False, np.exp)):
        found = run(explained, {"x": x, "which": np.array(which)})["x_attribution"]
        np.testing.assert_allclose(found[:, 1], f(x[:, 1]) * x[:, 1] - f(0.5) * 0.5, rtol=1e-5)
        assert not found[:, [0, 2]].any()


@pytest.mark.parametrize("method", ["deeplift", "deeplift-shap"])
@pytest.mark.parametrize("fixture", ["resnet", "lstm", "convnext"])
def test_half_precision_is_walked_in_float32(fixture: str, method: str) -> None:
    path, data = FIXTURES / fixture / "model.onnx", arrays(fixture, "data")
    half, rounded = (Explainer(made, method, baseline=0.0)(data) for made in (halved(path, keep=True), rounded_to_half(path)))
    size = np.abs(rounded.attribution).max()
    np.testing.assert_allclose(half.attribution, rounded.attribution, atol=1e-3 * size)


# -- options and baselines ---------------------------------------------------------------------------------------------

SMALL = FIXTURES / "deeplift_mlp" / "model_legacy.onnx"


def small(method: str = "deeplift", **options: Any) -> Any:
    target = options.pop("target_index", 2)
    return Explainer(SMALL, method, **options)(arrays("deeplift_mlp", "data"), target=target)


def test_a_baseline_of_each_sample_and_one_given_at_run_time() -> None:
    x = arrays("deeplift_mlp", "data")["features"]
    own = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    expected = np.concatenate([small(baseline=own[i : i + 1]).attribution[i : i + 1] for i in range(len(x))])
    np.testing.assert_allclose(small(baseline=own).attribution, expected, atol=1e-6)
    np.testing.assert_allclose(Explainer(SMALL, "deeplift")(x, target=2, baseline=own).attribution, expected, atol=1e-6)


def test_several_baselines_are_averaged() -> None:
    many = np.random.default_rng(1).normal(size=(5, 12)).astype(np.float32)
    expected = np.mean([small(baseline=row[None]).attribution for row in many], axis=0)
    for chunk in (None, 1, 7, 100):
        np.testing.assert_allclose(small("deeplift-shap", baseline=many, chunk=chunk).attribution, expected, atol=2e-6)
    found = Explainer(SMALL, "deeplift-shap")(arrays("deeplift_mlp", "data"), target=2, baseline=many)
    np.testing.assert_allclose(found.attribution, expected, atol=2e-6)


def test_baselines_of_each_sample_are_averaged() -> None:
    many = np.random.default_rng(2).normal(size=(4, 3, 12)).astype(np.float32)
    expected = np.mean([small(baseline=own).attribution for own in many], axis=0)
    np.testing.assert_allclose(small("deeplift-shap", baseline=many).attribution, expected, atol=2e-6)


@pytest.mark.parametrize("method", ["deeplift", "deeplift-shap"])
@pytest.mark.parametrize("rule", ["rescale", "reveal-cancel"])
def test_all_targets_at_once(method: str, rule: str) -> None:
    many = np.random.default_rng(1).normal(size=(1 if method == "deeplift" else 4, 12)).astype(np.float32)
    explained = rewrite(SMALL, method, target="all", baseline=many, rule=rule)
    found = run(explained, arrays("deeplift_mlp", "data"))
    for target in range(5):
        one = small(method, baseline=many, rule=rule, target_index=target)
        np.testing.assert_allclose(found["features_attribution"][:, target], one.attribution, atol=2e-6)
        assert np.abs(found["delta"][:, target]).max() < 1e-5


def test_a_batch_of_one_at_a_time() -> None:
    """A model whose batch is fixed takes the baselines one by one."""
    made = onnx.load(SMALL)
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    made.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    many = np.random.default_rng(1).normal(size=(5, 12)).astype(np.float32)
    x = arrays("deeplift_mlp", "data")["features"][:1]
    found = Explainer(made, "deeplift-shap", baseline=many)(x, target=2)
    np.testing.assert_allclose(found.attribution, small("deeplift-shap", baseline=many).attribution[:1], atol=2e-6)


def test_inner_layers_and_other_methods_around_it() -> None:
    (layer,) = (n.output[0] for n in onnx.load(SMALL).graph.node if n.op_type == "Sigmoid")
    found = small(layer=layer, baseline=0.5)
    assert np.abs(found.delta).max() < 1e-5
    x = arrays("deeplift_mlp", "data")["features"]
    smooth = rewrite(SMALL, "smoothgrad", inner="deeplift", baseline=0.0, noise_level=0.0, samples=3, target=2)
    np.testing.assert_allclose(run(smooth, {"features": x})["features_attribution"], small(baseline=0.0).attribution, atol=1e-5)


def test_what_is_refused_says_why() -> None:
    def refused(kind: type[OnnxplainError], text: str, **options: Any) -> None:
        with pytest.raises(kind, match=text):
            rewrite(SMALL, "deeplift", **options)

    refused(MethodError, "needs a baseline")
    refused(MethodError, "deeplift-shap", baseline=np.zeros((2, 3, 12), np.float32))
    refused(InputError, "does not broadcast", baseline=np.zeros(5, np.float32))
    refused(MethodError, "'rescale' or 'reveal-cancel'", baseline=0.0, rule="revealcancel")
    for name, error, text in (
        ("spatial_transformer", RuleError, "linear in the first only"),
        ("detector_head", RuleError, "its input 1 .* changes with what is explained, in a way that has no multiplier"),
    ):
        with pytest.raises(error, match=text):
            rewrite(FIXTURES / name / "model_legacy.onnx", "deeplift", baseline=0.0)


# -- check -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["rescale", "reveal-cancel"])
def test_check_passes_call_by_call(rule: str) -> None:
    report = check(FIXTURES / "cnn1d" / "model.onnx", "deeplift", baseline=0.0, rule=rule)
    assert report.ok, report
    assert {f.name for f in report.findings} >= {"completeness", "conservation"}
    assert len(report.conservation) > 5
    assert report.conservation[0].received != 0


def test_check_names_the_call_that_does_not_add_up() -> None:
    """A step elsewhere has no multiplier: what it changes is lost at the product with it. One at the same place belongs to a
    function of x, whose multiplier is Δy/Δx."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=1), node("Floor", "m", "f"),
        node("Mul", "x f", "y", name="product"), node("Tanh", "y", "z"),
    ]  # fmt: skip
    made = model(nodes, {"x": ["n", 4]}, {"z": ["n", 4]})
    report = check(made, "deeplift", np.linspace(0.3, 3.4, 8, dtype=np.float32).reshape(2, 4), baseline=0.1)
    assert not report.ok
    assert report.conservation[0].node == "product"
    found = next(f for f in report.findings if f.name == "conservation")
    assert not found.ok
    assert "'product'" in found.detail
    alone = model([node("Floor", "x", "f"), *nodes[2:]], {"x": ["n", 4]}, {"z": ["n", 4]})
    assert check(alone, "deeplift", np.linspace(0.3, 3.4, 8, dtype=np.float32).reshape(2, 4), baseline=0.1).ok
