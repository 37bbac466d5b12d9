"""Which of ONNX Runtime's session options, and of the choices in rewriting, matter for the speed of explained models.

`python benchmarks/session_options.py MODEL.onnx [METHOD]`. Every variant runs in a process of its own, with its turn in every
round. Prints a Markdown table: time and memory of a run, beside those of the defaults.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import onnx
import onnxruntime as ort

from onnxplain import rewrite
from onnxplain.bench.feeding import feeds_of
from onnxplain.bench.memory import resident
from onnxplain.bench.rounds import Entry, interleaved
from onnxplain.bench.serving import Run, serve
from onnxplain.bench.spread import Spread, ratio
from onnxplain.bench.worker import Worker
from onnxplain.io.reader import read
from onnxplain.ir.graph import Graph
from onnxplain.passes import prepared
from onnxplain.verification.verify import explained_feeds

Options = ort.SessionOptions


def attribute(name: str, value: Any) -> Callable[[Options], None]:
    """Sets an attribute of the options."""
    return lambda options: setattr(options, name, value)


def entry(key: str, value: str) -> Callable[[Options], None]:
    """Adds an entry of the session's configuration."""
    return lambda options: options.add_session_config_entry(key, value)


VARIANTS: dict[str, Callable[[Options], None]] = {
    "defaults": lambda options: None,
    "1 thread": attribute("intra_op_num_threads", 1),
    "as many threads as ONNX Runtime chooses": attribute("intra_op_num_threads", 0),
    "threads that sleep instead of spinning": entry("session.intra_op.allow_spinning", "0"),
    "parallel execution mode": attribute("execution_mode", ort.ExecutionMode.ORT_PARALLEL),
    "no memory pattern": attribute("enable_mem_pattern", False),
    "no arena": attribute("enable_cpu_mem_arena", False),
    "no memory reuse": attribute("enable_mem_reuse", False),
    "no prepacked weights": entry("session.disable_prepacking", "1"),
    "denormals as zero": entry("session.set_denormal_as_zero", "1"),
    "basic optimizations only": attribute("graph_optimization_level", ort.GraphOptimizationLevel.ORT_ENABLE_BASIC),
    "extended optimizations, no layout": attribute("graph_optimization_level", ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED),
    "IO binding, outputs kept": lambda options: None,
    "weights outside the arena": entry("session.use_device_allocator_for_initializers", "1"),
    "arena shrunk after every run": lambda options: None,
}
"""What is changed from the defaults of a session."""

REWRITES: dict[str, dict[str, Any]] = {
    "target fixed in the file": {"target": 0},
    "batch size fixed in the file": {"target": "input", "fixed": True},
    "attribution only, no prediction": {"target": "input", "only_attribution": True},
}
"""What is changed in rewriting, at the defaults of a session. By default the target is chosen at run time."""


def explained(model: Path, method: str, batch: int, target: Any, *, fixed: bool = False, **options: Any) -> onnx.ModelProto:
    """The model explained; with `fixed` for one batch size."""
    source = onnx.load(model)
    for value in (*source.graph.input, *source.graph.output) if fixed else ():
        value.type.tensor_type.shape.dim[0].dim_value = batch
    return rewrite(source, method, target=target, **options)


def served(path: str, variant: str, threads: int) -> None:
    """A worker with one variant."""
    bare = resident()
    options = Options()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    VARIANTS.get(variant, VARIANTS["defaults"])(options)
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    run_options = ort.RunOptions()
    if variant == "arena shrunk after every run":
        run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def make(case: dict[str, Any]) -> Run:
        with np.load(case["feeds"]) as data:
            feeds = {name: data[name] for name in data.files}
        names = [o.name for o in session.get_outputs()]
        if variant.startswith("IO binding"):
            binding = session.io_binding()
            for name, value in feeds.items():
                binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(value))
            for name, value in zip(names, session.run(None, feeds), strict=True):
                binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(value))

            def bound() -> dict[str, Any]:
                session.run_with_iobinding(binding)
                return {}

            return bound
        return lambda: dict(zip(names, session.run(None, feeds, run_options), strict=True))

    serve(make, bare=bare)


def written(model: onnx.ModelProto, own: dict[str, Any], folder: Path, number: int) -> tuple[Path, Path]:
    """The files of an explained model and of what it is fed."""
    path, feeds = folder / f"{number}.onnx", folder / f"{number}.npz"
    path.write_bytes(model.SerializeToString())
    about = json.loads(next(p.value for p in model.metadata_props if p.key == "onnxplain"))
    np.savez(feeds, **explained_feeds(Graph(model), about, own, 0))
    return path, feeds


def main() -> None:
    """Measure, or serve."""
    if sys.argv[1] == "--serve":
        return served(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("method", nargs="?", default="gradient")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--variant", action="append", help="only this one beside the defaults; may be repeated")
    settings = parser.parse_args()
    chosen = ["defaults", *(settings.variant or [v for v in (*VARIANTS, *REWRITES) if v != "defaults"])]
    source = read(settings.model)
    own = feeds_of(Graph(prepared(source.copy()).model), settings.batch, None, {})
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        entries, memory, made = {}, {}, {}
        for variant in chosen:
            key = variant if variant in REWRITES else "defaults"
            if key not in made:
                model = explained(settings.model, settings.method, settings.batch, **REWRITES.get(key, {"target": "input"}))
                made[key] = written(model, own, Path(folder), len(made))
                del model
            path, feeds = made[key]
            case = {"feeds": str(feeds)}
            command = [sys.executable, __file__, "--serve", str(path), variant, str(settings.threads)]
            with Worker(command) as fresh:
                bare = fresh.ask("start")["bare"]
                memory[variant] = fresh.ask("memory", case=case)["peak"] - bare
            entries[variant] = Entry(stack.enter_context(Worker(command)), case)
            entries[variant].worker.ask("time", case=case, seconds=0)
        taken = interleaved(entries, settings.rounds, settings.seconds)
    conditions = f"batch {settings.batch}, {settings.threads} threads, onnxruntime {ort.__version__}"
    print(f"{settings.model.stem}, {settings.method}, {conditions}\n")
    print("| session | ms | time × defaults' | memory, MB |\n|---|---:|---:|---:|")
    for variant in chosen:
        times = ratio(taken[variant], taken["defaults"])
        print(f"| {variant} | {1e3 * Spread.of(taken[variant]).median:.3g} | {times} | {memory[variant] / 1e6:.0f} |")


if __name__ == "__main__":
    main()
