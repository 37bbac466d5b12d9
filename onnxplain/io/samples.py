"""Reading arrays, tables, images and text files as inputs of a model."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from onnxplain.errors import InputError, nearest
from onnxplain.io.arrays import array_names, read_npy, read_npz
from onnxplain.io.images import PICTURES, Look, read_picture
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Tensor

__all__ = [
    "ENDINGS",
    "cell_number",
    "headers",
    "is_of_numbers",
    "read_array",
    "read_arrays",
    "read_header",
    "read_inputs",
    "read_labels",
    "read_lines",
    "read_rows",
    "read_sample",
    "starts_with_names",
    "with_samples",
]

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
    axes: Mapping[str, int | None] | None = None,
) -> dict[str, Array]:
    """Read the model's inputs from files.

    - .npy: an array.
    - .npz: arrays by input name. A single array is used for a model with one input, whatever its name.
    - .csv: one row per sample, columns in the model's order. If the model has several inputs, the header names them.
      Empty cells and NA are missing values (NaN) if the input takes fractions.
    - .txt: numbers separated by spaces, commas or line breaks.
    - .png, .jpg, .webp, .bmp, .tiff, .gif: pixel values 0..255, rotated as the EXIF data says, never resized.

    Several files for one input are several samples. An array that lacks exactly one axis gets the one that counts samples.

    Args:
        paths: files, or `name=file` if the model has several inputs.
        tensors: the model's inputs.
        mean: subtracted from scaled pixel values; one number, or one per channel.
        std: scaled pixel values are divided by it; one number, or one per channel.
        scale: factor on pixel values, applied first, e.g. 1/255; None leaves them as they are.
        layout: order of an image's axes: NCHW, NHWC, NHW, CHW, HWC or HW; None infers it from the input's shape.
        features_header: whether the first line of a .csv names the columns; None checks whether it contains numbers.
        axes: the axis of each input that counts samples, where it is not the first.

    Returns:
        Arrays by input name.

    Raises:
        InputError: a file cannot be read or does not fit the model; the message says what to do.
        MissingDependencyError: an image was given and Pillow is not installed.
    """
    if not paths:
        raise InputError("no input files; known endings: " + ", ".join(ENDINGS))
    look = Look(mean, std, scale, layout)
    along = {tensor.name: (axes or {}).get(tensor.name) or 0 for tensor in tensors}
    found: dict[str, list[Array]] = {}
    kinds = set()
    for text in paths:
        name, path = _split(text, tensors)
        kinds.add(path.suffix.lower())
        for tensor, array in _read(path, name, tensors, look, features_header, along):
            found.setdefault(tensor.name, []).append(with_samples(array, tensor, along[tensor.name]))
    if look.is_used and not kinds & set(PICTURES):
        raise InputError(
            f"mean, std, scale and layout are for pictures ({', '.join(PICTURES)}); prepare arrays and tables yourself"
        )
    return {name: _stack(name, parts, along[name]) for name, parts in found.items()}


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
        return read_npy(path)
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
    return read_npz(path, array_names(path))


def read_sample(path: Path, tensor: Tensor, look: Look, content: IO[bytes] | None = None) -> Array:
    """Read the one sample in a file.

    Args:
        path: a .npy, a .txt, or a picture. A text stays what it is where the input takes text.
        tensor: the input it is for.
        look: how pixel values become input values.
        content: the file's content where it lies within another file.

    Returns:
        The sample, without the axis of samples where the input has one.

    Raises:
        InputError: the file cannot be read, or does not hold one sample for this input.
    """
    ending = path.suffix.lower()
    text = tensor.dtype is not None and tensor.dtype.kind in "OUS"
    if ending in PICTURES:
        array = read_picture(path, tensor, look, content)
    elif ending == ".npy":
        array = with_samples(read_npy(path, content), tensor)
    elif text:
        rank = 1 if tensor.shape is None else len(tensor.shape)
        array = np.full((1,) * rank, _text(path, content), object)
    else:
        array = with_samples(_numbers(path, tensor, content=content), tensor)
    if tensor.shape is None or array.ndim != len(tensor.shape) or not array.ndim or len(array) != 1:
        raise InputError(f"{path} holds {list(array.shape)}, and not one sample of input '{tensor.name}' {named_dims(tensor)}")
    return np.asarray(array[0])


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


def _read(
    path: Path, name: str | None, tensors: Sequence[Tensor], look: Look, header: bool | None, axes: Mapping[str, int]
) -> list[tuple[Tensor, Array]]:
    """The arrays in one file, each with the input it is for."""
    named = [t for t in tensors if t.name == name] or (list(tensors) if len(tensors) == 1 else [])
    ending = path.suffix.lower()
    if ending == ".npz":
        return _npz(path, name, named[0] if named else None, tensors)
    if ending == ".csv" and not named:
        return [(t, np.moveaxis(array, 0, axes[t.name])) for t, array in _columns(path, tensors, header)]
    if not named:
        names = ", ".join(f"{t.name}={path}" for t in tensors[:3])
        raise InputError(f"the model has {len(tensors)} inputs: say which one {path} is for, e.g. {names}")
    tensor, axis = named[0], axes[named[0].name]
    if ending in PICTURES:
        return [(tensor, read_picture(path, tensor, look))]
    if ending == ".npy":
        return [(tensor, read_npy(path))]
    if ending == ".csv":
        rows = read_rows(path, header, tensor)[1]
        return [(tensor, _shaped(np.array(rows), tensor, path, axis))]
    return [(tensor, _numbers(path, tensor, axis))]


def with_samples(array: Array, tensor: Tensor, axis: int = 0) -> Array:
    """Add a sample axis to an array that lacks exactly one axis.

    Args:
        array: the array.
        tensor: the input it is for.
        axis: where the sample axis belongs.

    Returns:
        [1, …], or the 1 along another axis, if one axis was missing; else the array itself.
    """
    return np.expand_dims(array, axis) if tensor.shape is not None and array.ndim == len(tensor.shape) - 1 else array


def _stack(name: str, parts: Sequence[Array], axis: int) -> Array:
    """The files of one input as one batch."""
    if len(parts) == 1:
        return parts[0]
    shapes = {(*p.shape[:axis], *p.shape[axis + 1 :]) for p in parts}
    if len(shapes) > 1 or any(p.ndim <= axis for p in parts):
        shown = ", ".join(str(list(s)) for s in sorted(shapes))
        raise InputError(f"the files of input '{name}' hold samples of different shapes: {shown}")
    return np.concatenate(parts, axis)


# -- arrays ----------------------------------------------------------------------------------------------------------


def _npz(path: Path, name: str | None, tensor: Tensor | None, tensors: Sequence[Tensor]) -> list[tuple[Tensor, Array]]:
    keys = array_names(path)
    if tensor is not None and tensor.name not in keys:
        if len(keys) != 1:
            raise InputError(f"{path} holds no array '{tensor.name}'; {nearest(tensor.name, keys)}")
        return [(tensor, read_npz(path, keys)[keys[0]])]
    wanted = [tensor] if tensor is not None else list(tensors)
    lost = [t.name for t in wanted if t.name not in keys]
    if lost and len(lost) == len(wanted):
        raise InputError(f"{path} holds none of the inputs {', '.join(lost)}; it holds {', '.join(keys) or 'nothing'}")
    arrays = read_npz(path, [t.name for t in wanted if t.name in keys])
    return [(t, arrays[t.name]) for t in wanted if t.name in keys]


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
    lines = csv.reader(re.split("\r\n|\n|\r", text), delimiter=delimiter)
    try:
        rows = [(lines.line_num, [c.strip() for c in row]) for row in lines if any(c.strip() for c in row)]
    except csv.Error as error:
        raise InputError(f"{path}, line {lines.line_num}, is no row of a table: {error}") from None
    if not rows:
        raise InputError(f"{path} is empty")
    is_text = tensor is not None and tensor.dtype is not None and tensor.dtype.kind in "OUS"
    if header is None:
        header = starts_with_names(rows[0][1], is_text)
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


def _numbers(path: Path, tensor: Tensor, axis: int = 0, content: IO[bytes] | None = None) -> Array:
    """The numbers in a text file. Lines of equal length are rows. The input's shape is applied if it is known."""
    lines = [
        (n, re.split(r"[\s,;]+", line.strip().strip(",;")))
        for n, line in enumerate(_text(path, content).splitlines(), 1)
        if line.strip()
    ]
    if not lines:
        raise InputError(f"{path} is empty")
    whole = tensor.dtype is not None and tensor.dtype.kind in "iub"
    rows = [[_number(c, path, n, None, i, whole) for i, c in enumerate(cells)] for n, cells in lines]
    even = len({len(r) for r in rows}) == 1
    array = np.array(rows if even else [v for row in rows for v in row])
    return _shaped(array[0] if even and len(rows) == 1 else array, tensor, path, axis, whole_file=True)


