"""The worked examples of CONTRIBUTING.md run, in a copy of the package, and can fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.support.paths import ROOT

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Section:
    """A worked example: files to write, and changes to files of the package."""

    files: dict[str, str]
    changes: dict[str, str]

    @classmethod
    def of(cls, title: str) -> Section:
        text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
        section = re.split(r"^## ", text, flags=re.MULTILINE)
        (body,) = [s for s in section if s.startswith(f"{title}\n")]
        files, changes = {}, {}
        for language, block in BLOCK.findall(body):
            first, _, rest = block.partition("\n")
            if language in ("python", "diff"):
                path = re.fullmatch(r"# ([\w/]+\.py)", first)
                assert path is not None, f"a block of '{title}' does not begin with the name of its file: {first}"
                (files if language == "python" else changes)[path[1]] = rest
        return cls(files, changes)

    @property
    def tests(self) -> list[str]:
        return [path for path in self.files if Path(path).name.startswith("test_")]


def changed(text: str, change: str) -> str:
    """A text with a change applied: ' ' lines are found in this order, '+' lines are put where the last one ends, '-' taken out."""
    lines, place = text.splitlines(), 0
    for line in change.splitlines():
        sign, content = line[:1], line[1:]
        assert sign in (" ", "+", "-"), line
        if sign == "+":
            lines.insert(place, content)
            place += 1
        else:
            place = lines.index(content, place) + (sign == " ")
            if sign == "-":
                del lines[place]
    return "\n".join(lines) + "\n"


def write(section: Section, folder: Path) -> Path:
    """A copy of the package with the example in it."""
    ignored = shutil.ignore_patterns("__pycache__")
    for part in ("onnxplain", "rules"):
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    for path, text in section.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    for path, change in section.changes.items():
        (folder / path).write_text(changed((ROOT / path).read_text(encoding="utf-8"), change), encoding="utf-8")
    return folder


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Python in a folder, which is where it finds the package."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)


def run_tests(folder: Path, section: Section) -> subprocess.CompletedProcess[str]:
    """What the example's own tests say."""
    return python(folder, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(folder), *section.tests)


EXAMPLES = {
    "Add an operator": ("b.Neg(b.MatMul(b.MatMul(transposed, dy), transposed))", "b.MatMul(b.MatMul(transposed, dy), transposed)", 3),
    "Add a relevance rule": ("Branch(absolute, absolute, absolute)", "Branch(absolute, absolute, lambda b, t: b.Add(absolute(b, t), 1))", 2),
    "Add a method": ("dx, b.Neg(dx)", "b.Neg(dx), dx", 2),
    "Add a metric": ("(root - 1)", "root", 1),
}  # fmt: skip
"""The examples, with a mistake that their tests must find, and how many tests they have."""


