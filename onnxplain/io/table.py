"""Tables as CSV. Text that a spreadsheet would take for a formula is written so that it stays text; numbers stay numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from io import StringIO
from typing import Any

import numpy as np

__all__ = ["csv_text"]

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How cells begin that spreadsheets compute."""


def csv_text(header: Iterable[str], rows: Iterable[Iterable[Any]], *, newline: str = "\n") -> str:
    """A table as CSV.

    Text that begins with =, +, -, @, a tab or a carriage return and is no number gets an apostrophe in front, which spreadsheets
    hide; names in such files come from models and tables that somebody else may have made.

    Args:
        header: the names of the columns.
        rows: the cells of each row: numbers or text.
        newline: what ends a line.

    Returns:
        The text.

    Example:
        >>> from onnxplain.io.table import csv_text
        >>> print(csv_text(["name", "value"], [["=SUM(A1)", -1.5], ["-2", 3]]), end="")
        name,value
        '=SUM(A1),-1.5
        -2,3
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator=newline)
    writer.writerow(map(_cell, header))
    writer.writerows(map(_cell, row) for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, int | float | np.generic) and not isinstance(value, np.str_ | np.bytes_)):
        return value
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
