"""Relevance rules for what is no linear map with weights, against the formulas in plain numpy, in float64.

Sums are linear in their operands, so their oracle is a matrix from basis vectors; norms are once the statistic they divide by
is frozen, so theirs is a numpy function with the statistic of one point in it, differentiated numerically.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product as every
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import rewrite
from onnxplain.errors import RuleError
from onnxplain.method.own_composite import own_composite
from onnxplain.propagation.composite import Composite, NodePattern
from onnxplain.propagation.lrp import composites
from onnxplain.propagation.lrp import linear_rules as lrp
from onnxplain.propagation.lrp import role_rules as lrp_roles
from onnxplain.verification.finite_differences import run, vector_jacobian_product
from tests.support.linear_cases import Array, random
from tests.support.models import model, node
from tests.support.models import run as run_in_ort

EPSILON = 1e-6
EPSILON_LRP = composites.uniform("epsilon", lrp.epsilon())


def made(
    nodes: Sequence[onnx.NodeProto] | onnx.NodeProto, inputs: Mapping[str, Array], opset: int = 19, **weights: Array
) -> onnx.ModelProto:
    """A float64 model with output `y`."""
    double = onnx.TensorProto.DOUBLE
    shapes = {name: x.shape for name, x in inputs.items()}
    given = [nodes] if isinstance(nodes, onnx.NodeProto) else nodes
    return model(given, shapes, {"y": None}, weights, opset=opset, kinds=dict.fromkeys([*shapes, "y"], double))


def relevance_of(
    model: onnx.ModelProto, inputs: Mapping[str, Array], seed: int = 1, composite: Composite = EPSILON_LRP
) -> tuple[dict[str, Array], Array, Array]:
    """The relevance of every input, the output, and its random relevance."""
    y = np.asarray(run(model, inputs, ["y"])[0])
    relevance = np.random.default_rng(seed).standard_normal(y.shape)
    return vector_jacobian_product(model, inputs, {"y": relevance}, list(inputs), composite=composite), y, relevance


def close(actual: Array, expected: Array) -> None:
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-10 * max(1.0, float(np.abs(expected).max())))


def stabilized(z: Array) -> Array:
    return z + np.where(z >= 0, EPSILON, -EPSILON)


def only(rule: Any, *operators: str) -> Composite:
    """A composite of one rule for some operators over ε-LRP."""
    return own_composite("one", [(NodePattern(operators=operators), rule)], base=EPSILON_LRP)


# -- sums ----------------------------------------------------------------------------------------------------------------

A, B, C = random(2, 3), random(2, 3, seed=1), random(2, 3, seed=2)
IMAGE = random(1, 2, 5, 4)

SUMS: dict[str, tuple[onnx.NodeProto | list[onnx.NodeProto], dict[str, Array], dict[str, Array]]] = {
    "residual": (node("Add", "a b", "y"), {"a": A, "b": B}, {}),
    "residual broadcast": (node("Add", "a b", "y"), {"a": A, "b": random(3)}, {}),
    "residual of itself": (node("Add", "a a", "y"), {"a": A}, {}),
    "residual of three": (node("Sum", "a b c", "y"), {"a": A, "b": B, "c": C}, {}),
    "residual of one": (node("Sum", "a", "y"), {"a": A}, {}),
    "residual of seven": (node("Sum", "a b c a b d d", "y"), {"a": A, "b": B, "c": C, "d": random(2, 1)}, {}),
    "difference": (node("Sub", "a b", "y"), {"a": A, "b": B}, {}),
    "difference broadcast": (node("Sub", "a b", "y"), {"a": random(2, 1), "b": B}, {}),
    "constant added": (node("Add", "a k", "y"), {"a": A}, {"k": random(3, seed=7)}),
    "taken from a constant": (node("Sub", "k a", "y"), {"a": A}, {"k": random(2, 3, seed=7)}),
    "mean of three": (node("Mean", "a b c", "y"), {"a": A, "b": B, "c": C}, {}),
    "average pooling": (node("AveragePool", "a", "y", kernel_shape=[2, 2], strides=[2, 1]), {"a": IMAGE}, {}),
    "average pooling, padded": (
        node("AveragePool", "a", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2], count_include_pad=1), {"a": IMAGE}, {}),
    "average pooling, padding not counted": (
        node("AveragePool", "a", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]), {"a": IMAGE}, {}),
    "global average": (node("GlobalAveragePool", "a", "y"), {"a": IMAGE}, {}),
    "mean over axes": (node("ReduceMean", "a axes", "y", keepdims=0), {"a": IMAGE}, {"axes": np.array([2, 3])}),
    "sum over an axis": (node("ReduceSum", "a axes", "y"), {"a": IMAGE}, {"axes": np.array([1])}),
    "cumulative sum": (node("CumSum", "a axis", "y"), {"a": A}, {"axis": np.array(1)}),
    "resized": (node("Resize", "a  sizes", "y", mode="linear"), {"a": random(1, 1, 3, 3)}, {"sizes": np.array([1.0, 1.0, 2.0, 2.0])}),
}  # fmt: skip


@pytest.mark.parametrize("name", SUMS)
def test_sums_share_by_contribution(name: str) -> None:
    """R_i = x_i w_ij / (Σ x_i w_ij + constants + ε) · R_j over the matrix of the sum, of all its operands together."""
    nodes, inputs, weights = SUMS[name]
    if name == "resized":
        nodes = onnx.helper.make_node("Resize", ["a", "", "sizes"], ["y"], mode="linear")
    graph = made(nodes, inputs, **weights)
    found, y, relevance = relevance_of(graph, inputs)
    for source, x in inputs.items():
        expected = np.zeros(x.size)
        for i in range(x.size):
            unit = np.zeros(x.size)
            unit[i] = 1.0
            zeros = {k: np.zeros_like(v) for k, v in inputs.items()}
            (nothing,) = run(graph, zeros, ["y"])
            (column,) = run(graph, {**zeros, source: unit.reshape(x.shape)}, ["y"])
            expected[i] = np.sum(x.ravel()[i] * (column - nothing) / stabilized(y) * relevance)
        if name == "residual of itself":  # grouped as a function of each element, which passes relevance: no ε
            expected = relevance.ravel()
        close(found[source], expected.reshape(x.shape))


# -- pooling -------------------------------------------------------------------------------------------------------------


def windows(
    size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int]
) -> list[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
    """For each output position the input positions in its window."""
    n = len(size)
    counts = [(size[i] + pads[i] + pads[n + i] - kernel[i]) // strides[i] + 1 for i in range(n)]
    found = []
    for at in every(*map(range, counts)):
        first = [at[i] * strides[i] - pads[i] for i in range(n)]
        inside = [tuple(f + o for f, o in zip(first, offset, strict=True)) for offset in every(*map(range, kernel))]
        found.append((at, [p for p in inside if all(0 <= v < s for v, s in zip(p, size, strict=True))]))
    return found


POOLS = [((2, 2), (2, 2), (0, 0, 0, 0)), ((3, 2), (1, 2), (1, 0, 1, 1)), ((3, 3), (2, 2), (1, 1, 1, 1))]


@pytest.mark.parametrize(("kernel", "strides", "pads"), POOLS)
def test_winner_takes_all(kernel: Any, strides: Any, pads: Any) -> None:
    inputs = {"x": IMAGE}
    graph = made(node("MaxPool", "x", "y", kernel_shape=kernel, strides=strides, pads=pads), inputs)
    found, _, relevance = relevance_of(graph, inputs)
    expected = np.zeros_like(IMAGE)
    for channel, (at, inside) in every(range(2), windows(IMAGE.shape[2:], kernel, strides, pads)):
        plane = IMAGE[0, channel]
        winner = max(inside, key=lambda p: plane[p])
        expected[(0, channel, *winner)] += relevance[(0, channel, *at)]
    close(found["x"], expected)


@pytest.mark.parametrize(("kernel", "strides", "pads"), POOLS)
def test_proportional_pooling(kernel: Any, strides: Any, pads: Any) -> None:
    """Each element of a window its share of the window's sum; with positive values a distribution."""
    inputs = {"x": np.abs(IMAGE)}
    graph = made(node("MaxPool", "x", "y", kernel_shape=kernel, strides=strides, pads=pads, dilations=[1, 1]), inputs)
    found, _, relevance = relevance_of(graph, inputs, composite=only(lrp_roles.proportional(1e-12), "MaxPool"))
    expected = np.zeros_like(IMAGE)
    for channel, (at, inside) in every(range(2), windows(IMAGE.shape[2:], kernel, strides, pads)):
        total = sum(inputs["x"][(0, channel, *p)] for p in inside)
        for p in inside:
            expected[(0, channel, *p)] += inputs["x"][(0, channel, *p)] / total * relevance[(0, channel, *at)]
    close(found["x"], expected)
    np.testing.assert_allclose(found["x"].sum(), relevance.sum())


