"""What a live page says of its files - their input, what they explain, examples - from their metadata and a few settings."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxplain.errors import InputError, ModelError
from onnxplain.io.images import picture_layout
from onnxplain.io.metadata import sample_axis_in
from onnxplain.io.pictures.preprocessing import Preprocessing
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Tensor
from onnxplain.results.live.explained_file import ExplainedFile, samples_at_once

__all__ = ["DRAWN", "PageSettings", "describe_page"]

Array = np.ndarray[Any, Any]

DRAWN = 64
"""The largest side of a grey picture that people draw on a page."""
MOST_FIELDS = 400
MOST_PICTURES = 24
MOST_ROWS = 1000
ELEMENTS = {
    **{name: name for name in ("float16", "float32", "float64", "int8", "int16", "int32", "int64")},
    **{name: name for name in ("uint8", "uint16", "uint32", "uint64")},
    "bool": "bool", "object": "string",
}  # fmt: skip
"""By type in NumPy, the type that ONNX Runtime has in JavaScript."""


@dataclass(frozen=True)
class PageSettings:
    """What a page is told beyond its files.

    Attributes:
        title: the heading; None for the first file's name.
        labels: names of the classes.
        features: names of the columns of a row.
        look: how pixel values become input values.
        examples: arrays by input name, to begin with; of rows also what the sliders range over.
        example_names: names of the examples of pictures, as many as there are.
        fitted: whether a drawing fills the picture, until a person says otherwise.
    """

    title: str | None = None
    labels: Sequence[str] = ()
    features: Sequence[str] = ()
    look: Preprocessing = field(default_factory=Preprocessing)
    examples: Mapping[str, Array] = field(default_factory=dict)
    example_names: Sequence[str] = ()
    fitted: bool = False


def describe_page(files: Sequence[ExplainedFile], settings: PageSettings) -> dict[str, Any]:
    """What a page says of its files, as JSON holds it.

    Args:
        files: explained files of one model.
        settings: what the page is told beyond them.

    Raises:
        ModelError: the files are not of one model, or it takes what no page offers: texts, series, tokens.
        InputError: names or examples do not fit.
    """
    if not files:
        raise InputError("a page needs an explained file")
    _check_same(files)
    first = files[0]
    title = settings.title or first.path.stem
    about = {"title": title, "version": first.about["version"], "score": _score(first), "labels": _labels(first, settings)}
    about |= {"files": [_file(f, name) for f, name in zip(files, _names(files), strict=True)]}
    layout = _pictured(first, settings.look)
    about |= _row(first, settings) if layout is None else _picture(first, settings, layout)
    return about


def _check_same(files: Sequence[ExplainedFile]) -> None:
    first = files[0]
    for other in files[1:]:
        if other.about["source_sha256"] != first.about["source_sha256"]:
            raise ModelError(f"{other.path} and {first.path} explain different models; a page shows one")
        if other.about["output"] != first.about["output"]:
            outputs = f"'{other.about['output']}' and '{first.about['output']}'"
            raise ModelError(f"{other.path} and {first.path} explain different outputs, {outputs}; make a page for each")


def _names(files: Sequence[ExplainedFile]) -> list[str]:
    """The methods; of files by the same method with the file's name."""
    methods = [str(f.about["method"]) for f in files]
    names = [m if methods.count(m) == 1 else f"{m} ({f.path.stem})" for m, f in zip(methods, files, strict=True)]
    twice = next((f for f, name in zip(files, names, strict=True) if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{twice.path} is by the same method and has the same name as another file; rename one of them")
    return names


def _file(file: ExplainedFile, name: str) -> dict[str, Any]:
    about = file.about
    info = about.get("method_info", {})
    target = str(about["target"])
    baseline = about["baseline"]
    compared = {None: "", "baked in": " Compared with a reference that is in the file."}
    return {
        "name": name,
        "file": file.path.name,
        "summary": info.get("summary", ""),
        "formula": info.get("formula", ""),
        "source": info.get("source", ""),
        "signed": bool(info.get("signed", True)),
        "note": compared.get(baseline, f" Compared with an input of {baseline}."),
        "target": target,
        "fixed": int(target) if target.isdecimal() else None,
        "activation": about["score"]["activation"],
        "attributions": [
            {
                "name": output,
                "explains": entry["explains"],
                "isMap": entry["kind"] == "map",
                "count": samples_at_once(about, file.outputs[output]),
            }
            for output, entry in about["attributions"].items()
        ],
    }


def _score(file: ExplainedFile) -> dict[str, Any]:
    score = file.score
    shape = score.tensor.shape or ()
    extents = [d for d in (shape if score.count is None else shape[1:]) if isinstance(d, int)]
    known = bool(shape) and len(extents) == len(shape) - (score.count is not None)
    return {
        "name": score.tensor.name,
        "title": str(file.about["output"]),
        "activation": score.activation,
        "count": score.count,
        "extents": extents if known else [],  # empty: the page takes them from the first run
    }


def _labels(file: ExplainedFile, settings: PageSettings) -> list[str]:
    labels = [str(label) for label in settings.labels or file.score.labels]
    extents = _score(file)["extents"]
    if labels and len(extents) == 1 and extents[0] not in (len(labels), 1):
        raise InputError(f"{len(labels)} labels for the {extents[0]} outputs of '{file.about['output']}'; give one for each")
    return labels


def _input(file: ExplainedFile, tensor: Tensor) -> dict[str, Any]:
    kind = ELEMENTS.get("object" if tensor.dtype is not None and tensor.dtype.kind in "OUS" else str(tensor.dtype))
    if kind is None:
        raise ModelError(f"input '{tensor.name}' is of {tensor.dtype}, which JavaScript does not have")
    return {"name": tensor.name, "type": kind, "count": samples_at_once(file.about, tensor) or 1}


# -- pictures --------------------------------------------------------------------------------------------------------


def _pictured(file: ExplainedFile, look: Preprocessing) -> str | None:
    """The order of the axes, where the model takes one picture; None where it takes a row."""
    if len(file.inputs) != 1 or file.inputs[0].shape is None:
        return None
    (tensor,) = file.inputs
    kinds = {entry["kind"] for entry in file.about["attributions"].values()}
    if look.layout is None and len(tensor.shape or ()) != 4:
        return None
    layout = picture_layout(tensor, look.layout)
    channels = _extent(tensor, layout, "C") or 1
    if channels not in (1, 3, 4):
        raise ModelError(f"input '{tensor.name}' {named_dims(tensor)} has {channels} channels; pages take pictures of 1, 3 or 4")
    if not kinds <= {"input", "cast", "map"}:
        raise ModelError(
            f"{file.path} explains an inner tensor ({', '.join(file.about['attributions'])}); a page shows an input's explanation"
        )
    return layout


def _extent(tensor: Tensor, layout: str, axis: str) -> int | None:
    extent = (tensor.shape or ())[layout.index(axis)] if axis in layout else None
    return extent if isinstance(extent, int) else None


def _picture(file: ExplainedFile, settings: PageSettings, layout: str) -> dict[str, Any]:
    (tensor,) = file.inputs
    look = settings.look
    channels, height, width = (_extent(tensor, layout, axis) for axis in "CHW")
    for name, numbers in (("mean", look.mean), ("std", look.std)):
        if numbers is not None and len(numbers) not in (1, channels or 1):
            raise InputError(f"{len(numbers)} numbers of {name} for pictures of {channels or 1} channels")
    if settings.features:
        raise InputError(f"features name the columns of a row, and input '{tensor.name}' {named_dims(tensor)} is a picture")
    sides = [height, width]
    draws = (channels or 1) == 1 and all(side is not None and side <= DRAWN for side in sides)
    entry = _input(file, tensor)
    return {
        "kind": "picture",
        "input": entry,
        "inputs": [entry],
        "layout": layout,
        "channels": channels or 1,
        "height": height,
        "width": width,
        "scale": look.scale,
        "mean": None if look.mean is None else list(look.mean),
        "std": None if look.std is None else list(look.std),
        "draws": draws,
        "fitted": settings.fitted and draws,
        "invitation": "Draw, drop a picture, or take an example." if draws else "Drop a picture, choose one, or paste one.",
        "examples": _example_pictures(settings, tensor, layout),
    }


def _example_pictures(settings: PageSettings, tensor: Tensor, layout: str) -> list[dict[str, Any]]:
    found = settings.examples.get(tensor.name)
    if found is None:
        return []
    samples = np.asarray(found, np.float32) if "N" in layout else np.asarray(found, np.float32)[None]
    axes = layout.replace("N", "")
    if samples.ndim != len(axes) + 1:
        raise InputError(f"examples {list(found.shape)} do not fit input '{tensor.name}' {named_dims(tensor)}")
    names = settings.example_names if len(settings.example_names) == len(samples) else ()
    return [
        {
            "name": names[i] if names else f"example {i + 1}",
            "height": sample.shape[axes.index("H")],
            "width": sample.shape[axes.index("W")],
            "values": base64.b64encode(sample.astype("<f4").tobytes()).decode(),
        }
        for i, sample in enumerate(samples[:MOST_PICTURES])
    ]


# -- rows ------------------------------------------------------------------------------------------------------------


def _row(file: ExplainedFile, settings: PageSettings) -> dict[str, Any]:
    inputs, fields = [], []
    for tensor in file.inputs:
        entry = _input(file, tensor)
        columns = _columns(file, tensor)
        count = samples_at_once(file.about, tensor)
        rank = len(tensor.shape or ())
        dims = ([] if count is None else [count]) + ([columns] if rank > (count is not None) else [])
        inputs.append(entry | {"dims": dims})
        kind = "text" if entry["type"] == "string" else "number" if entry["type"].startswith("float") else "integer"
        alone = columns == 1
        fields += [
            {"input": tensor.name, "column": i, "type": kind, "label": tensor.name if alone else f"{tensor.name} {i}"}
            for i in range(columns)
        ]
    if len(fields) > MOST_FIELDS:
        raise ModelError(f"the model takes {len(fields)} columns; a page has a field for each, of at most {MOST_FIELDS}")
    names = [str(f) for f in settings.features]
    if names and len(names) != len(fields):
        raise InputError(f"{len(names)} feature names for the {len(fields)} columns of the model")
    for entry, name in zip(fields, names, strict=False):
        entry["label"] = name
    rows = _example_rows(file, settings.examples, fields)
    invitation = "Fill in the fields, or paste a row."
    return {
        "kind": "row",
        "inputs": inputs,
        "fields": fields,
        "rows": rows,
        "invitation": invitation,
        "draws": False,
        "fitted": False,
    }


def _columns(file: ExplainedFile, tensor: Tensor) -> int:
    shape = tensor.shape
    axis = sample_axis_in(file.about, tensor.name)
    beside = None if shape is None else [d for i, d in enumerate(shape) if i != axis]
    kinds = {e["kind"] for e in file.about["attributions"].values() if e["explains"] == tensor.name}
    if beside is None or len(beside) > 1 or (beside and not isinstance(beside[0], int)) or "embedding" in kinds:
        raise ModelError(
            f"input '{tensor.name}' {named_dims(tensor)} is neither a picture nor columns of a row, which pages take "
            "(of pictures with three axes, give --layout)"
        )
    return int(beside[0] or 0) if beside else 1


def _example_rows(file: ExplainedFile, examples: Mapping[str, Array], fields: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    if not examples:
        return []
    missing = [t.name for t in file.inputs if t.name not in examples]
    if missing:
        raise InputError(f"the examples lack input '{missing[0]}'")
    columns = [_flat(file, np.asarray(examples[t.name]), t) for t in file.inputs]
    width = sum(c.shape[1] for c in columns)
    if width != len(fields):
        raise InputError(f"the examples have {width} columns, the model {len(fields)}")
    if len({len(c) for c in columns}) > 1:
        raise InputError("the examples of the inputs are of different numbers of rows")
    return [[_cell(value) for c in columns for value in c[i]] for i in range(min(len(columns[0]), MOST_ROWS))]


def _flat(file: ExplainedFile, values: Array, tensor: Tensor) -> Array:
    axis = sample_axis_in(file.about, tensor.name)
    rows = values if axis is not None else values[None]
    return rows.reshape(len(rows), -1)


def _cell(value: Any) -> Any:
    """A value as JSON has it; None where a number is missing."""
    if isinstance(value, str):
        return value
    number = float(str(value)) if isinstance(value, np.floating) else float(value)  # float32's own shortest digits
    return None if math.isnan(number) else int(number) if number.is_integer() and abs(number) < 2**53 else number
