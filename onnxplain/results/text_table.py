"""Explanations of texts as long tables, one row per word, token or sentence."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxplain.io.text.units import check_unit, units_of
from onnxplain.results.explanation_data import ExplanationData
from onnxplain.results.prediction import target_name

__all__ = ["is_in_words", "text_columns"]

Array = np.ndarray[Any, Any]

COLUMNS = ("sample", "target", "text", "part", "start", "end", "tokens", "added", "attribution")


def is_in_words(explanation: ExplanationData) -> bool:
    """Whether all that is attributed are the tokens of texts."""
    return bool(explanation.texts) and all(explanation.is_of_text(name) for name in explanation.attributions)


def text_columns(explanation: ExplanationData, by: str = "word") -> dict[str, Array]:
    """The columns of the table. All have the same length.

    - sample: the index of the sample.
    - target: what was explained.
    - text: what the part reads.
    - part: which text of a pair it is of, 0 or 1; −1 for what the tokenizer added.
    - start, end: where it lies in that text, in characters.
    - tokens: of how many tokens it consists.
    - added: whether the tokenizer added it, as it does [CLS] and padding.
    - attribution: the sum over its tokens.

    Args:
        explanation: an explanation of texts.
        by: "token", "word" or "sentence".

    Returns:
        Columns by name.

    Raises:
        InputError: there is no such unit.
    """
    check_unit(by)
    values = explanation.token_values()
    every = values.ndim == 3
    rows: list[tuple[Any, ...]] = []
    for sample, text in enumerate(explanation.texts):
        targets = values[sample] if every else values[sample][None]
        for target, row in enumerate(targets):
            name = explanation.class_name(target) if every else target_name(explanation, sample)
            rows += [
                (sample, name, u.text, u.part, u.start, u.end, len(u.places), u.part < 0, u.value)
                for u in units_of(text, row, by, special=True)
            ]
    columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    made = {name: np.array(column) for name, column in zip(COLUMNS, columns, strict=True)}
    return {k: v.astype(object) if v.dtype.kind == "U" else v for k, v in made.items()}
