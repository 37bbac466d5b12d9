"""Errors that nobody foresaw: the model's where ONNX Runtime refuses it too, else a mistake of ours that asks to be told."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import sysconfig
import tempfile
import traceback
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import onnx

from onnxplain.errors import InternalError, ModelError, OnnxplainError
from onnxplain.io.reader import Source, external_tensors
from onnxplain.ir.registry import own_rules

__all__ = ["guarded", "ours", "refusal"]

P = ParamSpec("P")
R = TypeVar("R")

SECONDS = 60.0
"""How long ONNX Runtime may take to say whether it loads a model."""

LOAD = """
import sys
import onnxruntime as ort
options = ort.SessionOptions()
options.log_severity_level = 4
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
model = sys.argv[1]
if len(sys.argv) > 2:
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", sys.argv[2])
    model = open(model, "rb").read()
try:
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
except Exception as error:
    print(str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__)
    sys.exit(9)
"""

REFUSED = 9
"""The exit status that says so."""

PACKAGE = Path(__file__).resolve().parent.parent


def guarded(function: Callable[P, R]) -> Callable[P, R]:
    """A decorator for what takes a model from outside: errors that nobody foresaw end in one line.

    Where ONNX Runtime does not load the model either, that is the error, with its reason; elsewhere it is an `InternalError`.
    Errors that code of the user's raises (rules, composites, metrics) pass as they are, and so do arguments that do not fit.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except OnnxplainError:
            raise
        except Exception as error:
            try:
                given = signature.bind(*args, **kwargs).arguments
            except TypeError:
                raise error from None
            if not ours(error):
                raise
            raise _explained(error, given) from error

    return wrapped


def _explained(error: Exception, given: Mapping[str, Any]) -> OnnxplainError:
    model = next((given[name] for name in ("model", "source", "file") if name in given), None)
    name = _name(model)
    if isinstance(error, MemoryError) or "bad_alloc" in str(error):
        return ModelError(f"{name} asks for more memory than there is; take a smaller batch, or look for huge extents")
    what = f"{type(error).__name__}: {first_line(error)}" if str(error) else type(error).__name__
    reason = None if model is None else refusal(model)
    if reason is not None:
        return ModelError(f"{name} is no model that runs: ONNX Runtime does not load it either: {reason} (met first: {what})")
    where = traceback.extract_tb(error.__traceback__)[-1]
    return InternalError(
        f"onnxplain failed on {name} ({what}, in {Path(where.filename).name}, line {where.lineno}), its own mistake; "
        f"please report it with the file that `onnxplain debug-bundle {name}` writes"
    )


def _name(model: Any) -> str:
    if isinstance(model, Source):
        given = None if model.origin is None else model.origin.given
        return str(given) if isinstance(given, Path) else model.name
    if isinstance(model, onnx.ModelProto):
        return model.graph.name or "the model"
    return str(model) if isinstance(model, str | os.PathLike) else "the model"


def ours(error: BaseException) -> bool:
    """Whether an error arose in this package or in a library that it called, not in code of the user's."""
    rules = own_rules().resolve()
    libraries = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename).resolve()
        if path.is_relative_to(PACKAGE) or path.is_relative_to(rules):
            return True
        if not frame.filename.startswith("<") and not any(path.is_relative_to(folder) for folder in libraries):
            return False
    return True


def refusal(model: Any) -> str | None:
    """Why ONNX Runtime does not load a model, asked in a process of its own; None where it does, or where it cannot be asked.

    Args:
        model: a path, bytes, a ModelProto or a Source.
    """
    given = model.origin.given if isinstance(model, Source) and model.origin is not None else model
    if isinstance(given, str | os.PathLike):
        return _asked(Path(given))
    folder = model.folder if isinstance(model, Source) else None
    try:
        proto = given.model if isinstance(given, Source) else given
        proto = onnx.ModelProto.FromString(proto) if isinstance(proto, bytes) else proto
        if folder is None and any(external_tensors(proto)):
            return None  # without the files that it names, no model loads
        data = given if isinstance(given, bytes) else proto.SerializeToString()
    except Exception:
        return None
    with tempfile.TemporaryDirectory(prefix="onnxplain-") as place:
        path = Path(place) / "model.onnx"
        path.write_bytes(data)
        return _asked(path, folder)


def _asked(path: Path, folder: Path | None = None) -> str | None:
    """Why a file is refused; `folder` holds its external data where that is not beside it."""
    command = [sys.executable, "-c", LOAD, str(path), *([] if folder is None else [str(folder)])]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"it is not done after {SECONDS:.0f} s"
    except OSError:
        return None
    if done.returncode < 0:
        return f"it ends with signal {-done.returncode}"
    return done.stdout.decode(errors="replace").strip() if done.returncode == REFUSED else None


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its kind."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
