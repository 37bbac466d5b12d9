"""Rounds: every entry runs once in each, one after the other, so that what they share is shared by all."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from onnxplain.bench.worker import Worker

__all__ = ["Entry", "interleaved"]


@dataclass(frozen=True)
class Entry:
    """Something to time: a worker, and what describes the case to it."""

    worker: Worker
    case: dict[str, Any]


def interleaved(
    entries: Mapping[str, Entry],
    rounds: int,
    seconds: float = 0.3,
    *,
    least: int = 3,
    budget: float = float("inf"),
) -> dict[str, list[float]]:
    """Seconds of a whole run of every entry, one value a round: the median of the entry's turn.

    Every other round goes backwards through the entries, so that a drift favours none.

    Args:
        rounds: how many.
        seconds: how long a turn lasts at least.
        least: rounds that are made even where they take more than the budget.
        budget: seconds after which no more rounds are begun.
    """
    taken: dict[str, list[float]] = {name: [] for name in entries}
    spent = 0.0
    for number in range(rounds):
        if number >= least and spent >= budget:
            break
        start = time.perf_counter()
        order = list(entries)[:: 1 if number % 2 == 0 else -1]
        for name in order:
            entry = entries[name]
            answer = entry.worker.ask("time", case=entry.case, seconds=seconds)
            taken[name].append(median(answer["seconds"]))
        spent += time.perf_counter() - start
    return taken
