"""Pages that studies fill with what they measured, and how a study ends when it is given something else than it expects."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain import OnnxplainError
from onnxplain.io.reader import read
from onnxplain.runtime.session import Session

DOCS = Path(__file__).resolve().parent.parent / "docs"


def _block(name: str) -> re.Pattern[str]:
    """Where a page has the tables of a name."""
    return re.compile(rf"(<!-- {re.escape(name)}: .*? -->\n)((?:(?!<!-- ).)*)(<!-- end -->)", re.DOTALL)


def fill(page: str, made: str | Mapping[str, str]) -> None:
    """Put tables between the marks of a page of docs/: into the block `study`, or into several by their names."""
    path = DOCS / page
    text = path.read_text(encoding="utf-8")
    for name, table in ({"study": made} if isinstance(made, str) else made).items():
        text, count = _block(name).subn(lambda block, table=table: f"{block[1]}{table}\n{block[3]}", text)
        if count != 1:
            raise ValueError(f"{path} has {count} places for tables, expected one: <!-- {name}: … --> … <!-- end -->")
    path.write_text(text, encoding="utf-8")


def filled(page: str, name: str = "study") -> str:
    """The tables that a page holds."""
    found = _block(name).search((DOCS / page).read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"docs/{page} has no place for tables: <!-- {name}: … --> … <!-- end -->")
    return str(found[2])


def numbers(table: str) -> list[float]:
    """The numbers that stand alone in a text, in order."""
    return [float(n) for n in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", table)]


def arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays of an .npz.

    Raises:
        ValueError: there is no such file, it is something else, or it has no array of a name.
    """
    wanted = set(names)
    try:
        with np.load(path) as found:
            kept = {name: found[name] for name in found.files if name in wanted}
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; expected an .npz with {', '.join(sorted(wanted))}") from None
    except Exception as error:  # numpy raises whatever the format it guesses raises
        raise ValueError(f"{path} is no .npz that numpy reads ({error}); expected {', '.join(sorted(wanted))}") from None
    if missing := wanted - set(kept):
        raise ValueError(f"{path} has no {', '.join(sorted(missing))}")
    return kept


def opened(model: Path) -> Session:
    """A model of a study, to be run on one core.

    Raises:
        ModelError: there is no such file, or it is no model.
    """
    return Session(read(model).model, "cpu", threads=1)


def folder_of(arguments: Sequence[str], own: Path) -> Path:
    """The folder that a command line asks for: the study's own where it names none.

    Raises:
        ValueError: it asks for more than a folder.
    """
    if len(arguments) > 1:
        raise ValueError(f"expected a folder or nothing, found {' '.join(arguments)!r}")
    return Path(arguments[0]) if arguments else own


def run(main: Callable[..., None], *arguments: Any) -> None:
    """Run a study; what it refuses is one line and exit status 2."""
    try:
        main(*arguments)
    except (OnnxplainError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
