"""Where explanations of detections and of masks lie: the pointing game and the mass inside, on the pictures of fixtures/shapes.

Run: python benchmarks/localisation.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain import Explainer

SHAPES = Path(__file__).resolve().parents[1] / "fixtures" / "shapes"
NAMES = ("background", "disc", "cross", "frame")
METHODS: dict[str, dict[str, Any]] = {
    "saliency": {}, "input-x-gradient": {}, "integrated-gradients": {"baseline": 0.5, "steps": 20}, "lrp-epsilon-plus": {},
    "lrp-epsilon-gamma-box": {}, "grad-cam": {"upsample": True}, "layer-cam": {"upsample": True},
    "occlusion": {"window": 8, "stride": 4, "baseline": 0.5}, "rise": {"samples": 500, "baseline": 0.5},
    "d-rise": {"samples": 500, "cells": 8, "baseline": 0.5},
}  # fmt: skip

Array = np.ndarray[Any, Any]


def heats(values: Array) -> Array:
    """What speaks for the target at every place, [n, height, width]."""
    return values.sum(axis=1).clip(min=0)


def told(heat: Array, inside: Array) -> tuple[bool, float]:
    """Whether the strongest place lies inside, and the share of the mass that does."""
    return bool(inside.ravel()[heat.argmax()]), float(heat[inside].sum() / max(heat.sum(), 1e-30))


def of_detections(method: str, options: dict[str, Any]) -> Iterator[tuple[bool, float, float]]:
    """For every detection: the pointing game, the mass inside its own box, and the share of the picture that the box takes."""
    x = np.load(SHAPES / "data.npz")["images"].astype(np.float32) / 255
    made = Explainer(str(SHAPES / "detector.onnx"), method, detect="auto", progress=False, **options)(x, "each detection")
    for heat, rows in zip(heats(made.attribution), made.facts["detections"], strict=True):
        left, top, right, bottom = (round(v) for v in next(row[:4] for row in rows if row[7] == 1))
        inside = np.zeros(heat.shape, bool)
        inside[max(top, 0) : bottom, max(left, 0) : right] = True
        yield *told(heat, inside), float(inside.mean())


def of_masks(method: str, options: dict[str, Any]) -> Iterator[tuple[bool, float, float]]:
    """The same for every class in every picture, by the pixels that it truly has."""
    data = np.load(SHAPES / "data.npz")
    x = data["images"].astype(np.float32) / 255
    explainer = Explainer(str(SHAPES / "segmenter.onnx"), method, labels=NAMES, progress=False, **options)
    predicted = Explainer(str(SHAPES / "segmenter.onnx"))(x, "region 0,0,64,64").outputs["logits"].argmax(axis=1)
    for channel in (1, 2, 3):
        rows = [i for i in range(len(x)) if (data["mask"][i] == channel).any() and (predicted[i] == channel).any()]
        made = explainer(x[rows], f"mask of {NAMES[channel]}")
        for heat, i in zip(heats(made.attribution), rows, strict=True):
            inside = data["mask"][i] == channel
            yield *told(heat, inside), float(inside.mean())


def main() -> None:
    print("| method | detections: peak inside | mass inside | masks: peak inside | mass inside |\n|---|---|---|---|---|")
    area: dict[str, float] = {}
    for method, options in METHODS.items():
        cells = [f"`{method}`"]
        for kind in (of_detections, of_masks):
            if kind is of_masks and method == "d-rise":
                cells += ["–", "–"]
                continue
            found = np.array(list(kind(method, options)), np.float64)
            cells += [f"{int(found[:, 0].sum())} of {len(found)}", f"{found[:, 1].mean():.2f}"]
            area[kind.__name__] = float(found[:, 2].mean())
        print(f"| {' | '.join(cells)} |", flush=True)
    print("share of the picture:", ", ".join(f"{kind} {share:.3f}" for kind, share in area.items()))


if __name__ == "__main__":
    main()
