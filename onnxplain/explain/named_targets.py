"""Targets by name: classes of a classifier, tokens of a language model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.analysis.sample_axis import SampleAxes
from onnxplain.analysis.target import Target, TargetLike, parse_target
from onnxplain.errors import TargetError, nearest
from onnxplain.io.text.encoded import EncodedText
from onnxplain.io.text.tokenizer import Tokenizer
from onnxplain.ir.tensor import Dim

__all__ = ["TargetNames", "is_language_model", "reads_as_target", "warn_of_labels"]

WORDS = ("top", "all", "input", "seed", "cotangent", ":")
"""What means something of its own in a target."""


def is_language_model(axes: SampleAxes, tokenizer: Tokenizer) -> bool:
    """Whether the explained output has a score for every token of the vocabulary, at every position or at the last."""
    extents = [d for i, d in enumerate(axes.score.shape or ()) if i != axes.axis]
    words = extents[-1] if extents else None
    return len(extents) in (1, 2) and isinstance(words, int) and words >= tokenizer.size


@dataclass(frozen=True)
class TargetNames:
    """What the elements of the explained output are called.

    Attributes:
        labels: the names of classes.
        tokenizer: where the output has a score for every token, whose tokens they are.
        encoded: the texts that are explained.
        positions: whether the output has a score at every position.
    """

    labels: Sequence[str] = ()
    tokenizer: Tokenizer | None = None
    encoded: Sequence[EncodedText] = ()
    positions: bool = False

    def resolve(self, target: Any) -> TargetLike:
        """A target with numbers for names; what holds none is left as it is.

        Raises:
            TargetError: no class or token has a name.
        """
        if isinstance(target, str):
            return self._of_text(target)
        if isinstance(target, Mapping):
            return {self._alone(key) if isinstance(key, str) else self._in_tuple(key): weight for key, weight in target.items()}
        if isinstance(target, tuple):
            return self._everywhere(self._in_tuple(target))
        if isinstance(target, list | np.ndarray) and any(isinstance(t, str | tuple) for t in target):
            return [self._for_sample(t, i) for i, t in enumerate(target)]
        known: TargetLike = target
        return known

    def _everywhere(self, target: tuple[Any, ...]) -> TargetLike:
        """One element of every sample, as an index per sample where it is one: those share a session."""
        plain = len(target) == 2 and all(isinstance(t, int | np.integer) for t in target)
        return [target] * len(self.encoded) if self.positions and plain else target

    def _of_text(self, text: str) -> TargetLike:
        if self._is_plain(text):
            return text
        index = self._find(text)
        if index is not None:
            return self._each(index)
        halves = [(self._find(a), self._find(b)) for a, b in _halves(text)]
        contrasts = [(a, b) for a, b in halves if a is not None and b is not None]
        if len(contrasts) == 1:
            ((first, second),) = contrasts
            return {self._at_last(first): 1.0, self._at_last(second): -1.0}
        return self._each(self._index(text))

    def _each(self, index: int) -> TargetLike:
        """The element of an index in every sample: of a language model at the end of its text."""
        return [(e.last, index) for e in self.encoded] if self.positions else index

    def _is_plain(self, text: str) -> bool:
        """Whether a text is a target without names. What reads as one is, but for tokens that have a space at their edge."""
        spaced = self.tokenizer is not None and text != text.strip()
        if reads_as_target(text) and not spaced:
            return True
        return not any(c.isalpha() for c in text) and self._find(text) is None

    def _for_sample(self, target: Any, sample: int) -> Any:
        if isinstance(target, str) and self._is_plain(target):
            return self._plain_for_sample(target)
        if isinstance(target, str):
            index = self._index(target)
            return (self.encoded[sample].last, index) if self.positions and sample < len(self.encoded) else index
        return self._in_tuple(target) if isinstance(target, tuple) else target

    def _plain_for_sample(self, text: str) -> int | tuple[int, ...]:
        """One of a list, in text, which means what it means alone; −1 is the top one."""
        axes = parse_target(text).axes
        if axes == ("top",) and not self.positions:
            return -1
        numbers = [a for a in axes if isinstance(a, int)]
        if not numbers or len(numbers) < len(axes):
            raise TargetError(
                f"'{text}' is no target of one sample among others: give an index or a name for each, or one target for all"
            )
        return numbers[0] if len(numbers) == 1 else tuple(numbers)

    def _alone(self, name: str) -> Any:
        return name if self._is_plain(name) else self._at_last(self._index(name))

    def _at_last(self, index: int) -> Any:
        """The same element of all samples."""
        if not self.positions:
            return index
        last = {e.last for e in self.encoded}
        if len(last) != 1:
            raise TargetError("a contrast of tokens is at one position: explain texts of different lengths one at a time")
        return (last.pop(), index)

    def _in_tuple(self, target: Any) -> Any:
        if isinstance(target, tuple) and target and isinstance(target[-1], str) and target[-1] not in WORDS:
            return (*target[:-1], self._index(target[-1]))
        return target

    def _find(self, name: str) -> int | None:
        if name in self.labels:
            return list(self.labels).index(name)
        return self.tokenizer.find(name) if self.tokenizer is not None else None

    def _index(self, name: str) -> int:
        found = self._find(name)
        if found is not None:
            return found
        if self.tokenizer is not None:
            return self.tokenizer.index(name)
        if self.labels:
            raise TargetError(f"no class '{name}'; {nearest(name, self.labels)}")
        raise TargetError(
            f"'{name}' is no target: expected e.g. top, 3, 3,10,12 or 3,:,: (: sums over an axis), 3-5 (contrast); "
            "or the name of a class, with labels=[…] (in the shell --labels FILE)"
        )

    def told_contrast(self, target: Target) -> str:
        """A contrast by the names of what is compared, "" where they have none or it is no contrast."""
        if target.kind != "contrast" or not (self.labels or self.tokenizer):
            return ""
        told: list[str] = []
        for weight, axes in target.terms:
            index = axes[-1]
            if not isinstance(index, int) or len(axes) != 1 + self.positions or not 0 <= index < self._count():
                return ""
            name = self._name(index) if self.tokenizer else str(self.labels[index])
            size = "" if abs(weight) == 1 else f"{abs(weight):g}·"
            told.append(("−" if weight < 0 else "+" if told else "") + (" " if told else "") + size + name)
        place = f" after position {target.terms[0][1][0]}" if self.positions else ""
        return " ".join(told) + place

    def _name(self, token: int) -> str:
        """A token in quotes; a number that no token has as it is."""
        assert self.tokenizer is not None
        return repr(self.tokenizer.piece(token)) if token in self.tokenizer.spelled else str(token)

    def _count(self) -> int:
        return self.tokenizer.size if self.tokenizer else len(self.labels)

    def told(self, index: int, extents: Sequence[Dim]) -> str:
        """What the element of a flat index is called, for people: the token, and where it stands."""
        assert self.tokenizer is not None
        words = extents[-1]
        assert isinstance(words, int)
        place, token = divmod(index, words) if len(extents) == 2 else (None, index)
        name = self._name(token)
        return name if place is None else f"{name} after position {place}"


def reads_as_target(text: str) -> bool:
    """Whether a text is a target without names, such as "top", "3" or "3,:"; of several samples where ";" parts it."""
    if ";" in text:
        return all(reads_as_target(part) for part in text.split(";"))
    try:
        parse_target(text)
    except TargetError:
        return False
    return True


def warn_of_labels(labels: Sequence[str]) -> None:
    """Warn of classes whose names are something else as a target: a number is always an index, "top" the top prediction."""
    misread = [label for i, label in enumerate(labels) if label != str(i) and reads_as_target(label)]
    if misread:
        first = misread[0]
        meant = f"index {first}" if first.isdecimal() else f"what {first!r} says of any model"
        warnings.warn(
            f"the label {first!r} is of class {list(labels).index(first)}, and as a target it means {meant}: name classes that "
            "read so by their index", UserWarning, stacklevel=2,
        )  # fmt: skip


def _halves(text: str) -> list[tuple[str, str]]:
    """The ways to read a text as a contrast."""
    places = [i for i, c in enumerate(text) if c == "-" and 0 < i < len(text) - 1]
    return [(text[:i], text[i + 1 :]) for i in places]
