"""verify: whether an explained file is what it says it is - its metadata, where it came from, and a run of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnx.checker

from onnxplain.errors import InputError, ModelError
from onnxplain.explain.engine import RunSettings
from onnxplain.explain.prediction import PredictionCheck
from onnxplain.explain.request import Request
from onnxplain.explain.rewrite import rewrite_source
from onnxplain.io.contract import metadata_problems
from onnxplain.io.metadata import added_inputs, read_metadata
from onnxplain.io.reader import ModelLike, Source, read
from onnxplain.ir.graph import Graph
from onnxplain.ir.tensor import Tensor, is_float
from onnxplain.passes.weights import without_weights
from onnxplain.runtime.guarded import guarded
from onnxplain.runtime.inputs import check_inputs
from onnxplain.runtime.random_inputs import random_inputs
from onnxplain.runtime.session import Arrays, Providers, Session
from onnxplain.verification.again import made_again
from onnxplain.verification.axioms import Outcome, check_promises
from onnxplain.verification.claims import check_claims, holds_together
from onnxplain.verification.findings import CheckReport, Finding

__all__ = ["explained_feeds", "own_inputs", "verify", "verify_prediction"]


@guarded
def verify(
    file: ModelLike, model: ModelLike | None = None, x: Any = None, *, providers: Providers = None, seed: int = 0
) -> CheckReport:
    """Verify an explained file: whether it is what its metadata says.

    Checked are: the metadata against its schema, and every claim of it against the graph and the method; the graph, by ONNX's own
    checker; a run, whose results have to be finite and shaped like what they explain; an index beyond the last, which has to give
    NaN; and the method's axioms, as far as the file holds what that takes. With the model the file was made from, also its hash,
    its inputs and its prediction, and whether the method that is named makes the same attributions of it once more.

    Args:
        file: the explained model, as a path, bytes or a ModelProto.
        model: the model it was made from.
        x: the input to run, an array or a dict of arrays by input name; None for random numbers. Inputs that the file has beyond
            the model's own are made up where they are not given.
        providers: where to run, as in `onnxplain.Explainer`.
        seed: the seed of the random numbers.

    Returns:
        The findings.

    Raises:
        ModelError: the file is no explained model, or ONNX Runtime does not load it.
        InputError: `x` does not fit, or none can be made up.

    Example:
        >>> from onnxplain import rewrite, verify
        >>> explained = rewrite("fixtures/digits/model.onnx", "saliency")
        >>> verify(explained, "fixtures/digits/model.onnx").ok
        True
    """
    source = read(file)
    about = read_metadata(source.model)
    if about is None:
        raise ModelError(f"{source.name} is no explained model: it has no metadata 'onnxplain'; onnxplain rewrite makes one")
    findings = [_metadata(about)]
    if findings[0].ok:
        graph = Graph(source.copy().model)
        claims = check_claims(about, graph)
        findings += [_names(about, graph), claims, _standard(source)]
        origin = None if model is None else read(model)
        findings.append(_origin(about, origin))
        if all(f.ok is not False for f in findings[:4] if f is not claims):
            run = _Run(source, graph, about, origin, providers, bool(claims.ok), holds_together(about, graph))
            findings += run.findings(x, seed)
    return CheckReport(tuple(findings))


def verify_prediction(model: ModelLike, request: Request, x: Any, *, providers: Providers = None) -> Finding:
    """Rewrite a model and compare the prediction of the result with the model's own.

    Args:
        model: a path, the bytes of a file, or a ModelProto.
        request: what the explained model is to explain; its prediction is among its outputs for the time being.
        x: the input, an array or a dict of arrays by input name. Inputs that the explained model has beyond these are made up.
        providers: where to run, as in `onnxplain.Explainer`.

    Returns:
        The finding: that it holds, or why nothing can be said.

    Raises:
        PredictionChanged: the prediction is another; the first pass after which it differs is named.
        OnnxplainError: as `onnxplain.rewrite`.
    """
    source = read(model, hold=True)
    compare = PredictionCheck(source, request, RunSettings(providers))
    made = rewrite_source(source, replace(request, only_attribution=False))
    feeds = explained_feeds(Graph(made.model), made.about, x, seed=0)
    results = Session(made.model, providers, folder=made.source.folder).run(feeds)
    verdict = compare(feeds, results, made.model)
    verdict.raise_if_changed()
    return Finding("prediction", verdict.kept, verdict.detail)


@guarded
def own_inputs(file: ModelLike) -> tuple[Tensor, ...]:
    """The inputs of an explained file that are the model's own."""
    model = read(file).model
    added = added_inputs(read_metadata(model) or {})
    return tuple(t for t in Graph(model).inputs if t.name not in added)


