"""Every method that applies, on every metric that applies, on a picture, a table and a series; writes docs/comparison.md.

Needs onnxplain[all] alone: python examples/comparison/study.py [FOLDER]. FOLDER keeps journals: a run that was stopped
goes on from them.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxplain import Evaluation, Explainer, OnnxplainError, advise, evaluate, methods
from onnxplain.evaluation.data import Data
from onnxplain.evaluation.metric import FAMILIES
from onnxplain.evaluation.subject import Subject
from onnxplain.method.registry import find_method

ROOT = Path(__file__).resolve().parent.parent.parent
FIXTURES, SINUSOID = ROOT / "fixtures", ROOT / "examples" / "sinusoid"
PAGE = ROOT / "docs" / "comparison.md"
SAMPLES = {"image": 20, "table": 20, "series": 10}
SEED, CONTROL = 0, "random"
FEWER = {name: {"samples": 5} for name in ("max-sensitivity", "average-sensitivity")}
"""Options of metrics that explain again and again."""
IN_UNITS = {"local-lipschitz", "continuity", "translation-continuity"}
"""Metrics whose values change with the unit of an attribution, so that they rank no methods of different units."""

ELSEWHERE = {
    "lrp": "a composite of one's own is needed",
    "path-integrated-gradients": "a path of one's own is needed",
    "conductance": "explains layers, not inputs",
    "internal-influence": "explains layers, not inputs",
    "gradient-through": "explains by one neuron or layer",
    "neuron-conductance": "explains by one neuron",
    "linear-shap": "serves linear and additive models, which these are not",
    "tree-shap": "serves tree ensembles, which these are not",
    **dict.fromkeys(("attention-rollout", "attention-gradient-rollout"), "serves models with self-attention over tokens"),
    "ice": "says how far the score moves, not for or against",
    **dict.fromkeys(("partial-dependence", "ale", "h-statistic"), "speaks of all samples together"),
    **dict.fromkeys(("sii", "k-sii", "stii", "fsii", "bii", "fbii", "moebius"), "speaks of sets of features, not of single ones"),
    "d-rise": "explains detections, which these models make none of",
    **dict.fromkeys(("banzhaf", "owen", "partition-shap"), "came after the comparison was run"),
}
"""Methods that answer another question."""

AVERAGING = {"expected-gradients", "gradient-shap", "deeplift-shap"}
"""Methods that average over many baselines."""
LEARNING = {"permutation", "decision-tree", "soft-decision-tree"}
"""Methods that take rows of data."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Task:
    """A model with samples it was not trained on, what stands for nothing in them, and rows to learn from."""

    name: str
    words: str
    model: Path
    x: Array
    baseline: Array
    background: Array
    options: Mapping[str, dict[str, Any]]
    """For methods whose defaults do not fit, or take long."""
    masks: Array | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Methods that are left out, and why."""


def tasks() -> list[Task]:
    """The three."""
    return [image(), table(), series()]


def image() -> Task:
    """Held-out digits of 8×8 pixels, two of each; black stands for nothing."""
    with np.load(FIXTURES / "digits" / "data.npz") as data:
        x = data["image"][: SAMPLES["image"]]
    from sklearn.datasets import load_digits

    rows = (load_digits().images[:200, None] / 16).astype(np.float32)
    return Task(
        "image", "digits, 8×8 pixels", FIXTURES / "digits" / "model.onnx", x, np.zeros(x.shape[1:], np.float32), rows,
        {"occlusion": {"window": 2, "stride": 1}, "lime": {"groups": "pixels", "samples": 400}, "rise": {"samples": 400}},
    )  # fmt: skip


def table() -> Task:
    """Held-out tumours of 30 features; the mean of the data stands for nothing."""
    with np.load(FIXTURES / "cancer" / "data.npz") as data:
        x = data["features"][: SAMPLES["table"]]
    from sklearn.datasets import load_breast_cancer

    rows = load_breast_cancer().data.astype(np.float32)
    return Task(
        "table", "tumours, 30 features", FIXTURES / "cancer" / "model.onnx", x, rows.mean(axis=0), rows[:200],
        {"exact-shapley": {"groups": np.tile(np.arange(10), 3)}},  # mean, error and worst of the same measure belong together
    )  # fmt: skip


def series() -> Task:
    """Test signals of 16 channels and 96 steps; 0, the mean, stands for nothing. The channels with the sinusoid are the mask."""
    with np.load(SINUSOID / "test.npz") as data:
        signal = data["signal"].astype(np.float32) * data["step"]
        holds = data["weight"] != 0
    x = signal[: SAMPLES["series"]]
    masks = np.broadcast_to(holds[None, :, None], x.shape).astype(np.float32)
    few = {"lime": {"samples": 400}, "rise": {"samples": 400}, "occlusion": {"window": 8, "stride": 4}}
    slow = "takes too long for 1,536 elements; whole segments of time say nothing of channels"
    return Task(
        "series", "a sinusoid among noise, 16×96", SINUSOID / "model.onnx", x, np.zeros(x.shape[1:], np.float32), signal[100:200],
        few, masks, dict.fromkeys(("kernel-shap", "shapley-sampling", "permutation"), slow),
    )  # fmt: skip


def subjects(task: Task) -> tuple[dict[str, tuple[str, dict[str, Any]]], dict[str, str]]:
    """The methods that explain the task's inputs, with their options, and the others with the reason."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    others = {**ELSEWHERE, **task.skipped}
    for name in (m for m in methods() if m not in others):
        given = dict(task.options.get(name, {}))
        if name in AVERAGING:
            given["baseline"] = task.background[:50]
        elif name in LEARNING:
            given["background"] = task.background
        elif find_method(name).takes_baseline(find_method(name).checked(given)):
            given["baseline"] = task.baseline
        reason = refusal(task, name, given)
        if reason is None:
            found[name] = name, given
        else:
            others[name] = reason
    return found, others


