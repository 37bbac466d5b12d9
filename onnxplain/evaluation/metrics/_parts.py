"""What metrics share: which part of attributions they take (places or elements, of which sign), and checks of options."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.runtime.scorer import Array

__all__ = [
    "CHANNELS", "SIGNS", "check_between", "check_choice", "check_extent", "check_taken", "check_truth", "check_whole", "extent",
    "is_number", "signed", "taken",
]  # fmt: skip

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


def is_number(value: object) -> bool:
    """Whether an option is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_whole(name: str, value: object, least: int) -> Iterator[str]:
    """What is wrong with an option that is a whole number from `least` on."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        yield f"{name} is a whole number from {least} on, got {value!r}"


def check_between(name: str, value: Any, low: float, high: float = np.inf) -> Iterator[str]:
    """What is wrong with an option that is a number between two, both excluded."""
    if not is_number(value) or not low < value < high:
        yield f"{name} is a number {f'above {low}' if high == np.inf else f'between {low} and {high}'}, got {value!r}"


def check_truth(name: str, value: object) -> Iterator[str]:
    """What is wrong with an option that is true or false."""
    if not isinstance(value, bool):
        yield f"{name} is true or false, got {value!r}"


def check_extent(name: str, value: Any, most: int) -> Iterator[str]:
    """What is wrong with an option that is a number of places, or with a decimal point a share of them."""
    if not is_number(value) or not 0 < value <= (1 if isinstance(value, float) else most):
        yield f"{name} is a number of places from 1 to {most}, or a share of them up to 1.0, got {value!r}"


def extent(value: int | float, of: int) -> int:
    """The number of places that such an option means."""
    return max(1, round(value * of)) if isinstance(value, float) else value


def signed(values: Array, sign: str) -> Array:
    """Attributions with the signs a metric takes."""
    if sign == "signed":
        return values
    return np.abs(values) if sign == "absolute" else values.clip(min=0)


def taken(batch: MetricBatch, channels: str, sign: str = "signed") -> Array:
    """Attributions as rows, float64 [n, places or elements]."""
    values = batch.map if channels == "sum" else batch.attribution
    return signed(values.reshape(len(batch), -1), sign)


def check_taken(context: MetricContext, *, channels: str = "sum", sign: str = "signed", **_: object) -> Iterator[str]:
    """What is wrong with the options `channels` and `sign`."""
    yield from check_choice("channels", channels, CHANNELS)
    yield from check_choice("sign", sign, SIGNS)
