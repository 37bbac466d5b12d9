"""Relevance rules for linear maps against the papers' formulas on the operator's dense matrix, in float64.

The matrix w_ij is found by running the operator on basis vectors. The formulas are written here over the scalars
z_ij = x_i · w_ij; the code under test takes x, w and b apart by their signs and replays the operator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest

from onnxplain import rewrite
from onnxplain.errors import MethodError, RuleError
from onnxplain.propagation.composite import Composite, NodePattern
from onnxplain.propagation.lrp import linear_rules as lrp
from onnxplain.propagation.lrp.input_bounds import bound
from onnxplain.propagation.lrp.linear_rules import LinearRule
from onnxplain.propagation.lrp.role_rules import pass_on
from onnxplain.verification.finite_differences import vector_jacobian_product
from tests.support.linear_cases import LINEAR, Array, Linear, linear, random
from tests.support.models import model, node
from tests.support.models import run as run_in_ort

EPSILON = 1e-6


# -- the papers' formulas over a matrix --------------------------------------------------------------------------------


class Layer(NamedTuple):
    """A layer as its neurons see it: x_i, w_ij, b_j, R_j, and which inputs each output reads."""

    x: Array
    w: Array
    b: Array
    relevance: Array

    @property
    def z(self) -> Array:
        return self.x[:, None] * self.w

    @property
    def linked(self) -> Array:
        return self.w != 0


Formula = Callable[[Layer, str, float], Array]


def above(values: Array) -> Array:
    return np.where(values > 0, values, 0)


def below(values: Array) -> Array:
    return np.where(values < 0, values, 0)


def shared(layer: Layer, parts: Array, of_bias: Array, bias: str, epsilon: float) -> Array:
    """R_ij = part_ij / (Σ_i part_ij + part of the bias + ε sign) · R_j, one output after the other."""
    messages = np.zeros_like(layer.w)
    for j in range(layer.w.shape[1]):
        total = sum(parts[i, j] for i in range(len(layer.x)))
        readers = layer.linked[:, j].sum()
        if bias != "ignore":
            total += of_bias[j]
        total += epsilon if total >= 0 else -epsilon
        for i in range(len(layer.x)):
            part = parts[i, j]
            if bias == "distribute" and layer.linked[i, j]:
                part = part + of_bias[j] / readers
            messages[i, j] = part / total * layer.relevance[j]
    return messages


def epsilon_formula(layer: Layer, bias: str, epsilon: float) -> Array:
    return shared(layer, layer.z, layer.b, bias, epsilon).sum(1)


def z_plus_formula(layer: Layer, bias: str, epsilon: float) -> Array:
    return shared(layer, above(layer.z), above(layer.b), bias, epsilon).sum(1)


def alpha_beta_formula(alpha: float, beta: float) -> Formula:
    def formula(layer: Layer, bias: str, epsilon: float) -> Array:
        for_it = shared(layer, above(layer.z), above(layer.b), bias, epsilon)
        against = shared(layer, below(layer.z), below(layer.b), bias, epsilon)
        return np.asarray((alpha * for_it - beta * against).sum(1))

    return formula


def gamma_formula(gamma: float) -> Formula:
    def formula(layer: Layer, bias: str, epsilon: float) -> Array:
        """Outputs above zero favour contributions above zero, outputs below zero those below."""
        y = layer.z.sum(0) + layer.b
        high = shared(layer, layer.z + gamma * above(layer.z), layer.b + gamma * above(layer.b), bias, epsilon)
        low = shared(layer, layer.z + gamma * below(layer.z), layer.b + gamma * below(layer.b), bias, epsilon)
        return np.where(y >= 0, high, low).sum(1)

    return formula


def w_square_formula(layer: Layer, bias: str, epsilon: float) -> Array:
    return shared(layer, layer.w**2, layer.b**2, bias, epsilon).sum(1)


def flat_formula(layer: Layer, bias: str, epsilon: float) -> Array:
    return shared(layer, layer.linked.astype(float), np.ones_like(layer.b), bias, epsilon).sum(1)


def box_formula(low: Array, high: Array) -> Formula:
    def formula(layer: Layer, bias: str, epsilon: float) -> Array:
        parts = layer.z - low.ravel()[:, None] * above(layer.w) - high.ravel()[:, None] * below(layer.w)
        return shared(layer, parts, layer.b, "ignore", epsilon).sum(1)

    return formula


RULES: dict[str, tuple[Callable[..., LinearRule], Formula]] = {
    "zero": (lambda bias: lrp.epsilon(EPSILON, bias), epsilon_formula),
    "epsilon": (lambda bias: lrp.epsilon(0.3, bias), lambda layer, bias, _: epsilon_formula(layer, bias, 0.3)),
    "z-plus": (lambda bias: lrp.z_plus(bias=bias), z_plus_formula),
    "alpha2-beta1": (lambda bias: lrp.alpha_beta(2, 1, bias=bias), alpha_beta_formula(2, 1)),
    "alpha1-beta0": (lambda bias: lrp.alpha_beta(1, 0, bias=bias), alpha_beta_formula(1, 0)),
    "alpha1.5-beta0.5": (lambda bias: lrp.alpha_beta(1.5, 0.5, bias=bias), alpha_beta_formula(1.5, 0.5)),
    "gamma0.25": (lambda bias: lrp.gamma(0.25, bias=bias), gamma_formula(0.25)),
    "gamma2": (lambda bias: lrp.gamma(2.0, bias=bias), gamma_formula(2.0)),
    "w-square": (lambda bias: lrp.w_square(bias=bias), w_square_formula),
    "flat": (lambda bias: lrp.flat(bias=bias), flat_formula),
}
BIASES = ("absorb", "ignore", "distribute")


# -- ours --------------------------------------------------------------------------------------------------------------


def composite(rule: Any) -> Composite:
    entries = ((NodePattern(operators=("Relu",)), pass_on), (NodePattern(roles=("linear",)), rule))
    return Composite("one rule", entries, canonize=True, strict=True)


def propagated(made: onnx.ModelProto, x: Array, relevance: Array, rule: Any) -> Array:
    (result,) = vector_jacobian_product(made, {"x": x}, {"y": relevance}, ["x"], composite=composite(rule)).values()
    assert result.shape == x.shape
    assert result.dtype == np.float64
    return np.asarray(result)


def compare(case: Linear, rule: LinearRule, formula: Formula, bias: str) -> None:
    """Inputs of both signs, then the same behind a Relu, which lets branches fall away."""
    x = random(*case.shape, seed=5)
    for rectified in (False, True) if bias == "absorb" else (False,):
        seen = np.maximum(x, 0) if rectified else x
        relevance = np.random.default_rng(1).standard_normal(case(x).shape)
        counted = bias if case.has_bias else "ignore"
        expected = formula(Layer(seen.ravel(), case.matrix, case.bias, relevance.ravel()), counted, EPSILON)
        actual = propagated(case.model(rectified=rectified), x, relevance, rule)
        np.testing.assert_allclose(actual.ravel(), expected, rtol=1e-9, atol=1e-11 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("case", LINEAR, ids=lambda c: c.name)
@pytest.mark.parametrize("name", RULES)
def test_rule_is_the_papers_formula(name: str, case: Linear) -> None:
    make, formula = RULES[name]
    for bias in BIASES if case.has_bias else BIASES[:1]:
        compare(case, make(bias), formula, bias)


@pytest.mark.parametrize("case", LINEAR, ids=lambda c: c.name)
def test_box_rule_with_bounds_of_every_kind(case: Linear) -> None:
    per_pixel = -np.abs(random(*case.shape, seed=8)) - 1.5
    bounds: list[tuple[Any, Any]] = [(-2.0, 1.75), (per_pixel, 1.6)]
    if len(case.shape) > 2:
        channels = np.linspace(-3, -2, case.shape[1])
        bounds.append((list(channels), list(-channels)))
    for low, high in bounds:
        per_channel = isinstance(low, list)
        shape = [-1] + [1] * (len(case.shape) - 2) if per_channel else None
        spread = [np.broadcast_to(np.reshape(v, shape) if shape else v, case.shape) for v in (low, high)]
        compare(case, lrp.box(bound(low), bound(high)), box_formula(*spread), "ignore")


# -- what the formulas leave open --------------------------------------------------------------------------------------


def emitted(made: onnx.ModelProto, rule: LinearRule, operator: str) -> int:
    """How many nodes of an operator our graph adds."""
    from onnxplain.passes import prepare
    from onnxplain.propagation.vjp import vjp

    copy = onnx.ModelProto()
    copy.CopyFrom(made)
    prepare(copy)
    before = sum(n.op_type == operator for n in copy.graph.node)
    vjp(copy, ["x"], ["y"], composite=composite(rule))
    return sum(n.op_type == operator for n in copy.graph.node) - before


@pytest.mark.parametrize(
    ("rule", "signed", "rectified"),
    [
        # Each branch is one product forward, unless it is the node itself, and one backward.
        (lrp.epsilon(), 1, 1),
        (lrp.z_plus(), 4, 2),
        (lrp.alpha_beta(), 8, 4),
        (lrp.alpha_beta(1, 0), 4, 2),
        (lrp.gamma(), 8, 4),
    ],
    ids=lambda v: v.name if isinstance(v, LinearRule) else str(v),
)
def test_provably_zero_branches_are_not_emitted(rule: LinearRule, signed: int, rectified: int) -> None:
    case = next(c for c in LINEAR if c.name == "gemm-bias")
    assert emitted(case.model(), rule, "Gemm") == signed
    assert emitted(case.model(rectified=True), rule, "Gemm") == rectified


def test_stabilizer_takes_zero_for_positive() -> None:
    """sign(0) = +1: nothing is divided by zero, and what cancels to zero leaves its parts over ε."""
    case = linear("cancels", node("MatMul", "x w", "y"), (1, 2), w=[[1.0], [-1.0]])
    result = propagated(case.model(), np.ones((1, 2)), np.array([[0.5]]), lrp.epsilon(0.25))
    np.testing.assert_allclose(result, [[0.5 / 0.25, -0.5 / 0.25]])


@pytest.mark.parametrize("make", [lrp.epsilon, lrp.z_plus, lrp.gamma, lrp.alpha_beta, lrp.w_square, lrp.flat])
def test_nothing_finite_becomes_infinite(make: Callable[[], LinearRule]) -> None:
    rule = make()
    for scale_x, scale_w, scale_b in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 1e30), (1e30, 1e-30, 0), (0, 0, 1e30)]:
        case = linear("degenerate", node("Gemm", "x w b", "y"), (2, 3), w=scale_w * random(3, 4), b=scale_b * random(4))
        result = propagated(case.model(), scale_x * random(2, 3), random(2, 4), rule)
        assert np.isfinite(result).all()


def test_alpha_minus_beta_is_one() -> None:
    with pytest.raises(MethodError, match="α − β = 1 to conserve relevance, found α = 2, β = 2"):
        lrp.alpha_beta(2, 2)


@pytest.mark.parametrize(
    "rule", [lrp.z_plus(), lrp.alpha_beta(), lrp.gamma(), lrp.w_square(), lrp.flat(), lrp.box(bound(0.0), bound(1.0))]
)
def test_operators_without_weights_take_epsilon_only(rule: LinearRule) -> None:
    made = model(
        [node("BatchNormalization", "x s b m v", "y")], {"x": (1, 2, 3)}, {"y": (1, 2, 3)},
        {k: np.ones(2, np.float32) for k in "sbmv"}, opset=17,
    )  # fmt: skip
    named = Composite("named", ((NodePattern(operators=("BatchNormalization",)), rule),))
    with pytest.raises(RuleError, match="has none to take apart; choose epsilon for it"):
        vector_jacobian_product(
            made, {"x": np.ones((1, 2, 3), np.float32)}, {"y": np.ones((1, 2, 3), np.float32)}, ["x"], composite=named
        )


def test_two_live_operands_are_no_linear_map() -> None:
    made = model([node("MatMul", "x x", "y")], {"x": (2, 2)}, {"y": (2, 2)})
    entries = ((NodePattern(operators=("MatMul",)), lrp.epsilon()),)
    with pytest.raises(RuleError, match="needs one live operand, found 2: 'x', 'x'"):
        vector_jacobian_product(made, {"x": np.ones((2, 2), np.float32)}, {"y": np.ones((2, 2), np.float32)}, ["x"],
                composite=Composite("all", entries))  # fmt: skip


def test_batch_normalization_shares_by_contribution() -> None:
    """ε on γ · (x − μ) / σ + β: x's part of the sum is γ · x / σ."""
    scale, shift, mean, variance = random(3), random(3, seed=1), random(3, seed=2), np.abs(random(3, seed=3))
    made = model(
        [node("BatchNormalization", "x s b m v", "y", epsilon=0.01)], {"x": (2, 3, 2)}, {"y": (2, 3, 2)},
        {"s": scale, "b": shift, "m": mean, "v": variance}, kinds={"x": 11, "y": 11},
    )  # fmt: skip
    x, relevance = random(2, 3, 2), random(2, 3, 2, seed=1)
    result = vector_jacobian_product(made, {"x": x}, {"y": relevance}, ["x"], composite=composite(lrp.epsilon(0.1)))["x"]
    factor = (scale / np.sqrt(variance + 0.01))[:, None]
    y = (x - mean[:, None]) * factor + shift[:, None]
    np.testing.assert_allclose(result, x * factor / (y + np.where(y < 0, -0.1, 0.1)) * relevance, rtol=1e-7)


