"""Pace: how many samples go through the model together, found by measuring time and memory on the first samples."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.errors import InputError
from onnxplain.io.datasets.dataset import Block

__all__ = ["LARGEST", "Pace", "amount_of_memory", "fitting", "measured"]

LARGEST = 4096
"""Samples in one run, at most."""

LONG = 3.0
"""Seconds after which no larger batch is tried."""

GAIN = 0.9
"""A larger batch must take less than this share of the time per sample."""

COPIES = 8
"""Batches of inputs and results that are held at a time: read, waiting, running, waiting, and gathered for a part."""

UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

Explain = Callable[[Block], Any]


@dataclass(frozen=True)
class Pace:
    """What was measured.

    Attributes:
        batch: samples in one run.
        seconds: that one sample takes in such a run.
        bytes_of_results: what is written of one sample.
    """

    batch: int
    seconds: float
    bytes_of_results: int


def amount_of_memory(given: str | int) -> int:
    """Bytes, from a number or words like "1GB".

    Raises:
        InputError: it is no amount of memory.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMGT]B)", str(given).strip())
    if found is None and (isinstance(given, bool) or not isinstance(given, int) or given < 1):
        raise InputError(f"memory is a number of bytes, or an amount like '500MB' or '1GB'; got {given!r}")
    return int(given) if found is None else int(float(found[1]) * UNITS[found[2]])


def measured(block: Block, explain: Explain, memory: int, chosen: int | None, fixed: int | None) -> Pace:
    """Run the first samples in batches of growing size, as long as that is faster and memory allows.

    Args:
        block: the first samples, no more than are held at a time.
        explain: explains a block; gives its columns.
        memory: bytes that may be taken beside the loaded model.
        chosen: the batch that the user chose; None to find one.
        fixed: the batch of a model that takes no other.
    """
    first = _part(block, 1)
    columns = explain(first)[0]  # makes the session, and compares with the original
    result, given = _result(columns), _given(first)
    before, began = peak_memory(), time.perf_counter()
    best, size, reached = None, chosen or fixed or 1, 0
    while True:
        size = min(size, len(block))
        seconds = _seconds(explain, _part(block, size))
        reached = max(reached, peak_memory() - before)
        if best is None or seconds < GAIN * best.seconds:
            best = Pace(size, seconds, result)
        need = 2 * reached + 2 * size * COPIES * (given + result)
        slower = best.batch * 4 <= size
        late = time.perf_counter() - began > LONG
        if chosen or fixed or size == len(block) or need > memory or slower or late:
            return Pace(chosen or fixed or best.batch, best.seconds, result)
        size *= 2


def fitting(block: Block, columns: Mapping[str, Any], memory: int) -> int:
    """How many samples like one may be held at a time, by their own size: at least one, at most `LARGEST`."""
    return min(LARGEST, max(1, memory // (2 * COPIES * (_given(block) + _result(columns)))))


def peak_memory() -> int:
    """The most bytes that this process held at a time so far; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _seconds(explain: Explain, block: Block) -> float:
    """What one sample takes, the better of two runs."""
    times = []
    for _ in range(2):
        began = time.perf_counter()
        explain(block)
        times.append(time.perf_counter() - began)
    return min(times) / len(block)


def _part(block: Block, size: int) -> Block:
    """The first samples of a block."""
    keys = None if block.keys is None else block.keys[:size]
    arrays = {n: v[:size] for n, v in block.arrays.items()}
    return Block(block.index[:size], keys, arrays, {n: v[:size] for n, v in block.columns.items()})


def _given(block: Block) -> int:
    return sum(v.nbytes for v in block.arrays.values())


def _result(columns: Mapping[str, Any]) -> int:
    return sum(_bytes(v) for v in columns.values())


def _bytes(value: Any) -> int:
    return sum(np.asarray(v).nbytes for v in value) if isinstance(value, list) else int(value.nbytes)
