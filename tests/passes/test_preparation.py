"""Preparation keeps the prediction: whatever a file's spelling, the explained model predicts what ONNX Runtime makes of the file,
and its gradient is that of the file in finite differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnxplain import Explainer, OnnxplainError, plan, rewrite
from tests.support.models import node

RNG = np.random.default_rng(0)

Array = np.ndarray[Any, Any]


def info(name: str, shape: Sequence[int | str | None] | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def built(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    output: onnx.ValueInfoProto,
    weights: Mapping[str, Array] | None = None,
    opset: int = 18,
    **more: Any,
) -> onnx.ModelProto:
    given = [numpy_helper.from_array(v, k) for k, v in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "g", list(inputs), [output], given, value_info=more.pop("value_info", []))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more)


def run(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Any]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def floats(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def assert_kept(model: onnx.ModelProto, feeds: Mapping[str, Array], method: str = "gradient", **options: Any) -> None:
    """The prediction is the file's own; with method gradient, differences of the file along a random direction agree."""
    own = run(model, feeds)
    explained = rewrite(model, method, target="cotangent", score="probability", inputs=["x"], **options)
    names = [o.name for o in explained.graph.output]
    direction = np.random.default_rng(7).normal(size=own[0].shape).astype(own[0].dtype)
    found = dict(zip(names, run(explained, {**feeds, "seed": direction}), strict=True))
    for o, values in zip(model.graph.output, own, strict=True):
        size = max(1.0, float(np.abs(values).max(initial=0)))
        np.testing.assert_allclose(found[o.name], values, rtol=0, atol=size * (2e-3 if values.dtype == np.float16 else 2e-6))
    if method != "gradient" or own[0].dtype != np.float32:
        return
    for name, x in feeds.items():
        if f"{name}_attribution" not in found:
            continue
        way = np.random.default_rng(11).normal(size=x.shape).astype(np.float32)
        step = np.float32(2**-7)
        there, back = (run(model, {**feeds, name: x + s * step * way})[0].astype(np.float64) for s in (1, -1))
        slope = float(((there - back) * direction).sum() / (2 * step))
        ours = float((found[f"{name}_attribution"].astype(np.float64) * way).sum())
        scale = float(np.abs(direction.astype(np.float64) * (there + back)).sum()) + 1
        assert abs(ours - slope) <= 2e-4 * scale, f"{name}: {ours} against differences {slope}"


# -- local functions -------------------------------------------------------------------------------------------------------

FUNCTIONS = {
    "default": "Act <k: float = 0.5> (x) => (y) { y = LeakyRelu<alpha: float = @k>(x) }",
    "two defaults": (
        "Act <k: float = 0.5, m: float = 2.0> (x) => (y) { c = Constant<value_float: float = @m>() "
        "z = LeakyRelu<alpha: float = @k>(x) y = Mul(z, c) }"
    ),
    "inner default": (
        "Act <k: float = 0.25> (x) => (y) { z = my.In(x) y = LeakyRelu<alpha: float = @k>(z) } "
        '<domain: "my", opset_import: ["" : 18]> In <j: float = 0.5> (x) => (y) { y = Elu<alpha: float = @j>(x) }'
    ),
    "handed on": (
        "Act <k: float = 0.25> (x) => (y) { y = my.In<j: float = @k>(x) } "
        '<domain: "my", opset_import: ["" : 18]> In <j: float = 0.5> (x) => (y) { y = Elu<alpha: float = @j>(x) }'
    ),
}


@pytest.mark.parametrize("body", FUNCTIONS)
@pytest.mark.parametrize("call", ["my.Act(x)", "my.Act<k: float = 0.1>(x)"])
def test_functions_keep_their_defaults(body: str, call: str) -> None:
    text = FUNCTIONS[body].replace("my.In", "my.In")
    imports = '["" : 18, "my" : 1]'
    model = onnx.parser.parse_model(
        f"<ir_version: 9, opset_import: {imports}>\n"
        f"g (float[N,4] x) => (float[N,4] y) {{ a = {call} y = Sin(a) }}\n"
        f'<domain: "my", opset_import: {imports}> {text.replace("""["" : 18]""", imports)}'
    )
    assert_kept(model, {"x": np.array([[-1.0, -2.0, 0.5, -0.3]], np.float32)})


