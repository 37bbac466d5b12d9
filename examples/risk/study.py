"""Risks read off forms by a network: does its explanation name the items that decide? Writes docs/risk.md and its figures.

Needs onnxplain[plot,blackbox] alone: python examples/risk/study.py. With a number it only measures so many wards.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.page import DOCS, fill
from examples.risk.measuring import RANKINGS, Ward, measure, weights
from examples.risk.one_form import example
from examples.risk.picture import draw
from examples.risk.picture_form import draw_form
from examples.risk.tables import PUBLISHED, over, tables
from onnxplain.runtime.progress import track

WARDS = 10
"""Stacks of forms, each filled in, learned and explained anew."""


def picture(wards: Sequence[Ward], path: Path) -> None:
    """Draw what was measured."""
    turned = {r: over(wards, lambda w, r=r: w.flips[r]) for r in RANKINGS}
    published = {"published": (PUBLISHED, np.zeros_like(PUBLISHED))}
    draw(over(wards, lambda w: w.importance)[0], weights(), turned | published, path)


def main(count: int | None) -> None:
    """Measure and say; write the page and its figures."""
    wards = [measure(seed) for seed in track(range(count or WARDS), "wards", None)]
    made = tables(wards)
    print(made)
    if count is None:
        fill("risk.md", made)
        picture(wards, DOCS / "risk.png")
        draw_form(example(), DOCS / "risk_form.png")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else None)
