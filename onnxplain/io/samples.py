"""Reading arrays, tables, images and text files as inputs of a model."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain.errors import InputError, nearest
from onnxplain.io.images import PICTURES, Look, read_picture
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Tensor

__all__ = [
    "ENDINGS", "headers", "is_of_numbers", "read_array", "read_arrays", "read_header", "read_inputs", "read_labels", "read_lines",
]  # fmt: skip

Array = np.ndarray[Any, Any]

ENDINGS = (".npy", ".npz", ".csv", ".txt", *PICTURES)

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none"))
"""What stands for a missing value in a cell of a table, in lower case."""


def read_inputs(
    paths: Sequence[str],
    tensors: Sequence[Tensor],
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    scale: float | None = None,
    layout: str | None = None,
    features_header: bool | None = None,
) -> dict[str, Array]:
    """Read the model's inputs from files.

    - .npy: an array.
    - .npz: arrays by input name. A single array is used for a model with one input, whatever its name.
    - .csv: one row per sample, columns in the model's order. If the model has several inputs, the header names them.
      Empty cells and NA are missing values (NaN) if the input takes fractions.
    - .txt: numbers separated by spaces, commas or line breaks.
    - .png, .jpg, .jpeg: pixel values 0..255, rotated as the EXIF data says, never resized.

    Several files for one input are several samples. An array that lacks exactly one axis gets a sample axis in front.

    Args:
        paths: files, or `name=file` if the model has several inputs.
        tensors: the model's inputs.
        mean: subtracted from scaled pixel values; one number, or one per channel.
        std: scaled pixel values are divided by it; one number, or one per channel.
        scale: factor on pixel values, applied first, e.g. 1/255; None leaves them as they are.
        layout: order of an image's axes: NCHW, NHWC, NHW, CHW, HWC or HW; None infers it from the input's shape.
        features_header: whether the first line of a .csv names the columns; None checks whether it contains numbers.

    Returns:
        Arrays by input name.

    Raises:
        InputError: a file cannot be read or does not fit the model; the message says what to do.
        MissingDependencyError: an image was given and Pillow is not installed.
    """
    if not paths:
        raise InputError("no input files; known endings: " + ", ".join(ENDINGS))
    look = Look(mean, std, scale, layout)
    found: dict[str, list[Array]] = {}
    kinds = set()
    for text in paths:
        name, path = _split(text, tensors)
        kinds.add(path.suffix.lower())
        for tensor, array in _read(path, name, tensors, look, features_header):
            found.setdefault(tensor.name, []).append(with_samples(array, tensor))
    if look.is_used and not kinds & set(PICTURES):
        raise InputError(
            f"mean, std, scale and layout are for pictures ({', '.join(PICTURES)}); prepare arrays and tables yourself"
        )
    return {name: _stack(name, parts) for name, parts in found.items()}


def read_array(path: str | Path) -> Array:
    """Read one array from a file.

    Args:
        path: a .npy, a .npz with one array, or a .csv or .txt with numbers.

    Returns:
        The array.

    Raises:
        InputError: the file cannot be read, contains several arrays, or is an image.
    """
    path = _existing(Path(path))
    ending = path.suffix.lower()
    any_shape = Tensor(path.name)
    if ending == ".npy":
        return np.asarray(_guarded(path, lambda: np.load(path, allow_pickle=False)))
    if ending == ".npz":
        return np.asarray(_npz(path, None, any_shape, [any_shape])[0][1])
    if ending in PICTURES:
        raise InputError(f"{path} is a picture; an array is needed: .npy, .npz, .csv or .txt")
    return np.array(read_rows(path, None, any_shape)[1]) if ending == ".csv" else _numbers(path, any_shape)


def read_arrays(path: str | Path) -> dict[str, Array]:
    """Read all arrays of a .npz file.

    Args:
        path: the file.

    Returns:
        Arrays by name.

    Raises:
        InputError: the file cannot be read.
    """
    path = _existing(Path(path))
    archive = _guarded(path, lambda: np.load(path, allow_pickle=False))
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise InputError(f"cannot read {path}: it is no .npz archive")
    with archive:
        return {name: np.asarray(_guarded(path, lambda n=name: archive[n])) for name in archive.files}  # type: ignore[misc]


def _split(text: str, tensors: Sequence[Tensor]) -> tuple[str | None, Path]:
    """The input's name, if one is given, and the path."""
    name, equals, rest = text.partition("=")
    known = [t.name for t in tensors]
    if equals and name in known:
        return name, _existing(Path(rest))
    path = Path(text)
    if equals and not path.exists():
        raise InputError(f"no input '{name}' in the model; {nearest(name, known)}")
    return None, _existing(path)