def _metadata(about: Mapping[str, Any]) -> Finding:
    problems = metadata_problems(about)
    return Finding("metadata", not problems, "; ".join(problems) or f"as contract {about['contract']} wants it")


def _names(about: Mapping[str, Any], graph: Graph) -> Finding:
    """What the metadata names is in the graph, and attributions are shaped like what they explain."""
    inputs, outputs = {t.name: t for t in graph.inputs}, {t.name: t for t in graph.outputs}
    problems = [f"no input '{name}'" for name in added_inputs(about) if name not in inputs]
    problems += [f"no output '{name}'" for name in (*about["attributions"], *about["reports"].values()) if name not in outputs]
    for name, entry in about["attributions"].items():
        made = outputs.get(name)
        like = graph.tensor(entry["tensor"]) if graph.has_tensor(entry["tensor"]) else None
        if made is None or like is None:
            continue
        counted = entry["kind"] == "column" and not like.is_float  # integers and text, which get numbers of the score's type
        if made.dtype != like.dtype and not (counted and made.is_float):
            problems.append(f"output '{name}' holds {made.dtype}, what it explains {like.dtype}")
        if (
            entry["kind"] != "map"
            and about["target"] != "all"
            and made.shape is not None
            and like.shape is not None
            and made.shape != like.shape
        ):
            problems.append(f"output '{name}' has the shape {list(made.shape)}, what it explains {list(like.shape)}")
    return Finding("names", not problems, "; ".join(problems) or "all that the metadata names is in the graph")


def _standard(source: Source) -> Finding:
    """The standard's own checker, on everything but the weights."""
    copied = source.copy().model
    try:
        with without_weights(copied) as skeleton:
            onnx.checker.check_model(skeleton)
    except onnx.checker.ValidationError as error:
        return Finding("standard", False, str(error).strip().splitlines()[0])
    domains = sorted({n.domain for n in source.model.graph.node} - {"", "ai.onnx"})
    opset = next((o.version for o in source.model.opset_import if o.domain in ("", "ai.onnx")), 0)
    more = f", and the domains {', '.join(domains)}" if domains else " only"
    return Finding("standard", True, f"valid ONNX: operators of ai.onnx {opset}{more}, IR version {source.model.ir_version}")


def _origin(about: Mapping[str, Any], origin: Source | None) -> Finding:
    stated = about["source_sha256"]
    if origin is None:
        return Finding("source", None, f"not compared: no model given (sha256 {stated})")
    if origin.sha256 == stated:
        return Finding("source", True, f"made from {origin.name}")
    return Finding("source", False, f"made from sha256 {stated}; {origin.name} has {origin.sha256}")


@dataclass(frozen=True)
class _Run:
    """A run of an explained file. Where a claim is false, nothing is checked that builds on claims."""

    source: Source
    graph: Graph
    about: Mapping[str, Any]
    origin: Source | None
    providers: Providers
    as_claimed: bool
    holds_together: bool

    def findings(self, x: Any, seed: int) -> Iterator[Finding]:
        about, origin, providers = self.about, self.origin, self.providers
        session = Session(self.source.model, providers, folder=self.source.folder)
        feeds = explained_feeds(self.graph, about, x, seed)
        try:
            results = session.run(feeds)
        except InputError as error:
            yield Finding("run", False, str(error))
            return
        yield _finite(about, feeds, results)
        if self.holds_together and "target" in about["run_time_inputs"]:
            yield _beyond(about, session, feeds)
        if origin is not None:
            yield _prediction(about, self.source, origin, session, feeds, results, providers)
        if origin is not None and self.as_claimed:
            yield made_again(about, origin, feeds, results, providers)
        if self.holds_together:
            yield from check_promises(Outcome(about, self.source, feeds, results, providers))