def test_defaults_reach_calls_within_branches() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 18, "my" : 1]>
        g (float[N,4] x, bool c) => (float[N,4] y) {
            y = If (c) <then_branch = t () => (float[N,4] a) { a = my.Act(x) }, else_branch = e () => (float[N,4] b) { b = Sin(x) }>
        }
        <domain: "my", opset_import: ["" : 18]> Act <k: float = 0.5> (x) => (y) { y = LeakyRelu<alpha: float = @k>(x) }"""
    )
    for chosen in (True, False):
        assert_kept(model, {"x": np.array([[-1.0, -2.0, 0.5, -0.3]], np.float32), "c": np.array(chosen)})


UNGIVEN = {
    "the operator's own default": "Act <k> (x) => (y) { y = LeakyRelu<alpha: float = @k>(x) }",
    "the inner function's default": (
        "Act <k> (x) => (y) { y = my.In<j: float = @k>(x) } "
        '<domain: "my", opset_import: ["" : 18]> In <j: float = 0.5> (x) => (y) { y = Elu<alpha: float = @j>(x) }'
    ),
    "nobody's": (
        "Act <k> (x) => (y) { y = my.In<j: float = @k>(x) } "
        '<domain: "my", opset_import: ["" : 18]> In <j> (x) => (y) { y = Elu<alpha: float = @j>(x) }'
    ),
}


@pytest.mark.parametrize("body", UNGIVEN)
def test_attributes_that_nobody_gives(body: str) -> None:
    imports = '["" : 18, "my" : 1]'
    model = onnx.parser.parse_model(
        f"<ir_version: 9, opset_import: {imports}>\n"
        "g (float[N,4] x) => (float[N,4] y) { a = my.Act(x) b = my.Act<k: float = 0.2>(a) y = Sin(b) }\n"
        f'<domain: "my", opset_import: {imports}> {UNGIVEN[body].replace("""["" : 18]""", imports)}'
    )
    assert_kept(model, {"x": np.array([[-1.0, -2.0, 0.5, -0.3]], np.float32)})


# -- batch normalization next to linear maps -------------------------------------------------------------------------------


@st.composite
def normed_maps(draw: st.DrawFn) -> tuple[onnx.ModelProto, Array]:
    """A norm before or behind a convolution, plain or transposed, of every stride, kernel, padding, dilation and group."""
    axes = draw(st.integers(1, 2))
    op = draw(st.sampled_from(["Conv", "ConvTranspose"]))
    group = draw(st.sampled_from([1, 2]))
    each = st.lists(st.integers(1, 3), min_size=axes, max_size=axes)
    kernel, strides, dilations = draw(each), draw(each), draw(each)
    pads = draw(st.lists(st.integers(0, 2), min_size=2 * axes, max_size=2 * axes))
    settings: dict[str, Any] = {"strides": strides, "dilations": dilations, "pads": pads, "group": group, "kernel_shape": kernel}
    if op == "ConvTranspose":
        settings["output_padding"] = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(strides, dilations, strict=True)]
    extent, first = 9, draw(st.booleans())
    weights = (4, 2 // group * group // group if op == "ConvTranspose" else 4 // group)
    shape = (4, weights[1], *kernel) if op == "ConvTranspose" else (2 * group, 4 // group, *kernel)
    out = weights[1] * group if op == "ConvTranspose" else 2 * group
    channels = 4 if first else out
    norm = {k: np.abs(floats(channels, i)[:, 0]) + np.float32(0.5) for i, k in enumerate(("s", "b", "m", "v"), start=1)}
    bias = draw(st.booleans())
    values = {"W": floats(*shape), **norm, **({"c": floats(out)} if bias else {})}
    names = ["W", *(["c"] if bias else [])]
    linear = helper.make_node(op, ["n" if first else "x", *names], ["y" if first else "n"], **settings)
    norms = helper.make_node("BatchNormalization", ["x" if first else "n", *"sbmv"], ["n" if first else "y"])
    free = draw(st.booleans())
    inner: list[int | str] = [f"d{i}" if free else extent for i in range(axes)]
    made = built([norms, linear] if first else [linear, norms], [info("x", ["n", 4, *inner])], info("y", None), values)
    return made, floats(2, 4, *[extent] * axes)


@settings(max_examples=60, deadline=None)
@given(normed_maps())
def test_norms_fold_into_maps_only_where_that_is_exact(case: tuple[onnx.ModelProto, Array]) -> None:
    model, x = case
    try:
        own = run(model, {"x": x})
    except Exception:  # ONNX Runtime takes no such extents
        return
    if own[0].size == 0:
        return
    assert_kept(model, {"x": x})
    assert_kept(model, {"x": x}, "lrp-epsilon-plus")


# -- operators that changed ------------------------------------------------------------------------------------------------

SCALES = {
    "up": [1, 1, 2, 3],
    "down": [1, 1, 0.5, 0.4],
    "fractions": [1, 1, 1.6, 2.7],
    "both": [1, 1, 2.5, 0.6],
}


RESIZINGS = [
    (opset, mode, scales, place)
    for opset in (7, 8, 9, 10)
    for mode in ("nearest", "linear")
    for scales, values in SCALES.items()
    for place in ("plain", "branch", "input")
    if (opset == 10 or min(values) >= 1)  # Upsample does not shrink
    and (opset > 8 or place != "input")  # its scales were an attribute
]


@pytest.mark.parametrize(("opset", "mode", "scales", "place"), RESIZINGS)
def test_old_resizing(opset: int, mode: str, scales: str, place: str) -> None:
    by = np.array(SCALES[scales], np.float32)
    op = "Resize" if opset == 10 else "Upsample"
    extra = {"scales": [float(v) for v in by]} if opset < 9 else {}
    reads = ["x"] if opset < 9 else ["x", "scales"]
    weights = {} if opset < 9 or place == "input" else {"scales": by}
    inputs = [info("x", ["n", 1, 6, 8])] + ([info("scales", [4])] if place == "input" else [])
    feeds = {"x": floats(1, 1, 6, 8) ** 2, **({"scales": by} if place == "input" else {})}
    if place == "branch":
        branches = {
            "then_branch": helper.make_graph(
                [helper.make_node(op, reads, ["u"], mode=mode, **extra)], "t", [], [info("u", None)]
            ),
            "else_branch": helper.make_graph([helper.make_node(op, reads, ["v"], **extra)], "e", [], [info("v", None)]),
        }
        nodes = [helper.make_node("If", ["c"], ["r"], **branches)]
        inputs.append(info("c", [], TensorProto.BOOL))
        feeds["c"] = np.array(True)
    else:
        nodes = [helper.make_node(op, reads, ["r"], mode=mode, **extra)]
    assert_kept(built([*nodes, node("Mul", "r r", "y")], inputs, info("y", None), weights, opset), feeds)


@pytest.mark.parametrize("sizes_at", ["weights", "input"])
@pytest.mark.parametrize("opset", [11, 12])
def test_resizing_by_sizes_with_scales_that_are_empty(opset: int, sizes_at: str) -> None:
    """Operator sets 11 and 12 ask for scales, of no elements, where sizes are given; later ones for none."""
    sizes, none = np.array([1, 1, 9, 5]), np.zeros(0, np.float32)
    nodes = [helper.make_node("Resize", ["x", "none", "empty", "sizes"], ["r"], mode="linear"), node("Mul", "r r", "y")]
    inputs, weights, feeds = [info("x", ["n", 1, 6, 8])], {"none": none}, {"x": floats(1, 1, 6, 8)}
    if sizes_at == "input":
        inputs += [info("sizes", [4], TensorProto.INT64), info("empty", [0])]
        feeds |= {"sizes": sizes, "empty": none}
    else:
        weights |= {"sizes": sizes, "empty": none}
    assert_kept(built(nodes, inputs, info("y", None), weights, opset), feeds)


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("place", ["graph", "branch"])
def test_scans_over_batches(place: str, backwards: bool, samples: int) -> None:
    """Scan of operator set 8 goes over a sequence of each sample; its body has operators that changed since."""
    body = helper.make_graph(
        [node("Add", "h e", "s"), helper.make_node("Softmax", ["s"], ["h2"], axis=0), node("Mul", "h2 h2", "o")],
        "body", [info("h", [2]), info("e", [2])], [info("h2", [2]), info("o", [2])],
    )  # fmt: skip
    settings: dict[str, Any] = {"body": body, "num_scan_inputs": 1, **({"directions": [1]} if backwards else {})}
    nodes = [helper.make_node("Scan", ["", "h0", "x"], ["last", "all"], **settings)]
    if place == "branch":
        then = helper.make_graph(nodes, "t", [], [info("last", None), info("all", None)])
        other = helper.make_graph(
            [node("Neg", "h0", "h1"), node("Neg", "x", "x1")], "e", [], [info("h1", None), info("x1", None)]
        )
        nodes = [helper.make_node("If", ["c"], ["last", "all"], then_branch=then, else_branch=other)]
    nodes += [helper.make_node("ReduceSum", ["all"], ["total"], axes=[1], keepdims=0), node("Mul", "total last", "y")]
    inputs = [info("x", ["n", 3, 2]), info("h0", ["n", 2]), *([info("c", [], TensorProto.BOOL)] if place == "branch" else [])]
    feeds = {"x": floats(samples, 3, 2), "h0": floats(samples, 2), **({"c": np.array(True)} if place == "branch" else {})}
    assert_kept(built(nodes, inputs, info("y", None), opset=8), feeds)


def test_scans_over_sequences_of_unequal_lengths_are_refused() -> None:
    body = helper.make_graph([node("Add", "h e", "h2")], "body", [info("h", [2]), info("e", [2])], [info("h2", [2])])
    scan = helper.make_node("Scan", ["lengths", "h0", "x"], ["y"], "my_scan", body=body, num_scan_inputs=1)
    inputs = [info("x", ["n", 3, 2]), info("h0", ["n", 2]), info("lengths", ["n"], TensorProto.INT64)]
    with pytest.raises(OnnxplainError, match="'my_scan' of operator set 8 takes sequences of unequal lengths"):
        rewrite(built([scan], inputs, info("y", None), opset=8))


@pytest.mark.parametrize("axis", [None, 1])
def test_half_precision_scales(axis: int | None) -> None:
    """ONNX Runtime's own DequantizeLinear takes scales that the standard's takes from operator set 19 on."""
    several = axis is not None
    weights = {
        "w": np.arange(-6, 6, dtype=np.int8).reshape(4, 3),
        "s": np.array([0.5, 0.25, 0.1] if several else 0.3, np.float16),
    }
    more = {"axis": axis} if several else {}
    nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["d"], domain="com.microsoft", **more), node("Mul", "x d", "y")]
    half = TensorProto.FLOAT16
    made = built(nodes, [info("x", [4, 3], half)], info("y", None, half), weights)
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert_kept(made, {"x": floats(4, 3).astype(np.float16)})


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("op", ["Clip", "Clip without bounds", "Pad", "Pad reflected", "Dropout", "ThresholdedRelu"])
def test_bounds_have_the_type_of_what_they_bound(op: str, kind: type) -> None:
    settings: dict[str, dict[str, Any]] = {
        "Clip": {"min": 0.0, "max": 6.0},
        "Clip without bounds": {},
        "Pad": {"pads": [0, 1, 0, 1], "value": 0.5},
        "Pad reflected": {"pads": [0, 1, 0, 1], "mode": "reflect"},
        "Dropout": {"ratio": 0.5},
        "ThresholdedRelu": {"alpha": 0.5},
    }
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    made = built(
        [helper.make_node(op.partition(" ")[0], ["x"], ["y"], **settings[op])], [info("x", ["n", 4], number)], info("y", None, number),
        opset=10,
    )  # fmt: skip
    x = (4 * floats(3, 4)).astype(kind)
    explained = rewrite(made, target="cotangent", score="probability")
    onnx.checker.check_model(explained, full_check=True)  # every operand of an operator has the type that it asks for
    if kind is not np.float64 or op not in ("Clip", "Clip without bounds", "ThresholdedRelu"):  # no kernels, in the file itself
        assert_kept(made, {"x": x})


@pytest.mark.parametrize("axis", [0, 1, 2, None])
@pytest.mark.parametrize("op", ["Hardmax", "Softmax", "LogSoftmax"])
def test_softmax_over_several_axes(op: str, axis: int | None) -> None:
    softmax = helper.make_node(op, ["x"], ["s"], **({} if axis is None else {"axis": axis}))
    made = built([softmax, node("Mul", "s x", "y")], [info("x", ["n", 3, 4])], info("y", ["n", 3, 4]), opset=11)
    assert_kept(made, {"x": floats(2, 3, 4)})


# -- claims ----------------------------------------------------------------------------------------------------------------

PRODUCT = [node("MatMul", "x w", "y")]


@pytest.mark.parametrize("claim", [info("w", [4, 4]), info("w", [4, 3], TensorProto.FLOAT16), info("w", [12]), info("x", [7])])
def test_claims_that_weights_and_inputs_do_not_bear_out(claim: onnx.ValueInfoProto) -> None:
    made = built(PRODUCT, [info("x", ["n", 4])], info("y", ["n", 3]), {"w": floats(4, 3)}, value_info=[claim])
    assert_kept(made, {"x": floats(2, 4)})


@pytest.mark.parametrize("place", ["node", "weight"])
def test_an_output_that_is_a_constant_of_another_type(place: str) -> None:
    product, value = node("MatMul", "x w", "y"), np.arange(3, dtype=np.float32)
    constant = [helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(value))] if place == "node" else []
    weights = {"w": floats(4, 3), **({} if constant else {"k": value})}
    made = built([*constant, product], [info("x", ["n", 4])], info("y", ["n", 3]), weights)
    made.graph.output.append(info("k", [3], TensorProto.FLOAT16))
    found = Explainer(made)(floats(2, 4), 1)
    np.testing.assert_array_equal(found.outputs["k"], value)
    np.testing.assert_allclose(found.attribution, np.broadcast_to(floats(4, 3)[:, 1], (2, 4)), rtol=1e-6)


def test_one_bad_claim_among_good_ones() -> None:
    """Behind an operator that inference does not know, claims are all there is; of these, one contradicts the next operator."""
    nodes = [
        helper.make_node("FusedMatMul", ["x", "w"], ["a"], domain="com.microsoft", alpha=2.0),
        node("Relu", "a", "r"),
        node("MatMul", "r v", "y"),
    ]
    good, bad = info("a", ["n", 3]), info("r", ["n", 7])
    made = built(
        nodes, [info("x", ["n", 4])], info("y", ["n", 2]), {"w": floats(4, 3), "v": floats(3, 2)}, value_info=[good, bad]
    )
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert_kept(made, {"x": floats(2, 4)})


def test_extents_below_zero_are_free() -> None:
    nodes = [node("MatMul", "x w", "z"), helper.make_node("Softmax", ["z"], ["y"], axis=1)]
    made = built(nodes, [info("x", [-1, 4])], info("y", [-1, 3]), {"w": floats(4, 3)})
    assert_kept(made, {"x": floats(2, 4)})
    assert Explainer(made)(floats(5, 4)).attribution.shape == (5, 4)


@pytest.mark.parametrize("method", ["gradient", "lrp-epsilon", "integrated-gradients"])
def test_an_input_that_is_an_output(method: str) -> None:
    made = built(
        [node("Tanh", "x", "t"), node("MatMul", "t w", "y")], [info("x", ["n", 4])], info("y", ["n", 1]), {"w": floats(4, 1)}
    )
    made.graph.output.append(info("x", ["n", 4]))
    x = floats(2, 4)
    options = {"baseline": 0.0} if method == "integrated-gradients" else {}
    found = Explainer(made, method, **options)(x, 0)
    np.testing.assert_array_equal(found.outputs["x"], x)
    if method == "gradient":
        np.testing.assert_allclose(found.attribution, (1 - np.tanh(x) ** 2) * floats(4, 1)[:, 0], rtol=1e-5)
    else:
        np.testing.assert_allclose(found.attribution.sum(1), found.outputs["y"][:, 0], rtol=2e-2)


# -- spellings of values ---------------------------------------------------------------------------------------------------


def sparse(name: str, dense: Array, *, by_axis: bool) -> onnx.SparseTensorProto:
    places = np.argwhere(dense) if by_axis else np.flatnonzero(dense)
    values = numpy_helper.from_array(dense[dense != 0], name)
    return helper.make_sparse_tensor(values, numpy_helper.from_array(places.astype(np.int64)), list(dense.shape))


@pytest.mark.parametrize("by_axis", [False, True])
@pytest.mark.parametrize("place", ["initializer", "constant", "branch"])
def test_sparse_weights(place: str, by_axis: bool) -> None:
    weight = np.array([[1, 0], [0, 2], [0, 0], [-1, 0.5]], np.float32)
    stored = sparse("w", weight, by_axis=by_axis)
    product = node("MatMul", "x w", "y")
    constant = helper.make_node("Constant", [], ["w"], sparse_value=stored)
    x, feeds = info("x", ["n", 4]), {"x": floats(3, 4)}
    if place == "initializer":
        made = built([product], [x], info("y", ["n", 2]))
        made.graph.sparse_initializer.append(stored)
    elif place == "constant":
        made = built([constant, product], [x], info("y", ["n", 2]))
    else:
        then = helper.make_graph([constant, node("MatMul", "x w", "t")], "t", [], [info("t", None)])
        other = helper.make_graph([node("MatMul", "x v", "e")], "e", [], [info("e", None)])
        choice = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
        made = built([choice], [x, info("c", [], TensorProto.BOOL)], info("y", ["n", 2]), {"v": floats(4, 2)})
        feeds["c"] = np.array(True)
    if by_axis and place != "branch":
        expected = feeds["x"] @ weight  # ONNX Runtime takes flat indices only, in initializers
        found = Explainer(made)(feeds, 1)
        np.testing.assert_allclose(found.outputs["y"], expected, rtol=1e-6)
        np.testing.assert_allclose(found.attribution, np.broadcast_to(weight[:, 1], (3, 4)), rtol=1e-6)
    else:
        assert_kept(made, feeds)


YES_OR_NO: list[tuple[str, str, str, dict[str, Any], tuple[int, ...]]] = [
    ("Gemm", "x w", "transB", {}, (3, 3)),
    ("Gemm", "x w", "transA", {}, (3, 3)),
    ("ReduceMean", "x axis", "keepdims", {}, (3, 3)),
    ("ReduceSum", "x", "noop_with_empty_axes", {}, (3, 3)),
    ("MaxPool", "x", "ceil_mode", {"kernel_shape": [2, 2], "strides": [2, 2]}, (1, 1, 5, 5)),
    ("AveragePool", "x", "ceil_mode", {"kernel_shape": [2, 2], "strides": [2, 2]}, (1, 1, 5, 5)),
    ("AveragePool", "x", "count_include_pad", {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1]}, (1, 1, 5, 5)),
    ("LpPool", "x", "ceil_mode", {"kernel_shape": [2, 2], "strides": [2, 2]}, (1, 1, 5, 5)),
    ("TopK", "x k", "largest", {}, (3, 3)),
    ("Trilu", "x", "upper", {}, (3, 3)),
    ("Resize", "x  s", "antialias", {"mode": "linear"}, (1, 1, 6, 6)),
    ("SplitToSequence", "x", "keepdims", {"axis": 1}, (3, 3)),
]
"""Operator, inputs, the attribute, its other attributes, and the shape of x."""


@pytest.mark.parametrize("value", [-1, 2, 7])
@pytest.mark.parametrize(("op", "reads", "name", "more", "shape"), YES_OR_NO, ids=lambda v: v if isinstance(v, str) else "")
def test_integers_that_mean_yes_or_no(
    op: str, reads: str, name: str, more: dict[str, Any], shape: tuple[int, ...], value: int
) -> None:
    weights = {"w": floats(3, 3), "axis": np.array([1]), "k": np.array([2]), "s": np.array([1, 1, 0.5, 0.5], np.float32)}
    outputs = {"TopK": ["y", "i"], "SplitToSequence": ["parts"]}.get(op, ["y"])
    nodes = [helper.make_node(op, reads.split(" "), outputs, **more, **{name: value})]
    if op == "SplitToSequence":
        nodes.append(helper.make_node("ConcatFromSequence", ["parts"], ["y"], axis=0))
    used = {k: v for k, v in weights.items() if k in reads.split(" ")}
    assert_kept(built(nodes, [info("x", list(shape))], info("y", None), used), {"x": floats(*shape)})


# -- graphs that go round --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Identity", "y", "y")],
        [node("Identity", "b", "y"), node("Identity", "y", "b")],
        [node("Add", "x b", "y"), node("Relu", "y", "a"), node("Tanh", "a", "b")],
    ],
    ids=["itself", "two", "three"],
)
@pytest.mark.parametrize("inside", [False, True], ids=["graph", "branch"])
def test_cycles_are_named(nodes: list[onnx.NodeProto], inside: bool) -> None:
    if inside:
        branch = helper.make_graph(nodes, "t", [], [info("y", None)])
        other = helper.make_graph([node("Identity", "x", "z")], "e", [], [info("z", None)])
        nodes = [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=other)]
    made = built(nodes, [info("x", ["n", 4]), info("c", [], TensorProto.BOOL)], info("y", ["n", 4]))
    for use in (plan, rewrite):
        with pytest.raises(OnnxplainError, match=r"the graph has a cycle: \w+ '\w+' needs"):
            use(made)


# -- ranks -----------------------------------------------------------------------------------------------------------------

I64 = TensorProto.INT64


def lost(name: str) -> tuple[list[onnx.NodeProto], dict[str, Array], list[onnx.ValueInfoProto], dict[str, Array]]:
    """Nodes from x [n, 4, t] to r, whose rank inference loses, with weights, further inputs and their values."""
    axis = {"ax": np.array([2])}
    if name == "squeeze in If":
        then = helper.make_graph([node("Squeeze", "x ax", "t")], "then", [], [info("t", None)])
        other = helper.make_graph([node("Identity", "x", "e")], "else", [], [info("e", None)])
        nodes = [
            node("Shape", "x", "s"), node("Gather", "s two", "d"), node("Equal", "d one", "c"),
            helper.make_node("If", ["c"], ["q"], then_branch=then, else_branch=other), node("Unsqueeze", "q ax", "r"),
        ]  # fmt: skip
        return nodes, {**axis, "two": np.array(2), "one": np.array(1)}, [], {}
    if name == "axes at run time":
        nodes = [node("Squeeze", "x which", "q"), node("Tanh", "q", "h"), node("Unsqueeze", "h which", "r")]
        return nodes, {}, [info("which", ["k"], I64)], {"which": np.array([2])}
    if name == "reduced at run time":
        return [node("ReduceSum", "x which", "r", keepdims=1)], {}, [info("which", ["k"], I64)], {"which": np.array([2])}
    return [node("GroupNormalization", "x s b", "r", num_groups=2)], {"s": floats(2), "b": floats(2)}, [], {}


@pytest.mark.parametrize("method", ["gradient", "lrp-epsilon-plus", "attnlrp", "deeplift"])
@pytest.mark.parametrize("name", ["squeeze in If", "axes at run time", "reduced at run time", "group norm"])
def test_ranks_are_proven_from_weights_and_consumers(name: str, method: str) -> None:
    nodes, weights, inputs, feeds = lost(name)
    nodes += [
        node("Relu", "r", "a"),
        node("Conv", "a w", "z"),
        helper.make_node("ReduceMean", ["z"], ["y"], axes=[2], keepdims=0),
    ]
    made = built(
        nodes,
        [info("x", ["n", 4, "t"]), *inputs],
        info("y", None),
        {**weights, "w": floats(3, 4, 1)},
        opset=16 if "group" not in name else 18,
    )
    if "group" in name:
        made.graph.node[-1].CopyFrom(helper.make_node("ReduceMean", ["z", "ax"], ["y"], keepdims=0))
        made.graph.initializer.append(numpy_helper.from_array(np.array([2]), "ax"))
    options = {"baseline": 0.0} if method == "deeplift" else {}
    assert_kept(made, {"x": floats(2, 4, 1), **feeds}, method, **options)
