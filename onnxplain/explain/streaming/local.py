"""Running a job on this machine: in this process, or in several, each with sessions of its own."""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from onnxplain.errors import OnnxplainError
from onnxplain.explain.streaming.job import Job
from onnxplain.explain.streaming.pipeline import Tell, run_parts

__all__ = ["run_here"]


def run_here(job: Job, parts: Sequence[int], processes: int, tell: Tell) -> None:
    """Explain parts.

    Args:
        job: the run.
        parts: the numbers of those that are not finished.
        processes: how many run at a time.
        tell: is told of what is done.

    Raises:
        OnnxplainError: as `run_parts`, or a process ended by itself.
    """
    if processes == 1:
        run_parts(job, parts, tell)
        return
    waiting, events = iter(parts), queue.Queue[tuple[int, Any]]()
    workers = [_Worker(number, job, events) for number in range(min(processes, len(parts)))]
    try:
        _serve(workers, waiting, events, tell)
    finally:
        for worker in workers:
            worker.end()


def _serve(workers: Sequence[_Worker], waiting: Iterator[int], events: queue.Queue[tuple[int, Any]], tell: Tell) -> None:
    """Hand out parts until all workers have none left."""
    running = len(workers)
    while running:
        number, (kind, *event) = events.get()
        if kind == "ready":
            workers[number].send(next(waiting, None))
        elif kind == "done":
            tell(*event)
        elif kind == "end":
            running -= 1
        elif kind == "failed":
            raise event[0](event[1])
        else:
            code = workers[number].process.wait()
            raise OnnxplainError(
                f"a process of the run ended by itself ({_how(code)}); what was done is kept: go on with resume (--resume), with "
                "fewer processes or less memory each if memory ran out"
            )


class _Worker:
    """A process that explains parts, and a thread that hears what it tells."""

    def __init__(self, number: int, job: Job, events: queue.Queue[tuple[int, Any]]) -> None:
        command = [sys.executable, "-m", "onnxplain.explain.streaming.worker"]
        path = os.pathsep.join(p for p in (os.environ.get("PYTHONPATH", ""), *sys.path) if p)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
        )
        self._number, self._events = number, events
        self.send(job)
        threading.Thread(target=self._hear, daemon=True).start()

    def send(self, item: Any) -> None:
        assert self.process.stdin is not None
        try:
            pickle.dump(item, self.process.stdin)
            self.process.stdin.flush()
        except BrokenPipeError:  # it ended, which the thread that hears it tells
            pass

    def _hear(self) -> None:
        assert self.process.stdout is not None
        ended = False
        while not ended:
            try:
                event = pickle.load(self.process.stdout)
            except (EOFError, pickle.UnpicklingError, OSError, ValueError):
                event = ("lost",)
            ended = event[0] in ("lost", "end", "failed")
            self._events.put((self._number, event))

    def end(self) -> None:
        """Make sure that it ends."""
        assert self.process.stdin is not None
        if self.process.poll() is None:
            try:
                self.process.wait(timeout=0 if self.process.stdin.closed else 0.5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit status {code}"