def _existing(path: Path) -> Path:
    """The path, after checking that it is a file of a known kind."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the files in it")
    if not path.exists():
        raise InputError(f"no file at {path}")
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"cannot read {path}: unknown ending '{path.suffix}'; known: {', '.join(ENDINGS)}")
    return path


def _read(path: Path, name: str | None, tensors: Sequence[Tensor], look: Look, header: bool | None) -> list[tuple[Tensor, Array]]:
    """The arrays in one file, each with the input it is for."""
    named = [t for t in tensors if t.name == name] or (list(tensors) if len(tensors) == 1 else [])
    ending = path.suffix.lower()
    if ending == ".npz":
        return _npz(path, name, named[0] if named else None, tensors)
    if ending == ".csv" and not named:
        return _columns(path, tensors, header)
    if not named:
        names = ", ".join(f"{t.name}={path}" for t in tensors[:3])
        raise InputError(f"the model has {len(tensors)} inputs: say which one {path} is for, e.g. {names}")
    tensor = named[0]
    if ending in PICTURES:
        return [(tensor, read_picture(path, tensor, look))]
    if ending == ".npy":
        return [(tensor, _guarded(path, lambda: np.load(path, allow_pickle=False)))]
    if ending == ".csv":
        rows = read_rows(path, header, tensor)[1]
        return [(tensor, _shaped(np.array(rows), tensor, path))]
    return [(tensor, _numbers(path, tensor))]


def with_samples(array: Array, tensor: Tensor) -> Array:
    """Add a sample axis in front of an array that lacks exactly one axis.

    Args:
        array: the array.
        tensor: the input it is for.

    Returns:
        [1, …] if one axis was missing, else the array itself.
    """
    return array[None] if tensor.shape is not None and array.ndim == len(tensor.shape) - 1 else array


def _stack(name: str, parts: Sequence[Array]) -> Array:
    """The files of one input as one batch."""
    if len(parts) == 1:
        return parts[0]
    shapes = {p.shape[1:] for p in parts}
    if len(shapes) > 1 or any(p.ndim == 0 for p in parts):
        shown = ", ".join(str(list(s)) for s in sorted(shapes))
        raise InputError(f"the files of input '{name}' hold samples of different shapes: {shown}")
    return np.concatenate(parts)


def _guarded(path: Path, read: Callable[[], Any]) -> Any:
    """Call `read` and turn its errors into an InputError with the file's name."""
    try:
        return read()
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "; store text as a fixed-width array (astype(str))" if "allow_pickle" in reason else ""
        raise InputError(f"cannot read {path}: {reason}{hint}") from error


# -- arrays ----------------------------------------------------------------------------------------------------------


