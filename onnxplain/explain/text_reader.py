"""TextReader: explains texts by an engine, and says of every explanation what its tokens are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from onnxplain.analysis.target import TargetLike, at_run_time
from onnxplain.explain.engine import Array, Engine, Question, count_samples, extents_of_a_sample
from onnxplain.explain.named_targets import TargetNames, is_language_model
from onnxplain.explain.text_front import TextFront
from onnxplain.ir.tensor import Dim
from onnxplain.results.explanation import Explanation
from onnxplain.results.prediction import scores

__all__ = ["TextReader"]

Check = Callable[[Any, Engine], dict[str, Array]]


class TextReader:
    """Explains texts.

    Args:
        front: brings texts to the model.
        engine: answers for arrays.
        labels: names of the classes.
    """

    def __init__(self, front: TextFront, engine: Engine, labels: Sequence[str]) -> None:
        self.front, self.engine, self.labels = front, engine, labels

    def explain(
        self, x: Any, target: TargetLike, cotangent: Array | None, given: Mapping[str, Any], checked: Check
    ) -> Explanation:  # fmt: skip
        """Explain texts. A language model is explained at the end of each text.

        Args:
            x: texts, or a dict with them.
            target: what is explained; names stand for classes and tokens.
            cotangent: a vector instead.
            given: the baseline and what else is given at run time.
            checked: checks inputs.

        Returns:
            The explanation, with the texts.
        """
        axes, front = self.engine.axes, self.front
        samples = axes.of_input(front.name)
        arrays, encoded = front.read(x, samples)
        reference = given.get("baseline")
        if reference is not None:
            reference = front.baseline(reference, encoded, samples, shared=self.engine.shares_baselines)
        given = {**given, "baseline": reference}
        feeds = checked(arrays, self.engine)
        count = count_samples(axes, feeds)
        speaks = is_language_model(axes, front.tokenizer)
        extents = _extents(extents_of_a_sample(axes, feeds), len(encoded[0]))
        names = TargetNames(self.labels, front.tokenizer if speaks else None, encoded, speaks and len(extents) == 2)
        contrast = ""
        question = Question(feeds, count, *at_run_time(None, None, count, extents), cotangent, given)
        if names.positions and cotangent is None and (target is None or (isinstance(target, str) and target == "top")):
            made = self._at_the_end(question, names, extents)
        else:
            kind, chosen = at_run_time(names.resolve(target), cotangent, count, extents, axes.reason)
            made = self.engine.explain(replace(question, target=kind, chosen=chosen))
            contrast = names.told_contrast(kind)
        named = [names.told(int(i), extents) for i in made.target] if speaks and made.target is not None else []
        named = [contrast] * len(encoded) if contrast else named
        return replace(made, texts=encoded, target_names=named, about=self._about(made.about))

    def _about(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """What is said of an explanation; inputs that the text itself fills are not among those left out."""
        left = {name: why for name, why in about.get("left_out", {}).items() if name not in self.front.inputs.filled}
        return {**about, "left_out": left, "text": self.front.about()}

    def _at_the_end(self, question: Question, names: TargetNames, extents: Sequence[Dim]) -> Explanation:
        """The explanation of each text's likeliest next token."""
        last, words = np.array([e.last for e in names.encoded], np.int64), extents[-1]
        assert isinstance(words, int)
        if self._file_knows(last, len(names.encoded[0])):
            return self.engine.explain(question)
        first = self.engine.explain(replace(question, chosen=last * words))  # any token: the scores are what is wanted
        found = scores(first)
        assert found is not None, "a language model gives the scores it is explained at"
        return self.engine.explain(replace(question, chosen=_tops(found, last, words)))

    def _file_knows(self, last: Array, length: int) -> bool:
        """Whether the top prediction of the explained file is the one at the end of these texts."""
        found, mask = self.engine.about.get("positions"), self.front.inputs.mask
        if found is None or found["tokens"] != self.front.name:
            return False
        return bool((last == length - 1).all()) if mask is None or found["mask"] != mask.name else True


def _tops(found: Array, last: Array, words: int) -> Array:
    """The flat index of the top token at the end of each text."""
    ends = found[np.arange(len(last)), last]
    return np.asarray(last * words + ends.argmax(axis=-1), np.int64)


def _extents(extents: Sequence[Dim], length: int) -> list[Dim]:
    """The extents of a sample's output; one that no input tells is that of the tokens."""
    return [length if len(extents) == 2 and i == 0 and not isinstance(d, int) else d for i, d in enumerate(extents)]
