"""A short run of the fuzzer: no mutant ends in anything but a result or one clear line. `make fuzz` runs it for an hour."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are set as Linux has them")


def fuzz(*words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


@pytest.mark.parametrize(("kind", "cases"), [("model", 60), ("input", 150), ("metadata", 40), ("journal", 150)])
def test_no_mutant_breaks_anything(kind: str, cases: int) -> None:
    done = fuzz("--kind", kind, "--cases", cases)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{kind}: {cases:,} cases" in done.stdout


def test_crashes_hangs_and_memory_are_seen(tmp_path: Path) -> None:
    """The tests above would not stay green by themselves."""
    code = """
import sys, time
from tests.fuzz import cases, pool
from onnxplain.errors import InputError, InternalError
def bad(rng, folder):
    kind = rng.randrange(6)
    if kind == 0: raise KeyError("x")
    if kind == 1: raise InternalError("mine") from KeyError("x")
    if kind == 2: time.sleep(30)
    if kind == 3: bytearray(8 << 30)
    if kind == 4: __import__("os").abort()
    raise InputError("good")
cases.KINDS["bad"] = bad
pool.SECONDS = 1.0
print(sorted({o.verdict for o in pool.outcomes([("bad", n) for n in range(30)])}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['abort', 'crash', 'hang', 'memory', 'refused']"