def test_proportional_pooling_of_whole_channels_and_of_nothing_else() -> None:
    inputs = {"x": np.abs(IMAGE)}
    graph = made(node("GlobalMaxPool", "x", "y"), inputs)
    found, _, relevance = relevance_of(graph, inputs, composite=only(lrp_roles.proportional(1e-12), "GlobalMaxPool"))
    close(found["x"], inputs["x"] / inputs["x"].sum((2, 3), keepdims=True) * relevance)
    graph = made(node("LpPool", "x", "y", kernel_shape=[2, 2]), inputs)
    with pytest.raises(RuleError, match="proportional pooling is for MaxPool and GlobalMaxPool"):
        relevance_of(graph, inputs, composite=only(lrp_roles.proportional(), "LpPool"))


def test_proportional_pooling_runs_on_onnx_runtime() -> None:
    """The average it is replaced by is one of the model's own operator set."""
    nodes = [node("MaxPool", "x", "p", kernel_shape=[2, 2], dilations=[1, 1], storage_order=0), node("Flatten", "p", "y")]
    graph = model(nodes, {"x": (1, 2, 5, 4)}, {"y": (1, 24)}, opset=18)
    own = own_composite("own", [(NodePattern(operators=("MaxPool",)), lrp_roles.proportional())])
    outputs = run_in_ort(rewrite(graph, "lrp", target=0, composite=own), {"x": np.abs(IMAGE).astype(np.float32)})
    assert outputs["x_attribution"].sum() == pytest.approx(outputs["y"][0, 0], rel=1e-5)


