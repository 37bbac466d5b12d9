"""Worker: a process that explains the parts it is told. `python -m onnxplain.explain.streaming.worker`

It reads the pickled job and then part numbers from its standard input, and ends where that ends, so that no worker
outlives the process that started it. What it has to tell is pickled to its standard output.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from typing import IO, Any

from onnxplain.errors import OnnxplainError
from onnxplain.explain.streaming.pipeline import run_parts

__all__ = ["serve_parts"]


def serve_parts() -> None:
    """Explain parts until there are no more."""
    told = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else may write among what is told

    def tell(*event: Any) -> None:
        pickle.dump(event, told)
        told.flush()

    job = pickle.load(sys.stdin.buffer)
    try:
        run_parts(job, _parts(sys.stdin.buffer, tell), lambda done, lost, part: tell("done", done, lost, part))
        tell("end")
    except OnnxplainError as error:
        tell("failed", type(error), str(error))
    except KeyboardInterrupt:
        os._exit(130)


def _parts(given: IO[bytes], tell: Any) -> Iterator[int]:
    """The numbers of parts, each asked for when it can be read."""
    while True:
        tell("ready")
        try:
            number = pickle.load(given)
        except EOFError:
            os._exit(1)  # the process that started this one is gone
        if number is None:
            return
        yield number


if __name__ == "__main__":
    serve_parts()
