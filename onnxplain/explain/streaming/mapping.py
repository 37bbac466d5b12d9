"""`onnxplain.map`: the explanations of a whole data set as a stream, in bounded memory, that can stop anywhere and go on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

from onnxplain.analysis.target import TargetLike
from onnxplain.errors import InputError, OutputError
from onnxplain.explain.explainer import Explainer
from onnxplain.explain.streaming.cluster import run_on_ray
from onnxplain.explain.streaming.job import Job
from onnxplain.explain.streaming.local import run_here
from onnxplain.explain.streaming.pace import COPIES, LARGEST, Pace, amount_of_memory, fitting, measured
from onnxplain.explain.streaming.place import begun, beside_results, clean, held
from onnxplain.explain.streaming.progress import watched
from onnxplain.io.datasets.dataset import Block, Choice, Problem
from onnxplain.io.datasets.files import digest
from onnxplain.io.datasets.opening import open_data
from onnxplain.io.pictures.finding import PreprocessLike
from onnxplain.io.pictures.preprocessing import Preprocessing
from onnxplain.io.reader import ModelLike
from onnxplain.io.table import csv_text
from onnxplain.io.writer import write_file
from onnxplain.results.streams.sink import ArraySink, sink_for
from onnxplain.results.summary.summary import Summary
from onnxplain.runtime.session import Providers

__all__ = ["ENGINES", "Mapped", "map"]

ENGINES = ("local", "ray")

SHORT = 2.0
"""Seconds that a part takes, at most, unless one batch takes longer: what a killed run loses."""

LARGE = 32 * 10**6
"""Bytes of results in a part, at most, unless one batch has more."""


@dataclass(frozen=True)
class Mapped:
    """What a run over a data set left.

    Attributes:
        path: where the results are.
        count: how many samples the data has.
        problems: the samples that are missing, each with its `index`, `key` and `reason`.
        batch: samples in one run.

    Example:
        >>> import tempfile
        >>> import onnxplain
        >>> out = f"{tempfile.mkdtemp()}/digits"
        >>> done = onnxplain.map("fixtures/digits/model.onnx", "fixtures/digits/data.npz", out, form="npy", progress=False)
        >>> done.count, done.summary["image_attribution"].shape
        (20, (1, 8, 8))
    """

    path: Path
    count: int
    problems: tuple[Problem, ...]
    batch: int

    @cached_property
    def summary(self) -> Summary:
        """What the attributions come to over all samples.

        Raises:
            InputError: the file beside the results is gone.
        """
        return Summary.load(beside_results(self.path, "summary.npz"))


def map(
    model: ModelLike,
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    method: str | Sequence[str] = "gradient",
    *,
    form: str | None = None,
    target: TargetLike = None,
    target_column: str | None = None,
    columns: Sequence[str] | None = None,
    key: str | None = None,
    keep: Sequence[str] = (),
    cohort: str | None = None,
    memory: str | int = "1GB",
    batch_size: int | None = None,
    part: int | None = None,
    processes: int = 1,
    engine: str = "local",
    address: str | None = None,
    on_error: str = "stop",
    resume: bool = False,
    overwrite: bool = False,
    progress: bool | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    scale: float | None = None,
    layout: str | None = None,
    preprocess: PreprocessLike | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    providers: Providers = None,
    threads: int | None = None,
    trust: bool = False,
    **settings: Any,
) -> Mapped:
    """Explain every sample of a data set, in a stream: memory does not grow with the number of samples.

    Results are written in parts. A run that was stopped or killed goes on from the last finished part, and leaves the bytes
    that it would have left at once.

    Args:
        model: a path, bytes or a ModelProto.
        data: a folder of pictures, arrays (.npy) or texts (.txt), a sample each; .npy, .npz or .zarr with the samples along the
            first axis; a table (.csv, .parquet, .arrow, .feather); WebDataset archives (.tar) or a folder of them; or `name=file`
            for each input of a model with several.
        out: where results go: a .parquet file, a .zarr store, or a folder (with `form`).
        method: one method or several, which share what is read.
        form: "parquet"; "npy", a folder of arrays that can be mapped into memory; "zarr"; "npz", one file a sample. None reads it
            from the ending of `out`.
        target: what is explained of every sample, as in `Explainer`.
        target_column: the column of a table that says which index is explained.
        columns: the columns of a table that are features, in the model's order; None for all that are not used otherwise.
        key: the column of a table that names a sample.
        keep: columns of a table that are handed on to the results.
        cohort: one of them, by which the summary tells cohorts apart.
        memory: what the run may take beside the loaded model: bytes, or "1GB".
        batch_size: samples in one run; None measures how many are fast within `memory`.
        part: samples in a part; None takes what runs for about two seconds.
        processes: how many run at a time on this machine; `memory` is for all of them together.
        engine: "local", or "ray" for a cluster.
        address: of a running Ray cluster; None starts one on this machine.
        on_error: whether a sample that cannot be read or explained is an error ("stop"), or recorded and left out ("skip").
        resume: whether to go on with a run that was stopped. Where none was, a new one begins.
        overwrite: whether to replace what is at `out`.
        progress: whether to show a bar; None shows it on a terminal.
        mean: subtracted from scaled pixel values; one number, or one per channel.
        std: scaled pixel values are divided by it; one number, or one per channel.
        scale: factor on pixel values, applied first, e.g. 1/255.
        layout: order of an image's axes; None infers it from the input's shape.
        preprocess: how pictures become inputs, as in `Explainer`; None takes what the model's metadata or a file beside it says
            of a folder or an archive, unless one of the four above is given.
        options: options of each method, by its name.
        providers: as in `Explainer`.
        threads: as in `Explainer`.
        trust: as in `Explainer`.
        **settings: what else an `Explainer` takes, as `layer`, and options for all methods.

    Returns:
        Where the results are, and which samples are missing. Beside `out` there are `<out>.summary.npz` and, where samples are
        missing, `<out>.errors.csv`.

    Raises:
        InputError: the data does not fit the model, or a sample failed and `on_error` is "stop".
        OutputError: `out` exists, an unfinished run is another, or the disk is full. What was done is kept.
        OnnxplainError: as `Explainer`.

    Example:
        >>> import tempfile
        >>> import onnxplain
        >>> out = f"{tempfile.mkdtemp()}/cancer.parquet"
        >>> done = onnxplain.map("fixtures/cancer/model.onnx", "fixtures/cancer/cancer_samples.csv", out, progress=False)
        >>> done.count, done.problems
        (5, ())
    """
    if on_error not in ("stop", "skip") or engine not in ENGINES or processes < 1:
        raise InputError(
            f"on_error is 'stop' or 'skip', engine 'local' or 'ray', processes at least 1; got {on_error!r}, "
            f"{engine!r}, {processes}"
        )
    if cohort == "class":
        raise InputError("a cohort called 'class' cannot be told from the classes of the summary; give the column another name")
    allowed, goal = amount_of_memory(memory), Path(out)
    paths = [os.fspath(p) for p in ([data] if isinstance(data, str | os.PathLike) else data)]
    sources = [*paths, *([os.fspath(model)] if isinstance(model, str | os.PathLike) else [])]
    names = [method] if isinstance(method, str) else list(method)
    running: dict[str, Any] = {"providers": providers, "threads": threads, "progress": False, "trust": trust}
    own = {name: dict((options or {}).get(name, {})) for name in names}
    kept = tuple(dict.fromkeys([*keep, *(c for c in (cohort, target_column) if c is not None)]))
    chosen = Choice(None if columns is None else tuple(columns), key, kept)
    if keep and isinstance(sink_for(goal, form, goal, 1), ArraySink):
        raise OutputError(
            f"arrays hold numbers only, so that '{keep[0]}' cannot be kept: write .parquet, or one file a sample (npz)"
        )
    with held(goal, form, sources, resume=resume, overwrite=overwrite) as work:
        explainers = {name: Explainer(model, name, preprocess=preprocess, **running, **settings, **own[name]) for name in names}
        tensors = next(iter(explainers.values())).inputs
        silent = all(v is None for v in (mean, std, scale, layout))
        first = Path(paths[0])
        pictured = first.suffix.lower() == ".tar" or (first.is_dir() and first.suffix.lower() != ".zarr")
        told = next(iter(explainers.values())).found_preprocessing(beside=silent and pictured)
        look = (told or Preprocessing()).with_numbers(mean, std, scale, layout)
        source = open_data(paths, tensors, look, chosen)
        if not source.count:
            raise InputError(f"{paths[0]} holds no samples")
        sink, stop = sink_for(goal, form, work, 1), on_error == "stop"
        unsized = Job(explainers, source, target, target_column, sink, work, 1, 1, stop, cohort, source.features)
        asked = {
            "model": next(iter(explainers.values())).about["source_sha256"],
            "methods": {name: e.about["options"] for name, e in explainers.items()},
            "settings": digest({k: repr(v) for k, v in sorted({**settings, "options": options}.items())}),
            "target": [repr(target), target_column],
            "data": dict(source.state()),
            "look": [*(repr(v) for v in (mean, std, scale, layout)), *([] if told is None else [told.to_dict()])],
            "columns": [list(columns or ()), key, list(kept), cohort],
            "form": form or goal.suffix,
            "on_error": on_error,
        }
        plan = begun(work, overwrite=overwrite)
        job = _planned(unsized, plan, asked, goal, form, allowed // processes, batch_size, part)
        left = [p for p in range(job.parts) if not job.is_done(p)]
        with watched(source.count, min(source.count, (job.parts - len(left)) * job.size), progress) as tell:
            if left and engine == "ray":
                run_on_ray(job, left, processes, address, tell)
            elif left:
                run_here(job, left, processes, tell)
        return _finished(job, goal)


def _planned(
    job: Job, plan: Path, asked: dict[str, Any], goal: Path, form: str | None, memory: int, batch: int | None, part: int | None
) -> Job:
    """The job with the sizes that an unfinished run had, or with measured ones."""
    asked = json.loads(json.dumps(asked, default=repr))
    if plan.exists():
        return _continued(job, plan, asked, goal, form)
    pace, sample = _tried(job, memory, batch)
    large = min(LARGE, memory // COPIES)
    fast = max(1, min(int(SHORT / max(pace.seconds, 1e-9)), large // max(1, pace.bytes_of_results)))
    size = part or max(1, fast // pace.batch) * pace.batch
    sink = sink_for(goal, form, plan.parent, size, job.data.ragged)
    sink.begin(sample, job.data.count)
    write_file(plan, json.dumps({"asked": asked, "batch": pace.batch, "part": size}).encode())
    return replace(job, batch=pace.batch, size=size, sink=sink)


def _continued(job: Job, plan: Path, asked: dict[str, Any], goal: Path, form: str | None) -> Job:
    """The job of an unfinished run, if it is the same and the samples of finished parts are what they were.

    Raises:
        OutputError: it is another run, or they are not.
    """
    found = json.loads(plan.read_bytes())
    other = [k for k in asked if found["asked"].get(k) != asked[k] and (k, asked[k]) != ("on_error", "skip")]
    if other:
        raise OutputError(
            f"the unfinished run for {goal} is another: it differs in {', '.join(other)}; ask for the same, or begin anew "
            "with overwrite (--force)"
        )
    sink = sink_for(goal, form, plan.parent, found["part"], job.data.ragged)
    job = replace(job, batch=found["batch"], size=found["part"], sink=sink)
    changed = next((part for part in range(job.parts) if job.is_done(part) and not job.is_true(part)), None)
    if changed is not None:
        start, stop = job.span(changed)
        raise OutputError(
            f"some of samples {start:,} to {stop - 1:,} are no longer what was explained; begin anew with overwrite (--force)"
        )
    write_file(plan, json.dumps({**found, "asked": asked}).encode())
    return job


def _tried(job: Job, memory: int, batch: int | None) -> tuple[Pace, dict[str, Any]]:
    """What the first samples that can be explained take, and the columns of one.

    Raises:
        InputError: none of the first samples can be explained, or not the very first, which is to end the run.
    """
    first = None
    for start in range(1 if job.stop else min(job.data.count, LARGEST)):
        one = next(iter(job.data.read(start, start + 1)))
        columns, _, problems = ({}, None, [one]) if isinstance(one, Problem) else job.explain(one)
        if isinstance(one, Block) and columns:
            most = batch or fitting(one, columns, memory)
            block = next(b for b in job.data.read(start, start + most) if isinstance(b, Block))
            fixed = None if next(iter(job.explainers.values())).about["batched"] else 1
            return measured(block, job.explain, memory, batch, fixed), columns
        first = first or problems[0]
    assert first is not None
    if job.stop:
        skip = "mend it, or leave such samples out with on_error='skip' (--on-error skip)"
        raise InputError(f"the first sample cannot be explained: {first.key}: {first.reason}; {skip}")
    raise InputError(f"none of the first samples can be explained; sample {first.key}: {first.reason}")


def _finished(job: Job, goal: Path) -> Mapped:
    """Join the parts, and write what stands beside the results."""
    problems = tuple(job.problems())
    found = [Summary.load(p) for n in range(job.parts) if (p := job.work / f"{n:06}.summary.npz").exists()]
    if found:
        summary = replace(reduce(lambda a, b: a + b, found), features=job.features)
        write_file(beside_results(goal, "summary.npz"), summary.write)
    errors = beside_results(goal, "errors.csv")
    if problems:
        write_file(errors, csv_text(("index", "key", "reason"), ((p.index, p.key, p.reason) for p in problems)).encode())
    else:
        errors.unlink(missing_ok=True)
    job.sink.finish(job.parts, job.data.count - len(problems))
    clean(job.work)
    return Mapped(goal, job.data.count, problems, job.batch)
