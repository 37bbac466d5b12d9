"""What a method promises of its attributions, checked on the numbers that an explained file returned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from onnxplain.io.metadata import sample_axis_in
from onnxplain.io.reader import Source
from onnxplain.runtime.session import Arrays, Providers, Session
from onnxplain.verification.findings import Finding

__all__ = ["Outcome", "check_promises", "sample_rows"]

Array = np.ndarray[Any, Any]

ROUNDING = {2: 2e-2, 4: 1e-3, 8: 1e-9}
"""By bytes per number: differences over the size of a score that rounding explains."""

QUADRATURE_GAP = 2e-2
"""Gaps over the size of the score's change that sums of few terms leave in an integral."""


def sample_rows(about: Mapping[str, Any], name: str, value: Array) -> Array:
    """The numbers of each sample in a row, float64 [n, …]; all in one row where nothing counts samples.

    Args:
        about: the metadata of an explained file.
        name: an input or output of it, or the explained tensor.
        value: what that is.
    """
    exact, axis = np.asarray(value, np.float64), sample_axis_in(about, name)
    if axis is None:
        return exact.reshape(1, -1)
    return np.moveaxis(exact, axis, 0).reshape(exact.shape[axis], -1)


@dataclass(frozen=True)
class Outcome:
    """A run of an explained file: what went in and what came out, in a batch of samples."""

    about: Mapping[str, Any]
    source: Source
    feeds: Arrays
    results: Mapping[str, Any]
    providers: Providers = None

    def rows(self, name: str, value: Array) -> Array:
        """The numbers of each sample in a row, in float64, of an input or output or of the explained tensor."""
        return sample_rows(self.about, name, value)

    def total(self) -> Array:
        """The sum of each sample's attributions, with an equal part of what is attributed to an input that all share."""
        sums = [self.rows(n, self.results[n]).sum(axis=1) for n in self.about["attributions"]]
        count = max(len(s) for s in sums)
        return np.asarray(np.sum([s if len(s) == count else np.full(count, s.sum() / count) for s in sums], axis=0))

    def comparable(self, values: Array) -> Array:
        """One number per sample, as attributions can be compared with it: their mean, where samples share an explained input."""
        of_each = {self.rows(n, self.results[n]).shape[0] for n in self.about["attributions"]}
        return values if len(of_each) == 1 else np.full(len(values), values.mean())

    def rounding(self) -> float:
        """What rounding explains in the attributions' type."""
        return ROUNDING[min(self.results[n].dtype.itemsize for n in self.about["attributions"])]

    def scores(self, feeds: Arrays) -> Array | None:
        """All elements of the explained score for other feeds: [samples, elements]; None where the file does not compute it."""
        tensor = self.about["score"]["tensor"]
        model = self.source.copy().model
        if not any(tensor in n.output for n in model.graph.node):
            return None
        if tensor not in {o.name for o in model.graph.output}:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(tensor))
        return self.rows(tensor, Session(model, self.providers, folder=self.source.folder).run(feeds, [tensor])[tensor])

    def explained(self, scores: Array) -> Array | None:
        """The index of each sample's explained element; None for targets that are no single element."""
        target = str(self.about["target"])
        if target.isdigit():
            return np.full(len(scores), int(target))
        if target not in ("top", "input"):
            return None
        ranked = self.results.get(self.about["output"])
        rows = scores
        if isinstance(ranked, np.ndarray) and ranked.size == scores.size:
            rows = self.rows(self.about["output"], ranked)
        top = rows.argmax(axis=1)
        given = self.feeds[self.about["run_time_inputs"]["target"]] if target == "input" else -1
        return np.where(np.less(given, 0), top, given)

    def at_baselines(self) -> list[Arrays]:
        """The feeds with every explained input at its baseline, once for each of several that all samples share; none where
        the baseline is not known."""
        about = self.about
        if about["baseline"] is None or any(entry["kind"] != "input" for entry in about["attributions"].values()):
            return []
        shared = {i.name for i in self.source.model.graph.input if _counts_references(i)}
        values: dict[str, list[Any]] = {}
        for entry in about["attributions"].values():
            name, value = entry["explains"], about["baseline"]
            given = about["run_time_inputs"]["baseline"][name] if value == "input" else ""
            value = self.feeds[given] if given else value
            if isinstance(value, str) or (np.ndim(value) and np.shape(value)[1:] != self.feeds[name].shape[1:]):
                return []
            values[name] = list(value) if given in shared else [value]
        if len({len(v) for v in values.values()}) != 1:
            return []
        return [
            {**self.feeds, **{n: np.broadcast_to(np.asarray(v, self.feeds[n].dtype), self.feeds[n].shape).copy() for n, v in at}}
            for at in (zip(values, row, strict=True) for row in zip(*values.values(), strict=True))
        ]


