"""Norms over the places of a channel, or of a group of channels, in every spelling."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tests.support.linear_cases import random
from tests.support.spellings.kinds import LAST, Spellings
from tests.support.writer import Writer

__all__ = ["CHANNELS", "CHANNEL_NORMS"]

CHANNELS = (4, 6)
"""Extents of a sample: channels and places."""

GROUPS, EPSILON = 2, 1e-3
SCALE, SHIFT = random(4, seed=31) + 1.5, random(4, seed=32)
WIDE_SCALE, WIDE_SHIFT = SCALE[:, None], SHIFT[:, None]
GROUPED = np.array([0, GROUPS, -1])


def _scaled(w: Writer, x: str) -> str:
    return str(w.Add(w.Mul(x, WIDE_SCALE), WIDE_SHIFT))


def _centred(w: Writer, x: str) -> str:
    return str(w.Sub(x, w.ReduceMean(x, LAST)))


def _by_deviation(w: Writer, x: str) -> str:
    """(x − μ) / σ, as exporters that know no such norm write it."""
    centred = _centred(w, x)
    return str(w.Div(centred, w.Sqrt(w.Add(w.ReduceMean(w.Mul(centred, centred), LAST), EPSILON))))


def _by_inverse(w: Writer, x: str) -> str:
    """(x − μ) · 1/σ, the square a power."""
    centred = _centred(w, x)
    return str(w.Mul(centred, w.Reciprocal(w.Sqrt(w.Add(w.ReduceMean(w.Pow(centred, 2.0), LAST), EPSILON)))))


def _unscaled(w: Writer, x: str, channels: int) -> str:
    return str(w.InstanceNormalization(x, np.ones(channels), np.zeros(channels), epsilon=EPSILON))


def _back(w: Writer, x: str) -> str:
    return str(w.Reshape(x, np.array([0, *CHANNELS])))


CHANNEL_NORMS: Mapping[str, Spellings] = {
    "instance norm": {
        "InstanceNormalization": lambda w, x: w.InstanceNormalization(x, SCALE, SHIFT, epsilon=EPSILON),
        "scale and shift behind": lambda w, x: _scaled(w, _unscaled(w, x, 4)),
        "mean and deviation": lambda w, x: _scaled(w, _by_deviation(w, x)),
        "inverse deviation": lambda w, x: _scaled(w, _by_inverse(w, x)),
        "a group for each channel": lambda w, x: w.GroupNormalization(x, SCALE, SHIFT, num_groups=4, epsilon=EPSILON),
    },
    "group norm": {
        "GroupNormalization": lambda w, x: _scaled(
            w, w.GroupNormalization(x, np.ones(GROUPS), np.zeros(GROUPS), num_groups=GROUPS, epsilon=EPSILON)
        ),
        "PyTorch, legacy": lambda w, x: _scaled(w, w.Reshape(_unscaled(w, w.Reshape(x, GROUPED), GROUPS), w.Shape(x))),
        "mean and deviation": lambda w, x: _scaled(w, _back(w, _by_deviation(w, w.Reshape(x, GROUPED)))),
        "inverse deviation": lambda w, x: _scaled(w, _back(w, _by_inverse(w, w.Reshape(x, GROUPED)))),
    },
}
