"""An explained file as a page takes it: checked, whole, and with a score that JavaScript can read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import TypeProto, helper

from onnxplain.analysis.pixel_range import pixels_are_raw
from onnxplain.errors import ModelError
from onnxplain.io.contract import metadata_problems
from onnxplain.io.metadata import METADATA_KEY, added_inputs, read_metadata, sample_axis_in
from onnxplain.io.reader import read
from onnxplain.ir.graph import Graph
from onnxplain.ir.tensor import Tensor

__all__ = ["ExplainedFile", "ShownScore", "read_explained", "samples_at_once"]


@dataclass(frozen=True)
class ShownScore:
    """What a page shows as the prediction.

    Attributes:
        tensor: the output of the file that holds it.
        activation: what makes probabilities of it: "" none, "Softmax", "Sigmoid"; None where the output is the model's own.
        count: samples at once, as of `samples_at_once`.
        labels: names of the classes that the file itself has.
    """

    tensor: Tensor
    activation: str | None
    count: int | None
    labels: tuple[str, ...]


@dataclass(frozen=True)
class ExplainedFile:
    """An explained file.

    Attributes:
        path: where it was read.
        content: its bytes, external weights included.
        about: its metadata.
        inputs: the inputs that are the model's own.
        outputs: all outputs, by name.
        score: what is shown as the prediction.
        weighs_pixels: whether the only input, of three or four axes, is weighed as it comes in: pixel values 0 to 255 then need
            scaling first, unless the model was trained on them.
    """

    path: Path
    content: bytes
    about: Mapping[str, Any]
    inputs: tuple[Tensor, ...]
    outputs: Mapping[str, Tensor]
    score: ShownScore
    weighs_pixels: bool


def read_explained(path: str | os.PathLike[str]) -> ExplainedFile:
    """Read an explained file for a page.

    Args:
        path: a file that `onnxplain rewrite` wrote.

    Raises:
        ModelError: it is no explained file, asks its host for more than a target, or is too large for one file.
    """
    path = Path(path)
    source = read(path)
    about = read_metadata(source.model)
    if about is None:
        raise ModelError(f"{path} is no explained model; make one: onnxplain rewrite {path} -o explained.onnx --target input")
    problems = metadata_problems(about)
    if problems:
        raise ModelError(f"the metadata '{METADATA_KEY}' of {path} breaks the contract: {problems[0]}; write the file again")
    asked = [f"'{name}' ({kind})" for name, kind in added_inputs(about).items() if kind != "target"]
    if asked:
        raise ModelError(f"{path} asks its host for {', '.join(asked)}, which a page cannot give; write it with that fixed")
    if str(about["target"]) == "all":
        raise ModelError(f"{path} explains all targets at once, and a page shows one; write it with --target input")
    model = onnx.load(path)
    graph = Graph(model)
    score = _score(model, graph, about, path)
    try:
        content = model.SerializeToString()
    except Exception as error:
        raise ModelError(f"{path} holds more than 2 GB with its weights, which no browser loads") from error
    added = added_inputs(about)
    own = tuple(t for t in graph.inputs if t.name not in added)
    outputs = {t.name: t for t in graph.outputs} | {score.tensor.name: score.tensor}
    pixels = len(own) == 1 and own[0].is_float and len(own[0].shape or ()) in (3, 4)
    return ExplainedFile(path, content, about, own, outputs, score, pixels and pixels_are_raw(graph, own[0]))


def samples_at_once(about: Mapping[str, Any], tensor: Tensor) -> int | None:
    """How many samples an input or output holds in a run for one: None where no axis counts samples, 1 where any number goes.

    Raises:
        ModelError: samples lie along another axis than the first.
    """
    axis = sample_axis_in(about, tensor.name)
    if axis is None:
        return None
    if axis != 0:
        raise ModelError(f"samples lie along axis {axis} of '{tensor.name}'; a page takes them along the first")
    extent = tensor.shape[0] if tensor.shape else None
    return extent if isinstance(extent, int) else 1


def _score(model: onnx.ModelProto, graph: Graph, about: Mapping[str, Any], path: Path) -> ShownScore:
    """The explained output; of one that is a list of maps, which JavaScript does not read, the tensor that is explained."""
    output = str(about["output"])
    value = next((v for v in model.graph.output if v.name == output), None)
    if value is None:
        raise ModelError(
            f"{path} has no output '{output}', which a page shows as the prediction; write it without --only-attribution"
        )
    if value.type.HasField("tensor_type"):
        found = next(t for t in graph.outputs if t.name == output)
        return ShownScore(found, None, samples_at_once(about, found), ())
    name = str(about["score"]["tensor"])
    tensor = graph.tensor(name) if graph.has_tensor(name) else None
    if tensor is None or tensor.dtype is None or tensor.shape is None:
        raise ModelError(f"{path} returns '{output}' as a list of maps, which JavaScript does not read; a page cannot show it")
    if name not in {v.name for v in model.graph.output}:
        kind = TypeProto()
        kind.CopyFrom(helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(tensor.dtype), tensor.shape))
        model.graph.output.append(onnx.ValueInfoProto(name=name, type=kind))
    return ShownScore(tensor, str(about["score"]["activation"]), samples_at_once(about, tensor), _classes(model, output))


def _classes(model: onnx.ModelProto, output: str) -> tuple[str, ...]:
    """The names of the classes in the maps that an output holds."""
    made = next((n for n in model.graph.node if output in n.output and n.op_type == "ZipMap"), None)  # operators: makes the maps
    for attribute in made.attribute if made is not None else ():
        if attribute.name == "classlabels_strings":
            return tuple(s.decode() for s in attribute.strings)
        if attribute.name == "classlabels_int64s":
            return tuple(map(str, attribute.ints))
    return ()
