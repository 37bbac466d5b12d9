"""The cooperative game of the score: its value when only some features are present, in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from onnxplain.errors import InputError
from onnxplain.method.blackbox.players import Players
from onnxplain.runtime.progress import track
from onnxplain.runtime.readout import Reader
from onnxplain.runtime.scorer import Array, Scorer
from onnxplain.runtime.session import Arrays

__all__ = ["Game"]


@dataclass(frozen=True)
class Game:
    """Samples, their features as players, and what takes the place of a feature that is absent.

    `x` are the explained inputs [n, …], `base` what replaces them, [n or 1, m, …]: a coalition's value is the mean over the m.
    `fixed` are the other inputs, `samples` says which of the task's samples these are. `rows` copies are in memory at once.
    """

    forward: Scorer
    x: Arrays
    fixed: Arrays
    base: Arrays
    players: Players
    read: Reader
    samples: slice
    rows: int
    title: str
    progress: bool | None

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(next(iter(self.x.values())))

    @property
    def draws(self) -> int:
        """How many replacements each coalition is averaged over."""
        return int(next(iter(self.base.values())).shape[1])

    def values(self, masks: Array) -> Array:
        """The scores with the features of each mask present: [coalitions, players] to [coalitions, n, targets]."""
        return np.concatenate([values for _, values in self.stream(len(masks), lambda start, stop: masks[start:stop])])

    def stream(self, count: int, make: Callable[[int, int], Array]) -> Iterator[tuple[Array, Array]]:
        """Masks with their values, piece by piece; `make` gives the masks from one number to another.

        Masks are true where a player is present, or say to which part (0 to 1) it is.
        """
        step = max(1, self.rows // (self.count * self.draws))
        for start in track(range(0, count, step), self.title, self.progress):
            masks = make(start, min(start + step, count))
            yield masks, self._values(masks)

    def _values(self, masks: Array) -> Array:
        whole = self.rows >= self.count * self.draws
        across = self.count if whole else max(1, self.rows // self.draws)
        deep = self.draws if across > 1 or whole else min(self.draws, self.rows)
        parts = []
        for start in range(0, self.count, across):
            samples = slice(start, min(start + across, self.count))
            sums = [self._box(masks, samples, slice(m, min(m + deep, self.draws))) for m in range(0, self.draws, deep)]
            parts.append(np.sum(sums, axis=0) / self.draws)
        return np.concatenate(parts, axis=1)

    def _box(self, masks: Array, samples: slice, draws: slice) -> Array:
        """The sum over some replacements of the scores of some samples: [coalitions, samples, targets]."""
        extent = len(masks), samples.stop - samples.start, draws.stop - draws.start
        rows = extent[0] * extent[1] * extent[2]
        feeds = {}
        for name, x in self.x.items():
            base = self.base[name][samples if len(self.base[name]) > 1 else slice(None), draws]
            mixed = mix(self._present(name, masks), x[samples], base)
            feeds[name] = np.ascontiguousarray(
                np.broadcast_to(mixed, (*extent, *x.shape[1:])).reshape(rows, *x.shape[1:]), x.dtype
            )
        for name, value in self.fixed.items():
            if name in self.forward.sampled:
                beside = np.broadcast_to(value[samples][None, :, None], (*extent, *value.shape[1:]))
                feeds[name] = np.ascontiguousarray(beside.reshape(rows, *value.shape[1:]))
            else:
                feeds[name] = value
        scores = self.forward.scores(feeds)
        start = self.samples.start
        numbers = self.read(scores.reshape(*extent, -1), slice(start + samples.start, start + samples.stop))
        if not np.isfinite(numbers).all():
            raise InputError(
                "the model returned NaN or infinity for a perturbed input: choose another baseline, or score='logit'"
            )
        return np.asarray(numbers.sum(axis=2))

    def _present(self, name: str, masks: Array) -> Array:
        """Masks at the elements of an input: [coalitions, …]."""
        numbers = self.players.of[name]
        if self.players.plain:
            first = int(numbers.flat[0])
            return masks[:, first : first + numbers.size].reshape(len(masks), *numbers.shape)
        always = np.concatenate([masks, np.ones_like(masks[:, :1])], axis=1)
        return np.asarray(always[:, numbers])


def mix(present: Array, x: Array, base: Array) -> Array:
    """x where present, else base: [k, …], [n, …] and [n or 1, m, …] to [k, n, m, …]."""
    mask = present[:, None, None]
    here, there = x[None, :, None], base[None]
    if mask.dtype == bool:
        return np.where(mask, here, there)
    return np.asarray(there + mask.astype(x.dtype) * (here - there))
