"""Pairs of features, as an option names them."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from onnxplain.errors import MethodError

__all__ = ["chosen_pairs"]


def chosen_pairs(given: Any, features: int) -> list[tuple[int, int]]:
    """The pairs of features that an option names: none, "all", or pairs of numbers.

    Raises:
        MethodError: it names something else.
    """
    if given is None:
        return []
    if isinstance(given, str):
        if given != "all":
            raise MethodError(f"pairs='{given}' is unknown; give 'all', or pairs of numbers of features such as [[0, 2], [1, 3]]")
        return list(combinations(range(features), 2))
    numbers = np.asarray(given)
    if numbers.dtype.kind not in "iu" or numbers.ndim != 2 or numbers.shape[1] != 2 or (numbers[:, 0] == numbers[:, 1]).any():
        raise MethodError(f"pairs takes pairs of numbers of two features such as [[0, 2], [1, 3]], or 'all'; got {given!r}")
    beyond = numbers[(numbers < 0) | (numbers >= features)]
    if len(beyond):
        raise MethodError(f"pairs names feature {beyond[0]}, but there are {features}, counted from 0")
    return [(int(a), int(b)) for a, b in numbers]
