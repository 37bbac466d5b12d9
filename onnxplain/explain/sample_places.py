"""Where samples lie in what an explained model takes and returns."""

from __future__ import annotations

from onnxplain.explain.emit import Emission
from onnxplain.ir.tensor import Tensor

__all__ = ["sample_places"]

IN_FRONT = {"references": None, "draws": 1, "vertices": 1}
"""Names of first extents of run-time inputs that do not count samples, and how many axes they put before the others; None: such
an input is shared by all samples."""

ONE_EACH = ("position", "reference")
"""Run-time inputs with one number per draw and sample."""


def sample_places(emission: Emission) -> dict[str, int | None]:
    """The axis of each input and output of an explained model, and of the explained tensor, that counts samples; None where none
    does."""
    selection = emission.selection
    axes = selection.axes
    made: dict[str, int | None] = {t.name: axes.of_input(t.name) for t in selection.graph.inputs}
    made |= {t.name: axes.axis if kind == "seed" else 0 for kind, t in emission.run_time.items()}
    for (kind, name), tensor in emission.run_time_inputs.items():
        made[tensor.name] = _of_run_time_input(kind, tensor, _own_axis(emission, name))
    made |= {t.name: axes.of(t) for t in (*selection.graph.outputs, *emission.exposed)}
    made |= dict(emission.sample_axes)
    made |= dict.fromkeys(emission.reports.values(), 0)
    made.setdefault(selection.score.tensor.name, axes.axis)
    return made if axes.batched else dict.fromkeys(made)


def _own_axis(emission: Emission, name: str) -> int | None:
    """The sample axis of a tensor by the name that users call it."""
    selection = emission.selection
    known = {e.name: e.axis for e in (*selection.layer_inputs, *selection.layers, *selection.explained)}
    return known[name] if name in known else selection.axes.of(selection.masked[name]) if name in selection.masked else 0


def _of_run_time_input(kind: str, tensor: Tensor, axis: int | None) -> int | None:
    """The sample axis of a run-time input of a method, for something whose sample axis is `axis`."""
    if kind in ONE_EACH:
        return 1
    first = tensor.shape[0] if tensor.shape else None
    ahead = IN_FRONT.get(first, 0) if isinstance(first, str) else 0
    return None if ahead is None or axis is None else axis + ahead
