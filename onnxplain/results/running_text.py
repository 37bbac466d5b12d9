"""Running text with the relevance of its parts: what pages, pictures and the terminal colour."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from onnxplain.io.text.encoded import EncodedText
from onnxplain.io.text.units import TextUnit
from onnxplain.results.plot.style import rim

__all__ = ["Stretch", "hidden_total", "is_right_to_left", "paragraphs", "strongest_colour"]

FAINT = 0.1
"""Below this share of the strongest colour, a sign is not marked."""

ROUNDING = 1e-7
"""Below this share of all relevance, a rest is none."""


@dataclass(frozen=True)
class Stretch:
    """A piece of running text.

    Attributes:
        text: what it reads.
        value: its relevance; None for what lies between the parts, such as spaces.
        added: whether it is a token that the tokenizer added.
    """

    text: str
    value: float | None = None
    added: bool = False

    def against(self, scale: float) -> bool:
        """Whether it counts against the target, visibly: what a sign beside the colour is for."""
        return self.value is not None and self.value < -FAINT * scale


def paragraphs(encoded: EncodedText, units: Sequence[TextUnit]) -> list[list[Stretch]]:
    """The text, or the two of a pair, in pieces that give the text again when they are joined, but for tokens that are not in it.

    Args:
        encoded: the text.
        units: its parts, as `units_of` gives them.

    Returns:
        One list for each text.
    """
    made: list[list[Stretch]] = [[] for _ in encoded.texts]
    reached = [0] * len(encoded.texts)
    current = 0
    for unit in units:
        if unit.part < 0:
            behind_word = bool(made[current]) and not made[current][-1].text.endswith(" ")
            made[current] += [Stretch(" ")] * behind_word + [Stretch(unit.text, unit.value, added=True), Stretch(" ")]
            continue
        current = unit.part
        if unit.start > reached[current]:
            made[current].append(Stretch(encoded.texts[current][reached[current] : unit.start]))
        made[current].append(Stretch(unit.text, unit.value))
        reached[current] = max(reached[current], unit.end)
    for place, text in enumerate(encoded.texts):
        if text[reached[place] :]:
            made[place].append(Stretch(text[reached[place] :]))
    return made


def strongest_colour(units: Sequence[TextUnit]) -> float:
    """The value with the strongest colour."""
    return rim(np.array([u.value for u in units])) if units else 0.0


def hidden_total(encoded: EncodedText, values: Iterable[float], units: Sequence[TextUnit]) -> float | None:
    """The relevance of tokens that no part shows; None where all are shown, or the rest has none but for rounding."""
    shown = {place for unit in units for place in unit.places}
    every = np.asarray(list(values), np.float64)
    rest = np.array([v for i, v in enumerate(every) if i not in shown])
    return float(rest.sum()) if np.abs(rest).sum() > ROUNDING * np.abs(every).sum() else None


def is_right_to_left(text: str) -> bool:
    """Whether the first letter that has a direction is of a script that runs from right to left."""
    kinds = (unicodedata.bidirectional(c) for c in text)
    return next((kind in ("R", "AL") for kind in kinds if kind in ("L", "R", "AL")), False)
