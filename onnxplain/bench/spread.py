"""Statistics of measurements in rounds: medians, quartiles, and ratios within rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

__all__ = ["Spread", "ratio"]


@dataclass(frozen=True)
class Spread:
    """The distribution of a quantity over the rounds.

    Attributes:
        median: the middle value.
        low: the lower quartile.
        high: the upper quartile.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of some values.

        Args:
            values: one per round.

        Returns:
            Their median and quartiles.

        Raises:
            ValueError: there are no values.
        """
        if not values:
            raise ValueError("nothing was measured: there are no rounds")
        low, middle, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
        return cls(middle, low, high)

    def __str__(self) -> str:
        """Median and quartiles with three significant digits, such as `2.04 (1.98-2.11)`."""
        return f"{self.median:.3g} ({self.low:.3g}-{self.high:.3g})"


def ratio(mine: Sequence[float], other: Sequence[float]) -> Spread:
    """The ratio of two quantities, taken round by round: what slows down a whole round cancels.

    Args:
        mine: the numerator, one value per round.
        other: the denominator, one value per round. If one has fewer rounds, only the rounds that both have are used.

    Returns:
        The distribution of the ratios.
    """
    rounds = min(len(mine), len(other))
    return Spread.of([a / b for a, b in zip(mine[:rounds], other[:rounds], strict=True)])