def _shaped(array: Array, tensor: Tensor, path: Path, axis: int, *, whole_file: bool = False) -> Array:
    """Rows reshaped to the input's samples, if their shape is known.

    Args:
        array: rows of numbers.
        tensor: the input.
        path: the file they come from, for messages.
        axis: the axis of the input that counts samples.
        whole_file: whether a sample may span several rows.

    Raises:
        InputError: the number of values per row (or in the file) does not fit.
    """
    beside = [d for i, d in enumerate(tensor.shape or ()) if i != axis]
    sample = [d for d in beside if isinstance(d, int)]
    if not tensor.shape or len(sample) < len(beside):
        return array
    size = int(np.prod(sample))
    found = array.size if whole_file else array.shape[1]
    if (found % size if whole_file else found != size) or not found:
        where = "holds" if whole_file else "has rows of"
        raise InputError(f"{path} {where} {found} values, but input '{tensor.name}' {named_dims(tensor)} takes {size} per sample")
    return np.moveaxis(array.reshape(-1, *sample), 0, axis)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def starts_with_names(cells: Sequence[str], is_text: bool) -> bool:
    """Whether the first row of a table names its columns: it holds more than numbers, in a table of numbers."""
    return not is_text and not all(_is_number(c) or c.lower() in MISSING for c in cells)


