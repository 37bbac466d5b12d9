"""Whether the axes that are taken for samples do count them: tried out on the model where the dataflow proves nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnxplain.explain.write import Rewritten
from onnxplain.runtime.session import Session
from onnxplain.verification.axioms import sample_rows
from onnxplain.verification.findings import Finding

__all__ = ["check_apart"]

ROUNDING = 1e-4
"""Changes of other samples' scores, over the change of a sample's own, that rounding explains."""

SHARED = 0.1
"""Changes, likewise, that a scale which all samples share explains, as dynamic quantization has one."""


def check_apart(
    rewritten: Rewritten, session: Session, feeds: Mapping[str, Any], results: Mapping[str, Any]
) -> Finding | None:  # fmt: skip
    """A sample that changes changes its own scores alone: the last one becomes the first.

    Args:
        rewritten: the explained model, which exposes its score.
        session: runs it.
        feeds: the input.
        results: what it returned for that.

    Returns:
        The finding; None where nothing has to be tried: there is one sample, or the dataflow proves it.
    """
    axes, about = rewritten.axes, rewritten.about
    counts = [np.shape(feeds[name])[axis] for name, axis in axes.of_inputs.items()]
    if not axes.batched or axes.proven or min(counts, default=0) < 2:
        return None
    moved = {name: _last_like_first(array, axes.of_input(name)) for name, array in feeds.items()}
    tensor = about["score"]["tensor"]
    before, after = (sample_rows(about, tensor, made[tensor]) for made in (results, session.run(moved)))
    change = np.abs(after - before).max(axis=1, initial=0)
    own, others = float(change[-1]), float(change[:-1].max(initial=0))
    places = ", ".join(f"axis {axis} of '{name}'" for name, axis in axes.of_inputs.items())
    if own == others == 0:
        return Finding("samples", None, f"no score changes along {places}: the first and the last sample are alike")
    share = others / own if own else float("inf")
    if share <= ROUNDING:
        return Finding("samples", True, f"a sample that changes along {places} moves its own scores alone")
    said = f"a sample that changes along {places} moves the scores of others too, by {share:.2g} of its own change"
    if share <= SHARED:
        return Finding("samples", None, f"{said}, as a scale that all samples share does")
    return Finding("samples", False, f"{said}: these are no samples; say which axis counts them, or None (sample_axis)")


def _last_like_first(array: Any, axis: int | None) -> Any:
    if axis is None:
        return array
    made = np.array(array)
    rows = np.moveaxis(made, axis, 0)
    rows[-1] = rows[0]
    return made
