"""Unfinished files: processes that write into one folder never sweep each other's away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

WRITER = """
import sys
from pathlib import Path
from onnxplain.io.parts import part_of
for i in range(300):
    with part_of(Path(sys.argv[1], f"{sys.argv[2]}.{i % 5}")) as file:
        file.write(b"whole")
"""


def test_many_writers_in_one_folder(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(n)], env=environment) for n in range(3)]
    assert [w.wait(120) for w in writers] == [0, 0, 0]
    assert sorted(os.listdir(tmp_path)) == sorted(f"{n}.{i}" for n in range(3) for i in range(5))
    assert {p.read_bytes() for p in tmp_path.iterdir()} == {b"whole"}