def test_dilated_proportional_pooling_below_opset_19_is_refused() -> None:
    nodes = [node("MaxPool", "x", "p", kernel_shape=[2, 2], dilations=[2, 2]), node("Flatten", "p", "y")]
    own = own_composite("own", [(NodePattern(operators=("MaxPool",)), lrp_roles.proportional())])
    graph = model(nodes, {"x": (1, 2, 5, 4)}, {"y": None}, opset=18)
    with pytest.raises(RuleError, match="averages over dilated windows exist from opset 19 on"):
        rewrite(graph, "lrp", target=0, composite=own)


def test_the_greater_of_two_takes_all() -> None:
    found, _, relevance = relevance_of(made(node("Max", "a b", "y"), {"a": A, "b": B}), {"a": A, "b": B})
    close(found["a"], np.where(A >= B, relevance, 0))
    close(found["b"], np.where(A >= B, 0, relevance))


SCATTERS = {
    "elements": (node("ScatterElements", "a i u", "y", axis=0, reduction="add"), [[0, 1, 1], [0, 0, 1]]),
    "slices": (node("ScatterND", "a i u", "y", reduction="add"), [[1], [1]]),
}


@pytest.mark.parametrize("form", SCATTERS)
def test_what_is_added_by_scattering_shares_by_contribution(form: str) -> None:
    """y = a + Σ u at the indices, counted out one by one; nothing is handed on twice."""
    scatter, indices = SCATTERS[form]
    inputs = {"a": A, "u": B}
    found, y, relevance = relevance_of(made(scatter, inputs, i=np.array(indices, np.int64)), inputs)
    close(found["a"], A / stabilized(y) * relevance)
    rows = np.array(indices) if form == "elements" else np.broadcast_to(indices, B.shape)
    places = rows, np.broadcast_to(np.arange(3), B.shape)
    close(found["u"], B / stabilized(y)[places] * relevance[places])
    np.testing.assert_allclose(found["a"].sum() + found["u"].sum(), relevance.sum(), rtol=1e-4)


