"""The detector of fixtures/shapes, written as other detectors are exported: the same candidates in other tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["CLASSES", "SHAPES", "detector", "pictures", "with_tail"]

SHAPES = Path(__file__).resolve().parents[2] / "fixtures" / "shapes"
CLASSES = ("disc", "cross", "frame")

Array = np.ndarray[Any, Any]


def pictures(count: int = 12) -> Array:
    """Pictures as the detector takes them, float32 [n, 3, 64, 64]."""
    return np.load(SHAPES / "data.npz")["images"][:count].astype(np.float32) / 255


def with_tail(
    text: str, outputs: dict[str, tuple[int, list[Any]]], constants: dict[str, Any], *, producer: str = "", names: bool = False
) -> onnx.ModelProto:
    """The detector with more nodes, in ONNX's own text form, behind its tensors.

    Its tensors are `boxes` [n, 4, 64] (middles and sizes), `scores` [n, 3, 64], `logits` [n, 3, 64] and `output0`, both together.

    Args:
        text: nodes, a line each.
        outputs: by name, types and shapes.
        constants: by name.
        producer: what the file says of who made it.
        names: whether the file has the names of the classes.
    """
    model = onnx.load(SHAPES / "detector.onnx")
    body = "\n".join(line.strip() for line in text.strip().splitlines())
    parsed = onnx.parser.parse_graph(f"tail () => () {{ {body} }}")
    model.graph.node.extend(parsed.node)
    taken = {t.name for t in model.graph.initializer}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items() if n not in taken)
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in outputs.items())
    model.producer_name = producer
    if not names:
        del model.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    return model


CORNERS = """
    half = Mul (extents, one_half)
    low = Sub (middles, half)
    high = Add (middles, half)
    corners = Concat <axis = 1> (low, high)
    lines = Transpose <perm = [0, 2, 1]> (corners)
