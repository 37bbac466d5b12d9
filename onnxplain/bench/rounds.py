"""Timing in rounds: every entry runs once per round, one after the other, so that disturbances affect all alike."""

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
    """Something to be timed.

    Attributes:
        worker: the process that runs it.
        case: what the worker has to run.
    """

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
    """Time the runs of several entries in rounds.

    Every second round goes through the entries in reverse order, so that a drift favours none of them.

    Args:
        entries: what to time, by name.
        rounds: the number of rounds.
        seconds: the least length of an entry's turn.
        least: rounds that are run even if they exceed the budget.
        budget: seconds after which no further round begins.

    Returns:
        By name, the seconds of a run, one value per round: the median of the entry's turn.
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
