"""Explained models in Node and in pages: where the programs are, and a page used as a person does, in headless Chromium."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.paths import ROOT

EXAMPLE = ROOT / "examples" / "web"
NODE, NPM = shutil.which("node"), shutil.which("npm")
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)

node_needed = pytest.mark.skipif(NODE is None or NPM is None, reason="no Node.js with npm on this machine")
browser_needed = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (or name one by CHROMIUM)")


def shell(*words: object, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command and keep what it prints."""
    return subprocess.run(
        [str(w) for w in words], cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}
    )  # fmt: skip


def install() -> Path:
    """The packages that package-lock.json names, installed beside it."""
    installed, lock = EXAMPLE / "node_modules" / ".package-lock.json", EXAMPLE / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        # Without install scripts: they would fetch CUDA libraries that nothing here uses.
        done = shell(NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=EXAMPLE)
        assert done.returncode == 0, done.stderr
        installed.touch()
    return EXAMPLE / "node_modules"


def use(page: Path, folder: Path, *jobs: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """What a page, a folder or an .html file, holds and shows after each step of each job. Nothing may go wrong meanwhile."""
    (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    done = shell(NODE, EXAMPLE / "test" / "browser.mjs", page, folder / "jobs.json", CHROMIUM=str(CHROMIUM))
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    for answer in answers:
        assert answer["problems"] == []
        for shown in answer["shown"]:
            assert shown["unnamed"] == [], "something has no name for a screen reader"
    return [answer["shown"] for answer in answers]


def array(tensor: dict[str, Any], dtype: Any = np.float64) -> np.ndarray[Any, Any]:
    """A tensor of the page as an array."""
    data = [np.nan if v is None else v for v in tensor["data"]]
    return np.array(data, dtype).reshape(tensor["dims"])


def close(found: Any, expected: Any, bound: float, least: float = 0) -> None:
    """Equal up to a part of the largest number, or of `least` where that is larger."""
    wide, exact = (np.asarray(a, np.float64) for a in (found, expected))
    assert wide.shape == exact.shape
    np.testing.assert_allclose(wide, exact, rtol=0, atol=bound * max(np.abs(exact).max(initial=0), least, 1e-30))
