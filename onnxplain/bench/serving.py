"""The side of a worker: a process that runs what it is told to, and says how long it took.

Requests and answers are lines of JSON on standard input and output; what libraries print goes to standard error.
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
"""One whole run, from inputs in memory to results in memory; arrays by name."""

SHORT = 1.0
"""Seconds: a shorter run is preceded by one that is not counted, for caches and threads to wake."""


def timed(run: Run, seconds: float) -> list[float]:
    """Seconds of whole runs, one after the other, until so many have passed; at least one."""
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
        make: from what describes a case to what runs it; called once a case.
        facts: told with the first answer.
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