def _number(text: str, path: Path, line: int, names: Sequence[str] | None, place: int, whole: bool) -> float | int:
    where = f"{path}, line {line}, column '{names[place]}'" if names else f"{path}, line {line}, value {place + 1}"
    return cell_number(text, where, whole)


def cell_number(text: str, where: str, whole: bool) -> float | int:
    """The number in a cell of a table; NaN where a value is missing.

    Args:
        text: the cell.
        where: the cell's place, for messages.
        whole: whether the input takes whole numbers only.

    Raises:
        InputError: it is no number, or missing or no whole one where whole numbers are needed.
    """
    if text.lower() in MISSING:
        if whole:
            what = f"'{text}' is no number" if text else "the cell is empty"
            raise InputError(f"{where}: {what}, and the input takes whole numbers only")
        return float("nan")
    try:
        if "_" in text:  # Python's spelling of numbers, nobody else's
            raise ValueError
        number = int(text) if whole and re.fullmatch(r"[+-]?\d+", text) else float(text)
    except ValueError:
        raise InputError(f"{where}: '{text}' is no number") from None
    if not whole:
        return number
    if number in (float("inf"), float("-inf")) or number != int(number):
        raise InputError(f"{where}: '{text}' is no whole number, and the input takes no other")
    if not -(2**63) <= number < 2**64:
        raise InputError(f"{where}: '{text}' has more than 64 bits")
    return int(number)


def _text(path: Path, content: IO[bytes] | None = None) -> str:
    try:
        data = path.read_bytes() if content is None else content.read()
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # Excel's "Unicode text"; UTF-32 begins so too
            raise InputError(f"cannot read {path}: it is text in UTF-16 or UTF-32; save it in UTF-8")
        text = data.decode("utf-8-sig")
        if "\0" in text:
            raise InputError(f"cannot read {path}: it is no text: it holds NUL")
        return text
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read {path}: it is no text in UTF-8 (byte {error.start:,}); save it in UTF-8") from None
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
