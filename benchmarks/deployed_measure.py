"""One deployed file, measured step by step in a process of its own: `python benchmarks/deployed_measure.py SETTINGS`.

SETTINGS is a JSON object: `path`, `name`, `threads`, `memory` in GB, and `steps`, names from STEPS. Every step prints a line of
JSON when it begins and one with what it found, so that nothing measured is lost where a later one ends the process.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import onnx
import onnxruntime as ort

import onnxplain
from benchmarks.deployed_inputs import hint_for, inputs_of
from onnxplain.bench.benchmark import session_worker
from onnxplain.bench.rounds import Entry, interleaved
from onnxplain.bench.spread import ratio
from onnxplain.errors import InputError
from onnxplain.explain.request import Request
from onnxplain.explain.rewrite import rewrite_source
from onnxplain.explain.write import Rewritten
from onnxplain.io.reader import read
from onnxplain.propagation.ledger import Ledger
from onnxplain.verification.conservation import balance
from onnxplain.verification.findings import sizes_of

Arrays = dict[str, np.ndarray[Any, Any]]

LRP = "lrp-epsilon-plus"
TIMED = ("gradient", LRP, "deeplift")
ROUNDS, TURN = 5, 0.2
"""Rounds of a timing, and the seconds that a turn lasts at least."""
SLOPE_STEPS = (1e-3, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5, 1e-5)
"""Steps of the finite differences, in units of each input's own size. Larger ones step over narrow peaks unseen."""
VAGUE = 0.2
"""Directions along which differences are less certain, as a share of the gradient, say nothing."""
PATH_STEPS, FINER, QUADRATURE = 50, 4, 1e-2
"""Steps of integrated gradients, and how many times as many there are where the gap is a larger share than the last."""


class NotComparable(Exception):
    """A step has nothing to say about this file, for a reason that is no fault."""


@dataclass(frozen=True)
class Subject:
    """A file with its inputs. A session is made where it is needed and dropped after, so that one is alive at a time."""

    path: Path
    name: str
    threads: int | None = None

    def session(self, model: onnx.ModelProto | None = None, *, optimized: bool = True) -> ort.InferenceSession:
        """A session for the file, or for a model made of it."""
        options = ort.SessionOptions()
        options.log_severity_level = 4
        if self.threads is not None:
            options.intra_op_num_threads = self.threads
        if not optimized:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if model is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(self.path.parent))
        data = str(self.path) if model is None else model.SerializeToString()
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def feeds(self, samples: int) -> Arrays:
        """Random inputs that the file takes."""
        return inputs_of(self.session(), hint_for(self.name), samples)

    @cached_property
    def two(self) -> Arrays:
        """Two samples, where the file takes so many."""
        return self.feeds(2)

    @cached_property
    def original(self) -> onnx.ModelProto:
        """The model as it lies in the file."""
        return onnx.load(self.path, load_external_data=False)

    def explained(self, method: str, *, observer: Ledger | None = None, **settings: Any) -> Rewritten:
        """The explained model."""
        return rewrite_source(read(self.path), Request.for_graph(method, **settings), observer=observer)

    def explain_change(self, method: str, **options: Any) -> onnxplain.Explanation:
        """Why the top predictions differ from those at zero, as a user asks for it."""
        explainer = onnxplain.Explainer(
            self.path, method, providers="cpu", threads=self.threads, progress=False, baseline=0.0, expose=["score"], **options
        )  # fmt: skip
        return explainer(self.two)


# -- the steps -------------------------------------------------------------------------------------------------------


def inputs(subject: Subject) -> dict[str, Any]:
    """The file runs, with the shapes it is given."""
    session = subject.session()
    found = session.run(None, subject.two)
    names = [o.name for o in session.get_outputs()]
    operators = len(subject.original.graph.node)
    shapes = {n: list(np.shape(a)) for n, a in subject.two.items()}
    finite = {n: bool(np.isfinite(a).all()) for n, a in zip(names, found, strict=True) if _is_float(a)}
    return {"nodes": operators, "inputs": shapes, "not finite": [n for n, ok in finite.items() if not ok]}


def plans(subject: Subject) -> dict[str, Any]:
    """Whether every node has a rule, for gradients and for relevance."""
    found = {method: onnxplain.plan(subject.path, method) for method in ("gradient", LRP)}
    problem = next((f"{method}: {plan.problem}" for method, plan in found.items() if plan.problem), "")
    if problem:
        raise ValueError(problem)
    plan = found["gradient"]
    return {"explained": [e.name for e in plan.explained], "score": plan.score.tensor.name, "kind": plan.score.kind}


