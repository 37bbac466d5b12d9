"""Writing explanations to files. The ending of the file determines the format."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain.errors import MissingDependencyError, OutputError
from onnxplain.io.npz import write_npz
from onnxplain.io.plain import as_plain
from onnxplain.io.writer import write_file
from onnxplain.results.explanation_data import ExplanationData
from onnxplain.results.html import write_report
from onnxplain.results.load import PARTS
from onnxplain.results.plot.plot import plot
from onnxplain.results.tables import csv_bytes, parquet_bytes

__all__ = [
    "EXPLANATION_ENDINGS",
    "PICTURE_ENDINGS",
    "check_explanation_ending",
    "check_packages",
    "explanation_json",
    "save_explanation",
]

Array = np.ndarray[Any, Any]

PICTURE_ENDINGS = (".png", ".jpg", ".webp", ".svg", ".pdf")
"""File endings of figures."""

EXPLANATION_ENDINGS = (".npz", ".json", ".csv", ".parquet", ".html", *PICTURE_ENDINGS)
"""File endings of explanations."""

NEEDED = {
    ".html": (("jinja2", "plot", "pages"), ("PIL", "plot", "pages")),
    ".parquet": (("pyarrow", "table", "Parquet files"),),
    **dict.fromkeys(PICTURE_ENDINGS, (("matplotlib", "plot", "pictures"), ("PIL", "plot", "pictures"))),
}
"""The packages that formats need, by ending: package, extra, and what needs it."""


def save_explanation(
    explanation: ExplanationData | Sequence[ExplanationData], path: str | os.PathLike[str], **options: Any
) -> Path:
    """Write explanations to a file. Its ending determines the format:

    - .npz: arrays (`<name>_attribution`, `target`, inputs and outputs by name) and `about`, of texts `texts`, as JSON text.
      `Explanation.load` reads it.
    - .json: everything; a list if there are several explanations.
    - .csv, .parquet: a long table; with a column `method` if there are several explanations.
    - .png, .jpg, .webp, .svg, .pdf: a figure.
    - .html: a page.

    Several explanations of the same samples are shown side by side in figures and pages.

    Args:
        explanation: one explanation, or several in any form but .npz.
        path: where to.
        **options: those of `Explanation.to_pandas` (.csv, .parquet), of `onnxplain.results.plot.plot.plot` and
            `dpi` (figures), or of `onnxplain.results.html.write_report` (.html).

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
    if form in PICTURE_ENDINGS:
        return write_file(path, _figure(several, form, **options))
    if form == ".npz":
        arrays = _arrays(several[0], **options)
        return write_file(path, lambda file: write_npz(file, arrays))
    if form == ".json":
        return write_file(path, _json(several, **options))
    return write_file(path, csv_bytes(several, **options) if form == ".csv" else parquet_bytes(several, **options))


def check_packages(ending: str) -> None:
    """Check that what a format needs is installed.

    Args:
        ending: of the file, in lower case.

    Raises:
        MissingDependencyError: a package is not installed; the message has the command that installs it.
    """
    for package, extra, purpose in NEEDED.get(ending, ()):
        if find_spec(package) is None:
            raise MissingDependencyError(f"{purpose} need {package}, which is not installed: pip install 'onnxplain[{extra}]'")


def check_explanation_ending(path: Path, count: int) -> None:
    """Check the ending of a file, so that a long run does not fail at its end.

    Args:
        path: the file to be written.
        count: the number of explanations that it has to hold.

    Raises:
        OutputError: the ending is unknown, or several explanations were given for .npz.
        MissingDependencyError: the format needs a package that is not installed.
    """
    if path.suffix.lower() not in EXPLANATION_ENDINGS:
        raise OutputError(f"cannot write {path}: unknown ending '{path.suffix}'; known: {', '.join(EXPLANATION_ENDINGS)}")
    check_packages(path.suffix.lower())
    if path.suffix.lower() == ".npz" and count != 1:
        raise OutputError(f"cannot write {path}: .npz holds one explanation, not {count}; one file per method")


def _figure(explanations: Sequence[ExplanationData], ending: str, /, *, dpi: int = 200, **options: Any) -> bytes:
    """A figure in a format. The same explanations give the same bytes."""
    figure = plot(list(explanations), **options)
    import matplotlib as mpl

    stamp = {".png": {"Software": "onnxplain"}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(ending)
    buffer = BytesIO()
    with mpl.rc_context({"svg.hashsalt": "onnxplain", "svg.fonttype": "path"}):
        figure.savefig(buffer, format=ending[1:], dpi=dpi, metadata=stamp)
    return buffer.getvalue()


def _arrays(explanation: ExplanationData) -> dict[str, Array]:
    """What a .npz of an explanation holds."""
    arrays = {f"{name}_attribution": values for name, values in explanation.attributions.items()}
    if explanation.target is not None:
        arrays["target"] = explanation.target
    if explanation.delta is not None:
        arrays["delta"] = explanation.delta
    arrays |= explanation.facts
    if explanation.texts:
        arrays["texts"] = np.array(json.dumps([text.to_dict() for text in explanation.texts], ensure_ascii=False))
    arrays["about"] = np.array(json.dumps(as_plain(explanation.about), ensure_ascii=False))
    own = [name for name in ("target", "delta", "texts") if name in arrays]
    keys: dict[str, dict[str, str]] = {"output": {}, "input": {}}
    for kind, named in (("output", explanation.outputs), ("input", explanation.inputs)):
        for name, values in named.items():
            keys[kind][name] = f"{kind}.{name}" if name in (*arrays, PARTS) else name
            arrays[keys[kind][name]] = _storable(values)
    parts = {
        "attributions": {name: f"{name}_attribution" for name in explanation.attributions},
        "inputs": keys["input"],
        "outputs": keys["output"],
        "facts": list(explanation.facts),
        "maps": [name for name, values in explanation.outputs.items() if not isinstance(values, np.ndarray | np.generic)],
        "labels": list(explanation.labels),
        "features": list(explanation.features),
        "sample_names": list(explanation.sample_names),
        "target_names": list(explanation.target_names),
        "own": own,
    }
    arrays[PARTS] = np.array(json.dumps(parts, ensure_ascii=False))
    return arrays


def _storable(values: Any) -> np.ndarray[Any, Any]:
    """An array that can be stored without pickle: objects become strings, lists of maps become JSON."""
    array = np.asarray(values) if isinstance(values, np.ndarray | np.generic) else None
    if array is None:
        return np.array(json.dumps(as_plain(values), ensure_ascii=False))
    return array.astype(str) if array.dtype.kind == "O" else array


def explanation_json(explanations: Sequence[ExplanationData]) -> str:
    """Explanations as JSON text: an object, or a list of several. Numbers that are not finite become null."""
    plain = [as_plain(e.to_dict()) for e in explanations]
    return json.dumps(plain[0] if len(plain) == 1 else plain, ensure_ascii=False, allow_nan=False)


def _json(explanations: Sequence[ExplanationData]) -> bytes:
    return explanation_json(explanations).encode()
