"""Graphs that hypothesis makes, of operators that stand next to each other or changed over time, for translation validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.support.translation_corpus import Case

__all__ = ["functions", "loops", "norms_and_maps", "poolings", "resizings", "sigmoids"]

Draw = st.DrawFn


def built(
    nodes: Sequence[onnx.NodeProto],
    feeds: Mapping[str, Any],
    weights: Mapping[str, Any],
    outputs: Sequence[str] = ("y",),
    *,
    opset: int = 18,
    free: bool = False,
    **more: Any,
) -> onnx.ModelProto:
    """A model; with `free`, every extent of its inputs is a symbol."""
    inputs = []
    for name, value in feeds.items():
        shape = [f"{name}{i}" for i in range(value.ndim)] if free else value.shape
        inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), shape))
    kind = next(iter(inputs)).type.tensor_type.elem_type
    ends = [helper.make_tensor_value_info(o, kind, None) for o in outputs]
    given = [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()]
    graph = helper.make_graph(list(nodes), "made", inputs, ends, given)
    imports = [helper.make_opsetid("", opset), *more.pop("imports", [])]
    return helper.make_model(graph, opset_imports=imports, ir_version=8 if opset < 19 else 10, **more)


def numbers(draw: Draw, *shape: int, kind: Any = np.float32) -> np.ndarray[Any, Any]:
    """Normal numbers."""
    return np.random.default_rng(draw(st.integers(0, 9))).normal(size=shape).astype(kind)


# -- norms next to linear maps ---------------------------------------------------------------------------------------------


@st.composite
def norms_and_maps(draw: Draw) -> Case:
    """A batch norm before or behind a convolution, a transposed one, Gemm or MatMul, with every setting that these have."""
    op = draw(st.sampled_from(["Conv", "ConvTranspose", "Gemm", "MatMul"]))
    first, kind = draw(st.booleans()), draw(st.sampled_from([np.float32, np.float32, np.float16]))
    if op in ("Conv", "ConvTranspose"):
        x, w, channels, settings = _convolution(draw, op)
    else:
        x, w, channels, settings = _dense(draw, op)
    bias = op != "MatMul" and draw(st.booleans())
    width = channels[0] if first else channels[1]
    norm = {n: numbers(draw, width) for n in ("s", "b", "m")} | {"v": np.abs(numbers(draw, width)) + 0.5}
    weights = {"W": w, **norm, **({"c": numbers(draw, channels[1])} if bias else {})}
    more = {"epsilon": draw(st.sampled_from([1e-5, 1e-3, 0.5]))} if draw(st.booleans()) else {}
    linear = helper.make_node(
        op, ["n" if first else "x", "W", *(["c"] if bias else [])], ["y" if first else "n"], "map", **settings
    )
    normal = helper.make_node("BatchNormalization", ["x" if first else "n", *"sbmv"], ["n" if first else "y"], "norm", **more)
    nodes = [normal, linear] if first else [linear, normal]
    if draw(st.booleans()):
        nodes += [helper.make_node("Relu", ["n"], ["z"], "reader")]
        outputs = ["y", "z"]
    else:
        outputs = ["y"]
    given = {k: v.astype(kind) for k, v in weights.items()}
    opset = draw(st.sampled_from([7, 9, 14, 15, 18]))
    free = draw(st.booleans())
    return Case("norm", built(nodes, {"x": x.astype(kind)}, given, outputs, opset=opset, free=free), {"x": x.astype(kind)})


def _convolution(draw: Draw, op: str) -> tuple[Any, Any, tuple[int, int], dict[str, Any]]:
    axes, group = draw(st.integers(1, 2)), draw(st.sampled_from([1, 2, 4]))
    each = st.lists(st.integers(1, 3), min_size=axes, max_size=axes)
    kernel, strides, dilations = draw(each), draw(each), draw(each)
    settings: dict[str, Any] = {"strides": strides, "dilations": dilations, "group": group}
    if draw(st.booleans()):
        settings["kernel_shape"] = kernel
    how = draw(st.sampled_from(["pads", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", "nothing"]))
    if how in ("pads", "NOTSET"):
        settings["pads"] = draw(st.lists(st.integers(0, 2), min_size=2 * axes, max_size=2 * axes))
    if how not in ("pads", "nothing"):
        settings["auto_pad"] = how
    if op == "ConvTranspose" and draw(st.booleans()):
        settings["output_padding"] = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(strides, dilations, strict=True)]
    extents = [draw(st.integers(7, 9)) for _ in range(axes)]
    if op == "ConvTranspose":
        if draw(st.integers(0, 5)) == 0:
            settings["output_shape"] = [(e - 1) * s + 1 + draw(st.integers(0, 2)) for e, s in zip(extents, strides, strict=True)]
        each_group = draw(st.integers(1, 2))
        return numbers(draw, 2, 4, *extents), numbers(draw, 4, each_group, *kernel), (4, each_group * group), settings
    return numbers(draw, 2, 4, *extents), numbers(draw, 4, 4 // group, *kernel), (4, 4), settings


def _dense(draw: Draw, op: str) -> tuple[Any, Any, tuple[int, int], dict[str, Any]]:
    settings: dict[str, Any] = {}
    turned = False
    if op == "Gemm":
        turned = draw(st.booleans())
        settings = {"transB": int(turned)}
        settings |= {"alpha": 0.5} if draw(st.integers(0, 3)) == 0 else {}
        settings |= {"beta": 2.0} if draw(st.integers(0, 3)) == 0 else {}
    return numbers(draw, 3, 4), numbers(draw, *((5, 4) if turned else (4, 5))), (4, 5), settings


# -- pooling ---------------------------------------------------------------------------------------------------------------


@st.composite
def poolings(draw: Draw) -> Case:
    """Pooling with every setting, in every operator set, and a reader that depends on its extents."""
    op, axes = draw(st.sampled_from(["MaxPool", "AveragePool", "LpPool"])), draw(st.integers(1, 2))
    opset = draw(st.sampled_from([7, 8, 10, 11, 12, 18, 19, 22]))
    kernel = draw(st.lists(st.integers(1, 3), min_size=axes, max_size=axes))
    settings: dict[str, Any] = {"kernel_shape": kernel}
    if draw(st.booleans()):
        settings["strides"] = draw(st.lists(st.integers(1, 3), min_size=axes, max_size=axes))
    how = draw(st.sampled_from(["pads", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", "nothing"]))
    if how in ("pads", "NOTSET"):
        settings["pads"] = [draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
    if how not in ("pads", "nothing"):
        settings["auto_pad"] = how
    since = {"MaxPool": {"ceil_mode": 10, "dilations": 10, "storage_order": 8}, "AveragePool": {"ceil_mode": 10, "dilations": 19}}
    changed = since.get(op, {"ceil_mode": 18, "dilations": 18})
    if opset >= changed["ceil_mode"] and draw(st.booleans()):
        settings["ceil_mode"] = 1
    # With both, ONNX Runtime has fewer windows than the standard; rules refuse it.
    if opset >= changed["dilations"] and not how.startswith("SAME") and draw(st.booleans()):
        settings["dilations"] = draw(st.lists(st.integers(1, 2), min_size=axes, max_size=axes))
    if op == "AveragePool" and draw(st.booleans()):
        settings["count_include_pad"] = 1
    if op == "LpPool":
        settings["p"] = draw(st.sampled_from([1, 2, 3]))
    outputs = ["y", "i"] if op == "MaxPool" and opset >= 8 and draw(st.booleans()) else ["y"]
    if len(outputs) == 2 and draw(st.booleans()):
        settings["storage_order"] = draw(st.integers(0, 1))
    kind = np.float64 if op == "MaxPool" and draw(st.booleans()) else np.float32
    x = numbers(draw, 2, 3, *[draw(st.integers(5, 9)) for _ in range(axes)], kind=kind)
    made = built(
        [helper.make_node(op, ["x"], outputs, "pool", **settings)], {"x": x}, {}, outputs, opset=opset, free=draw(st.booleans())
    )
    if len(outputs) == 2:
        made.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    return Case("pool", made, {"x": x})


# -- resizing --------------------------------------------------------------------------------------------------------------

PLACES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize")


@st.composite
def resizings(draw: Draw) -> Case:
    """Resize and Upsample of every operator set, with every mode, mapping of coordinates and rounding."""
    opset = draw(st.sampled_from([7, 8, 9, 10, 11, 13, 18, 19]))
    mode = draw(st.sampled_from(["nearest", "linear", *(["cubic"] if opset >= 11 else [])]))
    x = numbers(draw, 1, 2, draw(st.integers(4, 7)), draw(st.integers(4, 7)))
    scales = [1.0, 1.0, *(draw(st.sampled_from([0.4, 0.5, 0.75, 1.0, 1.5, 1.6, 2.0, 2.7, 3.0])) for _ in range(2))]
    settings: dict[str, Any] = {"mode": mode}
    weights: dict[str, Any] = {"scales": np.array(scales, np.float32)}
    feeds: dict[str, Any] = {"x": x}
    if opset < 10:
        scales = [max(1.0, s) for s in scales]
        weights["scales"] = np.array(scales, np.float32)
        reads = ["x"] if opset < 9 else ["x", "scales"]
        if opset < 9:
            settings["scales"], weights = scales, {}
    elif opset == 10:
        reads = ["x", "scales"]
    else:
        reads, more = _modern(draw, opset, mode, x, scales, weights)
        settings |= more
    if "scales" in reads and opset > 8 and draw(st.booleans()):  # known at run time only
        feeds["scales"] = weights.pop("scales")
    op = "Upsample" if opset < 10 else "Resize"
    return Case("resize", built([helper.make_node(op, reads, ["y"], "resize", **settings)], feeds, weights, opset=opset), feeds)


def _modern(draw: Draw, opset: int, mode: str, x: Any, scales: list[float], weights: dict[str, Any]) -> tuple[list[str], Any]:
    places = [*PLACES, *(["tf_half_pixel_for_nn"] if opset < 13 else []), *(["half_pixel_symmetric"] if opset >= 19 else [])]
    settings: dict[str, Any] = {"coordinate_transformation_mode": draw(st.sampled_from(places))}
    reads = ["x", "", "scales"]
    if settings["coordinate_transformation_mode"] == "tf_crop_and_resize":
        weights["roi"] = np.array([0, 0, 0.1, 0.2, 1, 1, 0.8, 0.9], np.float32)
        settings["extrapolation_value"] = draw(st.sampled_from([0.0, 0.5]))
        reads[1] = "roi"
    elif opset < 13:
        weights["roi"] = np.zeros(0, np.float32)
        reads[1] = "roi"
    if mode == "nearest":
        settings["nearest_mode"] = draw(st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]))
    if mode == "cubic":
        settings |= {"cubic_coeff_a": draw(st.sampled_from([-0.75, -0.5])), "exclude_outside": draw(st.integers(0, 1))}
    if opset >= 18 and mode != "nearest":
        settings["antialias"] = draw(st.integers(0, 1))
    if draw(st.booleans()):
        weights["sizes"] = np.array([*x.shape[:2], *(max(1, int(e * s)) for e, s in zip(x.shape[2:], scales[2:], strict=True))])
        weights["scales"] = np.zeros(0, np.float32)
        reads = [*reads[:2], "scales" if opset < 13 else "", "sizes"]
        if "scales" not in reads:
            del weights["scales"]
        if opset >= 18 and draw(st.booleans()):
            settings["keep_aspect_ratio_policy"] = draw(st.sampled_from(["stretch", "not_larger", "not_smaller"]))
    return reads, settings


# -- functions -------------------------------------------------------------------------------------------------------------

NUMBER = {"LeakyRelu": "alpha", "Elu": "alpha", "ThresholdedRelu": "alpha", "Celu": "alpha", "Selu": "gamma"}


@st.composite
def functions(draw: Draw) -> Case:
    """Local functions that call each other, with numbers that are given, handed on, or left to a default."""
    depth = draw(st.integers(1, 3))
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("my", 1)]
    made = []
    for level in range(depth):
        op = draw(st.sampled_from(sorted(NUMBER)))
        nodes = [helper.make_node(op, ["x"], ["h"], f"act{level}")]
        how = draw(st.sampled_from(["own", "reference", "none"]))
        if how == "own":
            nodes[0].attribute.append(helper.make_attribute(NUMBER[op], 0.75))
        elif how == "reference":
            nodes[0].attribute.append(onnx.AttributeProto(name=NUMBER[op], type=onnx.AttributeProto.FLOAT, ref_attr_name="k"))
        if level:
            nodes += [_call(draw, f"F{level - 1}", "h", "g", inside=True)]
        ends = "g" if level else "h"
        if draw(st.booleans()):
            branch = helper.make_graph(
                [helper.make_node("Sin", [ends], ["t"])], "t", [], [helper.make_empty_tensor_value_info("t")]
            )
            other = helper.make_graph([_call_or(draw, level, ends)], "e", [], [helper.make_empty_tensor_value_info("e")])
            nodes += [
                helper.make_node("ReduceSum", [ends], ["sum"], keepdims=0),
                helper.make_node("Constant", [], ["zero"], value_float=0.0),
            ]
            nodes += [
                helper.make_node("Greater", ["sum", "zero"], ["on"]),
                helper.make_node("If", ["on"], ["y"], then_branch=branch, else_branch=other),
            ]
        else:
            nodes += [helper.make_node("Tanh", [ends], ["y"])]
        default = [helper.make_attribute("k", draw(st.sampled_from([0.25, 0.5])))] if draw(st.booleans()) else []
        names = ["k"] if not default else []
        made.append(helper.make_function("my", f"F{level}", ["x"], ["y"], nodes, imports, names, default))
    x = numbers(draw, 2, 4)
    top = [_call(draw, f"F{depth - 1}", "x", "a", inside=False), helper.make_node("Sin", ["a"], ["y"])]
    if draw(st.booleans()):
        top = [
            _call(draw, f"F{depth - 1}", "x", "x2", inside=False),
            _call(draw, f"F{depth - 1}", "x2", "a", inside=False),
            top[1],
        ]
    model = built(top, {"x": x}, {}, imports=imports[1:], functions=made)
    return Case("function", model, {"x": x})


def _call(draw: Draw, name: str, x: str, y: str, *, inside: bool) -> onnx.NodeProto:
    node = helper.make_node(name, [x], [y], domain="my")
    how = draw(st.sampled_from(["given", "left out", *(["handed on"] if inside else [])]))
    if how == "given":
        node.attribute.append(helper.make_attribute("k", draw(st.sampled_from([0.1, 1.5]))))
    elif how == "handed on":
        node.attribute.append(onnx.AttributeProto(name="k", type=onnx.AttributeProto.FLOAT, ref_attr_name="k"))
    return node


def _call_or(draw: Draw, level: int, x: str) -> onnx.NodeProto:
    return _call(draw, f"F{level - 1}", x, "e", inside=True) if level else helper.make_node("Cos", [x], ["e"])


# -- loops -----------------------------------------------------------------------------------------------------------------


@st.composite
def loops(draw: Draw) -> Case:
    """Loop or Scan bodies with weights inside and outside, an If in them, and states that are handed round."""
    x, w = numbers(draw, 3, 4), numbers(draw, 4, 4) / 3
    number = np.array(0.5, np.float32)
    inside, branched, constant = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    nodes = [helper.make_node("MatMul", ["h", "W"], ["p"]), helper.make_node("Add", ["p", "e"], ["q"])]
    if branched:
        low = helper.make_graph(
            [helper.make_node("Mul", ["q", "half"], ["l"])], "l", [], [helper.make_empty_tensor_value_info("l")]
        )
        high = helper.make_graph(
            [helper.make_node("Identity", ["q"], ["u"])], "u", [], [helper.make_empty_tensor_value_info("u")]
        )
        nodes += [helper.make_node("ReduceSum", ["q"], ["sum"], keepdims=0), helper.make_node("Greater", ["sum", "half"], ["on"])]
        nodes += [helper.make_node("If", ["on"], ["r"], then_branch=low, else_branch=high)]
    else:
        nodes += [helper.make_node("Sigmoid", ["q"], ["r"])]
    nodes += [helper.make_node("Identity", ["r"], ["o"])]
    held = {"W": w, "half": number}
    given = [numpy_helper.from_array(v, k) for k, v in held.items()] if inside else []
    if inside and constant:
        nodes.insert(0, helper.make_node("Constant", [], ["half"], value=given.pop()))
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("h", [4]), ("e", [4]), ("r", [4]), ("o", [4]))]
    body = helper.make_graph(nodes, "body", info[:2], info[2:], given)
    if draw(st.booleans()):
        body.node[-1].CopyFrom(helper.make_node("Mul", ["r", "r"], ["o"]))
    more = {"scan_input_directions": [1]} if draw(st.booleans()) else {}
    more |= {"scan_output_axes": [1]} if draw(st.booleans()) else {}
    node = helper.make_node("Scan", ["h0", "x"], ["last", "y"], "scan", body=body, num_scan_inputs=1, **more)
    feeds = {"x": x, "h0": numbers(draw, 4)}
    weights = {} if inside else held
    return Case("scan", built([node], feeds, weights, ["y", "last"], opset=draw(st.sampled_from([13, 16, 18, 21]))), feeds)


# -- spellings of the logistic function ------------------------------------------------------------------------------------


@st.composite
def sigmoids(draw: Draw) -> Case:
    """1 / (1 + exp(−x)) in spellings that are it, and in some that nearly are."""
    kind = draw(st.sampled_from([np.float32, np.float64]))
    one = np.array(draw(st.sampled_from([1, 1, 1, 2])), kind)
    weights: dict[str, Any] = {"one": one, "minus": np.array(draw(st.sampled_from([-1, -1, 1])), kind), "zero": np.array(0, kind)}
    negative = draw(
        st.sampled_from(
            [("Neg", "x"), ("Mul", "x minus"), ("Div", "x minus"), ("Sub", "zero x"), ("Mul", "minus x"), ("Identity", "x")]
        )
    )
    total = draw(st.sampled_from(["one e", "e one", "e e"]))
    inverse = draw(st.sampled_from([("Reciprocal", "s"), ("Div", "one s"), ("Pow", "s minus"), ("Div", "s one")]))
    steps = [(*negative, "n"), ("Exp", "n", "e"), ("Add", total, "s"), (*inverse, "y")]
    nodes = [helper.make_node(op, reads.split(), [made], made) for op, reads, made in steps]
    outputs = ["y", "s"] if draw(st.booleans()) else ["y"]
    x = numbers(draw, 2, 4, kind=kind)
    used = {name for n in nodes for name in n.input}
    return Case("sigmoid", built(nodes, {"x": x}, {k: v for k, v in weights.items() if k in used}, outputs), {"x": x})