def explained_feeds(graph: Graph, about: Mapping[str, Any], x: Any, seed: int) -> Arrays:
    """The inputs for a run of an explained model: the given arrays, and made-up ones for the rest.

    A target chosen at run time is set to the top prediction.

    Args:
        graph: of the explained model.
        about: its metadata.
        x: the model's own inputs; None makes them up.
        seed: the seed of what is made up.

    Returns:
        Arrays by input name.
    """
    added = added_inputs(about)
    if x is None:
        feeds = {name: array for name, array in random_inputs(graph, seed).items() if name not in added}
    else:
        feeds = dict(x) if isinstance(x, Mapping) else {graph.inputs[0].name: x}
    extents: dict[Any, int] = {}
    for tensor in graph.inputs:
        if tensor.name in feeds and tensor.shape:
            extents.update(zip(tensor.shape, np.shape(feeds[tensor.name]), strict=False))
    random = np.random.default_rng(seed)
    for tensor in graph.inputs:
        if tensor.name in added and tensor.name not in feeds:
            shape = [d if isinstance(d, int) else extents.setdefault(d, 1) for d in tensor.shape or ()]
            feeds[tensor.name] = _made_up(added[tensor.name], shape, random).astype(tensor.dtype or np.float32)
    return check_inputs(feeds, graph.inputs)


def _made_up(kind: str, shape: list[int], random: np.random.Generator) -> np.ndarray[Any, Any]:
    """Numbers that make sense for a run-time input of a kind."""
    fixed = {"target": -1, "baseline": 0, "reference": 0, "mask": 1, "low": -4, "high": 4}
    if kind in fixed:
        return np.full(shape, fixed[kind])
    return random.random(shape) if kind == "position" else random.standard_normal(shape)


def _finite(about: Mapping[str, Any], feeds: Arrays, results: Mapping[str, Any]) -> Finding:
    problems = []
    for name, value in results.items():
        if isinstance(value, np.ndarray) and is_float(value.dtype) and not np.isfinite(value.astype(np.float64)).all():
            problems.append(f"output '{name}' holds NaN or infinity")
    for name, entry in about["attributions"].items():
        like = feeds.get(entry["tensor"])
        if like is not None and about["target"] != "all" and results[name].shape != like.shape:
            problems.append(f"output '{name}' came out as {list(results[name].shape)}, expected {list(like.shape)}")
    shapes = ", ".join(f"{name} {list(results[name].shape)}" for name in about["attributions"])
    return Finding("run", not problems, "; ".join(problems) or f"finite numbers: {shapes}")


def _beyond(about: Mapping[str, Any], session: Session, feeds: Arrays) -> Finding:
    """An index that no output has must give NaN, never somebody else's attribution."""
    index = np.array([np.iinfo(np.int64).max])
    results = session.run({**feeds, about["run_time_inputs"]["target"]: index}, list(about["attributions"]))
    wrong = [name for name, value in results.items() if not np.isnan(value.astype(np.float64)).all()]
    detail = f"an index beyond the last gives numbers in '{wrong[0]}'" if wrong else "an index beyond the last gives NaN"
    return Finding("target", not wrong, detail)


def _prediction(
    about: Mapping[str, Any], source: Source, origin: Source, session: Session, feeds: Arrays, results: Mapping[str, Any],
    providers: Providers,
) -> Finding:  # fmt: skip
    """The model's own inputs come first and its outputs are the same."""
    weights = {t.name for t in origin.model.graph.initializer}
    inputs = [v.name for v in origin.model.graph.input if v.name not in weights]
    outputs = [v.name for v in origin.model.graph.output]
    if list(session.inputs)[: len(inputs)] != inputs:
        return Finding("prediction", False, f"the model takes {inputs}, the file {list(session.inputs)}")
    made = {*about["attributions"], *about["reports"].values()}
    shared = [name for name in outputs if name in results and name not in made]
    if not shared:
        return Finding("prediction", None, "the file holds attributions only")
    if shared != outputs or list(results)[: len(shared)] != shared:
        return Finding("prediction", False, f"the model returns {outputs}, the file {list(results)}")
    verdict = PredictionCheck(origin, None, RunSettings(providers))(feeds, results, source.model)
    return Finding("prediction", verdict.kept, verdict.detail)
