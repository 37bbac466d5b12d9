"""Pipeline: reading, running and writing overlap, each in a thread of its own, with few batches between them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import Any

from onnxplain.explain.streaming.job import Job, Part, sample_failed
from onnxplain.io.datasets.dataset import Block, Problem

__all__ = ["Tell", "run_parts"]

Tell = Callable[[int, int, bool], None]
"""Is told of samples explained, samples left out, and whether a part is finished."""

BETWEEN = 2
"""Batches that wait between two steps, at most."""

PATIENCE = 0.1
"""Seconds between two looks at whether another step failed."""


class _Stopped(Exception):
    """Another step failed, or the run is interrupted."""


class _Channel:
    """A short queue that gives way when the run stops."""

    def __init__(self, stopped: threading.Event) -> None:
        self._queue: Queue[Any] = Queue(BETWEEN)
        self._stopped = stopped

    def put(self, item: Any) -> None:
        while not self._stopped.is_set():
            with suppress(Full):
                return self._queue.put(item, timeout=PATIENCE)
        raise _Stopped

    def get(self) -> Any:
        while not self._stopped.is_set():
            with suppress(Empty):
                return self._queue.get(timeout=PATIENCE)
        raise _Stopped


def run_parts(job: Job, parts: Iterable[int], tell: Tell) -> None:
    """Explain parts, one after the other. Whatever ends it, finished parts stay.

    Args:
        job: the run.
        parts: their numbers; each is asked for when the one before was read.
        tell: is told of what is done, from another thread.

    Raises:
        OnnxplainError: a sample failed that is to end the run, or nothing can be read, run or written.
    """
    stopped, failed = threading.Event(), list[BaseException]()
    read, made = _Channel(stopped), _Channel(stopped)

    def step(work: Callable[[], None]) -> None:
        try:
            work()
        except _Stopped:
            pass
        except BaseException as error:
            failed.append(error)
            stopped.set()

    threads = [
        threading.Thread(target=step, args=(lambda: _read(job, parts, read),), daemon=True),
        threading.Thread(target=step, args=(lambda: _write(job, made, tell),), daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        step(lambda: _run(job, read, made))
        while threads[1].is_alive():
            threads[1].join(PATIENCE)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    if failed:
        raise failed[0]


def _read(job: Job, parts: Iterable[int], read: _Channel) -> None:
    for number in parts:
        read.put(number)
        for item in job.blocks(number):
            read.put(item)
        read.put(True)
    read.put(None)


def _run(job: Job, read: _Channel, made: _Channel) -> None:
    for item in _until_none(read):
        if isinstance(item, Block):
            made.put(job.explain(item))
        else:
            made.put(({}, None, [item]) if isinstance(item, Problem) else item)
    made.put(None)


def _write(job: Job, made: _Channel, tell: Tell) -> None:
    part = Part(0)
    for item in _until_none(made):
        if item is True:
            job.finish(part)
            tell(0, 0, True)
        elif isinstance(item, int):
            part = Part(item)
        else:
            columns, keys, problems = item
            if problems and job.stop:
                raise sample_failed(problems[0], job.data.mends)
            part.problems += problems
            if columns:
                part.columns.append(columns)
                part.keys = part.keys if keys is None else [*(part.keys or ()), *keys]
            tell(len(columns["index"]) if columns else 0, len(problems), False)


def _until_none(channel: _Channel) -> Iterator[Any]:
    while (item := channel.get()) is not None:
        yield item
