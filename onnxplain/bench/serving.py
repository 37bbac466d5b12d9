"""The worker's side: a process that runs what it is asked to and reports the time it took.

Requests and replies are lines of JSON on standard input and output. What libraries print is sent to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from onnxplain.bench.memory import forget_peak, peak, resident

__all__ = ["Run", "serve", "timed"]

Run = Callable[[], Mapping[str, Any]]
"""A complete run, from inputs in memory to outputs in memory. Returns arrays by name."""

SHORT = 1.0
"""If a run takes fewer seconds, the first one is a warm-up and does not count."""


def timed(run: Run, seconds: float) -> list[float]:
    """Run repeatedly for a given time.

    Args:
        run: what to run.
        seconds: the least time to run for.

    Returns:
        The seconds of each run; at least one.
    """
    start = time.perf_counter()
    run()
    taken = [time.perf_counter() - start]
    if taken[0] < SHORT:
        taken = []
    while not taken or sum(taken) < seconds:
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return taken


def serve(make: Callable[[dict[str, Any]], Run], **facts: Any) -> None:
    """Answer requests until the input ends.

    Args:
        make: turns the description of a case into a function that runs it. Called once per case.
        **facts: returned in reply to the request "start".
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    cases: dict[str, Run] = {}

    def run_of(case: dict[str, Any]) -> Run:
        key = json.dumps(case, sort_keys=True)
        if key not in cases:
            cases[key] = make(case)
        return cases[key]

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        match request["do"]:
            case "start":
                return facts
            case "compute":
                arrays: dict[str, Any] = {name: np.asarray(value) for name, value in run_of(request["case"])().items()}
                np.savez(request["out"], **arrays)
                return {}
            case "time":
                return {"seconds": timed(run_of(request["case"]), request["seconds"])}
            case "memory":
                run = run_of(request["case"])
                loaded = resident()
                forget_peak()
                run()
                return {"loaded": loaded, "peak": peak()}
            case "forget":
                cases.clear()
                return {}
            case other:
                raise ValueError(f"unknown request '{other}'")

    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:600]}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()