def prediction(subject: Subject) -> dict[str, Any]:
    """By how much the explained file's own outputs differ from the original's, relative to the largest of each, or to 1 where
    they are probabilities.

    Both with ONNX Runtime's optimizations as they come, and both without any.
    """
    rewritten = subject.explained("gradient")
    model, about = rewritten.model, rewritten.about
    least = {about["output"]: 1.0} if about["score"]["activation"] in ("Softmax", "Sigmoid") else {}
    differences = {}
    for level, optimized in (("optimized", True), ("plain", False)):
        session = subject.session(optimized=optimized)
        names = [o.name for o in session.get_outputs()]
        before = session.run(names, subject.two)
        del session
        after = subject.session(model, optimized=optimized).run(names, subject.two)
        pairs = zip(names, before, after, strict=True)
        differences[level] = max((_difference(a, b, least.get(n, 0.0)) for n, a, b in pairs), default=0.0)
    return differences


def gradient(subject: Subject) -> dict[str, Any]:
    """The gradient of the top elements of the score, against differences of the original along four directions.

    Where the original holds no such logits, because its last operators were taken apart, the output itself is explained.
    """
    wanted = {"target": "cotangent", "expose": ("score",)}
    rewritten = subject.explained("gradient", **wanted)
    if rewritten.about["score"]["tensor"] not in _tensors(subject.original):
        rewritten = subject.explained("gradient", score="probability", **wanted)
    about = rewritten.about
    score = about["score"]["tensor"]
    entries = {e["tensor"]: n for n, e in about["attributions"].items()}
    inner = [name for name in entries if name not in subject.two]
    model = _exposing(subject.original, [score, *inner])
    values = _run(subject.session(model), subject.two, [score, *inner])
    chosen = _top(values[score], len(next(iter(subject.two.values()))) if _counts(subject.two) else 1)
    seed = about["run_time_inputs"].get("cotangent", about["run_time_inputs"].get("seed"))
    arrived = _run(subject.session(rewritten.model), {**subject.two, seed: chosen.astype(values[score].dtype)}, None)
    same = _difference(values[score], arrived[score])
    points = {name: values[name] if name in inner else subject.two[name] for name in entries}
    slopes = {name: np.asarray(arrived[output], np.float64) for name, output in entries.items()}
    cut = subject.session(_cut(model, {name: values[name] for name in inner}))
    rest = {i.name: subject.two[i.name] for i in cut.get_inputs() if i.name not in points}

    finest = float(np.finfo(values[score].dtype).eps * np.abs(chosen * values[score].astype(np.float64)).sum())

    def value(at: Arrays) -> float:
        return float(np.sum(chosen * np.asarray(cut.run([score], {**rest, **at})[0], np.float64)))

    return {"score": same, "of": about["score"]["kind"], **_compared(value, points, slopes, finest), "explained": list(entries)}


def path_completeness(subject: Subject) -> dict[str, Any]:
    """Integrated gradients from zero: what they sum to beyond the score's change, as a share of it.

    A gap of the quadrature's shrinks with more steps.
    """
    gap = _gap(subject.explain_change("integrated-gradients", steps=PATH_STEPS))
    if gap < QUADRATURE:
        return {"gap": gap}
    return {"gap": gap, "finer": _gap(subject.explain_change("integrated-gradients", steps=FINER * PATH_STEPS))}


def conservation(subject: Subject) -> dict[str, Any]:
    """Relevance: the share that reaches the inputs, the share biases keep, and the most that a single node loses.

    Rules for softmax, products of what is explained and norms lose by their definition.
    """
    ledger = Ledger()
    rewritten = subject.explained(LRP, observer=ledger)
    found = _run(subject.session(rewritten.model), subject.two, None)
    arrived = [np.asarray(found[name], np.float64) for name in rewritten.about["attributions"]]
    if not all(np.isfinite(a).all() for a in arrived):
        raise ValueError("the relevance holds NaN or infinity")
    if not any(a.any() for a in arrived):
        raise ValueError("the relevance is zero everywhere")
    rows = balance(ledger.read(rewritten.about["reports"], [found]))
    total = float(sum(a.sum() for a in arrived))
    score = total + sum(row.received - row.sent for row in rows)
    whole = max(abs(score), *(abs(row.received) for row in rows), 1e-12)
    worst = rows[0]
    return {
        "inputs": total / (score or 1.0),
        "biases": sum(row.bias for row in rows) / (score or 1.0),
        "lost": abs(worst.lost) / whole,
        "at": f"{worst.node} ({worst.operator}, {worst.rule})",
        "grows": max(abs(row.received) for row in rows) / max(abs(score), 1e-12),
    }


