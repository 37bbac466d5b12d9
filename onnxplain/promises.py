"""What a method promises of its attributions, checked on the numbers that an explained file returned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from onnxplain.findings import Finding
from onnxplain.load import Source
from onnxplain.runtime import Arrays, Providers, Session

__all__ = ["check_promises"]

TOLERANCE = 2e-2
"""Gap between the sum of attributions and what it should be, over the size of the latter: integrals are sums of few terms."""


def check_promises(
    about: Mapping[str, Any], source: Source, feeds: Arrays, results: Mapping[str, Any], providers: Providers
) -> list[Finding]:
    """One finding for each axiom that can be checked on numbers; none for the others."""
    return [_completeness(about, source, feeds, results, providers)] if "completeness" in about["axioms"] else []


def _completeness(
    about: Mapping[str, Any], source: Source, feeds: Arrays, results: Mapping[str, Any], providers: Providers
) -> Finding:
    """Attributions of a sample sum to the explained score less the score at the baseline."""
    name = "completeness"
    at = _baseline_feeds(about, feeds)
    if at is None:
        return Finding(name, None, "not checked: the baseline is not in the file as a number, or not an input")
    scored = source.copy().model
    tensor = about["score"]["tensor"]
    if not any(tensor in n.output for n in scored.graph.node):
        return Finding(name, None, "not checked: the file does not compute the score")
    if tensor not in {o.name for o in scored.graph.output}:
        scored.graph.output.append(onnx.helper.make_empty_tensor_value_info(tensor))
    session = Session(scored, providers, folder=source.folder)
    here, there = (_rows(session.run(f, [tensor])[tensor], about) for f in (feeds, at))
    place = _explained(about, here, feeds, results)
    if place is None:
        return Finding(name, None, f"not checked for the target '{about['target']}'")
    rows = np.arange(len(here))
    expected = here[rows, place] - there[rows, place]
    total = sum(_rows(results[n], about).sum(axis=1) for n in about["attributions"])
    size = np.maximum(np.abs(expected), 1e-6)
    gap = float(np.max(np.abs(total - expected) / size))
    if "delta" not in about["reports"]:
        return Finding(name, gap <= TOLERANCE, f"attributions sum to the change of the score, to {gap:.2g} of it")
    stated = np.atleast_1d(np.asarray(results[about["reports"]["delta"]], np.float64))
    wrong = float(np.max(np.abs(total - expected - stated) / size))
    said = f"attributions sum to the change of the score, to {gap:.2g} of it; the file states this gap to {wrong:.2g}"
    return Finding(name, wrong <= TOLERANCE, said)


def _rows(value: np.ndarray[Any, Any], about: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """The numbers of each sample in a row."""
    exact = np.asarray(value, np.float64)
    return exact.reshape(len(exact) if about["batched"] else 1, -1)


def _baseline_feeds(about: Mapping[str, Any], feeds: Arrays) -> Arrays | None:
    """The feeds with every explained input at its baseline; None where that is not known."""
    if any(entry["kind"] != "input" for entry in about["attributions"].values()):
        return None
    at = dict(feeds)
    for entry in about["attributions"].values():
        name, value = entry["explains"], about["baseline"]
        if value == "input":
            value = feeds[about["run_time_inputs"]["baseline"][name]]
        elif isinstance(value, str | None):
            return None
        at[name] = np.broadcast_to(np.asarray(value, feeds[name].dtype), feeds[name].shape).copy()
    return at


def _explained(
    about: Mapping[str, Any], scores: np.ndarray[Any, Any], feeds: Arrays, results: Mapping[str, Any]
) -> np.ndarray[Any, Any] | None:
    """The explained element of each sample; None for targets that are no single element of a row."""
    target = str(about["target"])
    if target in ("top", "input"):
        ranked = results.get(about["output"])
        rows = _rows(ranked, about) if isinstance(ranked, np.ndarray) and ranked.size == scores.size else scores
        top = rows.argmax(axis=1)
        chosen = feeds[about["run_time_inputs"]["target"]] if target == "input" else np.array([-1])
        return np.where(chosen < 0, top, chosen)
    return np.full(len(scores), int(target)) if target.isdigit() else None