def test_what_is_multiplied_by_scattering_is_refused() -> None:
    scatter = node("ScatterElements", "a i u", "y", axis=0, reduction="mul")
    with pytest.raises(RuleError, match="multiplies"):
        relevance_of(made(scatter, {"a": A, "u": B}, i=np.zeros((2, 3), np.int64)), {"a": A, "u": B})


# -- products ------------------------------------------------------------------------------------------------------------


def test_factors_get_half_each() -> None:
    inputs = {"a": A, "b": B}
    found, y, relevance = relevance_of(made(node("Mul", "a b", "y"), inputs), inputs)
    close(found["a"], y / stabilized(2 * y) * relevance)
    close(found["b"], found["a"])


def test_a_factor_that_is_stretched_gets_the_sum() -> None:
    inputs = {"a": A, "b": random(3)}
    found, y, relevance = relevance_of(made(node("Mul", "a b", "y"), inputs), inputs)
    close(found["b"], (y / stabilized(2 * y) * relevance).sum(0))


@pytest.mark.parametrize(
    ("product_node", "shapes"),
    [
        (node("MatMul", "a b", "y"), ((2, 3, 4), (2, 4, 5))),
        (node("Einsum", "a b", "y", equation="bij,bjk->bik"), ((2, 3, 4), (2, 4, 5))),
    ],
)
def test_matrix_products_share_by_contribution(product_node: onnx.NodeProto, shapes: Any) -> None:
    """R_ji = Σ_p a_ji b_ip / (2 y_jp + ε) · R_jp, eq. 15 of AttnLRP, by loops."""
    inputs = {"a": random(*shapes[0]), "b": random(*shapes[1])}
    found, y, relevance = relevance_of(made(product_node, inputs), inputs)
    of_a, of_b = np.zeros(shapes[0]), np.zeros(shapes[1])
    for n, j, i, p in every(range(2), range(3), range(4), range(5)):
        part = inputs["a"][n, j, i] * inputs["b"][n, i, p] / stabilized(2 * y[n, j, p]) * relevance[n, j, p]
        of_a[n, j, i] += part
        of_b[n, i, p] += part
    close(found["a"], of_a)
    close(found["b"], of_b)
    np.testing.assert_allclose(found["a"].sum() + found["b"].sum(), relevance.sum(), rtol=1e-4)


def test_products_with_constants_pass_relevance() -> None:
    """A factor, a divisor and a layer scale are no neurons: x · c gets what its result gets."""
    for op, operands in (("Mul", "x k"), ("Mul", "k x"), ("Div", "x k"), ("Div", "k x")):
        found, _, relevance = relevance_of(made(node(op, operands, "y"), {"x": A}, k=random(3)), {"x": A})
        close(found["x"], relevance)


# -- gates ---------------------------------------------------------------------------------------------------------------