def _npz(path: Path, name: str | None, tensor: Tensor | None, tensors: Sequence[Tensor]) -> list[tuple[Tensor, Array]]:
    archive = _guarded(path, lambda: np.load(path, allow_pickle=False))
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise InputError(f"cannot read {path}: it is no .npz archive")
    with archive:
        keys = list(archive.files)
        if tensor is not None and tensor.name not in keys:
            if len(keys) != 1:
                raise InputError(f"{path} holds no array '{tensor.name}'; {nearest(tensor.name, keys)}")
            return [(tensor, _guarded(path, lambda: archive[keys[0]]))]
        wanted = [tensor] if tensor is not None else list(tensors)
        lost = [t.name for t in wanted if t.name not in keys]
        if lost and len(lost) == len(wanted):
            raise InputError(f"{path} holds none of the inputs {', '.join(lost)}; it holds {', '.join(keys) or 'nothing'}")
        return [(t, _guarded(path, lambda n=t.name: archive[n])) for t in wanted if t.name in keys]  # type: ignore[misc]


# -- tables and text -------------------------------------------------------------------------------------------------


def read_header(path: str | Path, features_header: bool | None = None) -> list[str] | None:
    """The column names of a .csv file.

    Args:
        path: the file.
        features_header: whether the first line contains the names; None checks whether it contains numbers.

    Returns:
        The names; None if the first line is not a header.

    Raises:
        InputError: the file cannot be read.
    """
    return read_rows(Path(path), features_header, None, convert=False)[0]


def headers(paths: Sequence[str]) -> list[str] | None:
    """The column names of the first .csv file that has a header.

    Args:
        paths: input files, each `file` or `name=file`.

    Returns:
        The names; None if no file has a header.
    """
    tables = [p.partition("=")[2] or p for p in paths if p.endswith(".csv")]
    return next(filter(None, map(read_header, tables)), None)


def read_rows(
    path: Path, header: bool | None, tensor: Tensor | None, *, convert: bool = True
) -> tuple[list[str] | None, list[list[Any]]]:
    """The header and the rows of a .csv file.

    Args:
        path: the file.
        header: whether the first line is a header; None checks whether it contains numbers.
        tensor: the input that the rows are for; cells stay text if it takes text.
        convert: whether cells become numbers.

    Returns:
        The column names (None without a header) and the rows.

    Raises:
        InputError: the file is empty or cannot be read, or a row or cell does not fit.
    """
    text = _text(path)
    first = text.partition("\n")[0]
    delimiter = next((d for d in (",", ";", "\t") if d in first), ",")
    lines = csv.reader(text.splitlines(), delimiter=delimiter)
    rows = [(lines.line_num, [c.strip() for c in row]) for row in lines if any(c.strip() for c in row)]
    if not rows:
        raise InputError(f"{path} is empty")
    is_text = tensor is not None and tensor.dtype is not None and tensor.dtype.kind in "OUS"
    if header is None:
        header = not is_text and not all(_is_number(c) or c.lower() in MISSING for c in rows[0][1])
    names = rows.pop(0)[1] if header else None
    if not rows and convert:
        raise InputError(f"{path} holds a header and no rows")
    width = len(names if names is not None else rows[0][1])
    for line, row in rows:
        if len(row) != width:
            raise InputError(f"{path}, line {line}: {len(row)} values where {width} are expected")
    if not convert:
        return names, [row for _, row in rows]
    whole = tensor is not None and tensor.dtype is not None and tensor.dtype.kind in "iub"
    return names, [row if is_text else [_number(c, path, line, names, i, whole) for i, c in enumerate(row)] for line, row in rows]


def _columns(path: Path, tensors: Sequence[Tensor], header: bool | None) -> list[tuple[Tensor, Array]]:
    """A .csv file for a model with one input per column."""
    names, rows = read_rows(path, header, None, convert=False)
    known = {t.name: t for t in tensors}
    if names is None:
        raise InputError(
            f"{path} has no header, and the model has {len(known)} inputs; its first line must name {', '.join(known)}"
        )
    strange = [n for n in names if n not in known]
    if strange:
        raise InputError(f"{path}: column '{strange[0]}' is no input of the model; {nearest(strange[0], known)}")
    result = []
    for place, name in enumerate(names):
        tensor = known[name]
        cells: list[Any] = [row[place] for row in rows]
        if tensor.dtype is None or tensor.dtype.kind not in "OUS":
            whole = tensor.dtype is not None and tensor.dtype.kind in "iub"
            cells = [_number(c, path, line + 2, names, place, whole) for line, c in enumerate(cells)]
        array = np.array(cells)
        result.append((tensor, array[:, None] if tensor.shape is not None and len(tensor.shape) == 2 else array))
    return result


