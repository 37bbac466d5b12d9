"""A worker that runs one model in ONNX Runtime: `python -m onnxplain.bench.child MODEL.onnx '{"threads": 2}'`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxplain.bench.memory import resident
from onnxplain.bench.profile import costs
from onnxplain.bench.serving import Run, serve
from onnxplain.runtime.session import Session

__all__ = ["run_child"]


def run_child(path: str, settings: dict[str, Any]) -> None:
    """Serve requests for runs of a model until the standard input ends.

    Args:
        path: the model.
        settings: a dict with the optional keys
            `threads`: threads within one operator;
            `provider`: the execution provider;
            `folder`: the folder of the external data, if it is not beside the model;
            `profile`: a file name prefix. With it every run returns the cost of each operator.
    """
    import onnxruntime as ort

    ort.get_available_providers()  # loaded before the bare process is measured
    bare = resident()
    profile, folder = (Path(settings[key]) if settings.get(key) else None for key in ("profile", "folder"))
    session = Session(
        Path(path) if folder is None else onnx.load(path, load_external_data=False), settings.get("provider"),
        folder=folder, threads=settings.get("threads"), profile=profile,
    )  # fmt: skip

    def make(case: dict[str, Any]) -> Run:
        with np.load(case["feeds"]) as data:
            feeds = {name: data[name] for name in data.files}
        if not profile:
            return lambda: session.run(feeds)

        def profiled() -> dict[str, Any]:
            for _ in range(case["runs"]):
                session.run(feeds)
            return {"profile": json.dumps(costs(session.end_profiling(), skip=1))}

        return profiled

    serve(make, bare=bare, providers=session.providers)


if __name__ == "__main__":
    run_child(sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})
