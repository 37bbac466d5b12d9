"""What explanations cost beside the forward run and beside other tools; makes docs/speed.md.

    python benchmarks/speed.py                                    everything
    python benchmarks/speed.py --model vgg16 --method lrp-epsilon  one part: its rows are replaced, the others stay
    python benchmarks/speed.py --page-only                         the page again, from docs/speed.json

Needs the extra `bench`. Every file and every tool runs in a process of its own, one at a time, with its turn in every round; the
other processes are stopped meanwhile. Before tools are timed, their numbers are compared. Models are made once, in a folder.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent))

import numpy as np
from speed_page import write_page
from speed_plan import POINTS, SINGLE, Case, chosen, method_of

from onnxplain import __version__, rewrite
from onnxplain.bench.benchmark import session_worker
from onnxplain.bench.machine import machine, today, versions
from onnxplain.bench.rounds import Entry, interleaved
from onnxplain.bench.worker import Worker, WorkerError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SCRIPTS = {"torch": "speed_torch.py", "compile": "speed_torch.py", "lxt": "speed_lxt.py", "onnx-ad": "speed_onnx_ad.py"}
PROCESS = {"captum": "torch", "zennit": "torch"}
"""Tools that share a process, and with it the weights."""

TOLERANCE = 2e-2
"""How far two tools' numbers may be apart, in the Euclidean norm, relative to ours.

In a network of rectifiers with random weights float32 alone moves a gradient by up to 1e-2, because values near zero fall on the
other side. Another rule, or a bias treated otherwise, moves it by a multiple of this.
"""


class Bench:
    """Everything about one model: its files, its workers."""

    def __init__(self, model: str, settings: argparse.Namespace, stack: ExitStack) -> None:
        self.model, self.settings, self.stack = model, settings, stack
        self.folder: Path = settings.cache
        self.work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self.folder)))
        self.workers: dict[str, Worker] = {}
        self.facts: dict[str, str] = {}
        path = self.folder / f"{model}.onnx"
        if not path.exists():
            script = str(HERE / "speed_models.py")
            subprocess.run([self.python("torch"), script, model, str(self.folder)], check=True, env=self.environment())
        self.forward = path
        with np.load(self.folder / f"{model}.npz") as data:
            self.data = {key: data[key] for key in data.files}

    def python(self, tool: str) -> str:
        """The interpreter that has a tool."""
        return str(self.settings.pythons.get(tool, sys.executable))

    def environment(self) -> dict[str, str]:
        """For processes of tools."""
        return {
            **os.environ, "OMP_NUM_THREADS": str(self.settings.threads), "HF_HUB_OFFLINE": "1",
            "TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor"),
        }  # fmt: skip

    def peer(self, tool: str) -> Worker:
        """The worker of a tool, started when it is first asked for."""
        process = PROCESS.get(tool, tool)
        if process not in self.workers:
            arguments = [self.model, str(self.folder), str(self.settings.threads)]
            command = [self.python(process), str(HERE / SCRIPTS[process]), *arguments]
            worker = self.stack.enter_context(Worker(command, self.environment(), self.settings.limit))
            self.facts |= worker.ask("start")["versions"]
            self.workers[process] = worker
        return self.workers[process]

    def session(self, path: Path) -> Worker:
        """A worker that runs a file of this model."""
        return session_worker(path, {"threads": self.settings.threads, "provider": "cpu"})

    def file(self, method: str, options: Mapping[str, Any]) -> Path:
        """The model explained by a method."""
        path = self.work / f"{method}.onnx"
        baseline = 0.0 if method == "integrated-gradients" else None
        path.write_bytes(rewrite(self.forward, method, target="input", baseline=baseline, **options).SerializeToString())
        gc.collect()
        return path

    def feeds(self, batch: int, *, explained: bool) -> Path:
        """A file with what the model is fed, the target besides where it is explained."""
        path = self.work / f"{batch}.{'explained' if explained else 'forward'}.npz"
        repeated = {key: np.take(value, np.arange(batch) % len(value), 0) for key, value in self.data.items()}
        np.savez(path, **{key: value for key, value in repeated.items() if explained or key != "target"})
        return path


def measure(bench: Bench, case: Case) -> dict[str, Any]:
    """One case: numbers compared, memory, then times in rounds."""
    settings = bench.settings
    path = bench.file(case.method, case.options)
    forward = {"feeds": str(bench.feeds(case.batch, explained=False))}
    mine = {"feeds": str(bench.feeds(case.batch, explained=True))}
    with ExitStack() as stack:
        entries = {
            "forward": Entry(stack.enter_context(bench.session(bench.forward)), forward),
            "onnxplain": Entry(stack.enter_context(bench.session(path)), mine),
        }
        expected = attribution(entries["onnxplain"], bench.work)
        difference: dict[str, float | None] = {}
        failed: dict[str, str] = {}
        for tool in case.peers:
            request = {"tool": tool, "method": case.method, "batch": case.batch, "steps": POINTS, "chunk": case.chunk}
            try:
                entry = Entry(bench.peer(tool), request)
                found = apart(expected, attribution(entry, bench.work))
                difference[tool] = None if case.random else found
                if not case.random and not found <= TOLERANCE:
                    raise WorkerError(f"its numbers differ by {found:.1e} of ours")
                entry.worker.ask("time", case=entry.case, seconds=0)  # some tools cannot be asked twice
                entries[tool] = entry
            except WorkerError as error:
                failed[tool] = str(error)
        if case.chunk:
            single = bench.file("gradient", {})
            fed = {"feeds": str(bench.feeds(case.chunk, explained=True))}
            entries[SINGLE] = Entry(stack.enter_context(bench.session(single)), fed)
        memory = {name: held(bench, file, feed) for name, file, feed in (
            ("forward", bench.forward, forward), ("onnxplain", path, mine))}  # fmt: skip
        taken = interleaved(entries, settings.rounds, settings.seconds, budget=settings.budget, least=settings.least)
        for tool in case.peers:
            if tool in entries:
                entries[tool].worker.ask("forget")
    if SINGLE in taken:
        taken[SINGLE] = [seconds * POINTS / case.chunk for seconds in taken[SINGLE]]
    return {
        **{key: value for key, value in asdict(case).items() if key != "peers"},
        "date": today(),
        "machine": machine(),
        "threads": settings.threads,
        "versions": {"onnxplain": code(), **versions("onnxruntime", "onnxruntime-gpu", "onnx", "numpy"), **bench.facts},
        "seconds": taken,
        "difference": difference,
        "failed": failed,
        "memory": memory,
        "size": {"forward": bench.forward.stat().st_size, "onnxplain": path.stat().st_size},
    }


def code() -> str:
    """The version that is measured, with the commit where there is one."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return f"{__version__} ({done.stdout.strip()})" if done.returncode == 0 else __version__