GATES = {
    "sigmoid": [node("Sigmoid", "g", "s"), node("Mul", "x s", "y")],
    "gate first": [node("Sigmoid", "g", "s"), node("Mul", "s x", "y")],
    "hard sigmoid": [node("HardSigmoid", "g", "s"), node("Mul", "x s", "y")],
    "hard sigmoid in parts": [node("Add", "g three", "a"), node("Clip", "a zero six", "c"), node("Div", "c six", "s"), node("Mul", "x s", "y")],
    "squeeze and excitation": [node("Sigmoid", "g", "q"), node("Reshape", "q two_one", "s"), node("Mul", "x s", "y")],
}  # fmt: skip
SCALARS = {"three": np.array(3.0), "zero": np.array(0.0), "six": np.array(6.0), "two_one": np.array([2, 1])}


@pytest.mark.parametrize("name", GATES)
def test_the_signal_takes_all_and_the_gate_nothing(name: str) -> None:
    inputs = {"x": A, "g": random(2, 1, seed=4)}
    found, _, relevance = relevance_of(made(GATES[name], inputs, **SCALARS), inputs)
    close(found["x"], relevance)
    assert not found["g"].any()


def test_dividing_by_a_live_tensor_is_a_gate() -> None:
    inputs = {"x": A, "g": np.abs(B)}
    found, _, relevance = relevance_of(made(node("Div", "x g", "y"), inputs), inputs)
    close(found["x"], relevance)
    assert not found["g"].any()


@pytest.mark.parametrize("equation", ["", "bij,bjk->bik"])
def test_values_take_all_where_attention_is_constant(equation: str) -> None:
    """CP-LRP: attention weights are a constant matrix, so the values share by ε; scores get nothing."""
    product_node = node("Einsum", "p v", "y", equation=equation) if equation else node("MatMul", "p v", "y")
    inputs = {"s": random(1, 3, 3), "v": random(1, 3, 2)}
    graph = made([node("Softmax", "s", "p"), product_node], inputs)
    found, y, relevance = relevance_of(
        graph, inputs, composite=composites.attention("cp", EPSILON, "absorb", constant_attention=True)
    )
    weights = np.exp(inputs["s"]) / np.exp(inputs["s"]).sum(-1, keepdims=True)
    expected = np.einsum("bij,bjk,bik->bjk", weights, inputs["v"], relevance / stabilized(y))
    close(found["v"], expected)
    assert not found["s"].any()


SAMPLED: dict[str, tuple[onnx.NodeProto, tuple[int, ...], dict[str, Array]]] = {
    "grid": (node("GridSample", "x g", "y", align_corners=1), (1, 3, 2, 2), {}),
    "deformable": (
        node("DeformConv", "x w g b", "y", kernel_shape=[2, 2]),
        (1, 8, 3, 3),
        {"w": random(3, 2, 2, 2), "b": random(3)},
    ),
}


@pytest.mark.parametrize("name", SAMPLED)
def test_places_to_read_at_are_a_gate(name: str) -> None:
    """A spatial transformer and a deformable convolution are linear in the image: it takes all, the predicted places nothing."""
    sampler, places, weights = SAMPLED[name]
    inputs = {"x": random(1, 2, 4, 4), "g": random(*places) * 0.4}
    graph = made(sampler, inputs, **weights)
    found, y, relevance = relevance_of(graph, inputs)
    assert not found["g"].any()
    (nothing,) = run(graph, {**inputs, "x": 0 * inputs["x"]}, ["y"])
    expected = np.zeros(inputs["x"].size)
    for i, unit in enumerate(np.eye(inputs["x"].size)):
        (column,) = run(graph, {**inputs, "x": unit.reshape(inputs["x"].shape)}, ["y"])
        expected[i] = np.sum(inputs["x"].ravel()[i] * (column - nothing) / stabilized(y) * relevance)
    close(found["x"], expected.reshape(inputs["x"].shape))


# -- softmax -------------------------------------------------------------------------------------------------------------


def softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True))