def deeplift(subject: Subject) -> dict[str, Any]:
    """DeepLIFT from zero: what it sums to beyond the score's change, as a share of it."""
    return {"gap": _gap(subject.explain_change("deeplift"))}


def times(subject: Subject) -> dict[str, Any]:
    """One sample: milliseconds of the original, and how many times as long every method takes, in turns."""
    feeds = subject.feeds(1)
    with tempfile.TemporaryDirectory() as folder:
        case = Path(folder) / "feeds.npz"
        np.savez(case, **feeds)
        settings = {"threads": subject.threads, "provider": "cpu"}
        taken: dict[str, Any] = {}
        for method in TIMED:
            path = Path(folder) / f"{method}.onnx"
            try:
                onnx.save(onnxplain.rewrite(subject.path, method, baseline=0.0 if method == "deeplift" else None), path)
            except onnxplain.OnnxplainError:
                continue  # the other steps say so
            outside = {"folder": str(subject.path.parent)} if _has_weights_outside(subject.original) else {}
            with session_worker(subject.path, settings) as plain, session_worker(path, {**settings, **outside}) as other:
                entries = {"forward": Entry(plain, {"feeds": str(case)}), method: Entry(other, {"feeds": str(case)})}
                rounds = interleaved(entries, ROUNDS, TURN, budget=20.0)
            taken.setdefault("forward, ms", 1e3 * median(rounds["forward"]))
            taken[method] = ratio(rounds[method], rounds["forward"]).median
    return taken


STEPS: dict[str, Callable[[Subject], dict[str, Any]]] = {
    "inputs": inputs,
    "plan": plans,
    "prediction": prediction,
    "gradient": gradient,
    LRP: conservation,
    "integrated-gradients": path_completeness,
    "deeplift": deeplift,
    "times": times,
}


# -- what the steps share --------------------------------------------------------------------------------------------


def _compared(value: Callable[[Arrays], float], points: Arrays, slopes: Mapping[str, Any], finest: float) -> dict[str, Any]:
    """The gradient against central differences: along itself with half of its elements at a time, and along noise.

    Along noise a wrong element shows wherever it is; along the gradient itself the score changes most, and differences in float32
    are sharpest.
    """
    if not all(np.isfinite(s).all() for s in slopes.values()):
        raise ValueError("the gradient holds NaN or infinity")
    generator = np.random.default_rng(1)
    sizes = {n: sizes_of(x) for n, x in points.items()}
    typical = float(np.sqrt(sum(np.sum((sizes[n] * g) ** 2) for n, g in slopes.items())))
    if typical == 0:
        raise ValueError("the gradient is zero everywhere")
    steepest = max(float(np.abs(sizes[n] * g).max()) for n, g in slopes.items())
    errors, certain = [], []
    for kind in ("itself", "itself", "noise", "noise"):
        moves = {}
        for n, g in slopes.items():
            own = sizes[n] * g / steepest * generator.integers(0, 2, g.shape)
            moves[n] = sizes[n] * (own if kind == "itself" else generator.standard_normal(g.shape))
        analytic = sum(float(np.sum(moves[n] * g)) for n, g in slopes.items())
        numeric, spread = _slope(lambda h, v=moves: value({n: (x + h * v[n]).astype(x.dtype) for n, x in points.items()}), finest)
        whole = max(typical, abs(analytic), abs(numeric))
        errors.append(abs(analytic - numeric) / whole)
        certain.append(spread / whole)
    settled = [i for i in range(len(errors)) if certain[i] < VAGUE]
    if not settled:
        raise NotComparable("differences of the original do not settle in its precision at this input")
    worst = max(settled, key=lambda i: errors[i] - 3 * certain[i])
    return {"error": errors[worst], "certain": certain[worst], "errors": errors, "all": certain}


def _slope(value: Callable[[float], float], finest: float) -> tuple[float, float]:
    """A derivative at 0, and how certain it is: of each three neighbouring steps those that agree best.

    Args:
        value: the function.
        finest: the least change of its value that its precision can show.
    """
    slopes = [(value(h) - value(-h)) / (2 * h) for h in SLOPE_STEPS]
    windows = [(slopes[i : i + 3], finest / SLOPE_STEPS[i + 1]) for i in range(len(slopes) - 2)]
    best, rounding = min(windows, key=lambda window: float(np.ptp(window[0])) + window[1])
    return float(np.median(best)), float(np.ptp(best)) + rounding


