"""The arm example: what its README says of the network and its explanations."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.support.paths import ROOT

EXAMPLE = ROOT / "examples" / "arm"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("arm_study", EXAMPLE / "study.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_derivatives_of_the_arm_are_those_of_its_formula(example: ModuleType) -> None:
    angles = np.random.default_rng(0).uniform(-3, 3, (20, 2))
    for joint in range(2):
        step = np.eye(2)[joint] * 1e-6
        slope = (example.arm(angles + step) - example.arm(angles - step)) / 2e-6
        np.testing.assert_allclose(example.derivatives(angles)[:, :, joint], slope, atol=1e-8)


def test_numbers(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    found = example.study()
    for method, best in (("gradient", 0.998), ("smoothgrad", 0.999)):
        numbers = found[method]
        assert numbers["place"] <= 0.01
        assert numbers["r2"] > best
        for threshold in (1.5, 2, 3, 4):
            assert numbers[f"right_{threshold}"] > 0.9986
            assert numbers[f"same_{threshold}"] > 0.95
    table = (EXAMPLE / "README.md").read_text()
    for threshold in (1.5, 2, 3, 4):
        row = next(line for line in table.splitlines() if line.startswith(f"| {threshold} |"))
        told = [float(cell.strip(" %")) for cell in row.split("|")[3:-1]]
        wanted = [100 * found[m][f"{n}_{threshold}"] for m in ("gradient", "smoothgrad") for n in ("right", "same")]
        np.testing.assert_allclose(told, wanted, atol=0.05)
    assert "smoothgrad" in capsys.readouterr().out


def test_picture(example: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib, from the extra 'plot'")
    example.draw(tmp_path / "arm.png")
    assert (tmp_path / "arm.png").stat().st_size > 20_000