def jacobian(function: Callable[[Array], Array], x: Array, step: float = 2.0**-12) -> Array:
    """∂y_j/∂x_i [inputs, outputs] by central differences of fourth order."""
    rows = []
    for i in range(x.size):
        e = np.zeros(x.size)
        e[i] = step
        e = e.reshape(x.shape)
        near, far = function(x + e) - function(x - e), function(x + 2 * e) - function(x - 2 * e)
        rows.append((8 * near - far).ravel() / (12 * step))
    return np.stack(rows)


@pytest.mark.parametrize("axis", [-1, 1])
def test_softmax_is_its_taylor_expansion(axis: int) -> None:
    """x_i · ∂s_j/∂x_i · R_j / s_j, the expansion that AttnLRP's proposition 3.1 writes as x · (R − s · Σ R)."""
    inputs = {"x": random(2, 3, 4)}
    found, y, relevance = relevance_of(made(node("Softmax", "x", "y", axis=axis), inputs), inputs)
    slopes = jacobian(lambda x: softmax(x, axis), inputs["x"])
    expected = inputs["x"] * (slopes @ (relevance / y).ravel()).reshape(y.shape)
    np.testing.assert_allclose(found["x"], expected, rtol=1e-6, atol=1e-8)


def test_log_softmax_is_its_taylor_expansion() -> None:
    inputs = {"x": random(2, 4)}
    found, y, relevance = relevance_of(made(node("LogSoftmax", "x", "y"), inputs), inputs)
    slopes = jacobian(lambda x: np.log(softmax(x, -1)), inputs["x"])
    expected = inputs["x"] * (slopes @ (relevance / stabilized(y)).ravel()).reshape(y.shape)
    np.testing.assert_allclose(found["x"], expected, rtol=1e-6, atol=1e-8)


def test_masked_scores_get_nothing_and_no_nan() -> None:
    scores = random(2, 4)
    scores[0, 2:] = -np.inf
    found, y, relevance = relevance_of(made(node("Softmax", "x", "y"), {"x": scores}), {"x": scores})
    assert np.isfinite(found["x"]).all()
    assert not found["x"][0, 2:].any()
    rest = relevance[0, :2] - y[0, :2] * relevance[0].sum()
    close(found["x"][0, :2], scores[0, :2] * rest)


# -- norms ---------------------------------------------------------------------------------------------------------------


def standardized(axes: Any, epsilon: float, groups: int = 0) -> Callable[[Array], Callable[[Array], Array]]:
    """At a point: x ↦ (x − mean x) / the point's standard deviation."""

    def at(point: Array) -> Callable[[Array], Array]:
        def split(x: Array) -> Array:
            return x.reshape(x.shape[0], groups, -1) if groups else x

        over = (2,) if groups else axes
        deviation = np.sqrt(split(point).var(over, keepdims=True) + epsilon)
        return lambda x: ((split(x) - split(x).mean(over, keepdims=True)) / deviation).reshape(x.shape)

    return at


def rooted(point: Array) -> Callable[[Array], Array]:
    return lambda x: x / np.sqrt((point**2).mean(-1, keepdims=True) + 1e-5)


def over_norm(p: int) -> Callable[[Array], Callable[[Array], Array]]:
    return lambda point: lambda x: x / (np.abs(point) ** p).sum(1, keepdims=True) ** (1 / p)


def local_response(point: Array) -> Callable[[Array], Array]:
    """LRN over 3 channels, alpha 0.3, beta 0.75, bias 2."""
    padded = np.pad(point**2, [(0, 0), (1, 1), (0, 0)])
    sums = sum(padded[:, i : i + point.shape[1]] for i in range(3))
    return lambda x: x / (2 + 0.3 / 3 * sums) ** 0.75


SCALE, SHIFT = random(4, seed=11), random(4, seed=12)
X = random(2, 4, 3, seed=13)
ROWS = random(2, 3, 4, seed=14)
PER_CHANNEL = SCALE[:, None], SHIFT[:, None]