@pytest.fixture(scope="module")
def copy_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A copy of the package with an example in it, made once."""
    return cache(lambda title: write(Section.of(title), tmp_path_factory.mktemp("copy")))


@pytest.mark.parametrize("title", EXAMPLES)
def test_the_example_passes_its_own_tests(title: str, copy_with: Callable[[str], Path]) -> None:
    done = run_tests(copy_with(title), Section.of(title))
    assert f"{EXAMPLES[title][2]} passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("title", EXAMPLES)
def test_the_tests_of_the_example_find_a_mistake(title: str, tmp_path: Path) -> None:
    section = Section.of(title)
    right, wrong, _ = EXAMPLES[title]
    files = {path: text.replace(right, wrong) for path, text in section.files.items()}
    assert files != section.files
    done = run_tests(write(Section(files, section.changes), tmp_path), section)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "AssertionError" in done.stdout


@pytest.mark.parametrize("title", EXAMPLES)
def test_the_example_is_in_the_style_of_the_house(title: str, copy_with: Callable[[str], Path]) -> None:
    for command in (["check"], ["format", "--check"]):
        words = ["-m", "ruff", *command, "--no-cache", "--config", str(ROOT / "pyproject.toml")]
        done = python(copy_with(title), *words, *Section.of(title).files)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_rule_shares_by_size_in_convolutions_and_dense_layers_with_biases(
    copy_with: Callable[[str], Path], tmp_path: Path
) -> None:
    """Against dense matrices in numpy: a convolution of size 2 over 4 places, a Relu, a dense layer."""
    random = np.random.default_rng(3)
    kernel, shift = random.normal(size=(2, 1, 2)).astype(np.float32), random.normal(size=2).astype(np.float32)
    dense, offset = random.normal(size=(6, 2)).astype(np.float32), random.normal(size=2).astype(np.float32)
    x = random.normal(size=(5, 1, 4)).astype(np.float32)
    text = """<ir_version: 8, opset_import: ["" : 18]> network (float[N, 1, 4] x) => (float[N, 2] y) {
        c = Conv (x, kernel, shift)  r = Relu (c)  f = Flatten (r)  y = Gemm (f, dense, offset) }"""
    model = onnx.parser.parse_model(text)
    for name, values in {"kernel": kernel, "shift": shift, "dense": dense, "offset": offset}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save(model, tmp_path / "model.onnx")
    np.save(tmp_path / "x.npy", x)
    code = """
import sys
import numpy as np
from onnxplain import Explainer, NodePattern
from onnxplain.method.own_composite import own_composite
from onnxplain.propagation.lrp.by_size import by_size
folder = sys.argv[1]
mine = own_composite("mine", [(NodePattern(roles=("linear",)), by_size())])
found = Explainer(f"{folder}/model.onnx", "lrp", composite=mine)(np.load(f"{folder}/x.npy"), target=1)
np.save(f"{folder}/relevance.npy", found.attribution)
"""
    done = python(copy_with("Add a relevance rule"), "-c", code, str(tmp_path))
    assert done.returncode == 0, done.stderr

    matrix = np.zeros((4, 6))  # output 3·channel + place reads inputs place and place + 1
    for channel, place, k in np.ndindex(2, 3, 2):
        matrix[place + k, 3 * channel + place] = kernel[channel, 0, k]
    flat = x.reshape(5, 4).astype(np.float64)
    hidden = np.maximum(flat @ matrix + np.repeat(shift, 3), 0)
    score = (hidden @ dense + offset)[:, 1]
    of_hidden = np.abs(hidden * dense[:, 1])
    of_hidden = score[:, None] * of_hidden / (of_hidden.sum(axis=1, keepdims=True) + abs(offset[1]))
    sizes = np.abs(flat[:, :, None] * matrix)
    wanted = (sizes / (sizes.sum(axis=1) + np.abs(np.repeat(shift, 3)))[:, None] * of_hidden[:, None]).sum(axis=2)
    found = np.load(tmp_path / "relevance.npy").reshape(5, 4)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_the_command_line_knows_what_is_listed(copy_with: Callable[[str], Path]) -> None:
    for title, words in {"Add a method": ("methods", "gradient-x-sign"), "Add a metric": ("metrics", "hoyer")}.items():
        done = python(copy_with(title), "-m", "onnxplain", *words)
        assert done.returncode == 0, done.stderr
        assert words[1] in done.stdout


@pytest.mark.parametrize("title", ["Add a method", "Add a metric"])
def test_it_works_from_a_file_outside_the_package(title: str, tmp_path: Path) -> None:
    """As the page says: once the module is imported. The tests are the example's own."""
    section = Section.of(title)
    (own,) = set(section.files) - set(section.tests)
    (tmp_path / "own_module.py").write_text(section.files[own], encoding="utf-8")
    for path in section.tests:
        (tmp_path / path).write_text("import own_module\n" + section.files[path], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), *section.tests],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert f"{EXAMPLES[title][2]} passed" in done.stdout
