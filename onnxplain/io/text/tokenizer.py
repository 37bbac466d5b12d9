"""Tokenizer: a tokenizer.json, read by the tokenizers library, which texts, ids and tokens go through."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from onnxplain._optional import optional
from onnxplain.errors import InputError, TargetError, nearest
from onnxplain.io.text.encoded import EncodedText, TextLike
from onnxplain.io.text.spelling import Spelling

__all__ = ["FILE_NAME", "Tokenizer", "tokenizer_beside"]

FILE_NAME = "tokenizer.json"

PADDING = ("[PAD]", "<pad>", "<PAD>", "<|pad|>", "<|padding|>", "[pad]")
"""Tokens that are padding by their name, where the file does not say which one is."""

MOSTLY = 0.9
"""A vocabulary of fewer tokens than this share of a table's rows is hardly the table's: tables are padded by a little only."""


class Tokenizer:
    """A tokenizer.json: WordPiece, BPE, Unigram or any other model that the tokenizers library reads.

    Texts are encoded as the file says: its normalization, its special tokens, its truncation. Padding is laid on by `padded`, on
    the side and with the token that the file names.

    Args:
        file: the text of the file.
        name: what the file is called.
        max_length: cut texts to so many tokens; None leaves that to the file.

    Raises:
        InputError: the file is no tokenizer.json.
        MissingDependencyError: the tokenizers library is not installed.
    """

    def __init__(self, file: str, name: str = FILE_NAME, max_length: int | None = None) -> None:
        self.file, self.name, self.max_length = file, name, max_length
        self._start()

    def _start(self) -> None:
        with optional("text", "texts"):
            from tokenizers import Tokenizer as Library
        try:
            self._library = Library.from_str(self.file)
            about = json.loads(self.file)
        except Exception as error:  # the library raises nothing narrower
            raise InputError(
                f"{self.name} is no tokenizer that the tokenizers library reads: {error}; give the tokenizer.json of the model"
            ) from None
        self.spelling = Spelling.of(about)
        self._padding: dict[str, Any] = self._library.padding or {}
        self._library.no_padding()
        if self.max_length is not None:
            cuts = self._library.truncation or {}
            kept = {name: cuts[name] for name in ("strategy", "direction") if name in cuts}
            self._library.enable_truncation(self.max_length, **kept)

    def __getstate__(self) -> tuple[str, str, int | None]:
        return self.file, self.name, self.max_length

    def __setstate__(self, state: tuple[str, str, int | None]) -> None:
        self.file, self.name, self.max_length = state
        self._start()

    @classmethod
    def read(cls, path: str | os.PathLike[str], max_length: int | None = None) -> Tokenizer:
        """Read a tokenizer.json.

        Args:
            path: the file, or the folder that it lies in.
            max_length: cut texts to so many tokens; None leaves that to the file.

        Returns:
            The tokenizer.

        Raises:
            InputError: there is no such file, or it is none.
            MissingDependencyError: the tokenizers library is not installed.
        """
        place = Path(path)
        place = place / FILE_NAME if place.is_dir() else place
        if max_length is not None and max_length < 1:
            raise InputError(f"max_length must be at least 1, not {max_length}")
        try:
            text = place.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise InputError(f"no tokenizer at {place}") from None
        except UnicodeDecodeError:
            raise InputError(f"{place} is no tokenizer.json: it is no text in UTF-8") from None
        except OSError as error:
            raise InputError(f"cannot read {place}: {error.strerror}") from None
        return cls(text, place.name, max_length)

    # -- the vocabulary ------------------------------------------------------------------------------------------

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """All tokens, added ones included, with their ids."""
        return dict(self._library.get_vocab(with_added_tokens=True))

    @cached_property
    def size(self) -> int:
        """How many rows a table needs that every token is looked up in: the highest id and one."""
        return max(self.vocabulary.values(), default=-1) + 1

    @cached_property
    def spelled(self) -> frozenset[int]:
        """The ids that a token has; there may be holes between them."""
        return frozenset(self.vocabulary.values())

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the file."""
        return hashlib.sha256(self.file.encode()).hexdigest()

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids of special tokens."""
        return frozenset(i for i, token in self._library.get_added_tokens_decoder().items() if token.special)

    @property
    def pad_id(self) -> int | None:
        """The id of the padding token: the one that the file pads with, else one that is called so; None where there is none."""
        if self._padding:
            return int(self._padding["pad_id"])
        return next((self.vocabulary[name] for name in PADDING if name in self.vocabulary), None)

    def token(self, index: int) -> str:
        """A token as the vocabulary spells it.

        Raises:
            InputError: there is none of this id.
        """
        found = self._library.id_to_token(int(index))
        if found is None:
            raise InputError(f"{self.name} has no token {index}: its ids end at {self.size - 1}")
        return str(found)

    def piece(self, index: int) -> str:
        """A token as a person reads it: " good" for "▁good" and "Ġgood". Of a number that no token has, the number."""
        token = self._library.id_to_token(int(index)) if index >= 0 else None
        if token is None:
            return str(int(index))
        return token if index in self.special_ids else self.spelling.read(token)

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """The text of tokens, special ones included or not."""
        return str(self._library.decode([int(i) for i in ids], skip_special_tokens=not special))

    @cached_property
    def _by_piece(self) -> dict[str, list[int]]:
        """Ids by what a person reads."""
        found: dict[str, list[int]] = {}
        for token, index in self.vocabulary.items():
            found.setdefault(self.spelling.read(token), []).append(index)
        return found

    def find(self, text: str) -> int | None:
        """The id of a token, as the vocabulary spells it ("▁good") or as a person reads it (" good"); None where there is none.

        Raises:
            TargetError: several tokens read so.
        """
        if text in self.vocabulary:
            return self.vocabulary[text]
        if self.spelling.inside and text.startswith(" "):  # there, a word begins where no prefix says otherwise
            return self.vocabulary.get(text[1:])
        found = self._by_piece.get(text, [])
        if len(found) > 1:
            spelled = ", ".join(repr(self.token(i)) for i in found[:5])
            raise TargetError(f"several tokens read {text!r}: {spelled}; name one as the vocabulary spells it, or by its number")
        return found[0] if found else None

    def index(self, text: str) -> int:
        """The id of a token, as `find` finds it.

        Raises:
            TargetError: there is none, or several read so.
        """
        found = self.find(text)
        if found is not None:
            return found
        parts = [repr(p) for p in self._encode(text, False).pieces]
        made_of = f"; it consists of {', '.join(parts)}" if 1 < len(parts) < 8 else ""
        near = self._near(text)
        raise TargetError(f"no token {text!r} in {self.name}{made_of}" + (f"; {nearest(text, near)}" if near else ""))

    def _near(self, text: str) -> list[str]:
        """Pieces that may be meant: those with the same letters, and those that begin alike."""
        core = text.strip().lower()
        every = [p for p in self._by_piece if p.strip()]
        alike = [p for p in every if p.strip().lower() == core]
        return alike or [p for p in every if p.strip().lower()[:2] == core[:2]][:200]

    def check_rows(self, rows: int | None, name: str) -> None:
        """Compare the vocabulary with the rows of the table that tokens are looked up in.

        Args:
            rows: how many rows; None where that is not known.
            name: the input that takes the tokens.

        Raises:
            InputError: some tokens have no row, so it is another model's tokenizer.
        """
        if rows is None:
            return
        found = f"{self.name} has {self.size} tokens, and the table that '{name}' is looked up in has {rows} rows"
        if self.size > rows:
            raise InputError(f"{found}: it is the tokenizer of another model; give the one that the model was trained with")
        if self.size < MOSTLY * rows:
            warnings.warn(f"{found}: make sure that it is this model's tokenizer", UserWarning, stacklevel=2)

    # -- texts ---------------------------------------------------------------------------------------------------

    def encode(self, texts: Sequence[TextLike], *, special: bool = True) -> list[EncodedText]:
        """Texts, or pairs of texts, as tokens, without padding.

        Args:
            texts: each a text, or a pair of them.
            special: whether the special tokens that the file puts around texts are added.

        Returns:
            One `EncodedText` per text, each as long as it is.

        Raises:
            InputError: something is neither a text nor a pair.
        """
        made = [self._encode(text, special) for text in texts]
        cut = sum(m.cut for m in made)
        if cut:
            limit = (self._library.truncation or {}).get("max_length")
            said = "as asked" if self.max_length is not None else f"as {self.name} says"
            which = "the text was" if len(made) == 1 else f"{cut} of {len(made)} texts were"
            warnings.warn(f"{which} cut to {limit} tokens, {said}: what was cut off is not explained", UserWarning, stacklevel=2)
        return made

    def _encode(self, text: TextLike, special: bool) -> EncodedText:
        given = (text,) if isinstance(text, str) else tuple(text) if isinstance(text, tuple | list) else ()
        if len(given) not in (1, 2) or not all(isinstance(t, str) for t in given):
            raise InputError(f"expected a text or a pair of texts, got {text!r}")
        pair = given[1] if len(given) == 2 else None
        _check_characters(given)
        if special:
            self._check_room(pair is not None)
        try:
            made = self._library.encode(given[0], pair, add_special_tokens=special)
        except Exception as error:  # the library raises nothing narrower
            raise InputError(f"{self.name} does not encode {text!r}: {error}") from None
        return EncodedText(
            texts=given,
            ids=tuple(made.ids),
            tokens=tuple(made.tokens),
            pieces=tuple(self.piece(i) for i in made.ids),
            offsets=tuple((int(a), int(b)) for a, b in made.offsets),
            parts=tuple(-1 if part is None else int(part) for part in made.sequence_ids),
            added=tuple(bool(s) for s in made.special_tokens_mask),
            attended=(True,) * len(made.ids),
            types=tuple(made.type_ids),
            cut=bool(made.overflowing),
        )

    def _check_room(self, pair: bool) -> None:
        """Refuse to cut texts to nothing but special tokens; the library leaves them whole then, or without a word."""
        limit = (self._library.truncation or {}).get("max_length")
        added = self._library.num_special_tokens_to_add(pair)
        if limit is not None and limit <= added:
            what = "a pair of texts" if pair else "a text"
            said = f"{self.name} adds {added} special tokens to {what}; cut to {added + 1} tokens at least"
            raise InputError(f"a limit of {limit} leaves no room for text: {said}")

    def padded(self, encoded: Sequence[EncodedText], length: int | None = None, *, most: int | None = None) -> list[EncodedText]:
        """Texts of one length, filled up with padding.

        Args:
            encoded: what `encode` gave.
            length: how long; None for the longest, or what the file pads to.
            most: how many tokens the model takes, where that is known: padding goes no further.

        Returns:
            Texts of the same length.

        Raises:
            InputError: padding is needed, and the tokenizer names none; or a text is longer.
        """
        wanted = length if length is not None else self._usual_length(encoded, most)
        longer = next((i for i, e in enumerate(encoded) if len(e) > wanted), None)
        if longer is not None:
            raise InputError(too_long(longer, len(encoded[longer]), wanted))
        return [self._pad(e, wanted) for e in encoded]

    def _usual_length(self, encoded: Sequence[EncodedText], most: int | None) -> int:
        longest = max((len(e) for e in encoded), default=0)
        multiple = self._padding.get("pad_to_multiple_of") or 1
        usual = max(-(-longest // multiple) * multiple, self._padding.get("length") or 0)
        return usual if most is None else max(longest, min(usual, most))

    def _pad(self, encoded: EncodedText, length: int) -> EncodedText:
        more = length - len(encoded)
        if not more:
            return encoded
        if self.pad_id is None:
            raise InputError(
                f"a text of {len(encoded)} tokens has to be padded to {length}, and {self.name} names no padding token; "
                "give texts of one length, or one at a time"
            )
        pad = self.token(self.pad_id)
        before = self._padding.get("direction") == "left"

        def filled(row: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
            return (value,) * more + row if before else row + (value,) * more

        return replace(
            encoded,
            ids=filled(encoded.ids, self.pad_id),
            tokens=filled(encoded.tokens, pad),
            pieces=filled(encoded.pieces, pad),
            offsets=filled(encoded.offsets, (0, 0)),
            parts=filled(encoded.parts, -1),
            added=filled(encoded.added, True),
            attended=filled(encoded.attended, False),
            types=filled(encoded.types, int(self._padding.get("pad_type_id", 0))),
        )


def _check_characters(texts: Sequence[str]) -> None:
    """Refuse what is no text, such as bytes of an argument of the shell in another encoding.

    Raises:
        InputError: a character is half of one.
    """
    for text in texts:
        broken = next((c for c in text if "\ud800" <= c <= "\udfff"), None)
        if broken is not None:
            raise InputError(f"a text holds {broken!r} at {text.index(broken)}, which is no character: give it in UTF-8")


def too_long(number: int, length: int, most: int) -> str:
    """What is said of a text that is longer than a model takes."""
    return (
        f"text {number} has {length} tokens, and the model takes {most}: shorten it, or cut all texts with "
        f"Tokenizer.read(…, max_length={most}), in the shell --max-length {most}"
    )


def tokenizer_beside(folder: Path | None) -> Path | None:
    """The tokenizer.json in a model's folder, if there is one."""
    if folder is None:
        return None
    place = folder / FILE_NAME
    return place if place.is_file() else None
