"""The code seen from above: folders with a sentence each, imports one way, none hidden in functions."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

sys.path.insert(0, str(ROOT / "docs"))

from house import FACADES, House


@pytest.fixture(scope="module")
def house() -> House:
    return House(ROOT)


def test_few_folders_with_a_sentence_each(house: House) -> None:
    packages = house.packages()
    top = [name for name in packages if "." not in name]
    folders = {p.name for p in (ROOT / "onnxplain").iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert set(top) == folders
    assert len(top) <= 16
    assert len(house.flat()) <= 5
    for name, sentence in packages.items():
        assert re.fullmatch(r"[A-Z].{10,110}\.", sentence), f"{name}: {sentence!r}"


def test_imports_point_down(house: House) -> None:
    assert house.upward() == []


def test_every_package_has_its_storey(house: House) -> None:
    text = (ROOT / ".importlinter").read_text(encoding="utf-8")
    for name in house.packages():
        assert "." in name or f"onnxplain.{name}" in text, name


def test_the_only_circles_are_those_of_the_facades(house: House) -> None:
    for circle in house.circles():
        assert FACADES & set(circle), circle


def test_nothing_is_imported_inside_functions(house: House) -> None:
    assert house.lazy() == []


def test_rule_files_import_public_names_and_the_kit_only() -> None:
    for path in sorted((ROOT / "rules").glob("*.py")):
        for module in re.findall(r"^\s*(?:from|import) (onnxplain[\w.]*)", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert module in ("onnxplain", "onnxplain.rulekit") or module.startswith("onnxplain.rulekit."), (
                f"{path.name}: {module}"
            )


def test_a_circle_an_arrow_and_a_hidden_import_are_seen(tmp_path: Path) -> None:
    """The counts above would not stay zero by themselves."""
    (tmp_path / "rules").mkdir()
    (tmp_path / ".importlinter").write_text((ROOT / ".importlinter").read_text(encoding="utf-8"), encoding="utf-8")
    for name, text in {
        "__init__": "",
        "ir/__init__": "",
        "ir/graph": "from onnxplain.explain import rewrite",
        "explain/__init__": "",
        "explain/rewrite": "def f() -> None:\n    from onnxplain.ir import graph\n",
    }.items():
        path = tmp_path / "onnxplain" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found = House(tmp_path)
    assert found.upward() == ["onnxplain.ir.graph -> onnxplain.explain.rewrite"]
    assert found.circles() == [["onnxplain.explain.rewrite", "onnxplain.ir.graph"]]
    assert [line.split(" ", 1)[1] for line in found.lazy()] == ["onnxplain.ir"]
