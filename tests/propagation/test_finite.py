"""A message of 0 stays 0 where a slope is infinite, and nothing is attributed where the input equals the baseline."""

import numpy as np
import onnx.parser
import pytest

from onnxplain import Explainer

BRANCHES = {
    "sqrt": ("b = Sqrt(x)", lambda x: 0.5 / np.sqrt(x)),
    "log": ("b = Log(x)", lambda x: 1 / x),
    "reciprocal": ("b = Reciprocal(x)", lambda x: -1 / x**2),
    "div": ("b = Div(one, x)", lambda x: -1 / x**2),
    "pow": ("b = Pow(x, p)", lambda x: 1.5 * np.sqrt(x)),
    "exp": ("k = Mul(x, big) b = Exp(k)", lambda x: -1000 * np.exp(-1000 * x)),
}
CONSTANTS = "double z = {0.0}, double one = {1.0}, double p = {1.5}, double big = {-1000.0}"


def model(body: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g (double[N,3] x) => (double[N,3] y) <{CONSTANTS}> {{ {body} }}'
    )


@pytest.mark.parametrize("name", BRANCHES)
@pytest.mark.parametrize("swapped", [False, True])
def test_branch_not_taken_sends_nothing(name: str, swapped: bool) -> None:
    body, slope = BRANCHES[name]
    choice = "c = LessOrEqual(x, z) y = Where(c, x, b)" if swapped else "c = Greater(x, z) y = Where(c, b, x)"
    x = np.array([[-1.3, 0.0, 2.0]])
    found = Explainer(model(f"{body} {choice}"), "gradient")(x, (":",)).attribution
    np.testing.assert_allclose(found, [[1.0, 1.0, slope(2.0)]], rtol=1e-12)


def test_infinite_slope_of_a_taken_branch_is_kept() -> None:
    found = Explainer(model("y = Sqrt(x)"), "gradient")(np.array([[0.0, 1.0, 4.0]]), (":",)).attribution
    np.testing.assert_array_equal(found, [[np.inf, 0.5, 0.25]])


@pytest.mark.parametrize(
    "body", ["q = Mul(x, x) y = Sqrt(q)", "q = Abs(x) y = Sqrt(q)", "q = Abs(x) h = Div(one, p) y = Pow(q, h)"]
)
def test_deeplift_attributes_nothing_where_input_equals_baseline(body: str) -> None:
    made = Explainer(model(body), "deeplift", baseline=0.0)(np.array([[0.0, 1.0, -4.0]]), (":",))
    assert made.attribution[0, 0] == 0
    np.testing.assert_allclose(made.attribution, made.outputs["y"], rtol=1e-12)  # y(0) = 0


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("axes", [[-1], [1, 2], None])
def test_deeplift_of_log_sum_exp_with_axes_as_attribute(opset: int, axes: list[int] | None) -> None:
    given = {} if axes is None else {"axes": axes}
    h = onnx.helper
    node = h.make_node("ReduceLogSumExp", ["x"], ["y"], keepdims=1, **given)
    x_info, y_info = (h.make_tensor_value_info(n, 1, [1, 2, 5] if n == "x" else None) for n in "xy")
    proto = h.make_model(h.make_graph([node], "g", [x_info], [y_info]), opset_imports=[h.make_opsetid("", opset)], ir_version=8)
    x = np.random.default_rng(0).standard_normal((1, 2, 5)).astype(np.float32)
    over = (0, 1, 2) if axes is None else tuple(axes)
    here, there = (np.log(np.exp(t).sum(over, keepdims=True)) for t in (x.astype(float), np.full(x.shape, 0.5)))
    made = Explainer(proto, "deeplift", baseline=0.5)(x, (0, 0))
    np.testing.assert_allclose(made.attribution.sum(), (here - there)[0, 0, 0], rtol=1e-5)