# -- bounds --------------------------------------------------------------------------------------------------------------


def image_model() -> onnx.ModelProto:
    weights = {"w": random(2, 3, 2, 2).astype(np.float32), "v": random(2, 2).astype(np.float32)}
    nodes = [node("Conv", "x w", "c"), node("Relu", "c", "r"), node("GlobalAveragePool", "r", "g"), node("Flatten", "g", "f"),
             node("MatMul", "f v", "y")]  # fmt: skip
    return model(nodes, {"x": ("batch", 3, 4, 4)}, {"y": ("batch", 2)}, weights)


def test_bounds_given_at_run_time_are_inputs() -> None:
    made = image_model()
    low, high = np.full((1, 3, 1, 1), -2, np.float32), np.full((1, 3, 1, 1), 3, np.float32)
    x = random(2, 3, 4, 4).astype(np.float32)
    at_run_time = rewrite(made, "lrp-epsilon-gamma-box", target=0, low="input", high="input")
    assert [i.name for i in at_run_time.graph.input] == ["x", "low", "high"]
    given = run_in_ort(at_run_time, {"x": x, "low": np.broadcast_to(low, x.shape), "high": np.broadcast_to(high, x.shape)})
    baked = run_in_ort(rewrite(made, "lrp-epsilon-gamma-box", target=0, low=[-2, -2, -2], high=3.0), {"x": x})
    np.testing.assert_allclose(given["x_attribution"], baked["x_attribution"], rtol=1e-5)
    other = run_in_ort(rewrite(made, "lrp-epsilon-gamma-box", target=0, low=-1.0, high=3.0), {"x": x})
    assert np.abs(other["x_attribution"] - baked["x_attribution"]).max() > 1e-3


@pytest.mark.parametrize(
    ("low", "message"),
    [
        ("nothing", "or 'input' for run time; found 'nothing'"),
        ([0.0, 1.0], r"a bound of shape \[2\] does not broadcast to 'x'"),
        (np.zeros((5, 5)), r"a bound of shape \[5, 5\] does not broadcast to 'x'"),
    ],
)
def test_bounds_that_do_not_fit(low: Any, message: str) -> None:
    with pytest.raises(MethodError, match=message):
        rewrite(image_model(), "lrp-epsilon-gamma-box", target=0, low=low)


def test_every_rule_names_its_formula_and_source() -> None:
    for make in (lrp.epsilon, lrp.z_plus, lrp.alpha_beta, lrp.gamma, lrp.w_square, lrp.flat):
        rule = make()
        assert rule.formula.startswith("R_i = ")
        assert any(year in rule.source for year in ("2015", "2016", "2017", "2019"))
