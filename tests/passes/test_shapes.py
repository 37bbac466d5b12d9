"""Shape inference: the extents are those that ONNX Runtime really makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidGraph, NotImplemented

from onnxplain.passes.shapes import infer_shapes
from tests.support.models import model, node, run

ML = "ai.onnx.ml"


def inferred(made: onnx.ModelProto) -> list[tuple[int, list[Any]]]:
    """Element type and extents of each output."""
    work = onnx.ModelProto()
    work.CopyFrom(made)
    infer_shapes(work)
    kinds = [o.type.tensor_type for o in work.graph.output]
    return [(k.elem_type, [d.dim_value if d.HasField("dim_value") else d.dim_param for d in k.shape.dim]) for k in kinds]


def single(
    op: str, inputs: list[np.ndarray], outputs: list[str], opset: int, domain: str = "", **attributes: Any
) -> onnx.ModelProto:
    names = [f"x{i}" for i in range(len(inputs))]
    node = helper.make_node(op, names, outputs, domain=domain, **attributes)
    values = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for n, x in zip(names, inputs, strict=True)
    ]
    graph = helper.make_graph([node], op, values, [helper.make_empty_tensor_value_info(o) for o in outputs if o])
    imports = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def real(made: onnx.ModelProto, inputs: list[np.ndarray]) -> list[tuple[int, list[int]]]:
    found = run(made, {f"x{i}": x for i, x in enumerate(inputs)})
    return [(helper.np_dtype_to_tensor_dtype(y.dtype), list(y.shape)) for y in found.values()]


def test_a_window_that_starts_in_the_end_padding_does_not_count() -> None:
    x = np.ones((1, 1, 5, 5), np.float32)
    made = single("AveragePool", [x], ["y"], 19, kernel_shape=[2, 2], strides=[2, 2], pads=[1] * 4, ceil_mode=1)
    assert inferred(made) == [(TensorProto.FLOAT, [1, 1, 3, 3])]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("op", ["AveragePool", "MaxPool", "LpPool"])
def test_pooling(op: str, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 2))
    axes = {"min_size": n, "max_size": n}
    kernel = data.draw(st.lists(st.integers(1, 4), **axes))
    settings: dict[str, Any] = {"kernel_shape": kernel, "strides": data.draw(st.lists(st.integers(1, 4), **axes))}
    opset = data.draw(st.sampled_from([18, 19, 21]))
    dilations = data.draw(st.lists(st.integers(1, 2), **axes))
    if not (op == "AveragePool" and opset < 19):
        settings["dilations"] = dilations
    else:
        dilations = [1] * n
    settings["ceil_mode"] = data.draw(st.integers(0, 1))
    padding = data.draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if padding == "NOTSET":
        settings["pads"] = [data.draw(st.integers(0, k - 1)) for k in kernel * 2]
    else:
        settings["auto_pad"] = padding
    if padding.startswith("SAME"):  # ONNX Runtime refuses gaps between windows and forgets dilations
        settings.pop("dilations", None)
        dilations = [1] * n
        settings["strides"] = [min(s, k) for s, k in zip(settings["strides"], kernel, strict=True)]
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    x = np.ones((1, 2, *(data.draw(st.integers(s, 11)) for s in span)), np.float32)
    made = single(op, [x], ["y"], opset, **settings)
    assert inferred(made) == real(made, [x])


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_transposed_convolution(data: st.DataObject) -> None:
    kernel, stride, dilation = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    extra = data.draw(st.integers(0, stride - 1))
    padding = data.draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    x, w = np.ones((1, 1, data.draw(st.integers(3, 6))), np.float32), np.ones((1, 1, kernel), np.float32)
    settings = {"strides": [stride], "dilations": [dilation], "output_padding": [extra], "auto_pad": padding}
    if data.draw(st.booleans()):
        settings["kernel_shape"] = [kernel]
    made = single("ConvTranspose", [x, w], ["y"], 18, **settings)
    expected = real(made, [x, w])
    if "kernel_shape" not in settings and padding.startswith("SAME") and extra:
        assert inferred(made) == [(TensorProto.FLOAT, ["", "", ""])]  # it depends on the kernel's extent
    made.graph.initializer.append(numpy_helper.from_array(w, "x1"))
    assert inferred(made) == expected
    del made.graph.input[1]
    assert inferred(made) == expected


X = np.array([[1.0, 2.0, 3.0], [0.5, 0.2, 0.1]])
VECTORS = {"support_vectors": np.eye(3).ravel().tolist(), "kernel_type": "LINEAR", "kernel_params": [0.5, 0.1, 3.0]}


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize(
    ("op", "outputs", "attributes"),
    [
        ("Scaler", "y", {"scale": [1.0], "offset": [0.0]}),
        ("Normalizer", "y", {"norm": "L2"}),
        ("LinearRegressor", "y", {"coefficients": [0.1] * 6, "targets": 2}),
        ("LinearClassifier", "l y", {"coefficients": [0.1] * 9, "intercepts": [0.0] * 3, "classlabels_ints": [0, 1, 2]}),
        ("SVMRegressor", "y", {"coefficients": [0.1] * 3, "rho": [0.0], "n_supports": 3, **VECTORS}),
        ("SVMClassifier", "l y", {"coefficients": [0.1] * 3, "rho": [0.0], "vectors_per_class": [2, 1], "classlabels_ints": [0, 1], **VECTORS}),
        ("SVMClassifier", "l y", {"coefficients": [0.1] * 12, "rho": [0.0] * 6, "vectors_per_class": [1, 1, 1, 0], "classlabels_ints": [0, 1, 2, 3], **VECTORS}),
        ("FeatureVectorizer", "y", {"inputdimensions": [5]}),
    ],
)  # fmt: skip
def test_learned_operators(op: str, outputs: str, attributes: dict[str, Any], kind: Any) -> None:
    x = X.astype(kind)
    made = single(op, [x], outputs.split(), 18, ML, **attributes)
    try:
        found = real(made, [x])
    except (InvalidGraph, NotImplemented):
        pytest.skip("ONNX Runtime has no kernel for this type")
    assert inferred(made) == found


def reshaped(*pieces: str) -> onnx.ModelProto:
    """x reshaped to the concatenation of pieces of its own shape and of constants."""
    integers = {"zero": 0, "one": 1, "two": 2, "three": 3}
    constants = {k: np.array([v]) for k, v in integers.items()} | {"rest": np.array([-1]), "scalar": np.array(0)}
    nodes = [
        node("Shape", "x", "shape"),
        node("Slice", "shape zero two", "first_two"),
        node("Gather", "shape scalar", "g"),
        node("Unsqueeze", "g zero", "first"),
        node("Slice", "shape two three", "last"),
        node("Slice", "shape one two", "second"),
        node("Mul", "last two", "twice"),
        node("Concat", " ".join(pieces), "wanted", axis=0),
        node("Reshape", "x wanted", "y"),
    ]
    return model(nodes, {"x": ["batch", "tokens", 8]}, {"y": None}, constants)


@pytest.mark.parametrize(
    ("pieces", "extents"),
    [
        (("first_two", "two", "rest"), ["batch", "tokens", 2, 4]),
        (("first", "rest", "last"), ["batch", "tokens", 8]),
        (("rest", "second", "last"), ["batch", "tokens", 8]),
        (("first", "second", "rest"), ["batch", "tokens", 8]),
        (("zero", "zero", "two", "rest"), ["batch", "tokens", 2, 4]),
    ],
)
def test_names_of_extents_survive_shape_arithmetic(pieces: tuple[str, ...], extents: list[Any]) -> None:
    made = reshaped(*pieces)
    assert inferred(made)[0][1] == extents
    sizes = {"batch": 3, "tokens": 5}
    assert run(made, {"x": np.zeros((3, 5, 8), np.float32)})["y"].shape == tuple(sizes.get(d, d) for d in extents)


def test_a_product_of_extents_is_no_name_of_one() -> None:
    (_, extents), *_ = inferred(reshaped("rest", "last"))
    assert extents[1] == 8
    assert extents[0] not in ("batch", "tokens")


def expanded(own: list[Any], pieces: str) -> onnx.ModelProto:
    """A tensor expanded to pieces of another's shape."""
    nodes = [
        node("Shape", "x", "shape"),
        node("Slice", "shape zero one", "first"),
        node("Concat", pieces, "wanted", axis=0),
        node("Expand", "v wanted", "y"),
    ]
    constants = {"zero": np.array([0]), "one": np.array([1]), "two": np.array([2])}
    return model(nodes, {"x": ["batch", 3], "v": own}, {"y": None}, constants)


@pytest.mark.parametrize(
    ("own", "real", "pieces", "named"),
    [
        (["n", 2], (5, 2), "first two", False),  # with a batch of one, the other's extent stays
        ([2, "n", 2], (2, 5, 2), "first two", False),  # fewer extents asked for than there are
        ([1, 2], (1, 2), "first two", True),
        ([2], (2,), "first two", True),
    ],
)
def test_expanding_keeps_extents_that_are_not_one(own: list[Any], real: tuple[int, ...], pieces: str, named: bool) -> None:
    made = expanded(own, pieces)
    (_, extents), *_ = inferred(made)
    batch = 1 if not named else 4
    shape = run(made, {"x": np.zeros((batch, 3), np.float32), "v": np.zeros(real, np.float32)})["y"].shape
    assert ("batch" in extents) == named
    if named:
        assert shape == tuple(batch if d == "batch" else d for d in extents)
