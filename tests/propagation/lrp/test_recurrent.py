"""LRP through LSTM, GRU and RNN: written out step by step, against an implementation of the papers' equations in plain NumPy."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import onnx
import pytest

from onnxplain import Explainer, plan, rewrite
from onnxplain.io.reader import read
from onnxplain.ir.registry import load_registry
from onnxplain.passes import expanded, prepared
from onnxplain.propagation.lrp.linear_rules import STABILIZER
from onnxplain.verification.finite_differences import double
from onnxplain.verification.reference.evaluator import evaluate_reference
from tests.support.models import model, node, run
from tests.support.own_case import Own
from tests.support.own_models import RECURRENT
from tests.support.paths import FIXTURES

Array: TypeAlias = "np.ndarray[Any, Any]"


EXPANDED = ("LSTM", "GRU", "RNN")


@pytest.mark.parametrize("case", RECURRENT, ids=lambda case: case.name)
def test_written_out_step_by_step_they_give_the_same(case: Own) -> None:
    """Every attribute, every optional input, in float64."""
    made = double(case.model())
    feeds = dict(zip([i.name for i in made.graph.input], [np.asarray(a) for a in case.arrays()], strict=True))
    feeds = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in feeds.items()}
    expected = evaluate_reference(made, feeds)
    written = expanded(prepared(read(made)), EXPANDED, load_registry()).model
    assert case.op not in {n.op_type for n in written.graph.node}
    onnx.checker.check_model(written, full_check=True)
    assert [o.name for o in written.graph.output] == [o.name for o in made.graph.output]
    for a, b in zip(expected, evaluate_reference(written, feeds), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-8)  # attributes are float32


# -- the oracle ----------------------------------------------------------------------------------------------------------


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def through(relevance: Array, z: Array, parts: list[tuple[Array, Array]], epsilon: float) -> list[Array]:
    """Arras et al. 2017, equation 1 with δ = 0 and no share of ε: x_i · w_ij · R_j / (z_j + ε sign z_j) for parts (x, W)."""
    share = relevance / (z + np.where(z < 0, -epsilon, epsilon))
    return [np.einsum("bi,ji,bj->bi", x, w, share) for x, w in parts]


def split(relevance: Array, a: Array, c: Array) -> tuple[Array, Array]:
    """A sum of two is a linear layer with weights of one, whose ε is the stabilizer."""
    total = a + c
    share = relevance / (total + np.where(total < 0, -STABILIZER, STABILIZER))
    return a * share, c * share


def lstm_relevance(x: Array, w: Array, r: Array, bias: Array, last: Array, epsilon: float, coupled: bool = False) -> Array:
    """Relevance of [steps, batch, features] from that of the last hidden state; gates in the order input, output, forget."""
    hidden = r.shape[1]
    wi, wo, wf, wc = np.split(w, 4)
    ri, ro, rf, rc = np.split(r, 4)
    bi, bo, bf, bc = np.split(bias[: 4 * hidden] + bias[4 * hidden :], 4)
    h, c = np.zeros((x.shape[1], hidden)), np.zeros((x.shape[1], hidden))
    steps = []
    for xt in x:
        i, o = sigmoid(xt @ wi.T + h @ ri.T + bi), sigmoid(xt @ wo.T + h @ ro.T + bo)
        f = 1 - i if coupled else sigmoid(xt @ wf.T + h @ rf.T + bf)
        z = xt @ wc.T + h @ rc.T + bc
        steps.append((xt, h, f * c, i * np.tanh(z), z))
        c = f * c + i * np.tanh(z)
        h = o * np.tanh(c)
    found = np.zeros_like(x)
    rh, of_cell = last, np.zeros_like(last)
    for t in reversed(range(len(x))):
        xt, before, kept, new, z = steps[t]
        of_cell = of_cell + rh  # h = o · tanh(c): the signal takes all, the activation passes it on
        of_cell, rg = split(of_cell, kept, new)
        found[t], rh = through(rg, z, [(xt, wc), (before, rc)], epsilon)
    return found


def gru_relevance(x: Array, w: Array, r: Array, bias: Array, last: Array, epsilon: float, late: bool) -> Array:
    """As of the LSTM; gates in the order update, reset."""
    hidden = r.shape[1]
    wu, wr, wh = np.split(w, 3)
    ru, rr, rh_ = np.split(r, 3)
    (bu, br, bh), (cu, cr, ch) = np.split(bias[: 3 * hidden], 3), np.split(bias[3 * hidden :], 3)
    h = np.zeros((x.shape[1], hidden))
    steps = []
    for xt in x:
        u = sigmoid(xt @ wu.T + h @ ru.T + bu + cu)
        reset = sigmoid(xt @ wr.T + h @ rr.T + br + cr)
        of_h = h @ rh_.T + ch
        z = xt @ wh.T + bh + (reset * of_h if late else (reset * h) @ rh_.T + ch)
        steps.append((xt, h, reset, u * h, (1 - u) * np.tanh(z), z, of_h))
        h = (1 - u) * np.tanh(z) + u * h
    found = np.zeros_like(x)
    relevance = last
    for t in reversed(range(len(x))):
        xt, before, reset, kept, new, z, of_h = steps[t]
        rg, relevance = split(relevance, new, kept)
        if late:
            found[t], to_h = through(rg, z, [(xt, wh), (reset * of_h, np.eye(hidden))], epsilon)
            (more,) = through(to_h, of_h, [(before, rh_)], epsilon)
        else:
            found[t], more = through(rg, z, [(xt, wh), (reset * before, rh_)], epsilon)
        relevance = relevance + more
    return found


STEPS, BATCH, FEATURES, HIDDEN = 6, 3, 4, 5


def network(op: str, gates: int, symbolic: bool = False, **attributes: Any) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """x → recurrent → last hidden state → linear layer, in float64."""
    generator = np.random.default_rng(7)
    weights = {
        "w": generator.standard_normal((1, gates * HIDDEN, FEATURES)) * 0.7,
        "r": generator.standard_normal((1, gates * HIDDEN, HIDDEN)) * 0.7,
        "b": generator.standard_normal((1, 2 * gates * HIDDEN)) * 0.2,
        "out": generator.standard_normal((HIDDEN, 2)),
        "axes": np.array([0]),
    }
    nodes = [
        node(op, "x w r b", "y last", "cell", hidden_size=HIDDEN, **attributes),
        node("Squeeze", "last axes", "h"),
        node("MatMul", "h out", "scores"),
    ]
    shape = ["steps", "batch", FEATURES] if symbolic else [STEPS, BATCH, FEATURES]
    kinds = {"x": onnx.TensorProto.DOUBLE, "scores": onnx.TensorProto.DOUBLE}
    return model(nodes, {"x": shape}, {"scores": [None, 2]}, weights, kinds=kinds), weights


def oracle(op: str, weights: dict[str, Array], x: Array, epsilon: float, **attributes: Any) -> tuple[Array, Array]:
    """Scores, and the relevance of x for the greatest of each sample."""
    w, r, bias = (weights[k][0] for k in ("w", "r", "b"))
    made, _ = network(op, {"LSTM": 4, "GRU": 3}[op], **attributes)
    (scores,) = evaluate_reference(made, {"x": x})
    made.graph.output[0].name = "h"
    (h,) = evaluate_reference(made, {"x": x}, ["h"])
    chosen = scores * (scores == scores.max(1, keepdims=True))
    (last,) = through(chosen, scores, [(h, weights["out"].T)], epsilon)
    if attributes.get("direction") == "reverse":
        x = x[::-1]
    if op == "LSTM":
        found = lstm_relevance(x, w, r, bias, last, epsilon, bool(attributes.get("input_forget")))
    else:
        found = gru_relevance(x, w, r, bias, last, epsilon, bool(attributes.get("linear_before_reset")))
    return scores, found[::-1] if attributes.get("direction") == "reverse" else found


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("epsilon", [1e-6, 0.01])
@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("LSTM", {}),
        ("LSTM", {"direction": "reverse"}),
        ("LSTM", {"input_forget": 1}),
        ("GRU", {}),
        ("GRU", {"direction": "reverse"}),
        ("GRU", {"linear_before_reset": 1}),
    ],
)
def test_relevance_is_that_of_the_equations(op: str, attributes: dict[str, Any], epsilon: float, symbolic: bool) -> None:
    made, weights = network(op, {"LSTM": 4, "GRU": 3}[op], symbolic, **attributes)
    x = np.random.default_rng(3).standard_normal((STEPS, BATCH, FEATURES))
    scores, expected = oracle(op, weights, x, epsilon, **attributes)
    seed = (scores == scores.max(1, keepdims=True)).astype(np.float64)
    found = run(rewrite(made, "lrp-epsilon", target="cotangent", epsilon=epsilon), {"x": x, "seed": seed})
    np.testing.assert_allclose(found["scores"], scores, rtol=1e-10)
    np.testing.assert_allclose(found["x_attribution"], expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("method", ["lrp-epsilon", "lrp-gamma"])
@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3)])
def test_relevance_is_conserved_without_biases(op: str, gates: int, method: str) -> None:
    made, _ = network(op, gates)
    next(t for t in made.graph.initializer if t.name == "b").CopyFrom(
        onnx.numpy_helper.from_array(np.zeros((1, 2 * gates * HIDDEN)), "b")
    )
    x = np.random.default_rng(3).standard_normal((STEPS, BATCH, FEATURES))
    cotangent = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    found = run(rewrite(made, method, target="cotangent"), {"x": x, "seed": cotangent})
    totals = found["x_attribution"].sum((0, 2))
    np.testing.assert_allclose(totals, (cotangent * found["scores"]).sum(1), rtol=1e-3)


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_a_recurrent_layer_comes_before_the_layers_behind_it(op: str) -> None:
    """The first linear layer is within the Scan: the one behind it is not first."""
    made, _ = network(op, {"LSTM": 4, "GRU": 3, "RNN": 1}[op])
    rows = {r.node: r.rule for r in plan(made, "lrp-epsilon-plus-flat").rows}
    assert rows["scores"] == "epsilon"
    assert "expand-operators" in plan(made, "lrp-epsilon").passes
    assert "expand-operators" not in plan(made, "gradient").passes


@pytest.mark.parametrize("method", ["lrp-zplus", "lrp-alpha2-beta1", "lrp-epsilon-plus-flat", "attnlrp", "deep-taylor"])
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_every_composite_goes_through(name: str, method: str) -> None:
    folder = FIXTURES / name
    before = Explainer(folder / "model.onnx")
    x = np.load(folder / "data.npz")["sequence"]
    explanation = Explainer(folder / "model.onnx", method)(x)
    assert np.isfinite(explanation.attribution).all()
    assert np.abs(explanation.attribution).max() > 0
    np.testing.assert_allclose(explanation.outputs["logits"], before(x).outputs["logits"], atol=1e-6)


def test_methods_that_evaluate_relevance_at_other_points() -> None:
    """What the method within needs in smaller operators is written so for the method around it."""
    path = FIXTURES / "lstm" / "model.onnx"
    x = np.load(path.with_name("data.npz"))["sequence"]
    alone = Explainer(path, "lrp-epsilon")(x)
    copies = Explainer(path, "smoothgrad", inner="lrp-epsilon", noise_level=0.0, samples=2)(x)
    np.testing.assert_allclose(copies.attribution, alone.attribution, rtol=1e-5, atol=1e-6)
    assert "expand-operators" in plan(path, "smoothgrad", inner="lrp-epsilon").passes
    assert "expand-operators" not in plan(path, "smoothgrad").passes
