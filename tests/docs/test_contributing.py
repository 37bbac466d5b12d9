"""The worked examples of CONTRIBUTING.md do what the page says, and the files beside it fit the project."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import Explainer, rewrite
from onnxplain._version import __version__
from tests.support.models import model, node, run, slopes
from tests.support.paths import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DIGITS = ROOT / "fixtures" / "digits" / "model.onnx"


def example(name: str) -> str:
    found = re.search(rf"<!-- example: {name} -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, name
    return found[1]


@pytest.fixture
def images() -> np.ndarray[Any, Any]:
    return np.asarray(np.load(DIGITS.with_name("data.npz"))["image"][:3])


def test_a_rule_and_an_expansion_of_your_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(example("rule"), encoding="utf-8")
    nodes = [node("Softsign", "x", "h"), onnx.helper.make_node("Bend", ["h"], ["y"], name="bend", domain="example")]
    made = model(nodes, {"x": ["n", 4]}, {"y": ["n", 4]})
    made.opset_import.append(onnx.helper.make_opsetid("example", 1))
    explained = rewrite(made, target=1, rules=tmp_path)
    x = np.array([[0.5, -1.5, 2.0, 0.1]], np.float32)
    found = run(explained, {"x": x})
    wanted = np.zeros(4)
    wanted[1] = 2 * abs(-1.5 / 2.5) / 2.5**2  # d(s·|s|)/dx with s = x / (1 + |x|), at x = −1.5
    np.testing.assert_allclose(found["x_attribution"][0], wanted, rtol=1e-5, atol=1e-7)
    assert all(not n.domain for n in explained.graph.node)


def test_a_composite_of_your_own(images: np.ndarray[Any, Any]) -> None:
    space: dict[str, Any] = {"images": images}
    text = example("composite").replace('"fixtures/digits/model.onnx"', repr(str(DIGITS)))
    exec(compile(text, "CONTRIBUTING.md", "exec"), space)
    attribution = space["explanation"].attribution
    assert attribution.shape == images.shape
    plain = Explainer(DIGITS, "lrp-epsilon")(images, target=3).attribution
    assert (plain[images == 0] == 0).all()
    assert (attribution[images == 0] != 0).any()  # the flat rule of the first layer looks at no input value


def package_with(tmp_path: Path, file: str, text: str, listed: Path, before: str, after: str) -> Path:
    """A copy of the package with one more file, named where the page says."""
    for folder in ("onnxplain", "rules"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / file).write_text(text, encoding="utf-8")
    path = tmp_path / listed
    source = path.read_text(encoding="utf-8")
    assert before in source
    path.write_text(source.replace(before, after, 1), encoding="utf-8")
    return tmp_path


def python(code: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_method_in_one_file(tmp_path: Path, images: np.ndarray[Any, Any]) -> None:
    where = package_with(
        tmp_path, "onnxplain/method/powered.py", example("method"), Path("onnxplain/method/registry.py"),
        '"gradient", "taylor"', '"gradient", "powered", "taylor"',
    )  # fmt: skip
    explained = where / "explained.onnx"
    code = f"import onnx, onnxplain; onnx.save(onnxplain.rewrite({str(DIGITS)!r}, 'powered-gradient', target=3, power=2.0), 'explained.onnx')"
    python(code, where)
    found = run(onnx.load(explained), {"image": images})["image_attribution"]
    logits = onnx.load(DIGITS)
    score = logits.graph.output[0].name
    seed = np.zeros((len(images), 10), np.float32)
    seed[:, 3] = 1
    expected = slopes(logits, {"image": images}, "image", score, seed) ** 2
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99  # differences cross kinks
    assert "powered-gradient" in python("from onnxplain.cli.main import main; main(['methods'])", where)


def test_a_metric_in_one_file(tmp_path: Path) -> None:
    where = package_with(
        tmp_path, "onnxplain/evaluation/metrics/shares.py", example("metric"), Path("onnxplain/evaluation/metric.py"),
        '"complexity": (', '"complexity": ("shares", ',
    )  # fmt: skip
    code = (
        "import numpy as np, onnxplain\n"
        f"images = np.load({str(DIGITS.with_name('data.npz'))!r})['image'][:4]\n"
        f"made = onnxplain.evaluate({str(DIGITS)!r}, images, ['gradient'], ['largest-share'], progress=False)\n"
        f"sizes = abs(onnxplain.Explainer({str(DIGITS)!r})(images).attribution).reshape(4, -1)\n"
        "frame = made.to_pandas()\n"
        "found = frame[frame.metric == 'largest-share'].score.to_numpy()\n"
        "np.testing.assert_allclose(sorted(found), sorted(sizes.max(1) / sizes.sum(1)), rtol=1e-5)\n"
        "print('equal')"
    )
    assert python(code, where).endswith("equal")


# -- files beside the page -------------------------------------------------------------------------------------------------


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", ".pre-commit-config.yaml", ".github/workflows/test.yml", ".ci/run"])
def test_every_make_target_that_is_named_exists(name: str) -> None:
    named = set(re.findall(r"(?:^|[:$] |`)make ([a-z-]+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))
    assert named, name
    assert named <= targets()


def test_versions_agree() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f'\nversion = "{__version__}"\n' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
