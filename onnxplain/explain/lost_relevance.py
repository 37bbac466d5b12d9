"""Relevance that does not come through, found after a run: exactly zero for a sample, or so large that it cancels a thousandfold.

Looking costs a pass over the attributions. Where they look so, and once for each model, the run is done again with a ledger,
which names the node.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from onnxplain.errors import RelevanceWarning
from onnxplain.propagation.ledger import GROWTH, NodeConservation, passage

__all__ = ["seems_lost", "warn_of_passage"]


def seems_lost(attributions: Mapping[str, Any], batched: bool) -> bool:
    """Whether relevance seems to have vanished or grown: in a sample all is zero, or in most it cancels to a thousandth.

    Args:
        attributions: by what they explain.
        batched: whether their first axis counts samples.
    """
    arrays = [np.asarray(a) for a in attributions.values() if np.asarray(a).dtype.kind == "f"]
    count = len(arrays[0]) if batched and arrays and arrays[0].ndim else 1
    if not arrays or any(not a.size or (batched and len(a) != count) for a in arrays):
        return False
    rows = [a.reshape(count, -1) for a in arrays]
    sizes = np.sum([np.abs(r).sum(axis=1, dtype=np.float64) for r in rows], axis=0)
    totals = np.abs(np.sum([r.sum(axis=1, dtype=np.float64) for r in rows], axis=0))
    return bool((sizes == 0).any() or (sizes >= GROWTH * totals).mean() > 0.5)  # by chance a score may be close to zero


def warn_of_passage(method: str, trace: Callable[[], list[NodeConservation]]) -> None:
    """Warn where a ledger shows that relevance vanishes or grows, and where.

    Args:
        method: its name.
        trace: runs the model with a ledger.
    """
    found = passage(trace())
    if found.vanishes is not None or found.grows is not None:
        warnings.warn(f"{method}: {found}; `check` shows what every node receives and sends", RelevanceWarning, stacklevel=4)
