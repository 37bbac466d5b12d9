"""Finds the layout of a detector: what the dataflow proves, or what the user says. Where nothing decides, it is asked."""

from __future__ import annotations

from dataclasses import replace

from onnxplain.analysis.detection.known import LAYOUTS
from onnxplain.analysis.detection.layout import BoxForm, Columns, DetectionLayout
from onnxplain.analysis.detection.parts import source_of
from onnxplain.errors import InputError, nearest
from onnxplain.ir.graph import Graph, named_dims
from onnxplain.ir.node import Node

__all__ = ["AUTO", "find_layout"]

AUTO = "auto"
NMS = "nms"

X_FIRST = ("pytorch", "paddle")
Y_FIRST = ("tf2onnx", "keras", "tensorflow")
"""What a file says of who made it, and the order in which boxes reach NonMaxSuppression there: torchvision.ops.nms and Paddle's
multiclass_nms take x before y, TensorFlow's takes y before x. The operator itself works with both."""


def find_layout(
    graph: Graph, asked: str | DetectionLayout = AUTO, classes: int = 0, form: BoxForm | None = None
) -> DetectionLayout:
    """Where a detector's boxes, scores and classes are.

    Args:
        graph: the model, prepared.
        asked: a layout's name, one told column by column, or "auto".
        classes: how many classes have names; 0 where that is not known.
        form: what the boxes are that go into the file's own NonMaxSuppression, where nothing shows it.

    Raises:
        InputError: nothing fits, what was said does not, or more than one layout fits and nothing proves one.
    """
    if isinstance(asked, DetectionLayout):
        return _checked(graph, asked)
    if asked not in (AUTO, NMS, *LAYOUTS):
        raise InputError(f"no layout '{asked}'; {nearest(asked, (AUTO, NMS, *LAYOUTS))}; or tell columns: --boxes, --scores")
    last = _suppression(graph)
    if asked in (AUTO, NMS) and last is not None:
        return _before(graph, last, form)
    if asked == NMS:
        raise InputError("no output depends on a NonMaxSuppression of the file's main graph; name another layout, or 'auto'")
    if asked != AUTO:
        return _named(graph, asked, classes)
    fits = [f for find in LAYOUTS.values() for f in find(graph, classes)]
    proven = [f for f in fits if f.proven]
    if len(proven) == 1:
        return replace(proven[0].layout, reason="proven by the file")
    raise InputError(_question(graph, [f.layout for f in proven or fits], classes))


def _named(graph: Graph, name: str, classes: int) -> DetectionLayout:
    fits = list(LAYOUTS[name](graph, classes))
    proven = [f for f in fits if f.proven] or fits
    if len(proven) == 1:
        return replace(proven[0].layout, reason="told")
    how = " ".join(str(LAYOUTS[name].__doc__).split())
    counted = f" and {classes} classes have names" if classes else ""
    if proven:
        raise InputError(f"layout '{name}' fits in several ways: {'; '.join(str(f.layout) for f in proven)}; tell it by "
                         "--boxes and --scores")  # fmt: skip
    raise InputError(f"layout '{name}' does not fit. It is: {how} The file's outputs are {_outputs(graph)}{counted}")


def _outputs(graph: Graph) -> str:
    return ", ".join(f"'{t.name}' {named_dims(t)}" for t in graph.outputs)


def _question(graph: Graph, fits: list[DetectionLayout], classes: int) -> str:
    if not fits:
        counted = f", and {classes} classes have names" if classes else ""
        return (
            f"no layout of a detector was found in {_outputs(graph)}{counted}: tell it by --boxes COLUMNS=FORM and --scores "
            "COLUMNS (--classes COLUMNS where a row has one score), e.g. --boxes dets[0:4]=xyxy --scores dets[4] --classes "
            "dets[5]"
        )
    names = dict.fromkeys(f"{fit.name} ({fit})" for fit in fits)
    return (
        f"the file does not prove how it tells its detections. Its outputs fit {'; or '.join(names)}: say which, as "
        f"--detect {fits[0].name}" + ("" if classes else ", or give the names of the classes (--labels), which may decide it")
    )


def _checked(graph: Graph, told: DetectionLayout) -> DetectionLayout:
    """A layout that was told, whose tensors exist."""
    for columns in (told.boxes, told.scores, told.classes, told.objectness):
        if columns is None:
            continue
        if not graph.has_tensor(columns.tensor):
            raise InputError(
                f"no tensor '{columns.tensor}' in the model; {nearest(columns.tensor, [t.name for t in graph.outputs])}"
            )
        tensor = graph.tensor(columns.tensor)
        width = tensor.dim(columns.axis) if tensor.shape is not None and tensor.rank > 1 else 1
        if isinstance(width, int) and columns.stop is not None and columns.stop > width:
            raise InputError(f"{columns} has columns beyond the {width} of '{tensor.name}' {named_dims(tensor)}")
    return replace(told, scores=source_of(graph, told.scores))


def _suppression(graph: Graph) -> Node | None:
    """The last NonMaxSuppression that an output depends on."""
    needed = {t.name for t in graph.outputs}
    for node in reversed(graph.nodes):
        if not any(t is not None and t.name in needed for t in node.outputs):
            continue
        if node.op == "NonMaxSuppression" and not node.domain:
            return node
        needed |= {t.name for t in node.reads if t is not None}
    return None


def _before(graph: Graph, node: Node, said: BoxForm | None) -> DetectionLayout:
    """The candidates that go into a NonMaxSuppression."""
    form = said or _form(graph, node)
    if form is None:
        maker = f"the file says it was made by '{graph.model.producer_name}'" if graph.model.producer_name else "nothing says"
        raise InputError(f"the boxes '{node.x.name}' that go into NonMaxSuppression may have x or y first ({maker}): say --boxes "
                         f"'{node.x.name}=xyxy' or '{node.x.name}=yxyx'")  # fmt: skip
    return DetectionLayout(NMS, Columns(node.x.name), Columns(node.input(1).name, axis=1), form=form,
                           suppression=node.y.name, reason="what goes into the file's own NonMaxSuppression")  # fmt: skip


def _form(graph: Graph, node: Node) -> BoxForm | None:
    if node.get("center_point_box", 0) == 1:
        return "cxcywh"
    maker = graph.model.producer_name.lower()
    if any(word in maker for word in X_FIRST):
        return "xyxy"
    if any(word in maker for word in Y_FIRST):
        return "yxyx"
    return None
