"""PerturbationContext: what a black-box method works with - samples, what replaces absent features, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from onnxplain.errors import InputError, MethodError
from onnxplain.method.background import background_rows
from onnxplain.method.blackbox.game import Game
from onnxplain.method.blackbox.players import grouped
from onnxplain.method.blackbox.proposals import Proposals
from onnxplain.method.sampling.chunk_size import Chunk, memory_bytes, row_count
from onnxplain.runtime.readout import Reader
from onnxplain.runtime.scorer import Array, ForwardResult, Scorer
from onnxplain.runtime.session import Arrays

__all__ = ["PerturbationContext", "PerturbationResult", "PlayerValues"]

MASK_BLOCK = 256
"""Samples that share their masks in one go, at most."""

TABLE = 4_000_000
"""Scores kept for one block of samples, about: coalitions (a few for each player, at least 2,000) × samples × targets."""


@dataclass(frozen=True)
class PlayerValues:
    """What a method gives each player: values [n, targets, players].

    `errors` are standard errors of the values, `facts` numbers per sample and target [n, targets, …], `convergence_delta` what
    the values sum to beyond the difference of the scores, [n, targets].
    """

    values: Array
    errors: Array | None = None
    facts: Mapping[str, Array] = field(default_factory=dict)
    convergence_delta: Array | None = None


@dataclass(frozen=True)
class PerturbationResult:
    """What a method returns: attributions [n, targets, …] by input, and facts [n, targets, …] by name.

    With `overall`, it is of all samples together, and n is 1. `notes` are texts about the whole, for `Explanation.about`.
    """

    attributions: dict[str, Array]
    facts: dict[str, Array] = field(default_factory=dict)
    convergence_delta: Array | None = None
    overall: bool = False
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PerturbationContext:
    """Samples of a model to be explained.

    `x` are the explained inputs [n, …], `fixed` the others, `prediction` what the model says of the samples, `read` gets the
    explained numbers (`targets` of them) from its scores, `baseline` is what the user gave, `assumed` what is taken by
    input where nothing was given. `proposals` are those of a detector, where detections are explained.
    """

    scorer: Scorer
    x: Arrays
    fixed: Arrays
    prediction: ForwardResult
    read: Reader
    targets: int
    baseline: Any
    batch_size: int | None
    title: str
    progress: bool | None
    assumed: dict[str, float] = field(default_factory=dict)
    proposals: Proposals | None = None

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(next(iter(self.x.values())))

    @property
    def scores(self) -> Array:
        """The explained scores of the samples themselves, [n, targets]."""
        flat = np.asarray(self.prediction.scores.reshape(self.count, -1), np.float64)
        return self.read(flat[None, :, None], slice(0, self.count))[0, :, 0]

    def rows(self, chunk: Chunk) -> int:
        """Copies in memory at once."""
        if chunk is None:
            return self.batch_size or self.scorer.usual_rows({**self.x, **self.fixed})
        if isinstance(chunk, str):
            return max(1, memory_bytes(chunk) // self.scorer.bytes_per_row({**self.x, **self.fixed}))
        return row_count(chunk)

    # -- what takes the place of absent features -----------------------------------------------------------------

    def base(self, background: Any) -> Arrays:
        """What replaces the explained inputs, [n or 1, m, …] by input: rows of background, or the baseline, 0 where none is said.

        Raises:
            MethodError: both are given, or an input that holds no fractions has neither.
        """
        if background is not None:
            if self.baseline is not None:
                raise MethodError(
                    "give a baseline or a background, not both: absent features take one value or are averaged over rows"
                )
            return {name: rows[None] for name, rows in background_rows(background, self.x).items()}
        if isinstance(self.baseline, Mapping) and set(self.baseline) - set(self.x):
            unknown = sorted(set(self.baseline) - set(self.x))[0]
            raise InputError(f"baseline for '{unknown}', which is not explained; explained: {', '.join(self.x)}")
        return {name: self._baseline(name, x)[:, None] for name, x in self.x.items()}

    def _baseline(self, name: str, x: Array) -> Array:
        given = self.baseline.get(name) if isinstance(self.baseline, Mapping) else self.baseline
        if given is None:
            if x.dtype.kind not in "f":
                what = "a text" if x.dtype.kind in "OUS" else "a number, such as the id of the mask or padding token"
                raise MethodError(
                    f"input '{name}' of {x.dtype} needs a baseline, the value that stands for an absent one ({what}), "
                    "or background=rows of data"
                )
            given = self.assumed[name] = 0
        array = np.asarray(given, object if x.dtype.kind in "OUS" else None)
        if isinstance(given, str) and x.dtype.kind not in "OUS":
            raise MethodError(f"baseline '{given}' is unknown; give a number or an array")
        full = x.shape if array.ndim == x.ndim and len(array) > 1 else (1, *x.shape[1:])
        try:
            return np.broadcast_to(array.astype(x.dtype), full)
        except ValueError:
            raise InputError(
                f"the baseline of shape {list(array.shape)} does not broadcast to '{name}' {list(x.shape)}"
            ) from None

    # -- games ---------------------------------------------------------------------------------------------------

    def games(
        self, base: Arrays, *, groups: Any = None, parts: int = 50, axes: Sequence[int] | None = None, chunk: Chunk = None
    ) -> Iterator[Game]:
        """Blocks of samples that share their players: all, or one by one where players differ from sample to sample."""
        players = grouped(self.x, groups, parts, axes)
        rows = self.rows(chunk)
        table = max(players[0].count, 2000) * self.targets
        step = max(1, min(MASK_BLOCK, TABLE // table)) if len(players) == 1 else 1
        for start in range(0, self.count, step):
            samples = slice(start, min(start + step, self.count))
            yield Game(
                self.scorer,
                {n: v[samples] for n, v in self.x.items()},
                {n: v[samples] if n in self.scorer.sampled else v for n, v in self.fixed.items()},
                {n: v[samples] if len(v) > 1 else v for n, v in base.items()},
                players[min(start, len(players) - 1)],
                self.read,
                samples,
                rows,
                self.title,
                self.progress,
            )

    def play(
        self, solve: Callable[[Game], PlayerValues], base: Arrays, *, groups: Any = None, parts: int = 50,
        axes: Sequence[int] | None = None, chunk: Chunk = None,
    ) -> PerturbationResult:  # fmt: skip
        """The attributions that a solver gives the players of every block of samples."""
        played = [(game, solve(game)) for game in self.games(base, groups=groups, parts=parts, axes=axes, chunk=chunk)]
        return merged(played)

    def with_reader(self, read: Reader) -> PerturbationContext:
        """The same task, reading other numbers off the scores."""
        return replace(self, read=read)


def merged(played: Sequence[tuple[Game, PlayerValues]]) -> PerturbationResult:
    """The shares of all blocks, at the elements of the inputs; where elements are grouped, those of the groups too."""
    spread = [game.players.spread(shares.values) for game, shares in played]
    attributions = {name: np.concatenate([s[name] for s in spread]) for name in spread[0]}
    first_game, first = played[0]
    facts = {key: _joined([shares.facts[key] for _, shares in played]) for key in first.facts}
    several = len(attributions) > 1

    def at(key: str, name: str) -> str:
        return f"{key}.{name}" if several else key

    if first.errors is not None:
        errors = [game.players.spread(shares.errors) for game, shares in played if shares.errors is not None]
        facts.update({at("standard_error", name): np.concatenate([e[name] for e in errors]) for name in errors[0]})
    if not first_game.players.plain:
        facts["group_values"] = _joined([shares.values for _, shares in played])
        for name in attributions:
            numbers = [np.broadcast_to(g.players.of[name], (g.count, *g.players.of[name].shape)) for g, _ in played]
            facts[at("groups", name)] = np.concatenate(numbers)[:, None]
    gap = (
        None
        if first.convergence_delta is None
        else np.concatenate([s.convergence_delta for _, s in played if s.convergence_delta is not None])
    )
    return PerturbationResult(attributions, facts, gap)


def _joined(parts: Sequence[Array]) -> Array:
    """Arrays [n, targets, …] below each other; where samples have fewer players than others, NaN (for numbers of players −1)."""
    most = [max(p.shape[axis] for p in parts) for axis in range(2, parts[0].ndim)]
    fill = np.nan if parts[0].dtype.kind == "f" else -1
    return np.concatenate(
        [
            np.pad(p, ((0, 0), (0, 0), *((0, m - e) for m, e in zip(most, p.shape[2:], strict=True))), constant_values=fill)
            for p in parts
        ]
    )