def refusal(task: Task, name: str, options: Mapping[str, Any]) -> str | None:
    """Why a method does not explain the task; None where it does."""
    try:
        found = Explainer(task.model, name, providers="cpu", threads=1, progress=False, **options)(task.x)
    except OnnxplainError as error:
        return str(error).splitlines()[0]
    empty = int((~found.attribution.reshape(len(task.x), -1).any(axis=1)).sum())
    return f"all attributions are zero for {empty} of {len(task.x)} samples" if 2 * empty > len(task.x) else None


def measured(task: Task, folder: Path | None) -> tuple[Evaluation, dict[str, str]]:
    """All scores of a task, with those of random attributions, and why methods were left out."""
    found, others = subjects(task)
    metrics = {name: (name, dict(FEWER.get(name, {}))) for name in applicable(task, found) if name not in IN_UNITS}
    settings: dict[str, Any] = {"baseline": task.baseline, "providers": "cpu", "threads": 1, "seed": SEED}
    journal = None if folder is None else folder / f"{task.name}.jsonl"
    made = evaluate(task.model, task.x, {**found, CONTROL: CONTROL}, metrics, journal=journal, **settings)
    return (made if task.masks is None else localised(task, made, found, settings)), others


def applicable(task: Task, found: Mapping[str, Any]) -> tuple[str, ...]:
    """The metrics that apply to the task, found out with one method."""
    first = {"gradient": found["gradient"]}
    settings = {"baseline": task.baseline, "providers": "cpu", "threads": 1, "progress": False}
    return tuple(c.label for c in evaluate(task.model, task.x, first, ["all"], **settings).columns)


def localised(
    task: Task, made: Evaluation, found: Mapping[str, tuple[str, dict[str, Any]]], settings: Mapping[str, Any]
) -> Evaluation:
    """The evaluation with localisation added, every element a place of its own: metrics sum over channels, and here the channels
    are what is to be found. So the same attributions are laid out as pictures of one channel."""
    assert task.masks is not None
    x, masks, data = task.x[:, None], task.masks[:, None], Data(task.model, task.x, **settings)
    arrays = {
        name: Subject(name, data, method=method, options=options).everything()[:, None]
        for name, (method, options) in found.items()
    }
    flat = {**settings, "baseline": task.baseline[None]}
    shown = evaluate(
        as_picture(task.model, task.x.shape[1:]), x, {**arrays, CONTROL: CONTROL}, ["localisation"], masks=masks, **flat
    )
    return replace(made, columns=(*made.columns, *shown.columns), results={**made.results, **shown.results})


