"""The arithmetic of a measurement: medians and quartiles of rounds, and ratios taken within rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

__all__ = ["Spread", "ratio"]


@dataclass(frozen=True)
class Spread:
    """A quantity measured in rounds: its median, and the quartiles below and above, between which the middle half lies."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of one value a round.

        Raises:
            ValueError: there are no rounds.
        """
        if not values:
            raise ValueError("nothing was measured: there are no rounds")
        low, middle, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
        return cls(middle, low, high)

    def __str__(self) -> str:
        """Three significant digits each, e.g. `2.04 (1.98-2.11)`."""
        return f"{self.median:.3g} ({self.low:.3g}-{self.high:.3g})"


def ratio(mine: Sequence[float], other: Sequence[float]) -> Spread:
    """How many times `other` goes into `mine`, round by round: what slows a whole round down cancels.

    Args:
        mine, other: one value a round, of the same rounds; where one took part in fewer, they are the first ones.
    """
    rounds = min(len(mine), len(other))
    return Spread.of([a / b for a, b in zip(mine[:rounds], other[:rounds], strict=True)])
