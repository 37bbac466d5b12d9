"""The documentation site: every page in its navigation, every public name on it, and links that lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import onnxplain
from onnxplain import Explainer
from tests.support.paths import ROOT

DOCS = ROOT / "docs"


def test_every_page_is_in_the_navigation() -> None:
    named = set(re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    assert named == {p.name for p in DOCS.glob("*.md")}


def test_every_public_name_is_in_the_reference() -> None:
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    shown = [line.rpartition(".")[2] for line in page.splitlines() if line.startswith("::: onnxplain.")]
    assert sorted(shown) == sorted(name for name in onnxplain.__all__ if not name.startswith("_"))


def test_links_out_of_the_folder_lead_to_the_repository() -> None:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("site_hook", DOCS / "site.py")
    assert spec is not None
    assert spec.loader is not None
    hook = module_from_spec(spec)
    spec.loader.exec_module(hook)
    page = SimpleNamespace(file=SimpleNamespace(src_uri="contract.md"))
    found = hook.on_page_markdown("[a](../examples/cpp/explain.cpp#L3) [b](trees.md) [c](https://x.org)", page=page)
    assert found == f"[a]({hook.REPOSITORY}examples/cpp/explain.cpp#L3) [b](trees.md) [c](https://x.org)"


def test_the_site_builds(tmp_path: Path) -> None:
    mkdocs = shutil.which("mkdocs", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if mkdocs is None:
        pytest.skip("mkdocs is not installed: it comes with the extra 'docs'")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [mkdocs, "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "load_image" in (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")


def steps(page: str) -> Iterator[list[str]]:
    """What to run for a page, in its order: the commands for the shell, and its Python, each time with what came before it."""
    text, code = (DOCS / page).read_text(encoding="utf-8"), ""
    for kind, block in re.findall(r"^```(python|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if kind == "python":
            code += block
            continue
        if code:
            yield ["-c", code]
        yield from (["-m", *shlex.split(line[2:])] for line in block.splitlines() if line.startswith("$ onnxplain"))
    if code:
        yield ["-c", code]


def test_the_first_pages_work_as_they_stand(tmp_path: Path) -> None:
    """Commands and Python, in an empty folder, in the order of the pages."""
    done: list[list[str]] = []
    for step in (step for page in ("index.md", "pictures.md") for step in steps(page)):
        if step in done:
            continue
        ran = subprocess.run([sys.executable, *step], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
                             capture_output=True, text=True)  # fmt: skip
        assert ran.returncode == 0, (step, ran.stderr)
        done.append(step)
    assert (tmp_path / "eight.html").stat().st_size > 10_000


def test_objects_in_and_out_work_as_they_stand() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / "objects.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    done = subprocess.run([sys.executable, "-c", "\n".join(blocks)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_page_on_series_works_as_it_stands(tmp_path: Path) -> None:
    """Its Python first, which makes the window that its commands explain."""
    for folder in ("examples", "fixtures"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    text = (DOCS / "series.md").read_text(encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line in re.findall(r"^\$ (onnxplain .*)$", text, re.MULTILINE):
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(line)], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, (line, done.stderr)
    assert (tmp_path / "window.png").stat().st_size > 10_000


def test_calls_that_take_the_place_of_other_libraries_run() -> None:
    """Every call on docs/migration.md that names all it needs, on the digits."""
    text = (DOCS / "migration.md").read_text(encoding="utf-8")
    images = np.load(ROOT / "fixtures" / "digits" / "data.npz")["image"]
    given = {
        "Explainer": Explainer,
        "model": ROOT / "fixtures" / "digits" / "model.onnx",
        "x": images[:1],
        "target": 3,
        "rows": images[1:4],
    }
    calls = re.findall(r"`(Explainer\([^`]*\)\(x, target\))`", text)
    assert len(calls) >= 25
    for call in calls:
        small = re.sub(r'"(kernel-shap|lime|shapley-sampling|partition-shap)"', r'"\1", samples=200', call)
        assert len(eval(small, given)) == 1, call
