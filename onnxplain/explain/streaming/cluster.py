"""Running a job on Ray Data: every actor holds one session per method and explains parts; Ray repeats those whose actor died."""

from __future__ import annotations

import logging
import pickle
import socket
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import OnnxplainError, ProviderError
from onnxplain.explain.streaming.job import Job
from onnxplain.explain.streaming.pipeline import Tell, run_parts

__all__ = ["run_on_ray"]


class PartWorker:
    """An actor: a job whose sessions are made once.

    Args:
        job: the pickled job.
    """

    def __init__(self, job: bytes) -> None:
        self._job: Job = pickle.loads(job)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Explain parts; gives how many samples were explained and left out of each, and what ended the run, if anything."""
        done, lost = [], []
        for part in batch["part"]:
            counts = np.zeros(2, np.int64)

            def tell(explained: int, missing: int, finished: bool, counts: Any = counts) -> None:
                counts += (explained, missing)

            try:
                if not self._job.is_done(int(part)):  # an actor that died may have written it
                    run_parts(self._job, [int(part)], tell)
            except OnnxplainError as error:  # repeating it would not help
                text = pickle.dumps((type(error), str(error)))
                return {"done": [0], "lost": [0], "failed": [text]}
            done.append(int(counts[0]))
            lost.append(int(counts[1]))
        return {"done": done, "lost": lost, "failed": [b""] * len(done)}


def _check_reachable(address: str) -> None:
    """Say at once that nothing listens there; Ray itself would wait for minutes.

    Raises:
        ProviderError: nothing does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise ProviderError(f"no Ray cluster at {address}: {error}; give HOST:PORT, as `ray start --head` prints it") from None


def run_on_ray(job: Job, parts: Sequence[int], actors: int, address: str | None, tell: Tell) -> None:
    """Explain parts on a Ray cluster. The data and the output must lie where all its machines reach them.

    Args:
        job: the run.
        parts: the numbers of those that are not finished.
        actors: how many run at a time, at most.
        address: of the cluster; None starts one on this machine.
        tell: is told of what is done.

    Raises:
        ProviderError: there is no cluster at the address.
        OnnxplainError: as `run_parts`.
        MissingDependencyError: Ray is not installed.
    """
    with optional("ray", "runs on a cluster"):
        import ray
        import ray.data
    if not ray.is_initialized():
        if address not in (None, "auto", "local"):
            _check_reachable(str(address))
        try:
            ray.init(address, num_cpus=None if address else max(2, actors), log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ProviderError(f"no Ray cluster at {address}: {str(error).splitlines()[0]}") from None
    ray.data.DataContext.get_current().enable_progress_bars = False
    numbers = ray.data.from_items([{"part": int(p)} for p in parts], override_num_blocks=len(parts))
    made = numbers.map_batches(
        PartWorker, fn_constructor_args=(pickle.dumps(job),), batch_size=1, concurrency=(1, max(1, actors)), max_restarts=-1,
        max_task_retries=-1,
    )  # fmt: skip
    for row in made.iter_rows():
        if row["failed"]:
            kind, text = pickle.loads(row["failed"])
            raise kind(text)
        tell(int(row["done"]), int(row["lost"]), True)
