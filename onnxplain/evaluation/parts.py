"""What a metric takes of attributions: places or elements, and which of their signs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from onnxplain.blackbox.forward import Array
from onnxplain.evaluation.case import Case, Setting

__all__ = ["CHANNELS", "SIGNS", "check_choice", "check_taken", "signed", "taken"]

SIGNS = {
    "signed": "as they are",
    "positive": "those above zero, others 0",
    "absolute": "their size",
}

CHANNELS = {
    "sum": "summed over channels: one value per place",
    "apart": "every element for itself",
}


def check_choice(name: str, value: object, known: Iterable[str]) -> Iterator[str]:
    """What is wrong with an option that is one of some words."""
    words = list(known)
    if value not in words:
        yield f"{name} is one of {', '.join(words)}, got {value!r}"


def signed(values: Array, sign: str) -> Array:
    """Attributions with the signs a metric takes."""
    if sign == "signed":
        return values
    return np.abs(values) if sign == "absolute" else values.clip(min=0)


def taken(case: Case, channels: str, sign: str = "signed") -> Array:
    """Attributions as rows, float64 [n, places or elements]."""
    values = case.map if channels == "sum" else case.attribution
    return signed(values.reshape(len(case), -1), sign)


def check_taken(setting: Setting, *, channels: str = "sum", sign: str = "signed", **_: object) -> Iterator[str]:
    """What is wrong with the options `channels` and `sign`."""
    yield from check_choice("channels", channels, CHANNELS)
    yield from check_choice("sign", sign, SIGNS)
