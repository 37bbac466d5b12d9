"""EncodedText: one text, or a pair, as a model takes it, with the place of every token in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["EncodedText", "TextLike"]

TextLike: TypeAlias = "str | tuple[str, str] | list[str]"
"""What stands for one sample: a text, or a pair of them."""


@dataclass(frozen=True)
class EncodedText:
    """One text, or a pair of texts, as tokens. All sequences have one entry per token, padding included.

    Attributes:
        texts: the text, or the two of a pair.
        ids: the numbers of the tokens.
        tokens: the tokens as the vocabulary spells them, such as "▁good", "Ġgood" or "##ing".
        pieces: the tokens as a person reads them, such as " good" or "ing".
        offsets: where each token begins and ends in its text, in characters; (0, 0) for those that are not in it.
        parts: which of the texts each token is of, 0 or 1; −1 for those of none.
        added: whether the tokenizer put the token there (a special token, or padding).
        attended: whether the model is to look at the token; false for padding.
        types: the segment numbers that models with two segments take.
        cut: whether the text was longer, and was cut as the tokenizer's file says.
    """

    texts: tuple[str, ...]
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    pieces: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    parts: tuple[int, ...]
    added: tuple[bool, ...]
    attended: tuple[bool, ...]
    types: tuple[int, ...]
    cut: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def last(self) -> int:
        """The position of the last token that the model looks at, from which a language model goes on."""
        return max((i for i, looks in enumerate(self.attended) if looks), default=-1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "texts": list(self.texts),
            "ids": list(self.ids),
            "tokens": list(self.tokens),
            "pieces": list(self.pieces),
            "offsets": [list(o) for o in self.offsets],
            "parts": list(self.parts),
            "added": list(self.added),
            "attended": list(self.attended),
            "types": list(self.types),
            "cut": self.cut,
        }

    @classmethod
    def of_dict(cls, given: Mapping[str, Any]) -> EncodedText:
        """What `to_dict` gave."""
        rows: dict[str, Sequence[Any]] = {k: given[k] for k in ("texts", "ids", "tokens", "pieces", "parts", "types")}
        return cls(
            **{k: tuple(v) for k, v in rows.items()},
            offsets=tuple((int(a), int(b)) for a, b in given["offsets"]),
            added=tuple(map(bool, given["added"])),
            attended=tuple(map(bool, given["attended"])),
            cut=bool(given["cut"]),
        )