NORMS: dict[str, tuple[onnx.NodeProto, int, Array, dict[str, Array], Callable[[Array], Callable[[Array], Array]], Any, Any]] = {
    "layer norm": (node("LayerNormalization", "x s b", "y", axis=-1, epsilon=0.01), 19, ROWS, {"s": SCALE, "b": SHIFT},
                   standardized((-1,), 0.01), SCALE, SHIFT),
    "layer norm over two axes": (node("LayerNormalization", "x s", "y", axis=1), 19, ROWS, {"s": random(3, 4)},
                                 standardized((1, 2), 1e-5), random(3, 4), 0),
    "RMS norm": (node("RMSNormalization", "x s", "y", axis=-1, epsilon=1e-5), 23, ROWS, {"s": SCALE}, rooted, SCALE, 0),
    "instance norm": (node("InstanceNormalization", "x s b", "y", epsilon=0.01), 19, X, {"s": SCALE, "b": SHIFT},
                      standardized((2,), 0.01), *PER_CHANNEL),
    "group norm, opset 18": (node("GroupNormalization", "x s b", "y", num_groups=2, epsilon=0.01), 18, X,
                             {"s": SCALE[:2], "b": SHIFT[:2]}, standardized(None, 0.01, 2),
                             np.repeat(SCALE[:2], 2)[:, None], np.repeat(SHIFT[:2], 2)[:, None]),
    "group norm, opset 21": (node("GroupNormalization", "x s b", "y", num_groups=2, epsilon=0.01, stash_type=11), 21, X, {"s": SCALE, "b": SHIFT},
                             standardized(None, 0.01, 2), *PER_CHANNEL),
    "mean and variance": (node("MeanVarianceNormalization", "x", "y", axes=[0, 2]), 19, X, {}, standardized((0, 2), 0), 1, 0),
    "over the 2-norm": (node("LpNormalization", "x", "y", axis=1, p=2), 19, X, {}, over_norm(2), 1, 0),
    "over the 1-norm": (node("LpNormalization", "x", "y", axis=1, p=1), 19, X, {}, over_norm(1), 1, 0),
    "local response": (node("LRN", "x", "y", size=3, alpha=0.3, beta=0.75, bias=2.0), 19, X, {}, local_response, 1, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMS)
def test_norms_are_linear_with_their_statistic_frozen(name: str) -> None:
    """R_i = Σ_j x_i ∂y_j/∂x_i / (y_j + ε) · R_j, the derivative that of the function with the statistic of this point."""
    norm, opset, x, weights, frozen, scale, shift = NORMS[name]
    found, y, relevance = relevance_of(made(norm, {"x": x}, opset, **weights), {"x": x})
    function = frozen(x)
    np.testing.assert_allclose(function(x) * scale + shift, y, rtol=1e-6, atol=1e-8)
    slopes = jacobian(lambda at: function(at) * scale, x, step=0.5)  # linear, so the step is free
    expected = x * (slopes @ (relevance / stabilized(y)).ravel()).reshape(x.shape)
    np.testing.assert_allclose(found["x"], expected, rtol=2e-6, atol=1e-7 * np.abs(expected).max())


# -- everything else -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["Relu", "Tanh", "Sigmoid", "Gelu", "Softplus", "Exp", "Neg", "Abs", "Sqrt"])
def test_activations_pass_relevance(op: str) -> None:
    inputs = {"x": np.abs(A)}
    found, _, relevance = relevance_of(made(node(op, "x", "y"), inputs, opset=20), inputs)
    close(found["x"], relevance)


@pytest.mark.parametrize("op", ["LpPool", "GlobalLpPool", "ReduceL1", "ReduceL2"])
def test_homogeneous_functions_conserve(op: str) -> None:
    """f(a·x) = a·f(x), so Σ x · ∂f/∂x = f by Euler's theorem: the shares add up."""
    settings: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]} if op == "LpPool" else {}
    inputs = {"x": random(1, 2, 4, 4)}
    found, _, relevance = relevance_of(made(node(op, "x", "y", **settings), inputs), inputs)
    assert found["x"].sum() == pytest.approx(relevance.sum(), rel=1e-5)
    assert found["x"].all()


