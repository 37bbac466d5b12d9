"""The package as a stranger gets it: wheel, sdist, README."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import click
import onnx
import pytest

from onnxplain.cli.example import FILES
from onnxplain.cli.main import main
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel and sdist, built by the project's own backend."""
    out = tmp_path_factory.mktemp("dist")
    for build in ("build_wheel", "build_sdist"):
        code = f"import hatchling.build as h; print(h.{build}({str(out)!r}))"
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    return out


def test_wheel_and_sdist_carry_the_rules(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    for path in (ROOT / "rules").glob("*.py"):
        assert f"onnxplain/rules/{path.name}" in names
    assert "onnxplain/py.typed" in names
    assert "onnxplain/results/templates/report.html" in names
    assert {f"onnxplain/example/{name}" for name in (*FILES, "explained.js")} <= set(names)
    assert {f"onnxplain/results/templates/live/{p.name}" for p in (ROOT / "onnxplain/results/templates/live").iterdir()} <= set(
        names
    )
    assert any(n.endswith("licenses/LICENSE") for n in names)
    assert any(n.endswith("licenses/NOTICE") for n in names)
    assert not any(n.startswith(("rules/", "tests/", "fixtures/")) for n in names)
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = sdist.getnames()
    assert any(re.fullmatch(r"onnxplain-[^/]+/rules/linear.py", n) for n in names)


def test_wheel_works_from_another_directory(built: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site)}
    where = subprocess.run(
        [sys.executable, "-c", "import onnxplain.ir.registry as r; print(r.own_rules())"],
        cwd=elsewhere, env=environment, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert Path(where) == (site / "onnxplain" / "rules").resolve()
    done = subprocess.run(
        [sys.executable, "-m", "onnxplain", "explain", ROOT / "fixtures/digits/model.onnx", ROOT / "fixtures/digits/digit_3.npy", "-o", "e.html"],
        cwd=elsewhere, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (elsewhere / "e.html").stat().st_size > 10_000
    done = subprocess.run(
        [sys.executable, "-m", "onnxplain", "example", "try"], cwd=elsewhere, env=environment, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (elsewhere / "try").iterdir()} == set(FILES)
    code = "from onnxplain.results.live.program import page_program; print(len(page_program()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert int(done.stdout) > 20_000, done.stderr


def test_readme_tables_are_those_of_the_registry() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def commands() -> list[str]:
    """The commands of the page that shows every command at work."""
    section = (ROOT / "docs" / "shell.md").read_text(encoding="utf-8").split("```")[1]
    return [line.removeprefix("$ ") for line in section.splitlines() if line.startswith("$ ")]


@pytest.mark.slow
def test_commands_of_the_shell_page_run(tmp_path: Path) -> None:
    (tmp_path / "fixtures").symlink_to(ROOT / "fixtures")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert len(commands()) >= 15
    for command in commands():
        words = shlex.split(command)
        assert words[0] == "onnxplain"
        done = subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stderr)


def test_the_readme_works_as_it_stands(tmp_path: Path) -> None:
    """From the README alone, in an empty folder: its commands, its Python, and the file that its C++ is about."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    lines = [line.removeprefix("$ ").partition("  #")[0] for line in text.split("```")[1].splitlines() if line.startswith("$ ")]
    assert lines[0] == "pip install 'onnxplain[all]'"
    assert len(lines) >= 4
    for line in lines[1:]:
        assert line.startswith("onnxplain ")
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(line)], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, (line, done.stderr)
    assert (tmp_path / "eight.html").stat().st_size > 10_000
    (tmp_path / "eight.html").unlink()
    code = text.split("```python")[1].split("```")[0]
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "eight.html").stat().st_size > 10_000
    model = onnx.load(tmp_path / "explained.onnx")
    named = [re.findall(r'"(\w+)"', line) for line in re.findall(r"const char\* \w+\[\] = \{(.*?)\};", text)]
    assert named == [[v.name for v in model.graph.input], [v.name for v in model.graph.output]]


def test_every_command_that_the_readme_names_exists() -> None:
    """With its options, which the command's own help lists."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = [line.split() for line in re.findall(r"`onnxplain ([a-z][^`]*)`", text)]
    assert {words[0] for words in named} >= {"explain", "rewrite", "page", "map", "advise", "check"}
    for command, *words in named:
        found = main.get_command(click.Context(main), command)
        assert found is not None, command
        options = {name for parameter in found.params for name in parameter.opts}
        assert {w for w in words if re.fullmatch(r"--?[a-z-]+", w)} <= options, command
