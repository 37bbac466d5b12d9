"""check: the user's own proof, on their own model and input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxplain.call import Call
from onnxplain.errors import InputError, OnnxplainError, RuleError
from onnxplain.finite_differences import Comparison, compare, double, run
from onnxplain.graph import Graph, alive
from onnxplain.inputs import check_inputs
from onnxplain.job import Baseline
from onnxplain.liveness import liveness
from onnxplain.load import ModelLike, Source, external_tensors, read
from onnxplain.method import find_method
from onnxplain.passes import prepared
from onnxplain.progress import track
from onnxplain.registry import Registry, load_registry
from onnxplain.rewriting import Rewritten, rewrite_source
from onnxplain.runtime import Providers, Session
from onnxplain.tensor import Tensor

__all__ = ["CheckReport", "Finding", "check", "random_inputs"]

STEPS = {"float32": (1e-1, 3e-2, 1e-2, 5e-3, 2e-3, 1e-3, 5e-4, 2e-4, 1e-4), "float64": (3e-6, 1e-6, 3e-7, 1e-7, 3e-8)}
"""Steps of the finite differences, in units of each element's own size."""

TOLERANCE = {"float32": 5e-2, "float64": 1e-4}
"""Relative error that counts as agreement, beside three times the uncertainty. In float32 a network's many kinks bias the
differences before rounding drowns them."""

SMALL = 500_000
"""Elements that all live tensors together may have for every call to be checked always."""


