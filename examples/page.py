"""Pages that studies fill with what they measured."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
BLOCK = re.compile(r"(<!-- study: .*? -->\n).*?(\n<!-- end -->)", re.DOTALL)


def fill(name: str, made: str) -> None:
    """Put tables between the marks of a page of docs/."""
    page = DOCS / name
    text, count = BLOCK.subn(lambda block: f"{block[1]}{made}{block[2]}", page.read_text(encoding="utf-8"))
    if count != 1:
        raise ValueError(f"{page} has {count} places for tables, expected one: <!-- study: … --> … <!-- end -->")
    page.write_text(text, encoding="utf-8")


def filled(name: str) -> str:
    """The tables that a page holds."""
    found = BLOCK.search((DOCS / name).read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"docs/{name} has no place for tables: <!-- study: … --> … <!-- end -->")
    return found[0]


def numbers(table: str) -> list[float]:
    """The numbers that stand alone in a text, in order."""
    return [float(n) for n in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", table)]
