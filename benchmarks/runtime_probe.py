"""Runs explained models on one runtime and prints a line of JSON for each: `python runtime_probe.py KIND FOLDER CASE…`.

Needs nothing but that runtime and numpy: it runs in the runtime's own environment.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Arrays = Mapping[str, Any]


def onnxruntime(path: Path, feeds: Arrays, *, basic: bool = False) -> Arrays:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    if basic:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, dict(feeds))))  # noqa: B905


def onnxruntime_basic(path: Path, feeds: Arrays) -> Arrays:
    return onnxruntime(path, feeds, basic=True)


def reference(path: Path, feeds: Arrays) -> Arrays:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(path))
    return dict(zip(evaluator.output_names, evaluator.run(None, dict(feeds)), strict=True))


def openvino(path: Path, feeds: Arrays) -> Arrays:
    import openvino as ov

    core = ov.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled(dict(feeds))
    return {name: results[port] for port in compiled.outputs for name in port.get_names()}


def tract(path: Path, feeds: Arrays) -> Arrays:
    import tract as engine

    model = engine.onnx().load(str(path)) if callable(engine.onnx) else engine.onnx.load(str(path))
    names = [model.input_name(i) for i in range(model.input_count())]
    # It names outputs after nodes; their order is the file's.
    outputs = json.loads(path.with_name(f"{path.stem.removesuffix('-fixed')}.json").read_text())["outputs"]
    results = model.into_model().into_runnable().run([feeds[n] for n in names])
    return dict(zip(outputs, [r.to_numpy() for r in results], strict=True))


def opencv(path: Path, feeds: Arrays) -> Arrays:
    import cv2

    net = cv2.dnn.readNetFromONNX(str(path))
    for name, array in feeds.items():
        net.setInput(array, name)
    names = net.getUnconnectedOutLayersNames()
    return dict(zip(names, net.forward(names), strict=True))


RUN: dict[str, Callable[[Path, Arrays], Arrays]] = {
    f.__name__: f for f in (onnxruntime, onnxruntime_basic, reference, openvino, tract, opencv)
}


def difference(found: Arrays, expected: Arrays) -> float:
    """The largest difference, each over the largest number of its output."""
    worst = 0.0
    for name, array in expected.items():
        mine = np.asarray(found[name], np.float64)
        if mine.shape != array.shape:
            raise ValueError(f"output '{name}' has the shape {list(mine.shape)}, expected {list(array.shape)}")
        gap = float(np.abs(mine - array).max() / max(float(np.abs(array).max()), 1e-30))
        if not gap <= 1e-2:  # no rounding: something else was computed
            raise ValueError(f"output '{name}' is another one: it differs by {gap:.2g} of its largest number")
        worst = max(worst, gap)
    return worst


def main() -> None:
    """Run the cases."""
    kind, folder, *names = sys.argv[1:]
    for name in names:
        place, data = Path(folder), name.removesuffix("-fixed")
        with np.load(place / f"{data}-in.npz") as feeds, np.load(place / f"{data}-out.npz") as expected:
            answer: dict[str, Any] = {"case": name}
            try:
                answer["difference"] = difference(RUN[kind](place / f"{name}.onnx", dict(feeds)), dict(expected))
            except BaseException as error:  # whatever a runtime throws is its answer
                answer["error"] = f"{type(error).__name__}: {error}"[:2000]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
