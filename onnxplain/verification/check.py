"""check: the user's own proof, on their own model and input."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain.analysis.sample_axis import AUTO, SampleAxes, SampleAxisLike
from onnxplain.errors import MethodError
from onnxplain.explain.engine import count_samples
from onnxplain.explain.request import Request
from onnxplain.explain.rewrite import rewrite_source
from onnxplain.explain.write import Rewritten
from onnxplain.io.reader import ModelLike, Source, read
from onnxplain.ir.graph import Graph
from onnxplain.ir.registry import load_registry
from onnxplain.method.context import Baseline
from onnxplain.passes import prepared
from onnxplain.runtime.inputs import check_inputs
from onnxplain.runtime.random_inputs import random_inputs
from onnxplain.runtime.session import Providers, Session
from onnxplain.verification.completeness import check_completeness
from onnxplain.verification.conservation import Ledger, balance, judged, judged_change
from onnxplain.verification.directional import check_slopes, forward_of
from onnxplain.verification.findings import CheckReport, Finding, NodeConservation, is_small
from onnxplain.verification.per_node import check_nodes

__all__ = ["check"]


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

    The gradient of the explained score is compared with finite differences of the original model along random directions. Such
    a difference has an error of its own, which is large in float32. It is estimated from several step sizes, and agreement means
    agreement within it. Small models are differenced in float64, by onnx's reference evaluator.

    Where the gradient disagrees, and always in small models, every node between score and inputs is checked alone in float64, and
    the report names the first wrong one of the backward pass. Attributions have to be finite; for methods that satisfy
    completeness they have to add up.

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
        ['gradient against finite differences', 'gradient of each node']
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
    source = prepared(read(model), registry)
    graph = Graph(source.copy().model)
    plain = request.for_method("gradient", expose=["score"])
    gradient = rewrite_source(source.copy(), plain)
    feeds = _feeds(x, graph, gradient.axes, seed)
    session = Session(gradient.model, providers, folder=source.folder)
    rounds = next((c for c in graph.nodes if registry.role(c) == "straight-through" and not c.y.is_float), None)
    if rounds is not None:
        why = f"the model rounds ({rounds}): its score changes in steps, where the gradient goes straight through"
        findings = [Finding("gradient against finite differences", None, why)]
    else:
        findings = [check_slopes(gradient, session, feeds, directions, seed, forward_of(graph, source, gradient, session, feeds))]
    culprit = ""
    if nodes or not findings[0].ok or is_small(graph):
        local, culprit = check_nodes(graph, gradient, source, feeds, registry, providers, progress)
        findings.append(local)
    if method != "gradient":
        findings += _check_method(source, request, feeds, providers)
    rows: list[NodeConservation] = []
    if "conservation" in found.axioms:
        finding, rows = _check_conservation(source, replace(request, layer=()), feeds, providers)
        findings.append(finding)
    return CheckReport(tuple(findings), culprit, tuple(rows))


def _feeds(x: Any, graph: Graph, axes: SampleAxes, seed: int) -> Mapping[str, Any]:
    """The input to check at, the user's or made up.

    Raises:
        InputError: it does not fit, or holds several samples and nothing tells which axis counts them.
    """
    if x is None:
        return random_inputs(graph, seed)
    feeds = check_inputs(x, graph.inputs, axes=axes.of_inputs)
    count_samples(axes, feeds)
    return feeds


def _check_conservation(
    source: Source, request: Request, feeds: Mapping[str, Any], providers: Providers
) -> tuple[Finding, list[NodeConservation]]:
    """What each node receives, sends and keeps, all samples together."""
    ledger = Ledger()
    rewritten = rewrite_source(source.copy(), request, observer=ledger)
    result = Session(rewritten.model, providers, folder=source.folder).run(feeds)
    rows = balance(ledger, rewritten, result)
    arrived = sum(float(np.asarray(result[n], np.float64).sum()) for n in rewritten.about["attributions"])
    score = arrived + sum(r.received - r.sent for r in rows)
    judge = judged if request.baseline is None else judged_change
    return judge(rows, score, arrived), rows


def _check_method(source: Source, request: Request, feeds: Mapping[str, Any], providers: Providers) -> list[Finding]:
    """Attributions are finite, and add up where the method promises that."""
    method, chosen = request.method, request.options
    reported = {"delta": True} if "delta" in chosen else {}

    def run(**changed: Any) -> tuple[Rewritten, dict[str, Any]]:
        wanted = replace(request.with_options(**reported, **changed), expose=("score",))
        rewritten = rewrite_source(source.copy(), wanted)
        return rewritten, Session(rewritten.model, providers, folder=source.folder).run(feeds)

    rewritten, result = run()
    about = rewritten.about
    values = [np.asarray(result[n], np.float64) for n in about["attributions"]]
    finite = all(np.isfinite(v).all() for v in values)
    detail = "no NaN or infinity" if finite else "the attribution holds NaN or infinity"
    findings = [Finding(f"{method.name} is finite", finite, detail)]
    finer = (lambda times: run(steps=times * chosen["steps"])[1]) if "steps" in chosen else None
    findings.append(check_completeness(rewritten, result, method.axioms_with(chosen), finer))
    return findings
