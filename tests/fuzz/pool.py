"""Runs cases in a process of their own, with limits of time and memory; a process that dies is replaced."""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.cases import run_case

__all__ = ["Outcome", "outcomes"]

SECONDS, BYTES = 20.0, 2 << 30
"""What a case may take: time, and memory beyond what the process holds when it begins."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        kind: of the case.
        number: of the case.
        verdict: "fine", "refused" (an error raised on purpose, in one line), "crash", "memory", "hang" or "abort".
        where: the place of a crash: file and function, with the kind of the error.
        detail: the error in words.
        seconds: how long it took.
    """

    kind: str
    number: int
    verdict: str
    where: str = ""
    detail: str = ""
    seconds: float = 0.0


def outcomes(cases: Iterable[tuple[str, int]], until: float | None = None) -> Iterator[Outcome]:
    """Run cases one by one, until a point in time (of time.monotonic)."""
    waiting = iter(cases)
    child: _Child | None = None
    try:
        for kind, number in waiting:
            if until is not None and time.monotonic() > until:
                return
            child = child if child is not None and child.alive else _Child()
            yield child.run(kind, number)
    finally:
        if child is not None:
            child.end()


class _Child:
    """A process that runs cases. It is forked, so that what was imported need not be imported again."""

    def __init__(self) -> None:
        self.alive = True
        asks, self._ask = os.pipe()
        self._told, tells = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._ask)
            os.close(self._told)
            _serve(asks, tells)
        os.close(asks)
        os.close(tells)

    def run(self, kind: str, number: int) -> Outcome:
        start = time.monotonic()
        os.write(self._ask, json.dumps([kind, number]).encode() + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            left = SECONDS - (time.monotonic() - start)
            ready = select.select([self._told], [], [], max(0.0, left))[0]
            part = os.read(self._told, 1 << 16) if ready else b""
            if not part:
                status = self.end()
                verdict = "abort" if ready else "hang"
                detail = f"ended by signal {os.WTERMSIG(status)}" if ready and os.WIFSIGNALED(status) else ""
                return Outcome(kind, number, verdict, verdict, detail, time.monotonic() - start)
            data += part
        verdict, where, detail, again = json.loads(data)
        if not again:
            self.end()
        return Outcome(kind, number, verdict, where, detail, time.monotonic() - start)

    def end(self) -> int:
        if not self.alive:
            return 0
        self.alive = False
        try:
            os.kill(self.pid, signal.SIGKILL)
        finally:
            status = os.waitpid(self.pid, 0)[1]
            os.close(self._ask)
            os.close(self._told)
        return status


def _serve(asks: int, tells: int) -> None:
    """Run what is asked for until the parent is gone."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)
        for line in os.fdopen(asks, "rb"):
            kind, number = json.loads(line)
            _limit()
            with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
                told = _judged(kind, number, Path(folder))
            os.write(tells, json.dumps(told).encode() + b"\n")
    finally:
        os._exit(0)


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, resource.RLIM_INFINITY))


def _judged(kind: str, number: int, folder: Path) -> tuple[str, str, str, bool]:
    from onnxplain.errors import OnnxplainError, PredictionChanged

    try:
        run_case(kind, number, folder)
    except PredictionChanged as error:
        return "crash", "PredictionChanged", str(error)[:300], True
    except OnnxplainError as error:
        text = str(error)
        inner = error.__cause__
        if type(error).__name__ == "InternalError":
            return ("memory" if isinstance(inner, MemoryError) else "crash"), _place(inner or error), repr(inner)[:300], True
        if len(text) > 3000 or any(not c.isprintable() and c != "\n" for c in text) or not text.strip():
            return "crash", f"no clear line: {_place(error)}", repr(text)[:300], True
        return "refused", "", text[:300], True
    except MemoryError as error:
        return "memory", _place(error), str(error)[:200], False
    except BaseException as error:
        memory = "bad_alloc" in str(error) or "llocat" in str(error)
        return ("memory" if memory else "crash"), _place(error), f"{type(error).__name__}: {error}"[:300], not memory
    return "fine", "", "", True


def _place(error: BaseException) -> str:
    """The innermost place of ours."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/onnxplain/" in f.filename or "/rules/" in f.filename]
    if not frames:
        return type(error).__name__
    last = frames[-1]
    return f"{type(error).__name__} in {last.filename.rpartition('/onnxplain/')[2].rpartition('/rules/')[2] or last.filename}:{last.name}"


def clean() -> None:
    """Remove what killed cases left behind."""
    for folder in Path(tempfile.gettempdir()).glob("fuzz-*"):
        shutil.rmtree(folder, ignore_errors=True)
