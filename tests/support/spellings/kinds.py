"""What a spelling is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from tests.support.writer import Writer

Spelling: TypeAlias = "Callable[[Writer, str], str]"
"""Writes a function of one tensor."""

Spellings: TypeAlias = Mapping[str, Spelling]
"""Ways to write one function, by name. The first is the plainest; all others compute the same."""

MS = "com.microsoft"

TOKENS = (3, 7)
"""Extents of a sample for what works along the last axis."""

LAST = np.array([-1])


def stretched(w: Writer, reduced: str, like: str) -> str:
    """What a reduction along the last axis made, brought to the extents of a tensor as jax2tf writes it."""
    return str(w.Expand(w.Reshape(reduced, np.array([-1, TOKENS[0], 1])), w.Shape(like)))
