"""What many points cost: fifty-step integrated gradients against single gradients, all targets against one, memory.

`python benchmarks/path_methods.py [--memory]`. Times are processor time of one thread, the least of many runs, interleaved, as
ratios to one gradient of one sample in the same process; memory is the greatest resident size of a process of its own.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

from onnxplain import rewrite

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
STEPS = 50


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def times(name: str, rounds: int) -> dict[str, float]:
    """Processor time of each variant, least of so many rounds, relative to one gradient of one sample."""
    path = FIXTURES / name / "model.onnx"
    with np.load(FIXTURES / name / "data.npz") as data:
        x = {key: data[key][:1] for key in data.files if key != "label"}
    many = {key: np.repeat(value, STEPS, 0) for key, value in x.items()}
    settings: dict[str, Any] = {"baseline": 0.0, "steps": STEPS}
    runs = {
        "gradient": (session(rewrite(path)), x),
        f"gradient of {STEPS} samples": (session(rewrite(path)), many),
        "integrated gradients": (session(rewrite(path, "integrated-gradients", **settings)), x),
        "one point at a time": (session(rewrite(path, "integrated-gradients", chunk=1, **settings)), x),
        "smoothgrad": (session(rewrite(path, "smoothgrad", samples=STEPS)), x),
        "all targets": (session(rewrite(path, "integrated-gradients", target="all", **settings)), x),
    }
    least = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for key, (made, feeds) in runs.items():
            start = time.thread_time()
            made.run(None, feeds)
            least[key] = min(least[key], time.thread_time() - start)
    return {key: value / least["gradient"] for key, value in least.items()}


def chain() -> onnx.ModelProto:
    """Six convolutions of 16 channels on 128 × 128 pixels: 1 MB a tensor."""
    random = np.random.default_rng(0)
    nodes, weights, before = [], [], "x"
    for i in range(6):
        weight = random.standard_normal((16, 3 if i == 0 else 16, 3, 3)).astype(np.float32) / 12
        weights.append(onnx.numpy_helper.from_array(weight, f"w{i}"))
        nodes.append(helper.make_node("Conv", [before, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        before = f"r{i}"
    nodes += [helper.make_node("GlobalAveragePool", [before], ["p"]), helper.make_node("Flatten", ["p"], ["y"])]
    x, y = (helper.make_tensor_value_info(n, 1, s) for n, s in (("x", ["n", 3, 128, 128]), ("y", ["n", 16])))
    graph = helper.make_graph(nodes, "chain", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def peak(steps: int, chunk: str) -> int:
    """Greatest resident size, MB, of a process that explains one image, less that of one that only predicts it."""

    def measure(*arguments: str) -> int:
        done = subprocess.run([sys.executable, __file__, "--peak", *arguments], check=True, capture_output=True, text=True)
        return int(done.stdout)

    return measure(str(steps), chunk) - measure()


def run_once(arguments: list[str]) -> None:
    """In a process of its own: explain (or predict) once, and print the greatest resident size in MB."""
    model = chain()
    if arguments:
        chunk: Any = arguments[1] if not arguments[1].isdigit() else int(arguments[1])
        model = rewrite(model, "integrated-gradients", baseline=0.0, steps=int(arguments[0]), chunk=chunk)
    session(model).run(None, {"x": np.zeros((1, 3, 128, 128), np.float32)})
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def main() -> None:
    if sys.argv[1:2] == ["--peak"]:
        run_once(sys.argv[2:])
    elif sys.argv[1:2] == ["--memory"]:
        for chunk in ("1", "8", "64", "100MB"):
            print(f"chunk {chunk}:", ", ".join(f"{steps} steps {peak(steps, chunk)} MB" for steps in (10, 50, 200)))
    else:
        for name in sys.argv[1:] or ["digits", "cnn1d", "resnet", "convnext", "mobilenet", "vit", "bert", "lstm"]:
            found = times(name, 30)
            print(f"{name}:", ", ".join(f"{key} {value:.1f}" for key, value in found.items() if key != "gradient"), flush=True)


if __name__ == "__main__":
    main()