def as_picture(model: Path, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The model on [n, 1, channels, time]."""
    made = onnx.load(model)
    (fed,) = made.graph.input
    old, new = fed.name, f"{fed.name}_picture"
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, *shape]), "picture_shape"))
    made.graph.node.insert(0, onnx.helper.make_node("Reshape", [new, "picture_shape"], [old], name="from_picture"))
    fed.CopyFrom(onnx.helper.make_tensor_value_info(new, onnx.TensorProto.FLOAT, ["batch", 1, *shape]))
    return made


# -- the page ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """An evaluation without the control, whose ranks are those of methods alone, and the control's mean by metric."""

    ranked: Evaluation
    control: Mapping[str, float]

    @property
    def families(self) -> list[str]:
        """Those that ranks could be made of."""
        known = {f for ranks in self.ranked.ranks.values() for f in ranks}
        return [f for f in FAMILIES if f in known]

    def beats(self, subject: str) -> tuple[int, int]:
        """On how many metrics of faithfulness and localisation a method is better than random attributions, and of how many."""
        better = judged = 0
        for column in self.ranked.columns:
            mean = self.ranked.means[column.label][subject].value
            if column.metric.family in ("faithfulness", "localisation") and np.isfinite(mean):
                gain = mean - self.control[column.label]
                judged += 1
                better += gain > 0 if column.metric.better == "higher" else gain < 0
        return better, judged


def judged(made: Evaluation) -> Judged:
    """The control taken out."""
    known = {c.label: made.results[CONTROL, c.label].score for c in made.columns if (CONTROL, c.label) in made.results}
    means = {label: float(np.nanmean(v)) if np.isfinite(v).any() else np.nan for label, v in known.items()}
    return Judged(replace(made, subjects=tuple(s for s in made.subjects if s != CONTROL)), means)


def winners(found: Mapping[str, Judged]) -> str:
    """Who is best in each family on each model, and on how many of its metrics nobody is clearly better."""
    rows = ["| | " + " | ".join(found) + " |", "|---|" + "---|" * len(found)]
    for family in [*FAMILIES, "overall"]:
        cells = []
        for made in (j.ranked for j in found.values()):
            ranks = {s: r[family] for s, r in made.ranks.items() if family in r}
            if not ranks:
                cells.append("")
                continue
            best = min(ranks.values())
            first = [s for s, r in ranks.items() if np.isclose(r, best)]
            mine = [c.label for c in made.columns if family in (c.metric.family, "overall")]
            ties = sum(made.means[c][first[0]].ties for c in mine if first[0] in made.means[c])
            names = ", ".join(f"`{s}`" for s in first[:3]) + (" …" if len(first) > 3 else "")
            cells.append(f"{names} ({best:.1f}; {ties} of {len(mine)})")
        rows.append(f"| {family} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def suggestions(found: Mapping[str, Judged], models: Mapping[str, Path]) -> str:
    """What advise suggests, and where it came."""
    rows = ["| | `advise` suggests | its place by faithfulness | overall | of |", "|---|---|---|---|---|"]
    for name, one in found.items():
        suggested = advise(models[name]).suggestion.method
        own = one.ranked.ranks
        places = [1 + sum(r[f] < own[suggested][f] for r in own.values()) for f in ("faithfulness", "overall")]
        rows.append(f"| {name} | `{suggested}` | {places[0]} | {places[1]} | {len(own)} |")
    return "\n".join(rows)


def whole(found: Mapping[str, Judged]) -> str:
    """Mean ranks of every method, by model and family, best overall first; and how often it beats random attributions."""
    heads = [(name, f) for name, one in found.items() for f in [*one.families, "overall"]]
    titles = [*(f"{name}: {f}" for name, f in heads), *(f"{name}: beats random" for name in found)]
    rows = ["| method | " + " | ".join(titles) + " |", "|---|" + "---|" * len(titles)]
    ranks = {name: one.ranked.ranks for name, one in found.items()}

    def place(subject: str) -> tuple[int, float]:
        own = [table[subject]["overall"] / len(table) for table in ranks.values() if subject in table]
        return -len(own), float(np.mean(own))

    for subject in sorted({s for table in ranks.values() for s in table}, key=place):
        cells = [f"{ranks[name][subject][f]:.1f}" if subject in ranks[name] else "" for name, f in heads]
        cells += ["{} of {}".format(*one.beats(subject)) if subject in ranks[name] else "" for name, one in found.items()]
        rows.append(f"| `{subject}` | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def left_out(others: Mapping[str, Mapping[str, str]]) -> str:
    """Methods that explain some models, or none, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, table in others.items():
        for method, reason in table.items():
            reasons.setdefault((method, reason), []).append(name)
    rows = ["| method | not on | because |", "|---|---|---|"]
    rows += [f"| `{m}` | {'any' if len(on) == len(others) else ', '.join(on)} | {why} |" for (m, why), on in reasons.items()]
    return "\n".join(rows)


def scores(found: Mapping[str, Judged]) -> str:
    """Every mean with its interval, as CSV; those of random attributions without."""
    lines = ["model,metric,family,better,method,mean,low,high,samples,rank"]
    for name, one in found.items():
        for row in one.ranked.table():
            values = ",".join(f"{row[k]:.4g}" for k in ("mean", "low", "high"))
            where = f"{name},{row['metric']},{row['family']},{row['better']},{row['method']}"
            lines.append(f"{where},{values},{row['samples']},{row['rank']:g}")
        for column in one.ranked.columns:
            if column.label in one.control:
                where = f"{name},{column.label},{column.metric.family},{column.metric.better},{CONTROL}"
                lines.append(f"{where},{one.control[column.label]:.4g},,,{one.ranked.about['samples']},")
    return "\n".join(lines) + "\n"


def main(folder: Path | None) -> None:
    """Measure, say, and write the page."""
    found, others, models = {}, {}, {}
    for task in tasks():
        start = time.perf_counter()
        made, others[task.name] = measured(task, folder)
        found[task.name], models[task.name] = judged(made), task.model
        print(f"{task.name} ({task.words}): {made!r}, {time.perf_counter() - start:.0f} s", flush=True)
    blocks = {
        "winners": winners(found),
        "suggested": suggestions(found, models),
        "whole": whole(found),
        "others": left_out(others),
    }
    text = PAGE.read_text(encoding="utf-8")
    for name, table in blocks.items():
        print(f"\n{table}")
        text = re.sub(
            rf"(<!-- {name}: .*? -->\n).*?(<!-- end -->)", lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text, flags=re.DOTALL
        )
    PAGE.write_text(text, encoding="utf-8")
    PAGE.with_suffix(".csv").write_text(scores(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
