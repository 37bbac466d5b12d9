"""The study: every method on every metric on every sample, checked before it starts and resumable when it is killed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain._version import __version__
from onnxplain.errors import InputError, MetricError, OnnxplainError
from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.evaluation.data import Data
from onnxplain.evaluation.journal import Journal
from onnxplain.evaluation.metric import FAMILIES, MetricResult, all_metrics, metric_named
from onnxplain.evaluation.progress import Progress
from onnxplain.evaluation.report.evaluation import Evaluation, MetricColumn, Result
from onnxplain.evaluation.report.examples import chosen, examples_of
from onnxplain.evaluation.spec import Spec, read_spec
from onnxplain.evaluation.subject import Subject
from onnxplain.io.reader import ModelLike
from onnxplain.runtime.guarded import guarded

__all__ = ["DEFAULT_METRICS", "evaluate"]

Array = np.ndarray[Any, Any]

DEFAULT_METRICS = (
    "selectivity", "selectivity-lerf", "selectivity-gap", "deletion", "insertion", "faithfulness-correlation", "sensitivity-n",
    "infidelity", "max-sensitivity", "pointing-game", "relevance-mass", "sparseness",
)  # fmt: skip
"""The metrics of an evaluation where none are named, as far as they apply."""

BATCH = 64
"""Samples that go through a metric together, at most."""


@guarded
def evaluate(
    model: ModelLike,
    x: Any,
    methods: Sequence[str] | Mapping[str, Any],
    metrics: Sequence[str] | Mapping[str, Any] | None = None,
    *,
    attributions: Mapping[str, Any] | None = None,
    journal: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    classes: Sequence[str] = (),
    features: Sequence[str] = (),
    **settings: Any,
) -> Evaluation:
    """Measure how far explanations deserve trust.

    Args:
        model: a path, the bytes of a file, or a ModelProto.
        x: the samples: an array [n, …] or a dict of them.
        methods: names, with options in brackets: "smoothgrad(samples=16)". As a mapping, by label: a name, (name, options), or an
            array of attributions. "random" is a control: random attributions, which any method should beat.
        metrics: names, with options in brackets: "deletion(replace=mean)"; as a mapping, by label. The name of a family
            ("faithfulness") or "all" stands for all of its metrics that apply. None takes a usual choice.
        attributions: made elsewhere, by label: arrays [n, …] in the shape of the explained input, with one channel or none.
        journal: a file that keeps results as they come; a run that was killed goes on from it.
        progress: whether to show a progress bar; None shows it on a terminal.
        classes: names of the classes, for pictures.
        features: names of a table's columns or of a series' channels, for pictures.
        **settings: target, masks, labels, baseline, input, output, score, providers, threads, rules, batch_size, seed, trust: as
            in `onnxplain.evaluation.data.Data`.

    Returns:
        The results: `table()`, `ranks`, `scores(method, metric)`, `curve(…)`, `plot()`, `save(path)`.

    Raises:
        MetricError: metrics do not apply to these data or methods. The message lists all problems, before anything runs.
        OutputError: the journal belongs to another evaluation.
        OnnxplainError: as in `onnxplain.Explainer`.

    Example:
        >>> import numpy as np
        >>> from onnxplain import evaluate
        >>> images = np.load("fixtures/digits/data.npz")["image"][:5]
        >>> found = evaluate("fixtures/digits/model.onnx", images, ["gradient", "lrp-epsilon"], ["sparseness"], progress=False)
        >>> found.subjects, [column.label for column in found.columns]
        (('gradient', 'lrp-epsilon'), ['sparseness'])
    """
    data = Data(model, x, **settings)
    subjects = _subjects(data, methods, attributions or {})
    columns, skipped, jobs = _columns(data, subjects, metrics)
    meanings = {
        "subject": {s.label: _meaning(s) for s in subjects},
        "metric": {c.label: {"metric": c.metric.name, "options": _plain(c.options)} for c in columns},
    }
    about = _about(data)
    book = Journal(Path(journal) if journal is not None else None, about, meanings)
    try:
        _run(data, subjects, columns, jobs, book, progress)
        results = {
            (s.label, c.label): _joined(book, s.label, c.label, data.count)
            for s in subjects for c in columns if (s.label, c.label) in jobs
        }  # fmt: skip
    finally:
        book.close()
    more = {
        "name": data.source.name, "samples": data.count, "examples": chosen(data.count).tolist(), "features": list(features),
        "methods": meanings["subject"],
    }  # fmt: skip
    return Evaluation(
        {**about, **more}, tuple(s.label for s in subjects),
        tuple(columns), results, tuple(skipped), tuple(s.label for s in subjects if s.control),
        examples_of(data, subjects, classes),
    )  # fmt: skip


# -- what is to be done ------------------------------------------------------------------------------------------------


def _subjects(data: Data, methods: Sequence[str] | Mapping[str, Any], files: Mapping[str, Any]) -> list[Subject]:
    """The subjects; all problems with them at once."""
    pairs: list[tuple[str, Any]] = (
        list(methods.items()) if isinstance(methods, Mapping) else [(_label(m), m) for m in _listed("methods", methods)]
    )
    pairs += files.items()
    if not pairs:
        raise InputError("there is nothing to evaluate: name methods or give attributions")
    twice = {label for label, _ in pairs if sum(label == other for other, _ in pairs) > 1}
    if twice:
        raise InputError(f"several methods are called {', '.join(sorted(twice))}: give them labels")
    made = [_tried(data, label, value) for label, value in pairs]
    failed = [found for found in made if isinstance(found, OnnxplainError)]
    if failed:
        kinds = {type(error) for error in failed}
        raise (kinds.pop() if len(kinds) == 1 else InputError)("; ".join(map(str, failed)))
    return [found for found in made if isinstance(found, Subject)]


def _label(text: str) -> str:
    return read_spec(text).label


def _tried(data: Data, label: str, value: Any) -> Subject | OnnxplainError:
    try:
        made = _subject(data, label, value)
        made.attribution(np.arange(min(2, data.count)))  # what only shows when it runs shows now
        return made
    except OnnxplainError as error:
        return error if f"'{label}'" in str(error) else type(error)(f"'{label}': {error}")


def _subject(data: Data, label: str, value: Any) -> Subject:
    if isinstance(value, str) and value == "random":
        noise = [np.random.default_rng([data.seed, 0x5EED, i]).standard_normal(data.x.shape[1:]) for i in range(data.count)]
        return Subject(label, data, attribution=np.stack(noise), control=True)
    if isinstance(value, str):
        spec = read_spec(value, label)
        return Subject(label, data, method=spec.name, options=spec.options)
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], Mapping):
        return Subject(label, data, method=value[0], options=value[1])
    return Subject(label, data, attribution=value)


def _listed(what: str, given: Any) -> Sequence[str]:
    if isinstance(given, str) or not all(isinstance(g, str) for g in given):
        raise InputError(f"{what} is a list of names, or a dict by label; got {given!r}"[:200])
    return list(given)


def _columns(
    data: Data, subjects: Sequence[Subject], metrics: Sequence[str] | Mapping[str, Any] | None
) -> tuple[list[MetricColumn], list[str], set[tuple[str, str]]]:
    """The metrics, what was left out and why, and which (subject, metric) pairs there are.

    Raises:
        MetricError: metrics that were asked for by name do not apply; all problems at once.
    """
    columns: list[MetricColumn] = []
    skipped: list[str] = []
    problems: list[str] = []
    jobs: set[tuple[str, str]] = set()
    settings = {s.label: MetricContext.of(s) for s in subjects}
    for spec, named in _wanted(metrics):
        try:
            found = metric_named(spec.name)
            options = found.checked(spec.options)
        except MetricError as error:
            problems.append(str(error))
            continue
        if any(c.label == spec.label for c in columns):
            continue
        reasons = {s.label: found.problems(settings[s.label], options) for s in subjects}
        jobs |= {(label, spec.label) for label, found_out in reasons.items() if not found_out}
        asked = {s.label: reasons[s.label] for s in subjects if not s.control or len(subjects) == 1}
        (problems if named else skipped).extend(_grouped(asked))
        if any(not r for r in reasons.values()):
            columns.append(MetricColumn(spec.label, found, options))
    if problems:
        raise MetricError("; ".join(dict.fromkeys(problems)))
    if not columns:
        raise MetricError("no metric applies here: " + "; ".join(dict.fromkeys(skipped)))
    return columns, list(dict.fromkeys(skipped)), jobs


def _grouped(reasons: Mapping[str, list[str]]) -> list[str]:
    """Every reason once, with the subjects it is of where others do not have it."""
    texts = dict.fromkeys(text for found in reasons.values() for text in found)
    whose = {text: [label for label, found in reasons.items() if text in found] for text in texts}
    return [t if len(of) == len(reasons) else f"{t} ({', '.join(of)})" for t, of in whose.items()]


def _wanted(metrics: Sequence[str] | Mapping[str, Any] | None) -> Iterator[tuple[Spec, bool]]:
    """What was asked for, and whether by name."""
    known = all_metrics()
    if metrics is None:
        yield from ((Spec(n, n, {}), False) for n in DEFAULT_METRICS if n in known)
        return
    pairs = metrics.items() if isinstance(metrics, Mapping) else [(None, m) for m in _listed("metrics", metrics)]
    for label, value in pairs:
        if isinstance(value, str) and (value == "all" or value in FAMILIES):
            yield from ((Spec(n, n, {}), False) for n, m in known.items() if value in ("all", m.family))
        else:
            yield (read_spec(value, label) if isinstance(value, str) else Spec(str(label), *value)), True


# -- doing it ----------------------------------------------------------------------------------------------------------


def _run(
    data: Data, subjects: Sequence[Subject], columns: Sequence[MetricColumn], jobs: set[tuple[str, str]], book: Journal,
    progress: bool | None,
) -> None:  # fmt: skip
    size = max(1, min(BATCH, data.scoring.rows(data.rows_of(np.zeros(1, int)))))
    left = {
        (s.label, c.label): [i for i in range(data.count) if (s.label, c.label, i) not in book.found]
        for s in subjects for c in columns if (s.label, c.label) in jobs
    }  # fmt: skip
    total = data.count * len(jobs)
    with Progress(total, total - sum(map(len, left.values())), progress) as bar:
        for subject in subjects:
            mine = [c for c in columns if left.get((subject.label, c.label))]
            todo = sorted({i for c in mine for i in left[subject.label, c.label]})
            for start in range(0, len(todo), size):
                samples = np.array(todo[start : start + size])
                bar.says(f"{subject.label}: explaining")
                attribution = _explained(subject, samples)
                for column in mine:
                    wanted = np.isin(samples, left[subject.label, column.label])
                    if not wanted.any():
                        continue
                    bar.says(f"{subject.label}: {column.label}")
                    batch = MetricBatch(data, subject, samples[wanted], attribution[wanted])
                    _measure(batch, column, book)
                    bar.advance(int(wanted.sum()))
            subject.forget()


def _explained(subject: Subject, samples: Array) -> Array:
    try:
        return subject.attribution(samples)
    except OnnxplainError as error:
        raise type(error)(f"'{subject.label}', samples {samples[0]} to {samples[-1]}: {error}") from error


def _measure(batch: MetricBatch, column: MetricColumn, book: Journal) -> None:
    """Compute a metric for a batch and record it."""
    try:
        made = column.metric.compute(batch, **column.options)
    except OnnxplainError as error:
        raise type(error)(f"metric '{column.label}' of '{batch.subject.label}': {error}") from error
    if made.score.shape != (len(batch),):
        raise MetricError(f"metric '{column.label}' returned scores of shape {list(made.score.shape)} for {len(batch)} samples")
    book.add(
        ((batch.subject.label, column.label, int(sample)), _entry(made, row)) for row, sample in enumerate(batch.samples)
    )  # fmt: skip


def _entry(made: MetricResult, row: int) -> dict[str, Any]:
    """What the journal keeps of one sample; undefined numbers are null."""
    entry: dict[str, Any] = {"score": _number(made.score[row])}
    if made.facts:
        entry["facts"] = {k: _number(v[row]) for k, v in made.facts.items()}
    if made.curves:
        entry["curves"] = {k: [_number(y) for y in v[row]] for k, v in made.curves.items()}
        entry["at"] = [
            float(a) for a in (made.at if made.at is not None else np.arange(len(next(iter(made.curves.values()))[0])))
        ]
    return entry


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _joined(book: Journal, subject: str, metric: str, count: int) -> Result:
    """The results of all samples, from the journal."""
    entries = [book.found[subject, metric, i] for i in range(count)]

    def numbers(values: Sequence[Any]) -> Array:
        return np.array([np.nan if v is None else v for v in values], np.float64)

    first = entries[0]
    same = all(e.get("at") == first.get("at") for e in entries)
    curves = {k: np.stack([numbers(e["curves"][k]) for e in entries]) for k in first.get("curves", {})} if same else {}
    facts = {k: numbers([e["facts"][k] for e in entries]) for k in first.get("facts", {})}
    return Result(numbers([e["score"] for e in entries]), facts, curves, np.array(first["at"]) if curves else None)


# -- what it is of -----------------------------------------------------------------------------------------------------


def _about(data: Data) -> dict[str, Any]:
    """What must be the same for results to be used again."""
    digest = hashlib.sha256()
    for name in sorted(data.inputs):
        _feed(digest, name, data.inputs[name])
    for name, array in (("target", data.target), ("masks", data.masks), ("labels", data.labels), ("baseline", data.baseline)):
        if array is not None:
            _feed(digest, name, array)
    return {
        "version": __version__, "model": data.source.sha256, "data": digest.hexdigest(), "input": data.name,
        "output": data.scoring.forward.score.output, "explained": data.scoring.forward.score.tensor.name, "seed": data.seed,
    }  # fmt: skip


def _feed(digest: Any, name: str, array: Array) -> None:
    flat = np.ascontiguousarray(array)
    digest.update(f"{name} {flat.dtype} {flat.shape} ".encode())
    digest.update(repr(flat.tolist()).encode() if flat.dtype.kind in "OUS" else flat.tobytes())


def _meaning(subject: Subject) -> dict[str, Any]:
    """What a subject's label means."""
    if subject.control:
        return {"control": "random"}
    if subject.method is None:
        digest = hashlib.sha256()
        _feed(digest, "attribution", subject.everything())
        return {"attribution": digest.hexdigest()}
    return {"method": subject.method.name, "options": _plain(subject.options)}


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options in a form that JSON has; arrays by their digest."""
    made: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, np.ndarray):
            digest = hashlib.sha256()
            _feed(digest, name, value)
            made[name] = f"array {list(value.shape)} {digest.hexdigest()}"
        elif isinstance(value, Mapping):
            made[name] = _plain({str(k): v for k, v in value.items()})
        else:
            made[name] = value if isinstance(value, str | int | float | bool | list | tuple | None) else repr(value)
    return made
