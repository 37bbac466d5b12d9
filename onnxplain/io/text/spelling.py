"""How a vocabulary spells its tokens, and how a person reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Spelling"]

WORD_MARK = "▁"
"""SentencePiece's sign for a space."""


@dataclass(frozen=True)
class Spelling:
    """What the spelling of tokens means, read from a tokenizer's file.

    Attributes:
        byte_level: whether each character stands for a byte ("Ġ" for a space).
        marks_words: whether "▁" stands for a space.
        inside: what tokens inside of words begin with, such as "##"; "" for nothing.
        end: what tokens at the end of words end with, such as "</w>"; "" for nothing.
    """

    byte_level: bool = False
    marks_words: bool = False
    inside: str = ""
    end: str = ""

    @classmethod
    def of(cls, file: Mapping[str, Any]) -> Spelling:
        """The spelling of a tokenizer.json, which was parsed."""
        model = file.get("model") or {}
        steps = [step for key in ("normalizer", "pre_tokenizer", "decoder") for step in _steps(file.get(key))]
        kinds = {step.get("type") for step in steps}
        marked = any(step.get("content") == WORD_MARK or step.get("prepend") == WORD_MARK for step in steps)
        return cls(
            byte_level="ByteLevel" in kinds,
            marks_words="Metaspace" in kinds or marked,
            inside=model.get("continuing_subword_prefix") or "",
            end=model.get("end_of_word_suffix") or "",
        )

    def read(self, token: str) -> str:
        """A token as a person reads it: "▁good" and "Ġgood" as " good", "##ing" as "ing". Bytes that are part of a character
        stay visible as "\\xf0"."""
        if self.byte_level:
            known = [_BYTES.get(c) for c in token]
            if all(b is not None for b in known):
                return bytes(b for b in known if b is not None).decode("utf-8", "backslashreplace")
            return token
        if self.inside:
            token = token.removeprefix(self.inside)
        if self.end and token.endswith(self.end):
            token = token[: -len(self.end)] + " "
        byte = re.fullmatch(r"<0x([0-9A-F]{2})>", token)
        if byte:
            return bytes([int(byte[1], 16)]).decode("utf-8", "backslashreplace")
        return token.replace(WORD_MARK, " ") if self.marks_words else token


def _steps(part: Any) -> Iterator[Mapping[str, Any]]:
    """The steps of a normalizer, pre-tokenizer or decoder, those of sequences included."""
    if isinstance(part, Mapping):
        yield part
        for value in part.values():
            yield from _steps(value)
    elif isinstance(part, list):
        for value in part:
            yield from _steps(value)


def _byte_alphabet() -> dict[str, int]:
    """The characters that stand for bytes: printable ones for themselves, the others for those from 256 on, in order."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(moved)}


_BYTES = _byte_alphabet()
