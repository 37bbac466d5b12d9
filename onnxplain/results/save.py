"""Writing explanations to files. The ending of the file determines the format."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain.errors import OutputError
from onnxplain.io.writer import write_file
from onnxplain.results.explanation_data import ExplanationData
from onnxplain.results.html import write_report
from onnxplain.results.plot.plot import plot
from onnxplain.results.tables import csv_bytes, parquet_bytes

__all__ = ["EXPLANATION_ENDINGS", "check_explanation_ending", "save_explanation"]

EXPLANATION_ENDINGS = (".npz", ".json", ".csv", ".parquet", ".png", ".html")
"""File endings of explanations."""


def save_explanation(
    explanation: ExplanationData | Sequence[ExplanationData], path: str | os.PathLike[str], **options: Any
) -> Path:
    """Write explanations to a file. Its ending determines the format:

    - .npz: arrays (`<name>_attribution`, `target`, inputs and outputs by name) and `about`, of texts `texts`, as JSON text.
    - .json: everything; a list if there are several explanations.
    - .csv, .parquet: a long table; with a column `method` if there are several explanations.
    - .png: a figure.
    - .html: a page.

    Several explanations of the same samples are shown side by side in figures and pages.

    Args:
        explanation: one explanation, or several in any form but .npz.
        path: where to.
        **options: those of `Explanation.to_pandas` (.csv, .parquet), of `onnxplain.results.plot.plot.plot` and
            `dpi` (.png), or of `onnxplain.results.html.write_report` (.html).

    Returns:
        The path.

    Raises:
        OutputError: the ending is unknown, several explanations were given for .npz, or the file cannot be written.
        MissingDependencyError: the format needs a package that is not installed.
    """
    path = Path(path)
    form = path.suffix.lower()
    several = [explanation] if not isinstance(explanation, Sequence) else list(explanation)
    check_explanation_ending(path, len(several))
    if form == ".html":
        return write_report(several, path, **options)
    if form == ".png":
        return write_file(path, _png(several, **options))
    if form == ".npz":
        return write_file(path, _npz(several[0], **options))
    if form == ".json":
        return write_file(path, _json(several, **options))
    return write_file(path, csv_bytes(several, **options) if form == ".csv" else parquet_bytes(several, **options))


def check_explanation_ending(path: Path, count: int) -> None:
    """Check the ending of a file, so that a long run does not fail at its end.

    Args:
        path: the file to be written.
        count: the number of explanations that it has to hold.

    Raises:
        OutputError: the ending is unknown, or several explanations were given for .npz.
    """
    if path.suffix.lower() not in EXPLANATION_ENDINGS:
        raise OutputError(f"cannot write {path}: unknown ending '{path.suffix}'; known: {', '.join(EXPLANATION_ENDINGS)}")
    if path.suffix.lower() == ".npz" and count != 1:
        raise OutputError(f"cannot write {path}: .npz holds one explanation, not {count}; one file per method")


def _png(explanations: Sequence[ExplanationData], *, dpi: int = 200, **options: Any) -> bytes:
    buffer = BytesIO()
    plot(list(explanations), **options).savefig(buffer, format="png", dpi=dpi, metadata={"Software": "onnxplain"})
    return buffer.getvalue()


def _npz(explanation: ExplanationData) -> bytes:
    """The explanation in NumPy's .npz format. The same explanation gives the same bytes."""
    arrays = {f"{name}_attribution": values for name, values in explanation.attributions.items()}
    if explanation.target is not None:
        arrays["target"] = explanation.target
    if explanation.delta is not None:
        arrays["delta"] = explanation.delta
    arrays |= explanation.facts
    if explanation.texts:
        arrays["texts"] = np.array(json.dumps([text.to_dict() for text in explanation.texts], ensure_ascii=False))
    arrays["about"] = np.array(json.dumps(_plain(explanation.about), ensure_ascii=False))
    for kind, named in (("output", explanation.outputs), ("input", explanation.inputs)):
        for name, values in named.items():
            arrays[name if name not in arrays else f"{kind}.{name}"] = _storable(values)
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
    return buffer.getvalue()


def _storable(values: Any) -> np.ndarray[Any, Any]:
    """An array that can be stored without pickle: objects become strings, lists of maps become JSON."""
    array = np.asarray(values) if isinstance(values, np.ndarray | np.generic) else None
    if array is None:
        return np.array(json.dumps(_plain(values), ensure_ascii=False))
    return array.astype(str) if array.dtype.kind == "O" else array


def _json(explanations: Sequence[ExplanationData]) -> bytes:
    plain = [_plain(e.to_dict()) for e in explanations]
    return json.dumps(plain[0] if len(plain) == 1 else plain, ensure_ascii=False, allow_nan=False).encode()


def _plain(value: Any) -> Any:
    """Plain values for JSON. Numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)
