"""What a run over a data set costs beside its session alone: `python benchmarks/scale.py [SAMPLES] [ROWS]`.

Two data sets: pictures of 3×64×64 through two convolutions, and rows of 20 columns through a dense network. For each: the bare
session back to back on the same batches; `onnxplain.map` in one process and in two; on a local Ray cluster where there is Ray.
Each is a process of its own; times are those of the process's run, after its start, and only their ratios mean anything. Runs are
repeated in turn, and the best of each is taken. docs/scale.md has the ratios.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

REPEATS = 2
ENGINES = ("session", "map", "map, 2 processes", "map, ray")


def pictures_model() -> onnx.ModelProto:
    """Two convolutions on 3×64×64."""
    weights = {"w1": (16, 3, 3, 3), "w2": (32, 16, 3, 3), "w3": (32, 10)}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "w3"], ["y"]),
    ]
    return _model(nodes, weights, ["n", 3, 64, 64], 10)


def rows_model() -> onnx.ModelProto:
    """A dense network of 20 columns."""
    weights = {"w1": (20, 64), "w2": (64, 64), "w3": (64, 3)}
    nodes = [
        helper.make_node("Gemm", ["x", "w1"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "w2"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "w3"], ["y"]),
    ]
    return _model(nodes, weights, ["n", 20], 3)


def _model(
    nodes: list[onnx.NodeProto], weights: dict[str, tuple[int, ...]], shape: list[str | int], classes: int
) -> onnx.ModelProto:
    random = np.random.default_rng(0)
    held = [numpy_helper.from_array((random.standard_normal(s) * 0.2).astype(np.float32), n) for n, s in weights.items()]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", classes])
    graph = helper.make_graph(nodes, "g", [x], [y], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def measure(engine: str, model: str, data: str, out: str, batch: int) -> dict[str, float]:
    """Run one engine in this process: seconds, and bytes held at most beyond those before the run."""
    import onnxplain
    from onnxplain.explain.streaming.pace import peak_memory

    x = np.load(data, mmap_mode="r")
    explainer = onnxplain.Explainer(model, providers="cpu", threads=1, progress=False)
    explainer(np.array(x[:1]))
    before, began = peak_memory(), time.perf_counter()
    if engine == "session":
        from onnxplain.runtime.session import Session

        session = Session(explainer.model, "cpu", threads=1)
        for start in range(0, len(x), batch):
            part = np.array(x[start : start + batch])
            session.run({"x": part, "target": np.full(len(part), -1, np.int64)})
    else:
        more = {"processes": 2} if "2" in engine else {"engine": "ray", "processes": 1} if "ray" in engine else {}
        if "ray" in engine:
            import ray

            ray.init(num_cpus=2, log_to_driver=False)
            began = time.perf_counter()
        onnxplain.map(model, data, out, providers="cpu", threads=1, batch_size=batch, progress=False, overwrite=True, **more)
    return {"seconds": time.perf_counter() - began, "bytes": peak_memory() - before}


def main(pictures: int, rows: int) -> None:
    """Measure everything and print a table."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for name, made, shape, batch in (
            ("pictures", pictures_model(), (pictures, 3, 64, 64), 64),
            ("rows", rows_model(), (rows, 20), 4096),
        ):
            model, data = Path(folder) / f"{name}.onnx", Path(folder) / f"{name}.npy"
            onnx.save(made, model)
            array = np.lib.format.open_memmap(data, "w+", np.float32, shape)
            for start in range(0, len(array), 4096):
                array[start : start + 4096] = random.random((min(4096, len(array) - start), *shape[1:]), np.float32)
            array.flush()
            engines = [e for e in ENGINES if "ray" not in e or find_spec("ray")]
            found: dict[str, list[dict[str, float]]] = {e: [] for e in engines}
            for _ in range(REPEATS):
                for engine in engines:
                    command = [
                        sys.executable,
                        __file__,
                        "one",
                        engine,
                        str(model),
                        str(data),
                        f"{folder}/out.parquet",
                        str(batch),
                    ]
                    done = subprocess.run(command, check=True, capture_output=True, text=True)
                    found[engine].append(json.loads(done.stdout.splitlines()[-1]))
            best = {e: min(r["seconds"] for r in f) for e, f in found.items()}
            print(f"{name}: {len(array):,} samples, {data.stat().st_size / 1e6:,.0f} MB")
            for engine in engines:
                held = max(r["bytes"] for r in found[engine])
                print(f"  {engine:18} {best[engine] / best['session']:6.2f} × the session   {held / 1e6:6,.0f} MB at most")


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        engine, model, data, out, batch = sys.argv[2:]
        print(json.dumps(measure(engine, model, data, out, int(batch))))
    else:
        main(*(int(n) for n in (sys.argv[1:] or ["10000", "1000000"])))