def attribution(entry: Entry, folder: Path) -> np.ndarray:
    """What an entry computes."""
    out = folder / "computed.npz"
    entry.worker.ask("compute", case=entry.case, out=str(out))
    with np.load(out) as data:
        return data[next(name for name in data.files if name.endswith("attribution"))]


def apart(mine: np.ndarray, other: np.ndarray) -> float:
    """How far another tool's numbers are from ours, in the Euclidean norm, relative to ours."""
    if mine.shape != other.shape:
        raise WorkerError(f"its attribution has the shape {list(other.shape)}, ours {list(mine.shape)}")
    return float(np.linalg.norm((other - mine).astype(np.float64)) / np.linalg.norm(mine.astype(np.float64)))


def held(bench: Bench, path: Path, case: dict[str, Any]) -> int:
    """The most bytes that a run held, weights included, beyond what an empty process holds."""
    with bench.session(path) as worker:
        bare = worker.ask("start")["bare"]
        return int(worker.ask("memory", case=case)["peak"]) - int(bare)


def main() -> None:
    """Measure what was asked for, and write the page."""
    parser = argparse.ArgumentParser(description="What explanations cost beside the forward run and beside other tools.")
    add = parser.add_argument
    add("--model", action="append", default=[], help="only this one; may be repeated")
    add("--method", action="append", default=[], help="only this one; may be repeated")
    add("--batch", action="append", default=[], type=int, help="only this size; may be repeated")
    add("--peer", action="append", help="compare with this one only; may be repeated; '' for none")
    add("--threads", type=int, default=2)
    add("--rounds", type=int, default=7, help="at most")
    add("--least", type=int, default=3, help="rounds that are made in any case")
    add("--budget", type=float, default=20.0, help="seconds after which a case begins no more rounds")
    add("--seconds", type=float, default=0.3, help="least length of a turn")
    add("--limit", type=float, default=900.0, help="seconds after which a tool is given up")
    add("--python", action="append", default=[], metavar="TOOL=PATH", help="interpreter of torch, lxt or onnx-ad")
    add("--cache", type=Path, default=ROOT / "out" / "speed", help="where the models are made")
    add("--results", type=Path, default=ROOT / "docs" / "speed.json", help="numbers of all parts")
    add("--page", type=Path, default=ROOT / "docs" / "speed.md")
    add("--page-only", action="store_true", help="write the page from the results, measure nothing")
    settings = parser.parse_args()
    if not settings.page.exists():
        parser.error(f"--page: no file '{settings.page}'; it is a page with the blocks of docs/speed.md, which are filled anew")
    settings.pythons = dict(text.split("=", 1) for text in settings.python)
    settings.cache = settings.cache.resolve()
    settings.cache.mkdir(parents=True, exist_ok=True)
    results = json.loads(settings.results.read_text(encoding="utf-8")) if settings.results.exists() else {}
    peers = None if settings.peer is None else [p for p in settings.peer if p]
    cases = [] if settings.page_only else chosen(settings.model, settings.method, settings.batch, peers)
    for model in dict.fromkeys(c.model for c in cases):
        with ExitStack() as stack:
            bench = Bench(model, settings, stack)
            for case in (c for c in cases if c.model == model):
                start = time.perf_counter()
                results[case.key] = measure(bench, case)
                settings.results.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
                told(results[case.key], time.perf_counter() - start)
    write_page(results, settings.page)


def told(record: dict[str, Any], seconds: float) -> None:
    """A line on what was measured."""
    from onnxplain.bench.spread import Spread, ratio

    taken = record["seconds"]
    mine = taken["onnxplain"]
    parts = [f"forward {1e3 * Spread.of(taken['forward']).median:.3g} ms, × {ratio(mine, taken['forward'])}"]
    parts += [f"{tool} {ratio(taken[tool], mine)} times ours" for tool in taken if tool not in ("forward", "onnxplain")]
    parts += [f"{tool}: {text}" for tool, text in record["failed"].items()]
    memory = record["memory"]
    parts.append(f"memory × {memory['onnxplain'] / memory['forward']:.2f}")
    name = f"{record['model']} {method_of(record)} batch {record['batch']}"
    print(f"{name}: {'; '.join(parts)}  [{seconds:.0f} s, {len(mine)} rounds]", flush=True)


if __name__ == "__main__":
    main()
