"""Random geometry: convolution, pooling, slicing, resizing and broadcasting, with known and with symbolic extents.

All of these are linear, or piecewise linear with the pieces known: a difference quotient over a large step is exact, so
float32 in ONNX Runtime, the very kernels users run, is precise enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from onnxplain import RuleError, rewrite
from onnxplain.passes import prepare
from onnxplain.propagation.vjp import vjp
from tests.support.models import model, node, run

Array = Any
Draw = Callable[..., Any]

quick = settings(max_examples=150, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def check(
    op: str,
    inputs: Sequence[Array | None],
    attributes: dict[str, Any],
    *,
    symbolic: bool,
    varied: Sequence[int] = (0,),
    step: float = 1.0,
) -> None:
    """<u, f(x + v) − f(x)> = <v, gradient>, for each varied input alone; the other inputs are constants."""
    names = [f"x{i}" if a is not None else "" for i, a in enumerate(inputs)]
    arrays = {n: a for n, a in zip(names, inputs, strict=True) if a is not None}
    sources = [names[i] for i in varied]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, names, ["y"], **attributes)],
        "geometry",
        [info(n, [f"{n}_{i}" if symbolic else d for i, d in enumerate(arrays[n].shape)]) for n in sources],
        [info("y", None)],
        [onnx.numpy_helper.from_array(a, n) for n, a in arrays.items() if n not in sources],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    point = {n: arrays[n] for n in sources}
    forward = session(model)
    (y,) = forward.run(None, point)
    prepare(model)
    vjp(model, sources, ["y"])
    generator = np.random.default_rng(1)
    cotangent = np.asarray(generator.standard_normal(y.shape), np.float32)
    gradients = session(model).run([f"{s}_gradient" for s in sources], {**point, "y_seed": cotangent})
    for source, gradient in zip(sources, gradients, strict=True):
        assert gradient.shape == arrays[source].shape
        v = np.asarray(generator.uniform(-step, step, gradient.shape), np.float32)
        (moved,) = forward.run(None, {**point, source: np.asarray(point[source] + v, np.float32)})
        terms = cotangent.astype(np.float64) * (moved.astype(np.float64) - y)
        slope = np.sum(v.astype(np.float64) * gradient)
        size = np.abs(terms).sum() + np.abs(cotangent * y).sum() * 1e-2 + 1e-2
        assert abs(terms.sum() - slope) <= 1e-4 * size, (terms.sum(), slope)


def info(name: str, shape: Sequence[Any] | None) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def normal(draw: Draw, shape: Sequence[int]) -> Array:
    return np.random.default_rng(draw(st.integers(0, 99))).standard_normal(shape).astype(np.float32)


def distinct(draw: Draw, shape: Sequence[int]) -> Array:
    """Values at least one apart: a step below one half changes no maximum."""
    numbers = np.random.default_rng(draw(st.integers(0, 99))).permutation(int(np.prod(shape)))
    return np.asarray(numbers.reshape(shape) - numbers.size // 2, np.float32)


@st.composite
def a_window(draw: Draw, most_pads: int = 3) -> tuple[list[int], list[int], dict[str, Any]]:
    """Spatial extents, a kernel, and the attributes of windows that fit."""
    n = draw(st.sampled_from([1, 2, 2, 2, 3]))
    each = lambda low, high: [draw(st.integers(low, high)) for _ in range(n)]  # noqa: E731
    kernel, strides, dilations = each(1, 3), each(1, 3), each(1, 2)
    auto = draw(st.sampled_from(["NOTSET", "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if auto.startswith("SAME"):
        dilations = [1] * n
    pads = each(0, most_pads) + each(0, most_pads)
    if draw(st.booleans()):
        pads[n:] = pads[:n]
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    size = [s + extra for s, extra in zip(span, each(0, 5 if n < 3 else 2), strict=True)]
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations, "auto_pad": auto}
    if auto == "NOTSET":
        attributes["pads"] = pads
    return size, kernel, attributes


@quick
@given(st.data(), st.booleans())
def test_conv(data: st.DataObject, symbolic: bool) -> None:
    size, kernel, attributes = data.draw(a_window())
    group, inward, outward = data.draw(st.sampled_from([(1, 2, 3), (1, 16, 2), (2, 2, 3), (3, 1, 1), (2, 1, 2), (2, 8, 1)]))
    x = normal(data.draw, [data.draw(st.integers(1, 2)), group * inward, *size])
    w = normal(data.draw, [group * outward, inward, *kernel])
    bias = normal(data.draw, [group * outward])
    check("Conv", [x, w, bias], {**attributes, "group": group}, symbolic=symbolic, varied=[0, 1, 2])


@quick
@given(st.data(), st.booleans())
def test_conv_transpose(data: st.DataObject, symbolic: bool) -> None:
    size, kernel, attributes = data.draw(a_window(most_pads=1))
    group, inward, outward = data.draw(st.sampled_from([(1, 2, 3), (2, 2, 3), (3, 1, 1)]))
    strides, dilations = attributes["strides"], attributes["dilations"]
    same = attributes["auto_pad"].startswith("SAME")  # onnx's shape inference is wrong with output_padding
    extra = [0 if same else data.draw(st.integers(0, s - 1)) for s in strides]
    n = len(size)
    pads = attributes.get("pads", [0] * (2 * n))
    reach = [s * (i - 1) + e + (k - 1) * d + 1 for s, i, e, k, d in zip(strides, size, extra, kernel, dilations, strict=True)]
    assume(all(r - p - q > 0 for r, p, q in zip(reach, pads[:n], pads[n:], strict=True)))
    x = normal(data.draw, [data.draw(st.integers(1, 2)), group * inward, *size])
    w = normal(data.draw, [group * inward, outward, *kernel])
    bias = normal(data.draw, [group * outward])
    attributes |= {"group": group, "output_padding": extra}
    check("ConvTranspose", [x, w, bias], attributes, symbolic=symbolic, varied=[0, 1, 2])


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool"])
@quick
@given(st.data(), st.booleans())
def test_pool(op: str, data: st.DataObject, symbolic: bool) -> None:
    size, kernel, attributes = data.draw(a_window())
    strides = attributes["strides"]
    span = [(k - 1) * d + 1 for k, d in zip(kernel, attributes["dilations"], strict=True)]
    if attributes["auto_pad"].startswith("SAME"):  # ONNX Runtime pads by negative numbers otherwise
        strides[:] = [min(s, k) for s, k in zip(strides, span, strict=True)]
    if "pads" in attributes:  # padding is less than the kernel
        attributes["pads"] = pads = [min(p, k - 1) for p, k in zip(attributes["pads"], kernel * 2, strict=True)]
        # Below opset 22 onnx's shape inference counts windows that would start behind the image.
        fits = all(s + p <= t for s, p, t in zip(strides, pads[len(kernel) :], span, strict=True))
        attributes["ceil_mode"] = int(fits and data.draw(st.booleans()))
    if op == "AveragePool":
        attributes["count_include_pad"] = data.draw(st.integers(0, 1))
    x = distinct(data.draw, [data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3)), *size])
    check(op, [x], {**attributes, "kernel_shape": kernel}, symbolic=symbolic, step=0.3)


@quick
@given(st.data(), st.booleans())
def test_slice(data: st.DataObject, symbolic: bool) -> None:
    shape = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    bounds = [[data.draw(st.integers(-8, 8)) for _ in axes] for _ in range(2)]
    steps = [data.draw(st.sampled_from([1, 1, 2, 3, -1, -2])) for _ in axes]
    axes = [a - data.draw(st.sampled_from([0, len(shape)])) for a in axes]
    parameters = [np.array(v, np.int64) for v in (*bounds, axes, steps)]
    check("Slice", [normal(data.draw, shape), *parameters], {}, symbolic=symbolic)


@quick
@given(st.data(), st.booleans())
def test_resize(data: st.DataObject, symbolic: bool) -> None:
    mode = data.draw(st.sampled_from(["nearest", "linear", "cubic"]))
    how = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"]
    attributes = {"mode": mode, "coordinate_transformation_mode": data.draw(st.sampled_from(how))}
    if mode == "nearest":
        choices = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
        attributes["nearest_mode"] = data.draw(st.sampled_from(choices))
    size = [data.draw(st.integers(2, 6)) for _ in range(2)]
    x = normal(data.draw, [1, 2, *size])
    if data.draw(st.booleans()):
        scales = [1, 1, *(data.draw(st.sampled_from([0.5, 1.0, 1.5, 2.0, 2.7])) for _ in range(2))]
        check("Resize", [x, None, np.array(scales, np.float32)], attributes, symbolic=symbolic)
    else:
        sizes = [1, 2, *(data.draw(st.integers(1, 9)) for _ in range(2))]
        check("Resize", [x, None, None, np.array(sizes, np.int64)], attributes, symbolic=symbolic)


BINARY = ["Add", "Sub", "Mul", "Div", "Max", "Min"]


@st.composite
def two_shapes(draw: Draw) -> tuple[list[int], list[int]]:
    """Two shapes that broadcast together."""
    full = draw(st.lists(st.integers(1, 3), min_size=0, max_size=4))
    one = [draw(st.sampled_from([d, d, 1])) for d in full]
    other = [d if a == 1 else draw(st.sampled_from([d, 1])) for a, d in zip(one, full, strict=True)]
    return one[draw(st.integers(0, len(full))) :], other


@quick
@given(st.sampled_from(BINARY), two_shapes(), st.booleans(), st.booleans(), st.data())
def test_broadcasting(op: str, shapes: tuple[list[int], list[int]], swap: bool, symbolic: bool, data: st.DataObject) -> None:
    a, c = shapes[::-1] if swap else shapes
    x, y = distinct(data.draw, a), np.asarray(distinct(data.draw, c) * 10 + 3.5, np.float32)
    varied = [0] if op == "Div" else [0, 1]
    check(op, [x, y], {}, symbolic=symbolic, varied=varied, step=0.3)


@quick
@given(two_shapes(), st.booleans(), st.data())
def test_matmul_broadcasting(shapes: tuple[list[int], list[int]], symbolic: bool, data: st.DataObject) -> None:
    rows, inner, columns = (data.draw(st.integers(1, 3)) for _ in range(3))
    x, y = normal(data.draw, [*shapes[0], rows, inner]), normal(data.draw, [*shapes[1], inner, columns])
    if data.draw(st.integers(0, 3)) == 0:
        x = x.reshape(-1)[:inner]
    check("MatMul", [x, y], {}, symbolic=symbolic, varied=[0, 1])


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER"])
def test_dilated_pooling_with_automatic_padding_is_refused(op: str, auto: str) -> None:
    """The standard says nine windows; ONNX Runtime, which pads as if there were no dilations, makes seven."""
    pool = node(op, "x", "y", kernel_shape=[3], dilations=[2], auto_pad=auto)
    made = model([pool], {"x": [1, 1, 9]}, {"y": None}, opset=19)
    assert run(made, {"x": np.ones((1, 1, 9), np.float32)})["y"].shape == (1, 1, 7)
    assert onnx.shape_inference.infer_shapes(made).graph.output[0].type.tensor_type.shape.dim[2].dim_value == 9
    with pytest.raises(RuleError, match="give pads instead"):
        rewrite(made)
