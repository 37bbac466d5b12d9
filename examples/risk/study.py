"""Risks read off forms by a network: does its explanation name the items that decide? Writes docs/risk.md and its figures.

Needs onnxplain[plot,blackbox] alone: python examples/risk/study.py. With a number it only measures so many wards.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.page import DOCS, fill, run
from examples.risk import published
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
    source = {"published": (PUBLISHED, np.zeros_like(PUBLISHED))}
    draw(over(wards, lambda w: w.importance)[0], weights(), turned | source, path)


def main(count: int | None) -> None:
    """Measure and say; write the page and its figures."""
    wards = [measure(seed) for seed in track(range(count or WARDS), "wards", None)]
    made = tables(wards, [published.measure(ward) for ward in wards])
    print("\n\n".join(made.values()))
    if count is None:
        fill("risk.md", made)
        picture(wards, DOCS / "risk.png")
        draw_form(example(wards[0]), DOCS / "risk_form.png")


def wanted(arguments: list[str]) -> int | None:
    """How many wards the command line asks for.

    Raises:
        ValueError: it is no whole number above 0.
    """
    if not arguments:
        return None
    if len(arguments) > 1 or not arguments[0].isdigit() or int(arguments[0]) < 1:
        raise ValueError(
            f"expected a number of wards, found {' '.join(arguments)!r}; the forms are made up and cannot be replaced"
        )
    return int(arguments[0])


if __name__ == "__main__":
    run(lambda: main(wanted(sys.argv[1:])))
