"""Decoder: continues token ids with a language model, by its cache where the file has one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from onnxplain.errors import InputError
from onnxplain.ir.graph import Graph
from onnxplain.runtime.decoder_inputs import decoder_inputs, presents
from onnxplain.runtime.progress import track
from onnxplain.runtime.session import Session

__all__ = ["Decoder", "Sampling"]

Array = np.ndarray[Any, Any]

ROUNDING = 1e-4
"""What scores may differ by in two runs of the same shape, as a share of the greatest: more, and one depends on the change."""

TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        temperature: 0 takes the top token; otherwise tokens are drawn from the softmax of logits / temperature.
        seed: of the draws.
        stop: token ids after which generation ends.
    """

    temperature: float = 0.0
    seed: int = 0
    stop: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if not isfinite(self.temperature) or self.temperature < 0:
            raise InputError(f"the temperature must be 0, for the top token, or a number above; got {self.temperature}")

    def chosen(self, logits: Array, random: np.random.Generator) -> int:
        """A token, by its logits or by their logarithmic probabilities, whose softmax is the same."""
        if self.temperature == 0:
            return int(logits.argmax())
        scaled = logits / self.temperature
        weights = np.exp(scaled - scaled.max())
        return int(random.choice(len(weights), p=weights / weights.sum()))


class Decoder:
    """Runs a language model on token ids.

    Args:
        session: of the model as it was exported.
        graph: the same model.
        output: the output with a score for every token of the vocabulary, [samples, positions, vocabulary].
        heads: the size of a head by name of a past input (`head_sizes`).
        probabilities: whether the output holds probabilities, not logits.
    """

    def __init__(
        self, session: Session, graph: Graph, output: str, heads: Mapping[str, int], *, probabilities: bool = False
    ) -> None:
        self._session, self._inputs, self._heads, self._output = session, graph.inputs, heads, output
        self._presents, self._probabilities = presents(graph), probabilities

    def continued(self, ids: Array, count: int, sampling: Sampling, progress: bool | None = None) -> Array:
        """The tokens that follow.

        Args:
            ids: the tokens so far, int64 [tokens].
            count: how many to generate, at most.
            sampling: how they are chosen.
            progress: whether to show a progress bar; None shows it on a terminal.

        Returns:
            The new tokens, int64 [at most count].
        """
        made: list[int] = []
        random, cache = np.random.default_rng(sampling.seed), dict[str, Array]()
        for _ in track(range(count), "generation", progress):
            known = np.concatenate([ids, np.array(made, np.int64)])
            found = self._session.run(self._feeds(known, cache), [self._output, *self._presents.values()])
            made.append(sampling.chosen(self._logits(found[self._output][0, -1]), random))
            if made[-1] in sampling.stop:
                break
            cache = {past: found[present] for past, present in self._presents.items()}
        return np.array(made, np.int64)

    def looks_ahead(self, ids: Array) -> bool:
        """Whether the scores at some position depend on the last of these tokens, int64 [tokens], though it comes later."""
        if len(ids) < 2:
            return False
        runs = [self._session.run(self._feeds(row, {}), [self._output])[self._output][0, :-1] for row in (ids, _ended_anew(ids))]
        return float(np.abs(runs[0] - runs[1]).max()) > ROUNDING * float(np.abs(runs[0]).max())

    def _feeds(self, ids: Array, cache: dict[str, Array]) -> dict[str, Array]:
        """The inputs of a step: with a cache of all tokens but the last, that one; else all tokens and an empty past."""
        wanted = [t for t in self._inputs if t.name not in cache]
        return decoder_inputs(wanted, ids[None], self._heads, past=len(ids) - 1 if cache else 0) | cache

    def _logits(self, scores: Array) -> Array:
        row = np.asarray(scores, np.float64)
        return np.log(np.maximum(row, TINY)) if self._probabilities else row


def _ended_anew(ids: Array) -> Array:
    """The same tokens with another one at the end."""
    return np.append(ids[:-1], 0 if ids[-1] else 1)
