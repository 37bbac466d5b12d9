"""The garbage collector at rest while a graph is built: it holds no garbage, but a million objects to look through again."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

__all__ = ["collector_at_rest"]

P = ParamSpec("P")
R = TypeVar("R")


def collector_at_rest(function: Callable[P, R]) -> Callable[P, R]:
    """The function with Python's cyclic collector off while it runs, if it was on (a fifth of the time of 20,000 nodes)."""

    @wraps(function)
    def quiet(*args: P.args, **kwargs: P.kwargs) -> R:
        was_on = gc.isenabled()
        gc.disable()
        try:
            return function(*args, **kwargs)
        finally:
            if was_on:
                gc.enable()

    return quiet
