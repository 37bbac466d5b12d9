"""Prints explanations of texts: running text on coloured ground, and the largest parts as numbers."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.style import Style
from rich.table import Table
from rich.text import Text

from onnxplain.io.text.units import units_of
from onnxplain.results.explanation import Explanation
from onnxplain.results.plot.style import INK, veil
from onnxplain.results.plot.views import columns_of
from onnxplain.results.running_text import hidden_total, paragraphs, strongest_colour

__all__ = ["print_texts"]

PAPER = 255
"""The lightness that colours are laid on: dark words on light ground are read on every terminal."""


def print_texts(console: Console, table: Table, explanation: Explanation, top: int, by: str, special: bool) -> None:
    """Print every text with its parts coloured, then a table of the largest.

    Args:
        console: where to.
        table: with the columns sample, target, total, special tokens and largest.
        explanation: an explanation of texts, of one target.
        top: how many parts to list for each text.
        by: "token", "word" or "sentence".
        special: whether special tokens are shown.
    """
    signed = columns_of([explanation])[0].signed
    plus = "+" if signed else ""
    for number, (text, values) in enumerate(zip(explanation.texts, explanation.token_values(), strict=True)):
        units = units_of(text, values, by, special=special)
        scale = strongest_colour(units)
        for paragraph in paragraphs(text, units):
            line = Text()
            for stretch in paragraph:
                line.append(stretch.text, _style(stretch.value, scale, signed, stretch.against(scale)))
            console.print(line, soft_wrap=not console.is_terminal)
        ranked = sorted(units, key=lambda u: -abs(u.value))[:top]
        shown = ", ".join(f"{u.text.strip() or repr(u.text)} {u.value:{plus}.3g}" for u in ranked)
        rest = hidden_total(text, values, units)
        left = "" if rest is None else f"{rest:{plus}.3g}"
        table.add_row(str(number), escape(explanation.label(number)), f"{float(np.sum(values)):{plus}.4g}", left, escape(shown))
    console.print(table)


def _style(value: float | None, scale: float, signed: bool, against: bool) -> Style:
    """The colour of a part; underlined where it counts against the target, for eyes and terminals without colours."""
    if value is None or not scale:
        return Style()
    red, green, blue, alpha = (float(v) for v in veil(np.array([value]), scale, signed)[0])
    share = 0.75 * alpha / 255
    if share < 0.04:
        return Style()
    ground = [round(PAPER * (1 - share) + c * share) for c in (red, green, blue)]
    return Style(color=INK, bgcolor="#{:02x}{:02x}{:02x}".format(*ground), underline=signed and against)
