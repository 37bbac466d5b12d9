"""`onnxplain page`: what it writes, says and refuses."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner, Result

from onnxplain import rewrite
from onnxplain.cli.main import main
from onnxplain.results.live.runtime import FILES
from tests.support.paths import ROOT

FIXTURES = ROOT / "fixtures"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An explained file, and a folder that looks like onnxruntime-web."""
    folder = tmp_path_factory.mktemp("made")
    onnx.save(rewrite(FIXTURES / "digits" / "model.onnx", target="input"), folder / "explained.onnx")
    for name in FILES:
        (folder / name).touch()
    return folder


def page(made: Path, *words: object) -> Result:
    return CliRunner().invoke(main, ["page", str(made / "explained.onnx"), "--runtime", str(made), *map(str, words)])


def test_a_folder_and_a_file(made: Path, tmp_path: Path) -> None:
    digits = FIXTURES / "digits"
    words = ["--scale", "1/255", "--data", digits / "digit_8.png", "--labels", digits / "labels.txt", "--title", "Digits"]
    done = page(made, "-o", tmp_path / "page", *words)
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    text = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "<h1>Digits</h1>" in text
    assert "digit_8.png" in text
    again = page(made, "-o", tmp_path / "page", *words)
    assert again.exit_code == 2
    assert "is not empty; give --force" in again.stderr
    assert page(made, "-o", tmp_path / "page", "--force", *words).exit_code == 0
    assert page(made, "-o", tmp_path / "page.html", *words).exit_code == 0
    assert "exists; give --force" in page(made, "-o", tmp_path / "page.html", *words).stderr


def test_pixels_that_nothing_scales_are_said(made: Path, tmp_path: Path) -> None:
    done = page(made, "-o", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    assert "values from 0 to 255 enter 'image', and the model weighs them at once: give --scale 1/255" in done.stderr


def test_wrong_uses(made: Path, tmp_path: Path) -> None:
    assert "neither a folder nor an .html file; call it explained.html" in page(made, "-o", made / "explained.onnx").stderr
    plain = CliRunner().invoke(main, ["page", str(FIXTURES / "digits" / "model.onnx"), "-o", str(tmp_path / "page")])
    assert plain.exit_code == 2
    assert "is no explained model; make one: onnxplain rewrite" in plain.stderr
    assert not (tmp_path / "page").exists()
    labels = page(made, "-o", tmp_path / "page", "--labels", FIXTURES / "cancer" / "labels.txt")
    assert "2 labels for the 10 outputs" in labels.stderr
    table = page(made, "-o", tmp_path / "page", "--data", FIXTURES / "cancer" / "cancer_samples.csv")
    assert table.exit_code == 2
    assert "has rows of 30 values" in table.stderr
