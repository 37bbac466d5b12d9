"""The measuring side: starts workers and lets only one of them run at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Timer
from types import TracebackType
from typing import Any

from onnxplain.errors import OnnxplainError

__all__ = ["Worker", "WorkerError"]


class WorkerError(OnnxplainError):
    """A worker could not do what it was asked to."""


class Worker:
    """A process that answers requests (`onnxplain.bench.serving`) and is stopped between them.

    A stopped process keeps its weights in memory but uses no processor time. Threads that spin while they wait for work would
    otherwise slow down the next measurement.

    Args:
        command: the command line of a program that calls `serve`.
        environment: additional environment variables.
        limit: the longest time to wait for a reply, in seconds.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None, limit: float = 900.0) -> None:
        self.command, self.limit = list(command), limit
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, encoding="utf-8",
            env={**os.environ, **(environment or {})},
        )  # fmt: skip

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request and wait for the reply.

        Args:
            do: the name of the request.
            **request: its arguments.

        Returns:
            The reply.

        Raises:
            WorkerError: the worker failed, ended, or did not reply in time.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._signal("SIGCONT")
        timer = Timer(self.limit, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        finally:
            overdue = not timer.is_alive()
            timer.cancel()
        if not line:
            raise WorkerError(f"no answer within {self.limit:g} s" if overdue else self._ended())
        self._signal("SIGSTOP")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _signal(self, name: str) -> None:
        if hasattr(signal, name) and self._process.poll() is None:
            self._process.send_signal(getattr(signal, name))

    def _ended(self) -> str:
        """Why the process ended, in one line."""
        code = self._process.wait()
        self._errors.seek(0)
        lines = [line for line in self._errors.read().splitlines() if line.strip()]
        said = f": {lines[-1].strip()[:400]}" if lines else ""
        return f"the process ended with {code}{said}" + (" (killed: out of memory?)" if code == -9 else "")

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None and not stream.closed:
                with suppress(OSError):  # what was still to be written has no reader
                    stream.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
