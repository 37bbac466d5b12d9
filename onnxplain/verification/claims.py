"""The claims of an explained file's metadata, against what its graph holds and the facts of the method."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from onnxplain.analysis.score import DERIVED
from onnxplain.errors import MethodError
from onnxplain.io.metadata import sample_axis_in
from onnxplain.ir.graph import Graph
from onnxplain.method.registry import all_methods
from onnxplain.verification.findings import Finding

__all__ = ["check_claims", "holds_together"]

DIGITS = 18
"""Digits of the greatest index."""


def check_claims(about: Mapping[str, Any], graph: Graph) -> Finding:
    """Whether output, score, tensors, reports, axioms and method are what the graph and the method hold."""
    problems = [*_of_graph(about, graph), *_of_method(about)]
    return Finding("claims", not problems, "; ".join(problems) or "score, tensors, reports and axioms are those of the graph")


def holds_together(about: Mapping[str, Any], graph: Graph) -> bool:
    """Whether what the metadata says of the graph is so, whatever it says of the method: what checks on numbers rely on."""
    return not any(True for _ in _of_graph(about, graph))


def _of_graph(about: Mapping[str, Any], graph: Graph) -> Iterator[str]:
    for part in (_of_score, _of_attributions, _of_axes):
        yield from part(about, graph)
    for of_itself in (_of_run_time, _of_target, _of_reports):
        yield from of_itself(about)


def _of_score(about: Mapping[str, Any], graph: Graph) -> Iterator[str]:
    made = {*about["attributions"], *about["reports"].values()}
    outputs = [t.name for t in graph.outputs if t.name not in made]
    if outputs and not graph.has_tensor(about["output"]):
        yield f"there is no output '{about['output']}' to explain"
    score = about["score"]
    if (score["kind"] == "logit") != (score["activation"] != ""):
        yield f"a score of kind '{score['kind']}' with the activation '{score['activation']}'"
    if not graph.has_tensor(score["tensor"]):
        if outputs and score["kind"] not in DERIVED:  # of these a gradient may need no more than the logits
            yield f"the score's tensor '{score['tensor']}' is not in the graph"
        return
    shape = graph.tensor(score["tensor"]).shape
    if shape is not None and score["shape"] is not None:
        fits = len(shape) == len(score["shape"])
        pairs = zip(shape, score["shape"], strict=False)
        if not fits or any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs):
            yield f"the score's tensor has the shape {list(shape)}, not {score['shape']}"


def _of_attributions(about: Mapping[str, Any], graph: Graph) -> Iterator[str]:
    inputs = {t.name for t in graph.inputs}
    for name, entry in about["attributions"].items():
        kind, explains, tensor = entry["kind"], entry["explains"], entry["tensor"]
        if not graph.has_tensor(tensor):
            yield f"'{name}' explains the tensor '{tensor}', which is not in the graph"
        if kind in ("input", "embedding", "cast", "column", "map") and explains not in inputs:
            yield f"'{name}' explains '{explains}', which is no input"
        if kind in ("input", "column") and explains != tensor:
            yield f"'{name}' explains the input '{explains}' at another tensor, '{tensor}'"
    for name, reason in about.get("left_out", {}).items():
        if name in {e["explains"] for e in about["attributions"].values()}:
            yield f"'{name}' is explained and left out at once ({reason})"


def _of_axes(about: Mapping[str, Any], graph: Graph) -> Iterator[str]:
    for name, axis in about.get("sample_axes", {}).items():
        shape = graph.tensor(name).shape if graph.has_tensor(name) else None
        if axis is not None and (type(axis) is not int or (shape is not None and axis >= len(shape))):
            yield f"'{name}' {[] if shape is None else list(shape)} has no axis {axis}"


def _of_run_time(about: Mapping[str, Any]) -> Iterator[str]:
    """What is said to be given at run time has an input, and nothing else has one."""
    given, target, baseline = about["run_time_inputs"], about["target"], about["baseline"]
    for kind, name in (("target", "input"), ("seed", "seed")):
        if (kind in given) != (target == name):
            yield f"the target is '{target}', and the input for a {kind} is {given.get(kind, 'missing')}"
    if (baseline == "input") != ("baseline" in given):
        yield f"the baseline is {baseline}, and the inputs for it are {given.get('baseline', 'missing')}"
    lost = {e["explains"] for e in about["attributions"].values() if e["kind"] == "input"} - set(given.get("baseline", {}))
    if baseline == "input" and lost:
        yield f"'{min(lost)}' has no input for its baseline"
    if isinstance(baseline, int | float) and not abs(baseline) < sys.float_info.max:
        yield "the baseline is no finite number"


def _of_target(about: Mapping[str, Any]) -> Iterator[str]:
    target, score = about["target"], about["score"]
    if not target.isdigit():
        return
    axis = sample_axis_in(about, score["tensor"])
    extents = [d for i, d in enumerate(score["shape"] or ()) if i != axis]
    known = bool(extents) and all(isinstance(d, int) for d in extents)
    if not target.isascii() or len(target) > DIGITS or (known and int(target) >= prod(extents)):
        yield f"the target '{target[:40]}' is no element of a score {score['shape']}"


def _of_reports(about: Mapping[str, Any]) -> Iterator[str]:
    others = {about["output"], about["score"]["tensor"], *about["attributions"]}
    for name in about["reports"].values():
        if name in others:
            yield f"'{name}' is a report and something else at once"


def _of_method(about: Mapping[str, Any]) -> Iterator[str]:
    known = all_methods()
    if about["method"] not in known:
        yield f"this version of onnxplain knows no method '{about['method']}'"
        return
    method = known[about["method"]]
    if method.forward_only:
        yield f"no file holds '{method.name}', which needs forward passes only"
    odd = [name for name, value in about["options"].items() if not isinstance(value, str | int | float | None)]
    if odd:
        yield f"the option '{odd[0]}' is no number and no text"
        return
    try:
        method.checked(dict(about["options"]))
    except MethodError as error:
        yield str(error).splitlines()[0]
        return
    promised = set(method.axioms_with(about["options"]))
    more = [axiom for axiom in about["axioms"] if axiom not in promised]
    if more:
        yield f"'{method.name}' does not promise {', '.join(more)}"
    strange = [kind for kind in about["reports"] if kind not in ("delta", "base_value", "interactions")]
    if strange:
        yield f"no method reports '{strange[0]}'"
