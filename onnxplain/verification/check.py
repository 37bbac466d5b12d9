"""check: the user's own proof, on their own model and input."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain.analysis.sample_axis import AUTO, SampleAxisLike, find_sample_axes
from onnxplain.analysis.score import DERIVED, before_derived, find_score
from onnxplain.analysis.tensor_names import resolve
from onnxplain.errors import MethodError, OnnxplainError
from onnxplain.explain.engine import RunSettings, count_samples
from onnxplain.explain.prediction import PredictionCheck
from onnxplain.explain.request import Request
from onnxplain.explain.rewrite import rewrite_source
from onnxplain.explain.write import Rewritten
from onnxplain.io.reader import ModelLike, Source, read
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node
from onnxplain.ir.own_kernels import only_written
from onnxplain.ir.registry import Registry, load_registry
from onnxplain.method.context import Baseline
from onnxplain.passes import prepared, scored
from onnxplain.passes.derived_score import append_score
from onnxplain.propagation.ledger import Ledger, NodeConservation
from onnxplain.propagation.observer import Observer
from onnxplain.runtime.guarded import guarded
from onnxplain.runtime.inputs import check_inputs
from onnxplain.runtime.random_inputs import random_inputs
from onnxplain.runtime.session import Providers, Session
from onnxplain.verification.apart import check_apart
from onnxplain.verification.completeness import check_completeness
from onnxplain.verification.conservation import balance, judged, judged_change, judged_passage
from onnxplain.verification.directional import check_slopes
from onnxplain.verification.findings import CheckReport, Finding, is_small
from onnxplain.verification.original import original_at
from onnxplain.verification.per_node import check_nodes
from onnxplain.verification.score import check_score

__all__ = ["check"]


@guarded
def check(
    model: ModelLike,
    method: str = "gradient",
    x: Any = None,
    *,
    output: str | None = None,
    inputs: Sequence[str] | None = None,
    baseline: Baseline = None,
    layer: str | Sequence[str] | None = None,
    score: str = "logit",
    sample_axis: SampleAxisLike = AUTO,
    rules: str | Path | Iterable[str | Path] | None = None,
    providers: Providers = None,
    directions: int = 4,
    seed: int = 0,
    nodes: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> CheckReport:
    """Check a method on a model at an input.

    The prediction of the explained model is compared with the original's. Where a final softmax or sigmoid was left out, it
    has to make that prediction of the explained logit. The gradient of the explained score is compared with finite
    differences of the original model, which no pass has touched, along random directions. Such a difference has an error of
    its own, which is large in float32. It is estimated from several step sizes, and agreement means agreement within it.
    Small models are differenced in float64, by onnx's reference evaluator.

    Where the gradient disagrees, and always in small models, every node between score and inputs is checked alone in float64, and
    the report names the first wrong one of the backward pass. Attributions have to be finite; for methods that satisfy
    completeness they have to add up. Methods that explain the columns of tables have no gradient to compare. Where nothing
    proves that samples are apart, one is changed: it must move its own scores alone.

    Args:
        model: as in `onnxplain.rewrite`.
        method: as in `onnxplain.rewrite`.
        x: the input, an array or a dict of arrays; None for random numbers.
        output: as in `onnxplain.rewrite`.
        inputs: as in `onnxplain.rewrite`.
        baseline: as in `onnxplain.rewrite`.
        layer: as in `onnxplain.rewrite`, for methods that need a layer besides the inputs.
        score: as in `onnxplain.rewrite`.
        sample_axis: as in `onnxplain.rewrite`.
        rules: as in `onnxplain.rewrite`.
        providers: where to run, as in `onnxplain.Explainer`.
        directions: how many random directions.
        seed: the seed of the directions, and of `x` where none is given.
        nodes: whether to check every node alone even in a large model whose gradient agrees.
        progress: whether to show a progress bar; None shows it on a terminal.
        **options: the method's own options.

    Returns:
        The findings.

    Raises:
        MethodError: the method needs forward passes only, or explains layers alone.
        OnnxplainError: the model cannot be read, or something named does not exist in it.

    Example:
        >>> from onnxplain import check
        >>> report = check("fixtures/digits/model.onnx", "lrp-epsilon", progress=False)
        >>> report.ok
        True
        >>> [f.name for f in report.findings][:2]
        ['prediction', 'gradient against finite differences']
    """
    if "calls" in options:
        warnings.warn("calls= is called nodes= now; the next version drops the old name", DeprecationWarning, stacklevel=2)
        nodes = bool(options.pop("calls"))
    registry = load_registry(rules)
    request = Request.for_graph(
        method, options=options, registry=registry, output=output, inputs=inputs, layer=layer, baseline=baseline, score=score,
        sample_axis=sample_axis,
    )  # fmt: skip
    found = request.method
    if request.layer and found.attribution_site(request.options)[0] == "explained":
        raise MethodError("check compares at the model's inputs; leave --layer out")
    origin = read(model)
    source = prepared(origin.copy(), registry)
    source = scored(source, None if output is None else resolve(source.model, output), score)
    graph = Graph(source.copy().model)
    feeds = _feeds(x, graph, request, seed)
    subject = _Subject(origin, source, graph, feeds, providers)
    ran = subject.run(request)
    verdict = PredictionCheck(origin, request, RunSettings(providers))(feeds, ran.results, ran.rewritten.model)
    findings = [Finding("prediction", verdict.kept, verdict.detail)]
    culprit = ""
    if found.attributes_to not in ("column", "token"):  # these get their attributions by no backward pass to the inputs
        gradient = subject.run(request.for_method("gradient")) if method != "gradient" else ran
        slopes = _check_gradient(subject, request, gradient, directions, seed)
        findings.append(slopes)
        if nodes or not slopes.ok or is_small(graph):
            local, culprit = check_nodes(graph, gradient.rewritten, source, feeds, registry, providers, progress)
            findings.append(local)
    if method != "gradient":
        findings += _check_method(subject, request, ran)
    logit = None if subject.rounds(registry) else check_score(ran.rewritten, ran.results)
    apart = check_apart(ran.rewritten, ran.session, feeds, ran.results)
    findings += [finding for finding in (logit, apart) if finding is not None]
    rows: list[NodeConservation] = []
    if "conservation" in found.axioms:
        flow, rows = _check_conservation(subject, replace(request, layer=()))
        findings += flow
    return CheckReport(tuple(findings), culprit, tuple(rows))


WRITTEN_OUT = "the real numbers that the model's kernels approximate by rounding, whose own differences are steps"
"""What is differenced where kernels of the model round."""


def _written_out(source: Source) -> Source:
    """A prepared model without the kernels that others are written for."""
    made = source.copy()
    only_written(made.model)
    return made


def _feeds(x: Any, graph: Graph, request: Request, seed: int) -> Mapping[str, Any]:
    """The input to check at, the user's or made up.

    Raises:
        InputError: it does not fit, or holds several samples and nothing tells which axis counts them.
    """
    if x is None:
        return random_inputs(graph, seed)
    score = find_score(
        graph, None if request.output is None else resolve(graph.model, request.output), before_derived(request.score)
    )
    axes = find_sample_axes(graph, score, request.sample_axis, request.registry.traits)
    feeds = check_inputs(x, graph.inputs, nonfinite="missing", axes=axes.of_inputs)
    count_samples(axes, feeds)
    return feeds


@dataclass(frozen=True)
class _Ran:
    """An explained model that exposes its score, its session, and what it returned."""

    rewritten: Rewritten
    session: Session
    results: dict[str, Any]


@dataclass(frozen=True)
class _Subject:
    """What is checked: the model as it was read, prepared and as a graph, the input, and where to run."""

    origin: Source
    source: Source
    graph: Graph
    feeds: Mapping[str, Any]
    providers: Providers

    def rounds(self, registry: Registry) -> Node | None:
        """A node that rounds to integers, so that scores change in steps."""
        return next((c for c in self.graph.nodes if registry.role(c) == "straight-through" and not c.y.is_float), None)

    def run(self, request: Request, observer: Observer | None = None) -> _Ran:
        """Explain the input, with the gap of completeness where the method reports it."""
        reported = {"delta": True} if "delta" in request.options and observer is None else {}
        exposed = replace(request.with_options(**reported), expose=("score",) if observer is None else ())
        rewritten = rewrite_source(self.source.copy(), exposed, observer=observer)
        session = Session(rewritten.model, self.providers, folder=self.source.folder)
        return _Ran(rewritten, session, session.run(self.feeds))


def _check_gradient(subject: _Subject, request: Request, gradient: _Ran, directions: int, seed: int) -> Finding:
    """The gradient against differences of the original model: of the score, where the original has that tensor, else of the
    output behind it."""
    what, graph, feeds = "gradient against finite differences", subject.graph, subject.feeds
    rounds = subject.rounds(request.registry)
    if rounds is not None:
        why = f"the model rounds ({rounds}): its score changes in steps, where the gradient goes straight through"
        return Finding(what, None, why)
    for score in dict.fromkeys((request.score, "probability")):
        if score != request.score:
            gradient = subject.run(request.for_method("gradient", score=score))
        tensor = gradient.rewritten.about["score"]["tensor"]
        value = gradient.results[tensor]
        origin = subject.origin if not graph.kernels else _written_out(subject.source)
        like = value if not graph.kernels else None
        if score in DERIVED:
            origin, tensor = _with_score(origin, gradient.rewritten.about["output"], score) or (origin, tensor)
        original = original_at(origin, tensor, like, feeds, subject.providers, exact=is_small(graph))
        if original is not None:
            found = check_slopes(gradient.rewritten, gradient.session, feeds, directions, seed, original)
            if not graph.kernels:
                return found
            off = float(np.abs(original.value(feeds) - value).max()) / max(float(np.abs(value).max()), 1e-30)
            return replace(found, detail=f"{found.detail}; of {WRITTEN_OUT} (here by {off:.1g} of the largest score)")
    return Finding(what, None, f"'{tensor}' is no tensor of the original model, so there is nothing to difference")


def _with_score(source: Source, output: str, score: str) -> tuple[Source, str] | None:
    """The original with a score appended that it does not compute, and its tensor; None where its file says too little."""
    made = source.copy()
    try:
        append_score(made.model, output, score)
        return made, find_score(Graph(made.model), output, score).tensor.name
    except OnnxplainError:
        return None


def _check_conservation(subject: _Subject, request: Request) -> tuple[list[Finding], list[NodeConservation]]:
    """What each node receives, sends and keeps, all samples together."""
    ledger = Ledger()
    ran = subject.run(request, ledger)
    sums = ledger.read(ran.rewritten.about["reports"], [ran.results])
    rows = balance(sums)
    arrived = sum(float(np.asarray(ran.results[n], np.float64).sum()) for n in ran.rewritten.about["attributions"])
    score = arrived + sum(r.received - r.sent for r in rows)
    judge = judged if request.baseline is None else judged_change
    return [judge(rows, score, arrived), judged_passage(sums)], rows


def _check_method(subject: _Subject, request: Request, ran: _Ran) -> list[Finding]:
    """Attributions are finite, and add up where the method promises that."""
    method, chosen, about = request.method, request.options, ran.rewritten.about
    values = [np.asarray(ran.results[n], np.float64) for n in about["attributions"]]
    finite = all(np.isfinite(v).all() for v in values)
    detail = "no NaN or infinity" if finite else "the attribution holds NaN or infinity"

    def finer(times: int) -> dict[str, Any]:
        return subject.run(request.with_options(steps=times * chosen["steps"])).results

    more = finer if "steps" in chosen else None
    return [
        Finding(f"{method.name} is finite", finite, detail),
        check_completeness(ran.rewritten, ran.results, method.axioms_with(chosen), more),
    ]
