"""Parts of a text that relevance is told of: tokens, words, sentences. Each has the sum over the tokens that it is made of."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.errors import InputError, nearest
from onnxplain.io.text.encoded import EncodedText

__all__ = ["UNITS", "TextUnit", "check_unit", "units_of"]

UNITS = ("token", "word", "sentence")
"""What relevance can be told of."""

WORD = re.compile(
    r"[㐀-䶿一-鿿豈-﫿぀-ゟ]"  # scripts without spaces: each Chinese character and Hiragana sign
    r"|[^\W_㐀-䶿一-鿿豈-﫿぀-ゟ]+(?:['’\-\u200d][^\W_]+)*"  # letters and digits, joined by apostrophes and hyphens
    r"|[^\w\s]+|_+"  # signs
)
"""Words and signs."""

SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s|$)|[。！？؟۔]+[”」』）]*|\n\s*\n")
"""Where a sentence ends. Abbreviations are not known: "Dr. Who" is two."""


@dataclass(frozen=True)
class TextUnit:
    """A part of a text.

    Attributes:
        text: what it reads; of tokens that are not in the text, such as "[CLS]", their names.
        part: which of the texts it is of, 0 or 1; −1 where the tokenizer put it there.
        start: where it begins in its text, in characters.
        end: where it ends.
        places: the positions of its tokens.
        value: the sum of their relevance.
    """

    text: str
    part: int
    start: int
    end: int
    places: tuple[int, ...]
    value: float


def check_unit(by: str) -> str:
    """The name of a unit.

    Raises:
        InputError: there is no such unit.
    """
    if by not in UNITS:
        raise InputError(f"text is merged by {', '.join(UNITS)}, not by '{by}'; {nearest(by, UNITS)}")
    return by


def units_of(
    encoded: EncodedText, values: Sequence[float] | np.ndarray[Any, Any], by: str = "word", *, special: bool = False
) -> list[TextUnit]:
    """The parts of a text with their relevance, in order. Together they have all relevance but that of tokens which the tokenizer
    added, unless these are asked for too.

    A token is never split: words that share a token are one part. Tokens that stand for bytes of the same character are one part
    in every unit.

    Args:
        encoded: the text.
        values: the relevance of each token, [tokens].
        by: "token", "word" or "sentence".
        special: whether special tokens and padding are parts of their own.

    Returns:
        The parts, in the order of the first of their tokens.

    Raises:
        InputError: there is no such unit, or not one value per token.
    """
    check_unit(by)
    row = np.asarray(values, np.float64).ravel()
    if len(row) != len(encoded):
        raise InputError(f"{len(row)} values for {len(encoded)} tokens")
    spans = [_span(encoded, i) for i in range(len(encoded))]
    made: list[TextUnit] = []
    for places in _merged(encoded, spans, by):
        part = encoded.parts[places[0]]
        if part < 0 and not special:
            continue
        seen = [spans[i] for i in places if not _is_blank(encoded, i, spans[i])] or [spans[i] for i in places]
        start, end = min(a for a, _ in seen), max(b for _, b in seen)
        text = encoded.texts[part][start:end] if end > start else encoded.pieces[places[0]]
        made.append(TextUnit(text, part, start, end, tuple(places), float(row[places].sum())))
    return made


def _span(encoded: EncodedText, place: int) -> tuple[int, int]:
    """Where a token lies in its text, without the spaces around it where it is more than spaces."""
    start, end = encoded.offsets[place]
    if encoded.parts[place] < 0:
        return 0, 0
    text = encoded.texts[encoded.parts[place]][start:end]
    core = text.strip()
    if not core:
        return start, end
    start += len(text) - len(text.lstrip())
    return start, start + len(core)


def _is_blank(encoded: EncodedText, place: int, span: tuple[int, int]) -> bool:
    """Whether a token is nothing but spaces."""
    part = encoded.parts[place]
    return part >= 0 and not encoded.texts[part][span[0] : span[1]].strip()


def _merged(encoded: EncodedText, spans: Sequence[tuple[int, int]], by: str) -> list[list[int]]:
    """The positions of tokens that form one part, in order. Spaces belong to the word behind them, at the end to the last one."""
    bounds = [_bounds(text, by) for text in encoded.texts]
    groups: list[list[int]] = []
    of, reach, open_space = -1, 0, False
    """The text that the last part is of, where it ends, and whether it is nothing but spaces."""
    for place, (start, end) in enumerate(spans):
        part = encoded.parts[place]
        blank = by != "token" and _is_blank(encoded, place, (start, end))
        if part >= 0 and part == of and (open_space or start < reach):
            groups[-1].append(place)
        else:
            groups.append([place])
            reach = 0
            open_space = blank
        if part >= 0:
            whole = max((b for a, b in bounds[part] if a < end and b > start), default=0)
            reach = max(reach, end, 0 if blank else whole)
        open_space, of = open_space and blank, part
    return _without_trailing_spaces(groups, encoded, spans) if by != "token" else groups


def _without_trailing_spaces(
    groups: Sequence[list[int]], encoded: EncodedText, spans: Sequence[tuple[int, int]]
) -> list[list[int]]:
    """The same parts; what is nothing but spaces goes to the part before it."""
    kept: list[list[int]] = []
    for group in groups:
        part = encoded.parts[group[0]]
        before = kept[-1] if kept and encoded.parts[kept[-1][0]] == part else None
        if part >= 0 and before is not None and all(_is_blank(encoded, i, spans[i]) for i in group):
            before.extend(group)
        else:
            kept.append(group)
    return kept


def _bounds(text: str, by: str) -> list[tuple[int, int]]:
    """Where the parts of a text lie; none for tokens, which lie where they are."""
    if by == "word":
        return _words(text)
    if by == "sentence":
        ends = [m.end() for m in SENTENCE_END.finditer(text)]
        starts = [0, *ends]
        return [(a, b) for a, b in zip(starts, [*ends, len(text)], strict=True) if text[a:b].strip()]
    return []


def _words(text: str) -> list[tuple[int, int]]:
    """Where the words lie. A combining mark - accent, vowel sign, point, virama - is part of the word whose sign it stands on."""
    bare: list[str] = []
    for sign in text:
        bare.append(bare[-1] if bare and _is_mark(sign) else sign)
    made: list[tuple[int, int]] = []
    for start, end in (m.span() for m in WORD.finditer("".join(bare))):
        if made and made[-1][1] == start and _is_mark(text[start]):  # on a sign that is a word of its own
            made[-1] = made[-1][0], end
        else:
            made.append((start, end))
    return made


def _is_mark(sign: str) -> bool:
    return unicodedata.category(sign).startswith("M")