def _numbers(path: Path, tensor: Tensor) -> Array:
    """The numbers in a text file. Lines of equal length are rows. The input's shape is applied if it is known."""
    lines = [
        (n, re.split(r"[\s,;]+", line.strip().strip(",;"))) for n, line in enumerate(_text(path).splitlines(), 1) if line.strip()
    ]
    if not lines:
        raise InputError(f"{path} is empty")
    whole = tensor.dtype is not None and tensor.dtype.kind in "iub"
    rows = [[_number(c, path, n, None, i, whole) for i, c in enumerate(cells)] for n, cells in lines]
    even = len({len(r) for r in rows}) == 1
    array = np.array(rows if even else [v for row in rows for v in row])
    return _shaped(array[0] if even and len(rows) == 1 else array, tensor, path, whole_file=True)


def _shaped(array: Array, tensor: Tensor, path: Path, *, whole_file: bool = False) -> Array:
    """Rows reshaped to the input's samples, if their shape is known.

    Args:
        array: rows of numbers.
        tensor: the input.
        path: the file they come from, for messages.
        whole_file: whether a sample may span several rows.

    Raises:
        InputError: the number of values per row (or in the file) does not fit.
    """
    if tensor.shape is None or not tensor.shape or not all(isinstance(d, int) for d in tensor.shape[1:]):
        return array
    sample = tuple(int(d) for d in tensor.shape[1:] if isinstance(d, int))
    size = int(np.prod(sample))
    found = array.size if whole_file else array.shape[1]
    if (found % size if whole_file else found != size) or not found:
        where = "holds" if whole_file else "has rows of"
        raise InputError(f"{path} {where} {found} values, but input '{tensor.name}' {named_dims(tensor)} takes {size} per sample")
    return array.reshape(-1, *sample)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str, path: Path, line: int, names: Sequence[str] | None, place: int, whole: bool) -> float | int:
    where = f"{path}, line {line}, column '{names[place]}'" if names else f"{path}, line {line}, value {place + 1}"
    if text.lower() in MISSING:
        if whole:
            what = f"'{text}' is no number" if text else "the cell is empty"
            raise InputError(f"{where}: {what}, and the input takes whole numbers only")
        return float("nan")
    try:
        return int(text) if whole and re.fullmatch(r"[+-]?\d+", text) else float(text)
    except ValueError:
        raise InputError(f"{where}: '{text}' is no number") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"cannot read {path}: it is no text in UTF-8") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def read_lines(path: Path) -> list[str]:
    """The lines of a text file in UTF-8.

    Raises:
        InputError: the file cannot be read.
    """
    return _text(path).splitlines()


def is_of_numbers(path: Path) -> bool:
    """Whether a text file holds numbers and nothing else.

    Raises:
        InputError: the file cannot be read.
    """
    cells = re.split(r"[\s,;]+", _text(path).strip())
    return cells != [""] and all(_is_number(cell) or cell.lower() in MISSING for cell in cells)


def read_labels(path: str | Path) -> list[str]:
    """Read names of classes or features, one per line. Empty lines at the end are ignored.

    Args:
        path: a text file in UTF-8.

    Returns:
        The names.

    Raises:
        InputError: the file cannot be read or is empty.
    """
    if not Path(path).is_file():
        raise InputError(f"no file at {path}")
    lines = _text(Path(path)).rstrip().splitlines()
    if not lines:
        raise InputError(f"{path} is empty; it should name one class per line")
    return [line.strip() for line in lines]
