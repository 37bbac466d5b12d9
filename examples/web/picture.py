"""The picture of the digits page in docs/: `python examples/web/picture.py` after `make demo-web`; needs Chromium."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
THREE = [
    [
        [x + width * math.cos(angle * math.pi), y + height * math.sin(angle * math.pi)]
        for x, y, width, height, start, stop in [(0.46, 0.32, 0.17, 0.15, -0.85, 0.5), (0.46, 0.64, 0.2, 0.18, -0.5, 0.8)]
        for angle in [start + (stop - start) * i / 24 for i in range(25)]
    ]
]
"""One stroke, of two arcs."""
PHONE = {"width": 390, "height": 844}


def main() -> None:
    """Draw a 3 on a computer and, in the dark, on a phone, and put both side by side."""
    site = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "out" / "web")
    with tempfile.TemporaryDirectory() as folder:
        shots = [f"{folder}/{name}.png" for name in ("computer", "phone")]
        steps = [[{"strokes": THREE, "picture": shot, "whole": False}] for shot in shots]
        jobs = [
            {"screen": {"width": 1200, "height": 1010}, "hash": "#method=lrp-epsilon-plus", "steps": steps[0]},
            {"screen": PHONE, "touch": True, "scheme": "dark", "hash": "#method=lrp-epsilon-plus", "steps": steps[1]},
        ]
        Path(folder, "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or ""
        command = ["node", HERE / "test" / "browser.mjs", site, Path(folder, "jobs.json")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "CHROMIUM": chromium})
        computer, phone = (Image.open(shot).convert("RGB") for shot in shots)
        phone = phone.resize((round(phone.width * computer.height / phone.height), computer.height), Image.Resampling.LANCZOS)
        both = Image.new("RGB", (computer.width + 24 + phone.width, computer.height), "white")
        both.paste(computer, (0, 0))
        both.paste(phone, (computer.width + 24, 0))
        both.quantize(256).save(ROOT / "docs" / "web.png", optimize=True)


if __name__ == "__main__":
    main()
