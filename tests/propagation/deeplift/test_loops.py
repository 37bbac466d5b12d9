"""DeepLIFT through Loop and If: as the same steps written one after the other, and NaN where the baseline takes other steps."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxplain import Explainer
from onnxplain.errors import InputError
from tests.support.models import run

HEAD = '<ir_version: 8, opset_import: ["" : 18]> g (float[N,T,2] x) => (float[N,3] y)'
WEIGHTS = (
    "int64 one = {1}, int64 zero = {0}, int64[1] z0 = {0}, int64[1] three = {3}, bool true = {1}, float limit = {0.4}, int64 many = {6}, "
    "float[5,3] w = {0.13, -0.13, 0.64, 0.1, -0.54, 0.36, 1.3, 0.95, -0.7, -1.27, -0.62, 0.04, -0.33, -0.22, -0.25}, "
    "float[3] v = {0.3, 0.5, -0.4}"
)
START = "s = Shape(x) t = Gather(s, one) nn = Gather(s, zero) n1 = Unsqueeze(nn, z0) hs = Concat<axis = 0>(n1, three) h0 = ConstantOfShape(hs)"
STEP = "xk = Gather<axis = 1>(x, i) c = Concat<axis = 1>(xk, h) z = MatMul(c, w) hn = Tanh(z)"


def looped(
    loop: str, kept: str = "float[N,3] h", ends: str = "hn", states: str = "h0", results: str = "y", go: str = "on = Identity(go)"
) -> str:
    """A Loop of `STEP`; `loop` are further operators of its body."""
    after = ", ".join(f"float[N,3] {e}" if e == "hn" else e for e in ends.split(", "))
    return (
        f"{HEAD} <{WEIGHTS}> {{ {START} {results} = Loop(TRIPS, true, {states}) "
        f"<body = b (int64 i, bool go, {kept}) => (bool on, {after}) {{ {STEP} {loop} {go} }}> }}"
    )


def unrolled(steps: int) -> onnx.ModelProto:
    lines = [
        f"x{k} = Gather<axis = 1>(x, k{k}) c{k} = Concat<axis = 1>(x{k}, h{k}) m{k} = MatMul(c{k}, w) h{k + 1} = Tanh(m{k})"
        for k in range(steps)
    ]
    numbers = ", ".join(f"int64 k{k} = {{{k}}}" for k in range(steps))
    return onnx.parser.parse_model(f"{HEAD} <{WEIGHTS}, {numbers}> {{ {START} {' '.join(lines)} y = Identity(h{steps}) }}")


X = np.random.default_rng(0).standard_normal((2, 4, 2)).astype(np.float32)


def test_steps_of_a_loop_are_steps() -> None:
    """Over the counter, with the rank of the counter left out as the scripting exporter does; the steps are those of the shape."""
    made = onnx.parser.parse_model(looped("").replace("TRIPS", "t"))
    found, plain = (Explainer(m, "deeplift", baseline=0.25)(X, 1) for m in (made, unrolled(4)))
    np.testing.assert_allclose(found.outputs["y"], plain.outputs["y"], rtol=1e-6)
    np.testing.assert_allclose(found.attribution, plain.attribution, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.delta, 0, atol=1e-6)


def test_a_state_that_counts_is_no_reason_to_compare() -> None:
    """The loop ends by a counter of its own: nothing about it depends on the input, so nothing is checked at run time."""
    text = looped("kn = Add(k, one)", "float[N,3] h, int64 k", "hn, int64 kn", "h0, zero", "y, last", "on = Less(kn, t)")
    made = onnx.parser.parse_model(text.replace("TRIPS", "many"))
    found, plain = (Explainer(m, "deeplift", baseline=0.25)(X, 1) for m in (made, unrolled(4)))
    np.testing.assert_allclose(found.attribution, plain.attribution, rtol=1e-4, atol=1e-6)
    compared = Explainer(made, "deeplift", baseline=0.25).model
    assert not any(n.op_type == "Equal" and "Loop" in n.name for n in compared.graph.node)


HALTING = looped("", go="a = Abs(hn) m = ReduceMax<keepdims = 0>(a) on = Less(m, limit)").replace("TRIPS", "t")
"""Ends once a number is large."""


@pytest.mark.parametrize("scale", [0.05, 0.02])
def test_a_loop_that_halts_by_its_values(scale: float) -> None:
    """As many steps at the baseline as here: as the steps written out."""
    made, x = onnx.parser.parse_model(HALTING), (X * scale).astype(np.float32)
    found = Explainer(made, "deeplift", baseline=0.0)(x, 1)
    np.testing.assert_allclose(found.outputs["y"], run(unrolled(4), {"x": x})["y"], rtol=1e-5)  # all four steps
    np.testing.assert_allclose(found.attribution, Explainer(unrolled(4), "deeplift", baseline=0.0)(x, 1).attribution, atol=1e-6)


def test_other_steps_at_the_baseline_are_said() -> None:
    made = onnx.parser.parse_model(HALTING)
    with pytest.raises(InputError, match=r"'deeplift' compares .* of a Loop or If .* takes others at the baseline"):
        Explainer(made, "deeplift", baseline=0.0)(X * 3, 1)


CHOICE = (
    f"{HEAD} <{WEIGHTS}> {{ f = ReduceMean<keepdims = 0>(x, z0x) m = ReduceMax<keepdims = 0>(x) k = Greater(m, limit) "
    "y = If(k) <then_branch = a () => (float[N,3] p) { p = Tanh(f3) }, else_branch = e () => (float[N,3] q) { q = Mul(f3, f3) }> }"
).replace(
    "f = ReduceMean<keepdims = 0>(x, z0x)",
    "f = Gather<axis = 1>(x, zero) f2 = Concat<axis = 1>(f, f) f3 = Gather<axis = 1>(f2, idx)",
)
CHOICE = CHOICE.replace("float[3] v", "int64[3] idx = {0, 1, 2}, float[3] v")


@pytest.mark.parametrize("large", [False, True])
def test_a_branch_chosen_by_the_input(large: bool) -> None:
    """The same branch is taken at the baseline: the change of its function is shared out."""
    made = onnx.parser.parse_model(CHOICE)
    x = np.abs(X) * 0.1 + (1.0 if large else 0.0)
    baseline = 0.5 if large else 0.0
    found = Explainer(made, "deeplift", baseline=baseline)(x.astype(np.float32), (":", 1))  # all samples choose together
    y0 = np.tanh(baseline) if large else baseline**2
    np.testing.assert_allclose(found.attribution.sum((1, 2)), found.outputs["y"][:, 1] - y0, atol=1e-6)
    assert np.count_nonzero(found.attribution) == 2  # x[:, 0, 1] of both samples


def test_the_other_branch_at_the_baseline_is_said() -> None:
    with pytest.raises(InputError, match="takes others at the baseline"):
        Explainer(onnx.parser.parse_model(CHOICE), "deeplift", baseline=0.0)(X * 3, (":", 1))


def test_a_state_whose_extents_grow() -> None:
    """A prefix of the series is kept: h ← [h; tanh x_i], the last steps of which add up."""
    made = onnx.parser.parse_model(
        f"{HEAD.replace('[N,3] y', '[N,2] y')} <{WEIGHTS}, int64[1] ax = {{1}}, int64[1] neg = {{-1}}> {{ s = Shape(x) t = Gather(s, one) "
        "h0 = Slice(x, z0, onev, ax) h = Loop(t, true, h0) <body = b (int64 i, bool go, float[N,K,2] p) => (bool on, float[N,L,2] q) { "
        "xi = Gather<axis = 1>(x, i) xt = Tanh(xi) u = Unsqueeze(xt, ax) q = Concat<axis = 1>(p, u) on = Identity(go) }> "
        "e = Exp(h) y = ReduceSum<keepdims = 0>(e, ax) }".replace("onev", "one1")
    )
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "one1"))
    found = Explainer(made, "deeplift", baseline=0.0)(X, 1)
    change = np.exp(X[:, 0, 1]) + np.exp(np.tanh(X[:, :, 1])).sum(1) - 5
    np.testing.assert_allclose(found.attribution.sum((1, 2)), change, rtol=1e-5)
    np.testing.assert_allclose(found.attribution[:, 1:, 1], np.exp(np.tanh(X[:, 1:, 1])) - 1, rtol=1e-4)
