"""The page's script: its modules as one, since a page that was opened from a disk may not import files."""

from __future__ import annotations

import re
from pathlib import Path

from onnxplain.errors import OutputError

__all__ = ["page_program"]

TEMPLATES = Path(__file__).parent.parent / "templates" / "live"
MODULES = ("numbers", "unpack", "link", "csv", "canvas", "drawing", "pixels", "picture", "explained", "row", "app")
"""In an order in which nothing is used before it is made."""

IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.mjs";$', re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?(?:function\*?|class|const) (\w+))", re.MULTILINE)


def page_program() -> str:
    """All modules in one script, each in a scope of its own.

    Raises:
        OutputError: a file of the package is missing.
    """
    return '(() => {\n"use strict";\nconst modules = {};\n' + "\n".join(map(_scoped, MODULES)) + "\n})();\n"


def _scoped(name: str) -> str:
    """A module as a function that is called at once and returns what the module exports."""
    text = _source(name)
    exported = ", ".join(found[1] for found in EXPORT.findall(text))
    text = IMPORT.sub(r"const \1 = modules.\2;", text)
    text = EXPORT.sub(r"\1", text)
    return f"modules.{name} = (() => {{\n{text}\nreturn {{ {exported} }};\n}})();"


def _source(name: str) -> str:
    """A module's text. The one that runs explained files is the example's, for people to copy."""
    if name != "explained":
        return (TEMPLATES / f"{name}.mjs").read_text(encoding="utf-8")
    package = Path(__file__).parents[2]
    for path in (package / "example" / "explained.js", package.parent / "examples" / "web" / "explained.js"):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise OutputError(f"the file explained.js is missing beside {package}; reinstall onnxplain")
