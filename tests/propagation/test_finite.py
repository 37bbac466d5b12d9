"""A message of 0 stays 0 where a slope is infinite, and nothing is attributed where the input equals the baseline."""

import numpy as np
import onnx.parser
import pytest

from onnxplain import Explainer, rewrite
from tests.support.models import run

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


# -- norms at zero -----------------------------------------------------------------------------------------------------

MAGNITUDES = {
    "squares added": "a = Mul(re, re) b = Mul(im, im) q = Add(a, b) m = Sqrt(q)",
    "powers summed": "s = Concat<axis = 1>(re, im) p = Pow(s, two) q = ReduceSum(p, ax) m = Sqrt(q)",
    "root as a power": "s = Concat<axis = 1>(re, im) q = ReduceSumSquare(s, ax) m = Pow(q, half)",
    "as one norm": "s = Concat<axis = 1>(re, im) m = ReduceL2(s, ax)",
}


def spectrum(spelling: str) -> onnx.ModelProto:
    """Magnitudes of two frames: the first sees the first half of the signal, the second the second."""
    return onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 18]>
        g (float[N,1,8] x) => (float[N,1,2] m)
        <float[1,1,4] c = {{1.0, -2.0, 0.5, 3.0}}, float[1,1,4] d = {{2.0, 1.0, -1.0, 0.5}}, float two = {{2.0}}, float half = {{0.5}},
         int64[1] ax = {{1}}> {{ re = Conv<strides = [4]>(x, c) im = Conv<strides = [4]>(x, d) {MAGNITUDES[spelling]} }}""")


@pytest.mark.parametrize("spelling", MAGNITUDES)
def test_silence_sends_nothing_and_hides_nothing(spelling: str) -> None:
    """|c| has the subgradient 0 at 0; the other frame's gradient is that of a signal without silence."""
    x = np.random.default_rng(0).standard_normal((1, 1, 8)).astype(np.float32)
    silent = np.concatenate([x[:, :, :4], np.zeros((1, 1, 4), np.float32)], axis=2)
    made = Explainer(spectrum(spelling), "gradient")(silent, (":", ":")).attribution
    whole = Explainer(spectrum(spelling), "gradient")(x, (":", ":")).attribution
    np.testing.assert_array_equal(made[:, :, 4:], 0)
    np.testing.assert_allclose(made[:, :, :4], whole[:, :, :4], rtol=1e-5)


@pytest.mark.parametrize("spelling", MAGNITUDES)
@pytest.mark.parametrize("method", ["integrated-gradients", "deeplift"])
def test_silence_at_a_silent_baseline_adds_up(spelling: str, method: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 1, 8)).astype(np.float32)
    x[0, :, 4:] = 0
    made = Explainer(spectrum(spelling), method, baseline=0.0)(x, (":", ":"))
    np.testing.assert_array_equal(made.attribution[0, :, 4:], 0)
    np.testing.assert_allclose(made.attribution.sum((1, 2)), made.outputs["m"].sum((1, 2)), rtol=1e-4)  # m(0) = 0


# -- where the input equals the baseline -------------------------------------------------------------------------------

PATHS = {
    "integrated-gradients": {"baseline": 0.0},
    "several baselines": {"baseline": np.zeros((2, 1, 3))},
    "expected-gradients": {"baseline": np.zeros((2, 3))},
    "path-integrated-gradients": {"path": np.array([[[0.0, 0.0, 0.0]], [[0.0, 0.5, 1.0]]])},
    "deeplift": {"baseline": 0.0},
    "deeplift-shap": {"baseline": np.zeros((2, 3))},
    "conductance": {"baseline": 0.0, "layer": "r"},
    "neuron-conductance": {"baseline": 0.0, "layer": "r", "neuron": 0},
    "input-x-gradient": {},
}
ROOTS = {"sqrt": "r = Sqrt(x)", "pow": "r = Pow(x, half)", "divided": "h = Div(x, four) r = Sqrt(h)"}


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("name", PATHS)
def test_nothing_is_attributed_where_the_input_equals_the_baseline(name: str, root: str) -> None:
    """The slope is infinite there, the change none."""
    made = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g (double[N,3] x) => (double[N,2] y) <double half = {{0.5}}, '
        f"double four = {{4.0}}, double[3,2] w = {{1.0, 2.0, 3.0, 4.0, 5.0, 6.0}}> {{ {ROOTS[root]} y = MatMul(r, w) }}"
    )
    method = "integrated-gradients" if name == "several baselines" else name
    found = Explainer(made, method, **PATHS[name])(np.array([[0.0, 1.0, 4.0], [2.0, 0.0, 0.0]]), 1).attribution
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[[0, 1, 1], [0, 1, 2]], 0, atol=1e-12)  # a path may come back to where it was
    assert (found[0, 1:] > 0).all() or name == "neuron-conductance"


# -- NaN in a max pooling ----------------------------------------------------------------------------------------------


POOL = "MaxPool<kernel_shape = [2, 2], strides = [2, 2]>"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("float", f"y = {POOL}(x)"),
        ("double", f"y = {POOL}(x)"),
        ("float", f"r = Sqrt(x) y = {POOL}(r)"),
        ("double", f"r = Sqrt(x) y = {POOL}(r)"),
        ("float", f"c = Conv(x, w) r = Log(c) y = {POOL}(r)"),
        ("float", "r = Sqrt(x) y = GlobalMaxPool(r)"),
    ],
)
def test_prediction_with_nan_in_a_pooling_is_the_models(kind: str, body: str) -> None:
    """ONNX Runtime has two kernels, which treat NaN differently; the message goes to a number, wherever NaN lies in the window."""
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g ({kind}[N,1,4,4] x) => ({kind}[N,1,H,W] y) '
        f"<{kind}[1,1,1,1] w = {{1.0}}> {{ {body} }}"
    )
    dtype = np.float32 if kind == "float" else np.float64
    for place in range(4):
        x = np.random.default_rng(place).uniform(1, 9, (1, 1, 4, 4)).astype(dtype)
        x[0, 0, place // 2, place % 2] = np.nan if body.startswith("y") else -1
        own = run(proto, {"x": x})["y"]
        made = run(rewrite(proto, target=(0, 0, 0)), {"x": x})
        np.testing.assert_array_equal(made["y"], own)
        assert made["x_attribution"][0, 0, place // 2, place % 2] == 0
        if np.isfinite(own[0, 0, 0, 0]):
            assert np.count_nonzero(made["x_attribution"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        "r = Sqrt(x) k = Greater(x, z) m = Cast<to = 11>(k) y = Mul(m, r)",
        "r = Sqrt(x) k = Greater(x, z) m = CastLike(k, x) s = Mul(r, m) y = Add(s, z)",
        "pads = Constant<value_ints = [0, 1, 0, 1]>() w = Pad(x, pads) r = Sqrt(w) begin = Constant<value_ints = [1]>() "
        "end = Constant<value_ints = [4]>() c = Slice(r, begin, end, begin) y = Max(c, z)",
    ],
)
def test_roots_behind_masks_and_padding(body: str) -> None:
    """What a mask takes away, and what was padded, sends nothing, though the slope of the root is infinite there."""
    x = np.array([[0.0, 1.0, 4.0]])
    made = Explainer(model(body), "gradient")(x, (":",))
    np.testing.assert_array_equal(made.outputs["y"], np.sqrt(x))
    np.testing.assert_allclose(made.attribution[:, 1:], [[0.5, 0.25]])
    assert made.attribution[0, 0] == (0 if "Mul" in body else np.inf)
