"""Cases by kind and number: what is made, and what onnxplain is asked to do with it. The same number makes the same case."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.fuzz import inputs, journals, metadata, models

__all__ = ["KINDS", "run_case"]

METHODS = (
    ("gradient", {}), ("gradient", {}), ("lrp-epsilon", {}), ("deeplift", {"baseline": 0}), ("lrp-epsilon-gamma-box", {"low": -1, "high": 1}),
    ("integrated-gradients", {"baseline": 0, "steps": 4}), ("grad-cam", {}), ("attnlrp", {}),
)  # fmt: skip


def _model(rng: random.Random, folder: Path) -> None:
    """Plan, rewrite, and run what comes out of it beside what went in."""
    import onnxplain

    data = models.mutant(rng)
    path = folder / "mutant.onnx"
    path.write_bytes(data)
    method, options = rng.choice(METHODS)
    if rng.random() < 0.3:
        onnxplain.plan(path, method, **{k: v for k, v in options.items() if k != "baseline"})
    explained = onnxplain.rewrite(path, method, **options)
    if rng.random() < 0.5:
        onnxplain.advise(path)
    if method == "gradient" and rng.random() < 0.5:
        report = onnxplain.check(path, "gradient", providers="cpu", directions=2)
        for finding in report.findings:
            if finding.ok is False and finding.name in ("prediction",):
                raise AssertionError(f"wrong {finding.name}: {finding.detail}")
    else:
        onnxplain.verify(explained, path, providers="cpu")


KINDS: dict[str, Callable[[random.Random, Path], None]] = {
    "model": _model,
    "input": inputs.read,
    "metadata": metadata.look,
    "journal": journals.resume,
}


def run_case(kind: str, number: int, folder: Path) -> None:
    """Make a case and run it; raises what onnxplain raises."""
    KINDS[kind](random.Random(f"{kind} {number}"), folder)
