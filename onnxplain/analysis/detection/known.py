"""The layouts that known detectors are exported in: for each the columns it would have in a model, where the shapes fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from onnxplain.analysis.detection.layout import Columns, DetectionLayout
from onnxplain.analysis.detection.parts import column_parts, made_by, source_of
from onnxplain.ir.graph import Graph
from onnxplain.ir.tensor import Tensor

__all__ = ["LAYOUTS", "LayoutFit"]


@dataclass(frozen=True)
class LayoutFit:
    """A layout whose shapes a model fits.

    Attributes:
        layout: the layout.
        proven: whether more than the shapes says so: the dataflow, the number of classes, or the names of the outputs.
    """

    layout: DetectionLayout
    proven: bool


Finder = Callable[[Graph, int], Iterator[LayoutFit]]
"""From a model and the number of its classes (0: not known) to the ways in which it fits."""


def _floats(graph: Graph, rank: int) -> list[Tensor]:
    return [t for t in graph.outputs if t.dtype is not None and t.is_float and t.shape is not None and t.rank == rank]


def _extent(tensor: Tensor, axis: int) -> int:
    """An extent; 0 where it is not known before a run."""
    found = tensor.dim(axis)
    return found if isinstance(found, int) else 0


def _boxes_alone(graph: Graph) -> bool:
    """Whether an output holds four columns and nothing else: boxes whose scores are elsewhere."""
    return any(_extent(t, -1) == 4 for t in _floats(graph, 3))


def _sigmoid_from(graph: Graph, tensor: Tensor, axis: int) -> tuple[int, int] | None:
    """The columns behind the first four that one sigmoid makes, where the dataflow shows how columns are put together."""
    parts = column_parts(graph, tensor, axis % tensor.rank)
    for part in parts:
        maker = made_by(graph, part.tensor)
        if part.start == 4 and maker is not None and maker.op == "Sigmoid" and len(parts) > 1:
            return part.start, part.stop
    return None


def _one_tensor(graph: Graph, classes: int, axis: int, extra: int) -> Iterator[tuple[Tensor, int, bool]]:
    """Outputs with 4 + extra + classes columns along an axis: the tensor, its width, and whether that is proven."""
    for tensor in [] if _boxes_alone(graph) else _floats(graph, 3):
        width, rows = _extent(tensor, axis), _extent(tensor, 1 if axis == -1 else 2)
        if width <= 4 + extra or (rows and rows < width and not classes):
            continue
        if classes and width != 4 + extra + classes:
            continue
        made = _sigmoid_from(graph, tensor, axis)
        yield tensor, width, bool(classes) or (made is not None and made[1] == width and not extra)


def yolov8(graph: Graph, classes: int) -> Iterator[LayoutFit]:
    """[n, 4 + classes, candidates]: middle and size in pixels, and a probability for each class."""
    for tensor, _, proven in _one_tensor(graph, classes, 1, 0):
        boxes, scores = Columns(tensor.name, 0, 4, 1), source_of(graph, Columns(tensor.name, 4, None, 1))
        yield LayoutFit(DetectionLayout("yolov8", boxes, scores, form="cxcywh"), proven)


def yolov8_pose(graph: Graph, classes: int) -> Iterator[LayoutFit]:
    """[n, 4 + classes + 3 · points, candidates]: as yolov8, then x, y and visibility of every point. One class: 5 columns."""
    for tensor in _floats(graph, 3):
        width, rows, made = _extent(tensor, 1), _extent(tensor, 2), _sigmoid_from(graph, tensor, 1)
        stop = 4 + (classes or 1)
        rest = width - stop
        if rest < 3 or (rest % 3 and rest % 2) or (rows and rows < width) or _boxes_alone(graph):
            continue
        boxes, scores = Columns(tensor.name, 0, 4, 1), source_of(graph, Columns(tensor.name, 4, stop, 1))
        proven = made is not None and made[1] == stop
        yield LayoutFit(DetectionLayout("yolov8-pose", boxes, scores, form="cxcywh"), proven)


def yolov5(graph: Graph, classes: int) -> Iterator[LayoutFit]:
    """[n, candidates, 5 + classes]: middle and size in pixels, objectness, and a probability for each class."""
    for tensor, _, proven in _one_tensor(graph, classes, -1, 1):
        name = tensor.name
        layout = DetectionLayout("yolov5", Columns(name, 0, 4), Columns(name, 5), objectness=Columns(name, 4, 5), form="cxcywh")
        yield LayoutFit(layout, proven)


def yolov10(graph: Graph, classes: int) -> Iterator[LayoutFit]:
    """[n, detections, 6]: two corners in pixels, the score and the number of the class; nothing overlaps."""
    for tensor in _floats(graph, 3):
        if _extent(tensor, -1) == 6:
            name = tensor.name
            yield LayoutFit(
                DetectionLayout("yolov10", Columns(name, 0, 4), Columns(name, 4, 5), Columns(name, 5, 6), suppressed=True),
                _whole_numbers(graph, tensor, 5),
            )


def _whole_numbers(graph: Graph, tensor: Tensor, column: int) -> bool:
    """Whether a column is cast from integers, as class numbers are."""
    for part in _parts_with_casts(graph, tensor):
        if part[0] == column:
            maker = graph.producer(part[1])
            # operators: those that give a column its axis
            while maker is not None and maker.op in ("Unsqueeze", "Reshape"):
                maker = graph.producer(maker.x)
            return maker is not None and maker.op == "Cast" and not maker.x.is_float
    return False


def _parts_with_casts(graph: Graph, tensor: Tensor) -> list[tuple[int, Tensor]]:
    return [(p.start, p.tensor) for p in column_parts(graph, tensor, tensor.rank - 1)]


def _two_tensors(graph: Graph, classes: int) -> Iterator[tuple[Tensor, Columns, Tensor]]:
    """Boxes [n, candidates, 4] with scores [n, candidates, classes] or [n, classes, candidates] beside them."""
    found = _floats(graph, 3)
    for boxes in found:
        for scores in found:
            if (
                scores == boxes
                or _extent(boxes, -1) != 4
                or _activation(graph, boxes) == "Softmax"
                or _named_boxes(scores, boxes)
            ):
                continue
            for axis, rows in ((-1, 1), (1, 2)):
                width = _extent(scores, axis)
                if width and scores.dim(rows) == boxes.dim(1) and (not classes or width in (classes, classes + 1)):
                    yield boxes, Columns(scores.name, axis=axis), scores


def _named_boxes(one: Tensor, other: Tensor) -> bool:
    """Whether a tensor's name says that it holds the boxes, and the other's does not."""
    mine, others = (any(word in t.name.lower() for word in ("box", "loc")) for t in (one, other))
    return mine and not others


def detr(graph: Graph, classes: int) -> Iterator[LayoutFit]:
    """Logits [n, queries, classes + 1], the last of them no object, and boxes [n, queries, 4] in shares of the picture."""
    for boxes, scores, tensor in _two_tensors(graph, classes):
        if scores.axis == -1 and _activation(graph, tensor) == "" and _extent(tensor, -1) != classes:
            layout = DetectionLayout("detr", Columns(boxes.name), scores, form="cxcywh", share=True, activation="softmax",
                                     background=-1, suppressed=True)  # fmt: skip
            yield LayoutFit(layout, bool(classes) and _activation(graph, boxes) == "Sigmoid")


def rt_detr(graph: Graph, classes: int) -> Iterator[LayoutFit]:
    """Logits [n, queries, classes], one sigmoid each, and boxes [n, queries, 4] in shares of the picture."""
    for boxes, scores, tensor in _two_tensors(graph, classes):
        if scores.axis == -1 and _activation(graph, tensor) in ("", "Sigmoid") and classes in (0, _extent(tensor, -1)):
            plain = _activation(graph, tensor) == ""
            layout = DetectionLayout("rt-detr", Columns(boxes.name), scores, form="cxcywh", share=True,
                                     activation="sigmoid" if plain else "", suppressed=True)  # fmt: skip
            yield LayoutFit(layout, bool(classes) and plain and _activation(graph, boxes) == "Sigmoid")


def ssd(graph: Graph, classes: int) -> Iterator[LayoutFit]:
    """Scores [n, priors, 1 + classes] behind a softmax, the first of them background, and boxes [n, priors, 4] in shares."""
    for boxes, scores, tensor in _two_tensors(graph, classes):
        if scores.axis == -1 and _activation(graph, tensor) == "Softmax":
            layout = DetectionLayout("ssd", Columns(boxes.name), scores, form="xyxy", share=True, background=0)
            yield LayoutFit(layout, False)


def pp_yoloe(graph: Graph, classes: int) -> Iterator[LayoutFit]:
    """Boxes [n, candidates, 4], two corners in pixels, and scores [n, classes, candidates]."""
    for boxes, scores, tensor in _two_tensors(graph, classes):
        if scores.axis == 1 and _activation(graph, tensor) in ("Sigmoid", ""):
            fits = _extent(tensor, 1) == classes if classes else False
            yield LayoutFit(DetectionLayout("pp-yoloe", Columns(boxes.name), scores), fits and _corners(graph, boxes))


def retinanet(graph: Graph, classes: int) -> Iterator[LayoutFit]:
    """Boxes [n, anchors, 4], two corners in pixels, and scores [n, anchors, classes], one sigmoid each."""
    for boxes, scores, tensor in _two_tensors(graph, classes):
        if scores.axis == -1 and _activation(graph, tensor) == "Sigmoid":
            fits = _extent(tensor, -1) == classes if classes else True
            yield LayoutFit(DetectionLayout("retinanet", Columns(boxes.name), scores), fits and _corners(graph, boxes))


def faster_rcnn(graph: Graph, classes: int) -> Iterator[LayoutFit]:
    """Rows of one picture: boxes [detections, 4], two corners in pixels, scores [detections] and integer labels [detections]."""
    boxes = [t for t in _floats(graph, 2) if _extent(t, 1) == 4]
    labels = [t for t in graph.outputs if t.shape is not None and t.rank == 1 and t.dtype is not None and t.dtype.kind in "iu"]
    if len(boxes) == len(labels) == len(_floats(graph, 1)) == 1:
        layout = DetectionLayout("faster-rcnn", Columns(boxes[0].name), Columns(_floats(graph, 1)[0].name),
                                 Columns(labels[0].name), suppressed=True)  # fmt: skip
        yield LayoutFit(layout, {t.name for t in graph.outputs} >= {"boxes", "scores", "labels"})


def tensorflow(graph: Graph, classes: int) -> Iterator[LayoutFit]:
    """`detection_boxes` [n, detections, 4], rows before columns in shares, `detection_scores` and `detection_classes`."""
    names = {t.name.partition(":")[0]: t.name for t in graph.outputs}
    wanted = [names.get(f"detection_{part}") for part in ("boxes", "scores", "classes")]
    if all(wanted):
        boxes, scores, kinds = (str(n) for n in wanted)
        layout = DetectionLayout("tensorflow", Columns(boxes), Columns(scores), Columns(kinds), form="yxyx", share=True,
                                 suppressed=True)  # fmt: skip
        yield LayoutFit(layout, True)


def _activation(graph: Graph, tensor: Tensor) -> str:
    """Softmax or Sigmoid where it makes a tensor, "" where something else does."""
    maker = made_by(graph, tensor)
    if maker is not None and maker.op == "Concat":  # levels beside each other
        inner = {_activation(graph, t) for t in maker.inputs if t is not None}
        return inner.pop() if len(inner) == 1 else ""
    # operators: the activations that detectors end in
    return maker.op if maker is not None and maker.op in ("Softmax", "Sigmoid") else ""


def _corners(graph: Graph, boxes: Tensor) -> bool:
    """Whether two corners are seen to be made: a middle less and plus half a size, or a place less and plus distances."""
    made = [made_by(graph, p.tensor) for p in column_parts(graph, boxes, boxes.rank - 1)]
    ops = [m.op for m in made if m is not None]
    half = len(ops) // 2
    # operators: what corners are made by
    return half > 0 and ops == ["Sub"] * half + ["Add"] * half


LAYOUTS: dict[str, Finder] = {
    "yolov5": yolov5,
    "yolov8": yolov8,
    "yolov8-pose": yolov8_pose,
    "yolov10": yolov10,
    "detr": detr,
    "rt-detr": rt_detr,
    "ssd": ssd,
    "retinanet": retinanet,
    "pp-yoloe": pp_yoloe,
    "faster-rcnn": faster_rcnn,
    "tensorflow": tensorflow,
}
"""Every layout by name. The docstring of each says how its tensors look."""