@dataclass(frozen=True)
class Finding:
    """One thing checked. `ok` is None where nothing can be said (too rough a model, nothing promised)."""

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True)
class CheckReport:
    """All that was checked, and where gradients disagree the first call of the backward walk that causes it."""

    findings: tuple[Finding, ...]
    culprit: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing failed and at least one thing was shown."""
        return all(f.ok is not False for f in self.findings) and any(f.ok for f in self.findings)


def check(
    model: ModelLike,
    method: str = "gradient",
    x: Any = None,
    *,
    output: str | None = None,
    inputs: Sequence[str] | None = None,
    baseline: Baseline = None,
    score: str = "logit",
    rules: str | Path | Iterable[str | Path] | None = None,
    providers: Providers = None,
    directions: int = 4,
    seed: int = 0,
    calls: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> CheckReport:
    """Check a method on a model at an input.

    The gradient of the explained score is compared with finite differences of the original model, along
    random directions. A difference has an error of its own, large in float32; it is estimated from several steps, and
    agreement means agreement within it. Small models are differenced in float64 by onnx's reference evaluator instead. Where
    the gradient disagrees, and in small models always, every call on the way is checked
    alone in float64, and the first wrong one of the backward walk is named. Attributions must be finite; methods that
    promise completeness must add up.

    Args:
        model, method, output, inputs, baseline, score, rules, options: as in `onnxplain.rewrite`.
        x: the input, an array or a dict of arrays; None for random numbers.
        providers: where to run.
        directions: how many random directions.
        seed: chooses them.
        calls: check every call alone even in a large model whose gradient agrees.
        progress: whether to show a progress bar; None shows it on a terminal.
    """
    found = find_method(method)
    registry = load_registry(rules)
    source = prepared(read(model), registry)
    graph = Graph(source.copy().model)
    feeds = check_inputs(x, graph.inputs) if x is not None else random_inputs(graph, seed)
    settings: dict[str, Any] = {"output": output, "inputs": inputs, "score": score, "registry": registry}
    gradient = rewrite_source(source.copy(), "gradient", target=None, expose=["score"], **settings)
    session = Session(gradient.model, providers, folder=source.folder)
    rounds = next((c for c in graph.calls if registry.role(c) == "straight-through" and not c.y.is_float), None)
    if rounds is not None:
        why = f"the model rounds ({rounds}): its score changes in steps, where the gradient goes straight through"
        findings = [Finding("gradient against finite differences", None, why)]
    else:
        findings = [_slopes(gradient, session, feeds, directions, seed, _forward(graph, source, gradient, session))]
    culprit = ""
    if calls or not findings[0].ok or _is_small(graph):
        local, culprit = _check_calls(graph, gradient, source, feeds, registry, providers, progress)
        findings.append(local)
    if method != "gradient":
        findings += _check_method(source, method, found.axioms, feeds, providers, baseline, settings, options)
    return CheckReport(tuple(findings), culprit)


# -- slopes of the whole model -----------------------------------------------------------------------------------------


Forward = Callable[[Mapping[str, np.ndarray[Any, Any]]], np.ndarray[Any, Any]]


def _forward(graph: Graph, source: Source, rewritten: Rewritten, session: Session) -> tuple[str, Forward]:
    """The explained score as a function of the inputs, and its precision: float64 by onnx's reference evaluator where that
    takes seconds, else float32 by the session."""
    name = rewritten.about["score"]["tensor"]
    model = source.copy().model
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    needed = alive(list(model.graph.node), [name])
    known = all(n.domain in ("", "ai.onnx.ml") for n in needed)
    if not _is_small(graph) or not known or any(external_tensors(source.model)):
        return "float32", lambda feeds: np.asarray(session.run(feeds, [name])[name], np.float64)
    del model.graph.node[:]
    model.graph.node.extend(needed)
    exact = double(model)
    return "float64", lambda feeds: np.asarray(run(exact, feeds, [name])[0], np.float64)


def _slopes(
    rewritten: Rewritten,
    session: Session,
    feeds: Mapping[str, Any],
    directions: int,
    seed: int,
    forward: tuple[str, Forward],
) -> Finding:
    """The gradient, as ONNX Runtime computes it, against central differences of the explained score.

    An integer input cannot be moved: there the explained tensor is not an input, and only the calls can be checked.
    """
    precision, score_of = forward
    about = rewritten.about
    entries = {n: e for n, e in about["attributions"].items() if e["kind"] == "input"}
    if not entries:
        return Finding(
            "gradient against finite differences",
            None,
            "the explained tensor is no input; every call is checked instead",
        )
    at = session.run(feeds)
    gradients = {e["explains"]: np.asarray(at[n], np.float64) for n, e in entries.items()}
    scores = np.asarray(at[about["score"]["tensor"]], np.float64)
    predicted = at.get(about["output"])
    ranked = predicted if isinstance(predicted, np.ndarray) and predicted.shape == scores.shape else scores
    rows = ranked.reshape(len(ranked) if about["batched"] else 1, -1)
    chosen = rows.argmax(axis=1)

    def value(h: float, v: Mapping[str, np.ndarray[Any, Any]]) -> float:
        wide = {n: np.asarray(x, np.float64) if x.dtype.kind == "f" and precision == "float64" else x for n, x in feeds.items()}
        moved = {n: (feeds[n] + h * v[n]).astype(wide[n].dtype) for n in v}
        flat = score_of({**wide, **moved}).reshape(len(rows), -1)
        return float(flat[np.arange(len(rows)), chosen].sum())

    generator = np.random.default_rng(seed)
    sizes = {n: _sizes(feeds[n]) for n in gradients}
    typical = float(np.sqrt(sum(np.sum((sizes[n] * g) ** 2) for n, g in gradients.items())))
    errors, certainties = [], []
    for _ in range(directions):
        v = {n: generator.standard_normal(size.shape) * size for n, size in sizes.items()}
        analytic = sum(float(np.sum(v[n] * g)) for n, g in gradients.items())
        numeric, spread = _best_slope(partial(value, v=v), STEPS[precision])
        scale = max(typical, abs(analytic), abs(numeric), 1e-30)
        if spread > 0.1 * scale:
            continue
        if not abs(analytic - numeric) <= TOLERANCE[precision] * scale + 3 * spread:
            return Finding(
                "gradient against finite differences", False,
                f"along a random direction the score changes by {numeric:.6g}, the gradient says {analytic:.6g} "
                f"(finite differences are certain to {spread:.1g})",
            )  # fmt: skip
        errors.append(abs(analytic - numeric) / scale)
        certainties.append(spread / scale)
    if not errors:
        return Finding(
            "gradient against finite differences",
            None,
            f"finite differences do not settle in {precision} at this input",
        )
    return Finding(
        "gradient against finite differences", True,
        f"{len(errors)} random directions agree: relative error ≤ {max(errors):.1e}, "
        f"finite differences in {precision} are certain to {max(certainties):.1e}",
    )  # fmt: skip


def _sizes(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """How far each element may move: its own size, since features differ in scale; for zeros that of the others."""
    sizes = np.abs(np.asarray(array, np.float64))
    moving = np.isfinite(sizes) & (sizes > 0)
    others = float(np.median(sizes[moving])) if moving.any() else 1.0
    return np.where(moving, sizes, np.where(np.isfinite(sizes), others, 0.0))


def _best_slope(value: Callable[[float], float], steps: Sequence[float]) -> tuple[float, float]:
    """A derivative at 0 by central differences, and how certain it is.

    Large steps cross kinks, small ones drown in rounding: of each four neighbouring steps the ones that agree best give
    the slope, and the range of their slopes its uncertainty.
    """
    slopes = [(value(h) - value(-h)) / (2 * h) for h in steps]
    windows = [slopes[i : i + 4] for i in range(len(slopes) - 3)]
    best = min(windows, key=np.ptp)
    return float(np.median(best)), float(np.ptp(best))


# -- single calls ------------------------------------------------------------------------------------------------------


def _check_calls(
    graph: Graph, rewritten: Rewritten, source: Source, feeds: Mapping[str, Any], registry: Registry,
    providers: Providers, progress: bool | None,
) -> tuple[Finding, str]:  # fmt: skip
    """Every call on the way alone, in float64, at the values it really gets; the first wrong one from the output on."""
    sources = [graph.tensor(e["tensor"]) for e in rewritten.about["attributions"].values()]
    target = graph.tensor(rewritten.about["score"]["tensor"])
    live = liveness(graph.calls, sources, [target], registry.role)
    needed = {t.name: t for c in live.calls for t in c.reads if t is not None}
    values = _values(graph, source, feeds, needed, providers)
    unchecked: list[str] = []
    good = 0
    for call in track(list(reversed(live.calls)), "checking calls", progress):
        try:
            result = _check_call(call, graph, values, registry)
        except (OnnxplainError, NotImplementedError, RuntimeError, TypeError, ValueError, KeyError) as error:
            unchecked.append(f"{call}: {str(error).splitlines()[0][:120] if str(error) else type(error).__name__}")
            continue
        if result is None or not result.smooth:
            unchecked.append(f"{call}: on a kink of its operator")
        elif not result.ok:
            where = f"{call}{f' in {call.scope}' if call.scope else ''}"
            detail = f"{where}: finite differences give {result.numeric:.6g}, its rule {result.analytic:.6g}"
            return Finding("gradient of each call", False, f"first wrong call from the output on: {detail}"), call.name
        else:
            good += 1
    rest = f"; {len(unchecked)} could not be checked ({unchecked[0]})" if unchecked else ""
    return Finding("gradient of each call", True if good else None, f"{good} of {len(live.calls)} calls agree{rest}"), ""


def _is_small(graph: Graph) -> bool:
    """Whether checking every call in the reference evaluator takes seconds rather than minutes."""
    sizes = [
        np.prod([d if isinstance(d, int) else 8 for d in t.shape or ()]) for c in graph.calls for t in c.outputs if t is not None
    ]
    return float(np.sum(sizes)) < SMALL


def _values(
    graph: Graph, source: Source, feeds: Mapping[str, Any], needed: Mapping[str, Tensor], providers: Providers
) -> dict[str, np.ndarray[Any, Any]]:
    """The values that the named tensors take at this input."""
    model = source.copy().model
    own = {o.name for o in model.graph.output}
    inner = [n for n, t in needed.items() if graph.producer(t) is not None and n not in own]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in inner)
    session = Session(model, providers, folder=source.folder)
    made = session.run(feeds)
    constants = {t.name: t for t in source.model.graph.initializer if t.name in needed}
    folder = str(source.folder) if source.folder is not None else ""
    return {**feeds, **made, **{n: onnx.numpy_helper.to_array(t, base_dir=folder) for n, t in constants.items()}}


def _check_call(call: Call, graph: Graph, values: Mapping[str, np.ndarray[Any, Any]], registry: Registry) -> Comparison | None:
    """One call as a model of its own, slightly moved where it sits on a kink."""
    if not call.y.is_float or not all(t.is_float for i, t in enumerate(call.reads) if t is not None and call.wants(i)):
        raise RuleError("it rounds, or reads what was rounded")
    node = next(n for n in graph.model.graph.node if n.name == call.name)
    reads = {t.name: t for t in call.reads if t is not None}
    sources = [t.name for i, t in enumerate(call.reads) if t is not None and call.wants(i)]
    infos = [_info(n, values[n]) for n in reads]
    outputs = [y for y in call.outputs if y is not None and y.is_float]
    made = [
        onnx.helper.make_tensor_value_info(y.name, onnx.helper.np_dtype_to_tensor_dtype(y.dtype), None)
        for y in outputs
        if y.dtype
    ]
    alone = onnx.helper.make_model(
        onnx.helper.make_graph([node], "call", infos, made),
        opset_imports=list(graph.model.opset_import),
        ir_version=graph.model.ir_version,
    )
    generator = np.random.default_rng(0)
    result: Comparison | None = None
    for nudge in (0.0, 1e-3, 1e-2):
        point = {
            n: v + nudge * _sizes(v) * generator.standard_normal(v.shape) if n in sources else v
            for n, v in values.items()
            if n in reads
        }
        result = compare(alone, point, list(dict.fromkeys(sources)), step=1e-7, tolerance=1e-4, registry=registry)
        if result.smooth:
            break
    return result


def _info(name: str, value: np.ndarray[Any, Any]) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)


# -- what a method promises --------------------------------------------------------------------------------------------


def _check_method(
    source: Source, method: str, axioms: Sequence[str], feeds: Mapping[str, Any], providers: Providers,
    baseline: Baseline, settings: Mapping[str, Any], options: Mapping[str, Any],
) -> list[Finding]:  # fmt: skip
    """Attributions are finite, and add up where the method promises that."""
    rewritten = rewrite_source(
        source.copy(), method, target=None, baseline=baseline, expose=["score"], options=dict(options), **settings
    )
    result = Session(rewritten.model, providers, folder=source.folder).run(feeds)
    about = rewritten.about
    values = [np.asarray(result[n], np.float64) for n in about["attributions"]]
    finite = all(np.isfinite(v).all() for v in values)
    findings = [
        Finding(f"{method} is finite", finite, "no NaN or infinity" if finite else "the attribution holds NaN or infinity")
    ]
    total = sum(float(v.sum()) for v in values)
    scores = np.asarray(result[about["score"]["tensor"]], np.float64)
    rows = scores.reshape(len(scores) if about["batched"] else 1, -1)
    promised = "completeness" in axioms
    reached = float(rows.max(axis=1).sum())
    agrees = abs(total - reached) <= 1e-3 * max(abs(reached), 1e-6)
    findings.append(
        Finding(
            "completeness",
            agrees if promised else None,
            f"attributions sum to {total:.6g}, the explained scores to {reached:.6g}" + ("" if promised else " (not promised)"),
        )
    )
    return findings


# -- inputs ------------------------------------------------------------------------------------------------------------


def random_inputs(graph: Graph, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Random numbers of the shapes and types a model takes: normal floats, small indices, masks of ones.

    Raises:
        InputError: an input is text or of unknown rank.
    """
    generator = np.random.default_rng(seed)
    rows = _table_rows(graph)
    result: dict[str, np.ndarray[Any, Any]] = {}
    symbols: dict[Any, int] = {}
    for tensor in graph.inputs:
        if tensor.shape is None or tensor.dtype is None or tensor.dtype.kind in "OUS":
            raise InputError(
                f"input '{tensor.name}' cannot be made up (its shape or type does not say enough); give an input file"
            )
        shape = [d if isinstance(d, int) else symbols.setdefault(d, 2 if axis == 0 else 8) for axis, d in enumerate(tensor.shape)]
        if tensor.is_float:
            result[tensor.name] = generator.standard_normal(shape).astype(tensor.dtype)
        elif tensor.name in rows:
            result[tensor.name] = generator.integers(0, rows[tensor.name], shape).astype(tensor.dtype)
        else:
            result[tensor.name] = np.ones(shape, tensor.dtype)
    return result


def _table_rows(graph: Graph) -> dict[str, int]:
    """For integer inputs that look up tables: how many rows the smallest table has."""
    carried = {t.name: {t.name} for t in graph.inputs if not t.is_float}
    rows: dict[str, int] = {}
    for call in graph.calls:
        for name, reached in carried.items():
            if not any(t is not None and t.name in reached for t in call.inputs):
                continue
            if call.op == "Gather" and call.x.name not in reached and graph.is_constant(call.x) and call.x.is_float:
                extent = call.x.dim(int(call.get("axis", 0)))
                if isinstance(extent, int):
                    rows[name] = min(rows.get(name, extent), extent)
            reached.update(y.name for y in call.outputs if y is not None and not y.is_float)
    return rows
