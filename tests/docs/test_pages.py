"""Pages name files, modules and names that exist."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").glob("*/*.md")),
         *sorted((ROOT / "fixtures").glob("*.md")), *sorted((ROOT / ".github").glob("*.md"))]  # fmt: skip

MADE_BY_EXAMPLES = ("by_size", "sign", "hoyer")
"""Modules that the worked examples of CONTRIBUTING.md add."""


def pages() -> list[Any]:
    return [pytest.param(p, id=str(p.relative_to(ROOT))) for p in PAGES]


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", pages())
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = prose(page.read_text(encoding="utf-8"))
    links = [t.partition("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"\w+:|#", t)]
    for link in links:
        assert (page.parent / link).exists(), link
    for path in re.findall(r"`((?:onnxplain|tests|docs|fixtures|examples|benchmarks|rules)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path


def test_paths_and_links_are_found(tmp_path: Path) -> None:
    """The test above would not stay green by itself."""
    for text in ("see [this](no/such.md)", "see `onnxplain/registry.py`"):
        (tmp_path / "page.md").write_text(text, encoding="utf-8")
        with pytest.raises(AssertionError):
            test_links_and_paths_lead_somewhere(tmp_path / "page.md")


def imports(block: str) -> Iterator[tuple[str, str]]:
    """What a block takes from the package: modules and names."""
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "onnxplain":
            yield from ((node.module or "", alias.name) for alias in node.names)


@pytest.mark.parametrize("page", pages())
def test_python_on_pages_imports_what_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for module, name in imports(block):
            if module.rpartition(".")[2] not in MADE_BY_EXAMPLES:
                assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"


@pytest.mark.parametrize("page", [p for p in pages() if p.id != "CHANGELOG.md"])
def test_dotted_names_in_prose_exist(page: Path) -> None:
    """Anything like `onnxplain.package.module.name`. The changelog speaks of the past, too."""
    for dotted in re.findall(r"`(onnxplain(?!\.hpp)(?:\.\w+)+)", prose(page.read_text(encoding="utf-8"))):
        names = dotted.split(".")
        found, rest = importlib.import_module(names[0]), names[1:]
        for name in rest:
            path = f"{found.__name__}.{name}" if hasattr(found, "__path__") else ""
            found = getattr(found, name, None) or (importlib.import_module(path) if path else None)
            assert found is not None, dotted