def _counts_references(value: onnx.ValueInfoProto) -> bool:
    """Whether the first axis of an input counts baselines that all samples share."""
    extents = value.type.tensor_type.shape.dim
    return bool(extents) and extents[0].dim_param == "references"


def check_promises(outcome: Outcome) -> list[Finding]:
    """One finding for each axiom that can be checked on numbers; none for the others."""
    checks = {"completeness": _completeness}
    if outcome.about["baseline"] is None:  # else what is conserved is the score's change, which completeness is about
        checks["conservation"] = _conservation
    return [checks[a](outcome) for a in outcome.about["axioms"] if a in checks]


def _completeness(outcome: Outcome) -> Finding:
    """Attributions of a sample sum to the change of the score from the baseline, up to the gap that the file itself reports."""
    name, about = "completeness", outcome.about
    if about["target"] == "all":
        return Finding(name, None, "not checked for all targets at once")
    total, change = outcome.comparable(outcome.total()), _change(outcome)
    reported = about["reports"].get("delta")
    if reported:
        stated = total - np.asarray(outcome.results[reported], np.float64).reshape(-1)
        if change is not None and _gap(stated, change) > outcome.rounding():
            return Finding(name, False, f"the gap that the file reports in '{reported}' is not the one there is")
        change = stated
    if change is None:
        return Finding(name, None, "not checked: the file does not hold what it takes (one baseline of an input, one target)")
    gap = _gap(total, change)
    said = f"attributions sum to the score's change from the baseline, up to {gap:.2g} of it"
    if gap > QUADRATURE_GAP and reported:
        return Finding(name, None, f"{said}, as the file reports; more steps make it exact")
    return Finding(name, gap <= QUADRATURE_GAP, said)


def _conservation(outcome: Outcome) -> Finding:
    """Attributions sum to the score where biases absorb nothing; a file alone does not tell what they did absorb."""
    name = "conservation"
    scores = outcome.scores(outcome.feeds)
    place = None if scores is None else outcome.explained(scores)
    if scores is None or place is None:
        return Finding(name, None, "not checked: the file does not hold the score of a single target")
    score, total = (outcome.comparable(v) for v in (scores[np.arange(len(scores)), place], outcome.total()))
    gap = _gap(total, score)
    if gap <= outcome.rounding():
        return Finding(name, True, f"attributions sum to the score, up to {gap:.2g} of it")
    share = float(total.sum() / score.sum()) if score.sum() else float("nan")
    return Finding(name, None, f"attributions sum to {share:.3g} of the score; onnxplain check says by node where the rest is")


def _change(outcome: Outcome) -> Array | None:
    """The explained score less the one at the baseline, or their mean over several; None where it cannot be told."""
    at = outcome.at_baselines()
    here = outcome.scores(outcome.feeds) if at else None
    place = None if here is None else outcome.explained(here)
    if here is None or place is None:
        return None
    each = [scores for feeds in at if (scores := outcome.scores(feeds)) is not None]
    there = np.mean(each, axis=0)
    samples = np.arange(len(here))
    return outcome.comparable(np.asarray(here[samples, place] - there[samples, place]))


def _gap(found: Array, expected: Array) -> float:
    """The largest difference of a sample, over the largest size."""
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-6))
