"""Benchmarks explained models against the user's own model."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain.analysis.sample_axis import AUTO, SampleAxisLike
from onnxplain.bench.feeding import batch_sizes, feeds_of
from onnxplain.bench.machine import machine, today, versions
from onnxplain.bench.report import BenchReport, Row
from onnxplain.bench.rounds import Entry, interleaved
from onnxplain.bench.worker import Worker
from onnxplain.errors import InputError, OnnxplainError
from onnxplain.explain.request import Request
from onnxplain.explain.rewrite import rewrite_source
from onnxplain.io.reader import ModelLike, Source, external_tensors, read
from onnxplain.io.writer import write_file
from onnxplain.ir.graph import Graph
from onnxplain.ir.registry import load_registry
from onnxplain.method.registry import graph_method
from onnxplain.passes import prepared
from onnxplain.runtime.guarded import guarded
from onnxplain.runtime.inputs import axes_of, check_inputs
from onnxplain.runtime.session import check_providers
from onnxplain.verification.verify import explained_feeds

__all__ = ["PROFILED", "bench", "session_worker"]

FORWARD = "forward"
"""The key of the original model among the methods."""

PROFILED = 5
"""The number of runs that a profile averages."""


@dataclass(frozen=True)
class _File:
    """A model on disk with its inputs: the original or an explained one.

    Attributes:
        path: the model.
        feeds: the inputs of a batch, as a .npz file, by batch size.
        settings: of the worker; see `onnxplain.bench.child.run_child`.
    """

    path: Path
    feeds: Mapping[int, Path]
    settings: Mapping[str, Any]

    def worker(self, **more: Any) -> Worker:
        return session_worker(self.path, {**self.settings, **more})

    def case(self, size: int, **more: Any) -> dict[str, Any]:
        return {"feeds": str(self.feeds[size]), **more}


def session_worker(path: Path, settings: Mapping[str, Any]) -> Worker:
    """Start a worker that runs a model in ONNX Runtime.

    Args:
        path: the model.
        settings: see `onnxplain.bench.child.run_child`.

    Returns:
        The worker. Close it after use, or use it in a `with` statement.
    """
    root = str(Path(__file__).resolve().parent.parent.parent)
    command = [sys.executable, "-m", "onnxplain.bench.child", str(path), json.dumps(dict(settings))]
    return Worker(command, {"PYTHONPATH": root} if "site-packages" not in root else None)


@guarded
def bench(
    model: ModelLike,
    methods: Sequence[str] = ("gradient",),
    x: Any = None,
    *,
    batches: Sequence[int] = (),
    extents: Mapping[str, int] | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    rounds: int = 7,
    seconds: float = 0.3,
    profile: bool = False,
    provider: str = "auto",
    output: str | None = None,
    inputs: Sequence[str] | None = None,
    layer: str | Sequence[str] | None = None,
    baseline: float = 0.0,
    score: str = "logit",
    sample_axis: SampleAxisLike = AUTO,
    rules: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    say: Callable[[str], None] = lambda text: None,
    refused: dict[str, str] | None = None,
) -> BenchReport:
    """Measure time and memory of explained models against the model's own.

    Each file runs in a process of its own. Only one process runs at a time; the others are stopped meanwhile. In every round each
    file has its turn, and ratios are taken within rounds. The target is each sample's top prediction, found at run time.

    Args:
        model: a path, the bytes of a file, or a ModelProto.
        methods: names from `onnxplain.methods()`.
        x: samples, as an Explainer takes them; None generates random ones.
        batches: batch sizes; by default 1 and 8, or the model's own if it is fixed.
        extents: extents of other free axes of the inputs, by symbol. Used if no samples are given.
        batch_size: samples that an explained file processes at a time, as in `onnxplain.rewrite`.
        threads: threads within one operator; None leaves the choice to ONNX Runtime.
        rounds: how often every file has its turn.
        seconds: how long a turn lasts at least.
        profile: whether to say which operators cost most.
        provider: "auto", "cpu", "cuda", or a name of ONNX Runtime's.
        output, inputs, layer, score, sample_axis, rules: as in `onnxplain.rewrite`.
        baseline: of the methods that compare with one.
        options: by method, its own options.
        say: told what is done next.
        refused: gets the reason of every method that the model refuses, which is then left out; None raises it.

    Raises:
        OnnxplainError: as `onnxplain.rewrite`.
        InputError: the batch sizes or samples do not fit the model.
    """
    if rounds < 1:
        raise InputError(f"at least 1 round is needed, not {rounds}")
    check_providers(provider)
    source = read(model)
    registry = load_registry(rules)
    graph = Graph(prepared(source.copy(), registry).model)
    axes = axes_of(graph, output, score, sample_axis, registry.traits)
    sizes = batch_sizes(axes, batches)
    given = None if x is None else check_inputs(x, graph.inputs, axes=axes.of_inputs)
    own = {size: feeds_of(graph, axes, size, given, extents or {}) for size in sizes}
    settings = {"threads": threads, "provider": provider}
    with tempfile.TemporaryDirectory() as folder:
        files = {FORWARD: _file(Path(folder), FORWARD, source, source.model.SerializeToString(), own, settings)}
        for name in methods:
            say(f"rewriting for {name}")
            method, chosen = graph_method(name), dict((options or {}).get(name, {}))
            compares = method.takes_baseline(method.checked(chosen))
            request = Request.of(
                method, target="input", output=output, inputs=inputs, layer=layer, baseline=baseline if compares else None,
                score=score, sample_axis=sample_axis, registry=registry, options=chosen, batch_size=batch_size,
            )  # fmt: skip
            try:
                done = rewrite_source(source.copy(), request)
            except OnnxplainError as error:
                if refused is None:
                    raise
                refused[name] = str(error)
                continue
            explained = Graph(done.model)
            feeds = {size: explained_feeds(explained, done.about, own[size], 0) for size in sizes}
            files[name] = _file(Path(folder), name, source, done.model.SerializeToString(), feeds, settings)
        rows = _timed(files, sizes, rounds, seconds, say)
        operators = {name: _profiled(file, sizes[0], say) for name, file in files.items()} if profile else {}
    packages = ("onnxplain", "onnxruntime-gpu", "onnxruntime", "onnx", "numpy")
    about = {**machine(), "threads": threads, "rounds": rounds, "date": today(), "versions": versions(*packages)}
    return BenchReport(source.name, about, tuple(rows), operators)


def _file(
    folder: Path, name: str, source: Source, data: bytes, feeds: Mapping[int, Mapping[str, Any]], settings: Mapping[str, Any]
) -> _File:
    """Write a model and its inputs to a folder."""
    path = write_file(folder / f"{name}.onnx", data)
    written = {}
    for size, arrays in feeds.items():
        written[size] = folder / f"{name}.{size}.npz"
        np.savez(written[size], **arrays)
    elsewhere = any(True for _ in external_tensors(source.model))
    return _File(path, written, {**settings, "folder": str(source.folder) if elsewhere else None})


def _timed(
    files: Mapping[str, _File], sizes: Sequence[int], rounds: int, seconds: float, say: Callable[[str], None]
) -> list[Row]:
    """One row per method and batch size."""
    rows = []
    memory = {(name, size): _memory(file, size) for size in sizes for name, file in files.items()}
    with ExitStack() as stack:
        workers = {name: stack.enter_context(file.worker()) for name, file in files.items()}
        for size in sizes:
            say(f"timing batches of {size}")
            entries = {name: Entry(workers[name], file.case(size)) for name, file in files.items()}
            taken = interleaved(entries, rounds, seconds)
            for name, file in files.items():
                if name != FORWARD:
                    rows.append(
                        Row(
                            name, size, tuple(taken[FORWARD]), tuple(taken[name]), memory[FORWARD, size], memory[name, size],
                            files[FORWARD].path.stat().st_size, file.path.stat().st_size,
                        )
                    )  # fmt: skip
    return rows


def _memory(file: _File, size: int) -> int:
    """Peak memory of a run in bytes, weights included, less that of an empty process; 0 if the system does not report it."""
    with file.worker() as worker:
        bare = worker.ask("start")["bare"]
        found = worker.ask("memory", case=file.case(size))["peak"]
    return max(0, int(found) - int(bare)) if bare else 0


def _profiled(file: _File, size: int, say: Callable[[str], None]) -> dict[str, dict[str, float]]:
    """What each operator of a file costs; see `onnxplain.bench.profile.costs`."""
    say("profiling")
    with tempfile.TemporaryDirectory() as folder, file.worker(profile=str(Path(folder) / "profile")) as worker:
        out = Path(folder) / "costs.npz"
        worker.ask("compute", case=file.case(size, runs=PROFILED + 1), out=str(out))
        with np.load(out) as data:
            found: dict[str, dict[str, float]] = json.loads(str(data["profile"]))
    return found