def _gap(found: onnxplain.Explanation) -> float:
    """What attributions sum to beyond the score's change from the baseline, as a share of the largest change."""
    if not all(np.isfinite(a).all() for a in found.attributions.values()):
        raise ValueError("the attribution holds NaN or infinity")
    if found.delta is None:
        raise NotComparable("no convergence delta is reported")
    delta = np.abs(np.asarray(found.delta, np.float64)).max()
    total = float(sum(np.asarray(a, np.float64).sum() for a in found.attributions.values()))
    change = abs(total - float(np.sum(found.delta)))
    score = np.asarray(found.outputs[found.about["score"]["tensor"]])
    if change <= 100 * np.finfo(score.dtype).eps * np.abs(score.astype(np.float64)).max():
        raise NotComparable("the score is that of the baseline, up to its precision")
    return float(delta / change)


def _top(score: np.ndarray[Any, Any], samples: int) -> np.ndarray[Any, Any]:
    """Ones at the greatest element of each sample where the first axis counts them, else at the greatest of all."""
    rows = score.reshape(samples if score.shape[:1] == (samples,) else 1, -1)
    chosen = np.zeros(rows.shape)
    chosen[np.arange(len(rows)), rows.argmax(axis=1)] = 1
    return chosen.reshape(score.shape)


def _counts(feeds: Arrays) -> bool:
    """Whether the first input has a first axis of two, which then counts samples."""
    return next(iter(feeds.values())).shape[:1] == (2,)


def _exposing(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The original with inner tensors among its outputs."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    shown = {o.name for o in made.graph.output}
    inside = _tensors(model)
    for name in dict.fromkeys(names):
        if name in shown:
            continue
        if name not in inside:
            raise NotComparable(f"'{name}', which is explained, is no tensor of the original graph")
        made.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    return made


def _tensors(model: onnx.ModelProto) -> set[str]:
    """The tensors that the nodes of the outer graph make."""
    return {name for node in model.graph.node for name in node.output}


def _cut(model: onnx.ModelProto, values: Mapping[str, np.ndarray[Any, Any]]) -> onnx.ModelProto:
    """The model with inner tensors as inputs, so that they can be moved."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for node in made.graph.node:
        for i, name in enumerate(node.output):
            if name in values:
                node.output[i] = f"{name}/unused"
    for name, array in values.items():
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        made.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, array.shape))
    return made


def _run(session: ort.InferenceSession, feeds: Arrays, outputs: Sequence[str] | None) -> Arrays:
    names = list(dict.fromkeys(outputs)) if outputs is not None else [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def _difference(a: Any, b: Any, least: float = 0.0) -> float:
    """The largest difference of two arrays, relative to the largest number in the first, which counts as `least` at least."""
    if not isinstance(a, np.ndarray) or a.dtype.kind not in "fiub":
        return float(str(a) != str(b))
    wide, other = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if wide.shape != other.shape:
        return float("inf")
    same = (wide == other) | (np.isnan(wide) & np.isnan(other))
    largest = float(np.abs(wide[np.isfinite(wide)]).max(initial=least)) or 1.0
    return float(np.where(same, 0.0, np.abs(wide - other)).max(initial=0.0)) / largest


def _is_float(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind == "f"


def _has_weights_outside(model: onnx.ModelProto) -> bool:
    return any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer)


def told(failure: Exception) -> str:
    """An error in one line, without the folders of this machine."""
    kind = "" if isinstance(failure, onnxplain.OnnxplainError | ValueError) else f"{type(failure).__name__}: "
    return re.sub(r"(/[\w.+-]+){2,}/", "…/", " ".join(f"{kind}{failure}".split()))[:500]


def measured(subject: Subject, step: str) -> dict[str, Any]:
    """What a step finds; "problem" or, where that is no fault, "reason" where it finds nothing."""
    start = time.perf_counter()
    try:
        found = STEPS[step](subject)
    except NotComparable as failure:
        found = {"reason": told(failure)}
    except onnxplain.OnnxplainError as failure:
        refused = not isinstance(failure, InputError)  # which stands for runs that broke off
        found = {"problem": told(failure), **({"refused": type(failure).__name__} if refused else {})}
    except Exception as failure:
        found = {"problem": told(failure)}
    return {**found, "seconds": round(time.perf_counter() - start, 2)}


def main() -> None:
    settings = json.loads(sys.argv[1])
    if settings.get("memory"):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (int(settings["memory"] * 2**30),) * 2)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print
    subject = Subject(Path(settings["path"]), settings["name"], settings.get("threads"))
    for step in settings["steps"]:
        print(json.dumps({"begins": step}), file=answers, flush=True)
        print(json.dumps({"step": step, "found": measured(subject, step)}), file=answers, flush=True)


if __name__ == "__main__":
    main()