def test_quantizing_passes_relevance() -> None:
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")]
    weights = {"s": np.array(0.02, np.float32), "z": np.array(0, np.int8)}
    graph = model(nodes, {"x": (2, 3)}, {"y": (2, 3)}, weights, opset=19)
    relevance = random(2, 3).astype(np.float32)
    found = vector_jacobian_product(graph, {"x": x}, {"y": relevance}, ["x"], composite=EPSILON_LRP)
    np.testing.assert_allclose(found["x"], relevance)


def test_nothing_passes_a_stop() -> None:
    nodes = [node("Tanh", "b", "t"), node("Add", "a t", "y")]
    inputs = {"a": A, "b": B}
    found, y, relevance = relevance_of(made(nodes, inputs), inputs, composite=only(lrp_roles.stop, "Tanh"))
    close(found["a"], A / stabilized(y) * relevance)
    assert not found["b"].any()


def test_a_rule_for_one_operand_refuses_two() -> None:
    with pytest.raises(RuleError, match="its relevance rule needs 1 live operand, found 2; choose another rule for it"):
        relevance_of(made(node("Mul", "a b", "y"), {"a": A, "b": B}), {"a": A, "b": B}, composite=only(lrp_roles.pass_on, "Mul"))


@pytest.mark.parametrize("op", ["Relu", "LeakyRelu", "Elu", "Softplus", "HardSwish", "Gelu"])
def test_guided_backprop_and_deconvnet_at_activations(op: str) -> None:
    """Guided: the activation's own slope times the positive message; deconvnet: the positive message."""
    graph = made(node(op, "x", "y"), {"x": A}, opset=20)
    for rule, expected in ((lrp_roles.guided, None), (lrp_roles.deconvnet, 1.0)):
        found, _, message = relevance_of(graph, {"x": A}, composite=only(rule, op))
        slope = (
            np.diag(jacobian(lambda x: np.asarray(run(graph, {"x": x}, ["y"])[0]), A)).reshape(A.shape)
            if expected is None
            else expected
        )
        np.testing.assert_allclose(found["x"], slope * np.maximum(message, 0), rtol=1e-5, atol=1e-8)


def test_a_bias_that_alone_is_live_gets_its_share() -> None:
    """y = x·W + c with constant x: c is what is explained, and no bias that could be left out."""
    weights = {"x": random(2, 4), "w": random(4, 3, seed=1)}
    inputs = {"c": B}
    graph = made(node("Gemm", "x w c", "y"), inputs, **weights)
    for bias in ("absorb", "ignore"):
        composite = composites.uniform("one", lrp.epsilon(EPSILON, bias))  # type: ignore[arg-type]
        found, y, relevance = relevance_of(graph, inputs, composite=composite)
        close(found["c"], B / stabilized(y) * relevance)
    with pytest.raises(RuleError, match="none to take apart"):
        relevance_of(graph, inputs, composite=composites.uniform("one", lrp.z_plus()))


def test_a_difference_under_share_positive_has_a_denominator_of_any_sign() -> None:
    """R_a = a⁺ / (a⁺ − b⁺ + ε sign) · R: where b is greater by just ε, ε must not take the denominator to zero."""
    inputs = {"a": np.array([[1.0, 3.0]]), "b": np.array([[1.5, 1.0]])}
    composite = only(lrp_roles.share_positive(0.5), "Sub")
    found, _, relevance = relevance_of(made(node("Sub", "a b", "y"), inputs), inputs, composite=composite)
    np.testing.assert_allclose(found["a"], inputs["a"] / np.array([[-1.0, 2.5]]) * relevance, rtol=1e-9)