"""
HALF = {"one_half": np.float32(0.5)}

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def detector(layout: str, names: bool = True) -> onnx.ModelProto:
    """The detector in a layout: a name that `Detector` knows, or one of

    - "nms": what is left of `output0` by the file's own NonMaxSuppression, rows [k, 6] of corners, score and class;
    - "nms-topk": the same behind a TopK of the candidates, sorted again by score;
    - "nms-filtered": as "nms", where only likely candidates reach the operator, another number of them in every picture;
    - "nms-one-class": rows [k, 5] of corners and score, the class left out;
    - "nms-torchvision": boxes, scores and integer labels; boxes of classes are moved apart first, so that one call serves all.
    """
    build = globals()[f"_{layout.replace('-', '_')}"]
    made: onnx.ModelProto = build(names)
    return made


def _yolov8(names: bool) -> onnx.ModelProto:
    return with_tail("", {"output0": (FLOAT, ["batch", 7, 64])}, {}, names=names)


def _yolov5(names: bool) -> onnx.ModelProto:
    """Objectness is the greatest class score here."""
    text = """
        best = ReduceMax <keepdims = 1> (scores, class_axis)
        together = Concat <axis = 1> (boxes, best, scores)
        output = Transpose <perm = [0, 2, 1]> (together)
    """
    return with_tail(text, {"output": (FLOAT, ["batch", 64, 8])}, {"class_axis": np.array([1])}, names=names)


def _yolov8_pose(names: bool) -> onnx.ModelProto:
    text = """
        points = Concat <axis = 1> (middles, middles, extents)
        pose = Concat <axis = 1> (boxes, scores, points)
    """
    return with_tail(text, {"pose": (FLOAT, ["batch", 13, 64])}, {}, names=names)


def _yolov10(names: bool) -> onnx.ModelProto:
    text = (
        CORNERS
        + """
        score = ReduceMax <keepdims = 0> (scores, class_axis)
        class = ArgMax <axis = 1, keepdims = 0> (scores)
        values, places = TopK (score, most)
        wide = Unsqueeze (places, last)
        wide4 = Expand (wide, four)
        chosen = GatherElements <axis = 1> (lines, wide4)
        kind = GatherElements <axis = 1> (class, places)
        kinds = Cast <to = 1> (kind)
        column = Unsqueeze (kinds, last)
        scored = Unsqueeze (values, last)
        dets = Concat <axis = 2> (chosen, scored, column)
    """
    )
    constants = {**HALF, "class_axis": np.array([1]), "most": np.array([20]), "last": np.array([2]), "four": np.array([1, 1, 4])}
    return with_tail(text, {"dets": (FLOAT, ["batch", 20, 6])}, constants, names=names)


def _detr(names: bool) -> onnx.ModelProto:
    """A class without an object, whose logit is 0: the softmax of the four is 1 / (1 + …) of their exponentials."""
    text = """
        turned = Transpose <perm = [0, 2, 1]> (logits)
        nothing = Slice (turned, zero, one, last)
        none = Mul (nothing, nought)
        pred_logits = Concat <axis = 2> (turned, none)
        shares = Concat <axis = 1> (middles, extents)
        scaled = Mul (shares, size_inverse)
        pred_boxes = Transpose <perm = [0, 2, 1]> (scaled)
    """
    constants = {"zero": np.array([0]), "one": np.array([1]), "last": np.array([2]), "nought": np.float32(0),
                 "size_inverse": np.float32(1 / 64)}  # fmt: skip
    return with_tail(
        text, {"pred_logits": (FLOAT, ["batch", 64, 4]), "pred_boxes": (FLOAT, ["batch", 64, 4])}, constants, names=names
    )


def _rt_detr(names: bool) -> onnx.ModelProto:
    text = """
        pred_logits = Transpose <perm = [0, 2, 1]> (logits)
        scaled = Mul (boxes, size_inverse)
        pred_boxes = Transpose <perm = [0, 2, 1]> (scaled)
    """
    constants = {"size_inverse": np.float32(1 / 64)}
    return with_tail(
        text, {"pred_logits": (FLOAT, ["batch", 64, 3]), "pred_boxes": (FLOAT, ["batch", 64, 4])}, constants, names=names
    )


def _ssd(names: bool) -> onnx.ModelProto:
    text = (
        CORNERS
        + """
        locations = Mul (lines, size_inverse)
        turned = Transpose <perm = [0, 2, 1]> (logits)
        nothing = Slice (turned, zero, one, last)
        none = Mul (nothing, nought)
        all = Concat <axis = 2> (none, turned)
        confidences = Softmax <axis = 2> (all)
    """
    )
    constants = {**HALF, "zero": np.array([0]), "one": np.array([1]), "last": np.array([2]), "nought": np.float32(0),
                 "size_inverse": np.float32(1 / 64)}  # fmt: skip
    return with_tail(
        text, {"confidences": (FLOAT, ["batch", 64, 4]), "locations": (FLOAT, ["batch", 64, 4])}, constants, names=names
    )


def _retinanet(names: bool) -> onnx.ModelProto:
    text = CORNERS + "classes = Transpose <perm = [0, 2, 1]> (scores)"
    return with_tail(text, {"lines": (FLOAT, ["batch", 64, 4]), "classes": (FLOAT, ["batch", 64, 3])}, HALF, names=names)


def _pp_yoloe(names: bool) -> onnx.ModelProto:
    return with_tail(CORNERS, {"lines": (FLOAT, ["batch", 64, 4]), "scores": (FLOAT, ["batch", 3, 64])}, HALF, names=names)


SUPPRESSED = """
    selected = NonMaxSuppression {center} ({boxes}, scores, most, overlap, least)
    class2 = Slice (selected, one, two, last1)
    box2 = Slice (selected, two, three, last1)
    class1 = Squeeze (class2, last1)
    box1 = Squeeze (box2, last1)
    zeros = Mul (class2, nought1)
    place = Concat <axis = 1> (zeros, class2, box2)
    score1 = GatherND (scores, place)
    boxplace = Concat <axis = 1> (zeros, box2)
    corner1 = GatherND (lines, boxplace)
    kind1 = Cast <to = 1> (class2)
    scored1 = Unsqueeze (score1, last1)
