"""TextFront: texts into a model's inputs, baselines and targets named by tokens, and what explanations say of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from onnxplain.analysis.token_tables import most_positions, rows_of_table
from onnxplain.errors import InputError
from onnxplain.io.text.encoded import EncodedText, TextLike
from onnxplain.io.text.inputs import TextInputs
from onnxplain.io.text.tokenizer import FILE_NAME, Tokenizer, too_long
from onnxplain.ir.graph import Graph
from onnxplain.runtime.decoder_inputs import decoder_inputs

__all__ = ["TextFront", "TokenizerLike", "holds_text", "no_tokenizer"]

Array = np.ndarray[Any, Any]

TokenizerLike: TypeAlias = "str | Path | Tokenizer"
"""A tokenizer: a tokenizer.json, the folder that it lies in, or a `Tokenizer`."""


def no_tokenizer(folder: Path | None) -> str:
    """What is said where a text is given and no tokenizer."""
    where = f"there is no {FILE_NAME} in {folder}" if folder is not None else "the model was not read from a file"
    return f"a text was given, and no tokenizer: {where}; give tokenizer={FILE_NAME!r}, in the shell --tokenizer {FILE_NAME}"


def holds_text(given: Any) -> bool:
    """Whether something is a text, a pair of texts (a tuple), or a list of these."""
    if isinstance(given, Mapping):
        return any(holds_text(value) for value in given.values())
    if isinstance(given, np.ndarray):
        return given.dtype.kind in "US" or (given.dtype.kind == "O" and given.size > 0 and holds_text(given.ravel().tolist()))
    return _is_one(given) or (isinstance(given, list) and len(given) > 0 and all(_is_one(g) or _is_pair(g) for g in given))


def _is_one(given: Any) -> bool:
    return isinstance(given, str) or (isinstance(given, tuple) and _is_pair(given))


def _is_pair(given: Any) -> bool:
    return isinstance(given, tuple | list) and len(given) == 2 and all(isinstance(g, str) for g in given)


@dataclass(frozen=True)
class TextFront:
    """Brings texts to a model.

    Attributes:
        tokenizer: the model's tokenizer.
        inputs: the model's inputs by the role that they have for a text.
        most: the most tokens that the model takes; None where nothing says.
        heads: the size of a head by name of a past input, where its shape leaves it open.
    """

    tokenizer: Tokenizer
    inputs: TextInputs
    most: int | None = None
    heads: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, graph: Graph, tokens: str | None = None, heads: Mapping[str, int] | None = None
    ) -> TextFront:
        """A front for a model, once its tables are compared with the tokenizer's vocabulary.

        Args:
            tokenizer: the tokenizer.
            graph: the model, prepared.
            tokens: the input that takes the ids; None finds it.
            heads: the size of a head by name of a past input, where its shape leaves it open.

        Raises:
            InputError: no input takes tokens, or the tokenizer is of another vocabulary.
        """
        inputs = TextInputs.of(graph.inputs, tokens)
        tokenizer.check_rows(rows_of_table(graph, inputs.tokens), inputs.tokens.name)
        return cls(tokenizer, inputs, most_positions(graph, inputs.tokens, inputs.positions), heads or {})

    @property
    def name(self) -> str:
        """The input that takes the tokens."""
        return self.inputs.tokens.name

    def read(self, given: Any, samples: int | None) -> tuple[dict[str, Any], list[EncodedText]]:
        """The inputs of the model for texts.

        Args:
            given: a text, a pair, a list of these; or a dict with one of them for the input of tokens, and arrays for others.
            samples: the axis of the tokens' input that counts samples.

        Returns:
            Arrays by input, and the texts as they are encoded.

        Raises:
            InputError: a text is longer than the model takes, a text needs padding and there is no padding token, or an input is
                missing that a text says nothing about.
        """
        texts, arrays = (given, {}) if not isinstance(given, Mapping) else self._apart(given)
        encoded = self.encoded(texts)
        feeds = self.inputs.feeds(encoded, samples)
        return self.inputs.with_others(feeds, {**self._following(len(encoded), len(encoded[0]), arrays), **arrays}), encoded

    def _following(self, count: int, length: int, arrays: Mapping[str, Any]) -> dict[str, Array]:
        """Inputs that follow from how many tokens there are: an empty past, lengths; none where one does not."""
        missing = [t for t in self.inputs.others if t.name not in arrays]
        try:
            return decoder_inputs(missing, np.zeros((count, length), np.int64), self.heads)
        except InputError:
            return {}

    def _apart(self, given: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The text in a dict of inputs, and the arrays."""
        named = [name for name, value in given.items() if holds_text(value)]
        if named != [self.name]:
            raise InputError(f"'{self.name}' takes the text, not {', '.join(map(repr, named))}; the other inputs take arrays")
        return given[self.name], {name: value for name, value in given.items() if name != self.name}

    def encoded(self, given: Any) -> list[EncodedText]:
        """Texts as tokens, of one length, which the model takes."""
        encoded = self.tokenizer.encode(listed(given))
        longest = max(range(len(encoded)), key=lambda i: len(encoded[i]))
        most = min((n for n in (self.inputs.length, self.most) if n is not None), default=None)
        if most is not None and len(encoded[longest]) > most:
            raise InputError(too_long(longest, len(encoded[longest]), most))
        bare = next((i for i, e in enumerate(encoded) if all(e.added)), None)
        if bare is not None:
            raise InputError(f"text {bare} has no tokens of its own: {' and '.join(map(repr, encoded[bare].texts))}")
        made = self.tokenizer.padded(encoded, self.inputs.length, most=self.most)
        if self.inputs.mask is None and not all(all(e.attended) for e in made):
            warnings.warn(
                "texts are filled up with padding to one length, and the model takes no attention mask: unless it looks back "
                "only, it reads the padding as text; explain texts of one length together, or one at a time",
                UserWarning, stacklevel=2,
            )  # fmt: skip
        return made

    # -- baselines -----------------------------------------------------------------------------------------------

    def baseline(self, value: Any, encoded: Sequence[EncodedText], samples: int | None, *, shared: bool = False) -> Any:
        """A baseline with tokens and texts in it as ids.

        Args:
            value: a token as the vocabulary spells it ("[PAD]"), which takes the place of every token of the text; another text
                of as many tokens; a list with one of these for every sample; or a dict of these by input. Anything else is left
                as it is.
            encoded: the texts.
            samples: the axis of the tokens' input that counts samples.
            shared: whether the method compares every sample with all baselines.

        Returns:
            Ids [samples, tokens] in place of texts.

        Raises:
            InputError: the other text has another number of tokens, or baselines that are shared belong to one text each.
        """
        if isinstance(value, Mapping):
            return {n: self.baseline(v, encoded, samples, shared=shared) if n == self.name else v for n, v in value.items()}
        if not holds_text(value):
            return value
        each = listed(value)
        if len(each) not in (1, len(encoded)):
            raise InputError(f"{len(each)} baselines for {len(encoded)} texts: give one for all, or one for each")
        each = each * len(encoded) if len(each) == 1 else each
        ids = np.array([self._reference(own, text) for own, text in zip(each, encoded, strict=True)])
        if shared:
            ids = _only_one(ids)
        return ids.T if samples == 1 else ids if samples is not None else ids[0]

    def _reference(self, own: TextLike, text: EncodedText) -> list[int]:
        token = self.tokenizer.vocabulary.get(own) if isinstance(own, str) else None
        if token is not None:  # what the tokenizer added stays: it is in every text
            return [i if added else token for i, added in zip(text.ids, text.added, strict=True)]
        (made,) = self.tokenizer.encode([own])
        length = sum(text.attended)
        if len(made) != length:
            of = " and ".join(repr(t) for t in text.texts)
            raise InputError(
                f"the baseline {own!r} has {len(made)} tokens, and {of} has {length}: give a text of as many tokens, "
                f"or one token for all, such as {self._usual()!r}"
            )
        ids = iter(made.ids)
        return [next(ids) if looks else i for i, looks in zip(text.ids, text.attended, strict=True)]

    def _usual(self) -> str:
        """A token that stands for nothing."""
        known = [t for t in ("[MASK]", "<mask>") if t in self.tokenizer.vocabulary]
        pad = self.tokenizer.pad_id
        return known[0] if known else self.tokenizer.token(pad if pad is not None else 0)

    # -- what explanations say -----------------------------------------------------------------------------------

    def about(self) -> dict[str, Any]:
        """What the metadata of an explanation says of the text's way into the model."""
        return {
            "input": self.name,
            "tokenizer": self.tokenizer.name,
            "tokenizer_sha256": self.tokenizer.sha256,
            "vocabulary": self.tokenizer.size,
        }


def _only_one(ids: Array) -> Array:
    """The row that all texts are compared with."""
    rows = np.unique(ids, axis=0)
    if len(rows) > 1:
        raise InputError(
            "the method compares every text with all baselines, and these belong to one text each: explain texts of one length "
            "together, or one at a time"
        )
    return rows


def listed(given: Any) -> list[TextLike]:
    """Texts and pairs, one per sample, from what users give."""
    if isinstance(given, np.ndarray):
        if given.ndim == 2 and given.shape[1] == 2:  # a pair in each row
            return [tuple(row) for row in given.tolist()]
        if given.ndim > 1 and given.shape != (len(given), 1):
            raise InputError(f"expected texts [n] or pairs of texts [n, 2], got an array {list(given.shape)}")
        return [row if isinstance(row, tuple) else str(row) for row in given.ravel().tolist()]
    return [given] if isinstance(given, str | tuple) else list(given)