"""
NMS = {
    **HALF, "most": np.array([20]), "overlap": np.float32(0.45), "least": np.float32(0.25), "one": np.array([1]), "two": np.array([2]),
    "three": np.array([3]), "last1": np.array([1]), "nought1": np.array([0]),
}  # fmt: skip


def _nms(names: bool) -> onnx.ModelProto:
    text = CORNERS + SUPPRESSED.format(center="", boxes="lines") + "dets = Concat <axis = 1> (corner1, scored1, kind1)"
    return with_tail(text, {"dets": (FLOAT, ["found", 6])}, NMS, producer="pytorch", names=names)


def _nms_topk(names: bool) -> onnx.ModelProto:
    text = (
        CORNERS
        + SUPPRESSED.format(center="", boxes="lines")
        + """
        plain = Concat <axis = 1> (corner1, scored1, kind1)
        count1 = Shape <start = 0, end = 1> (selected)
        best1, order = TopK (score1, count1)
        dets = Gather <axis = 0> (plain, order)
    """
    )
    return with_tail(text, {"dets": (FLOAT, ["found", 6])}, NMS, producer="pytorch", names=names)


TURNS = {
    "class_axis": np.array([1]),
    "far": np.float32(1000),
    "last2": np.array([2]),
    "first": np.array([0]),
    "both": np.array([0, 1]),
}


def _nms_one_class(names: bool) -> onnx.ModelProto:
    text = (
        CORNERS
        + """
        score2 = ReduceMax <keepdims = 1> (scores, class_axis)
        selected = NonMaxSuppression (lines, score2, most, overlap, least)
        box2 = Slice (selected, two, three, last1)
        box1 = Squeeze (box2, last1)
        flatrows = Squeeze (lines, first)
        flatscores = Squeeze (score2, first)
        turned = Transpose (flatscores)
        both2 = Concat <axis = 1> (flatrows, turned)
        dets = Gather <axis = 0> (both2, box1)
    """
    )
    model = with_tail(text, {"dets": (FLOAT, ["found", 5])}, {**NMS, **TURNS}, producer="pytorch", names=False)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    return model


def _nms_filtered(names: bool) -> onnx.ModelProto:
    text = (
        CORNERS
        + """
        score2 = ReduceMax <keepdims = 0> (scores, class_axis)
        flatall = Squeeze (score2, first)
        likely = Greater (flatall, little)
        where = NonZero (likely)
        index = Squeeze (where, first)
        some = Gather <axis = 2> (scores, index)
        somelines = Gather <axis = 1> (lines, index)
        selected = NonMaxSuppression (somelines, some, most, overlap, least)
        class2 = Slice (selected, one, two, last1)
        box2 = Slice (selected, two, three, last1)
        zeros = Mul (class2, nought1)
        place = Concat <axis = 1> (zeros, class2, box2)
        boxplace = Concat <axis = 1> (zeros, box2)
        score1 = GatherND (some, place)
        corner1 = GatherND (somelines, boxplace)
        kind1 = Cast <to = 1> (class2)
        scored1 = Unsqueeze (score1, last1)
        dets = Concat <axis = 1> (corner1, scored1, kind1)
    """
    )
    constants = {**NMS, **TURNS, "little": np.float32(0.05)}
    model = with_tail(text, {"dets": (FLOAT, ["found", 6])}, constants, producer="pytorch", names=names)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    return model


def _nms_torchvision(names: bool) -> onnx.ModelProto:
    text = (
        CORNERS
        + """
        score2 = ReduceMax <keepdims = 1> (scores, class_axis)
        kinds2 = ArgMax <axis = 1, keepdims = 0> (scores)
        kindsf = Cast <to = 1> (kinds2)
        apart = Mul (kindsf, far)
        apart3 = Unsqueeze (apart, last2)
        moved = Add (lines, apart3)
        selected = NonMaxSuppression (moved, score2, most, overlap, least)
        box2 = Slice (selected, two, three, last1)
        box1 = Squeeze (box2, last1)
        flatrows = Squeeze (lines, first)
        flatscores = Squeeze (score2, both)
        flatkinds = Squeeze (kinds2, first)
        foundboxes = Gather <axis = 0> (flatrows, box1)
        foundscores = Gather <axis = 0> (flatscores, box1)
        foundlabels = Gather <axis = 0> (flatkinds, box1)
    """
    )
    constants = {**NMS, **TURNS}
    outputs = {"foundboxes": (FLOAT, ["found", 4]), "foundlabels": (INT, ["found"]), "foundscores": (FLOAT, ["found"])}
    model = with_tail(text, outputs, constants, producer="pytorch", names=names)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    return model
