"""The claims of an explained file's metadata, against what its graph holds, the facts of the method, and the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from onnxplain.errors import OnnxplainError
from onnxplain.explain.request import Request
from onnxplain.explain.rewrite import rewrite_source
from onnxplain.explain.write import Rewritten
from onnxplain.io.reader import Source
from onnxplain.ir.graph import Graph
from onnxplain.method.registry import all_methods
from onnxplain.runtime.session import Arrays, Providers, Session
from onnxplain.verification.findings import Finding

__all__ = ["check_claims", "made_again"]

CLOSE = 1e-3
"""By how much attributions that are made again may differ, as a share of the greatest: machines round differently."""


def check_claims(about: Mapping[str, Any], graph: Graph) -> Finding:
    """Whether output, score, tensors, reports, axioms and method are what the graph and the method hold."""
    problems = [*_of_score(about, graph), *_of_attributions(about, graph), *_of_method(about)]
    return Finding("claims", not problems, "; ".join(problems) or "score, tensors, reports and axioms are those of the graph")


def _of_score(about: Mapping[str, Any], graph: Graph) -> Iterator[str]:
    made = {*about["attributions"], *about["reports"].values()}
    outputs = [t.name for t in graph.outputs if t.name not in made]
    if outputs and not graph.has_tensor(about["output"]):
        yield f"there is no output '{about['output']}' to explain"
    score = about["score"]
    if (score["kind"] == "output") != (score["activation"] == ""):
        yield f"a score of kind '{score['kind']}' with the activation '{score['activation']}'"
    if not graph.has_tensor(score["tensor"]):
        if outputs:
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


def _of_method(about: Mapping[str, Any]) -> Iterator[str]:
    known = all_methods()
    if about["method"] not in known:
        yield f"this version of onnxplain knows no method '{about['method']}'"
        return
    method = known[about["method"]]
    if method.forward_only:
        yield f"no file holds '{method.name}', which needs forward passes only"
    promised = set(method.axioms_with(about["options"]))
    more = [axiom for axiom in about["axioms"] if axiom not in promised]
    if more:
        yield f"'{method.name}' does not promise {', '.join(more)}"
    strange = [kind for kind in about["reports"] if kind not in ("delta", "base_value", "interactions")]
    if strange:
        yield f"no method reports '{strange[0]}'"


def made_again(
    about: Mapping[str, Any], origin: Source, feeds: Arrays, results: Mapping[str, Any], providers: Providers
) -> Finding:
    """Whether the method that is named, with its options, makes these attributions of the model: it is rewritten once more."""
    kept = [value for value in (*about["options"].values(), about["baseline"]) if value == "baked in"]
    compared = about.get("similarity") is not None
    if kept or compared or "mask" in about["run_time_inputs"]:
        return Finding("method", None, "not made again: arrays, masks or composites that were given are not in the metadata")
    try:
        again = _rewritten(about, origin)
        if again is None:
            return Finding("method", False, f"the explained score is not '{about['score']['tensor']}' of {origin.name}")
        made = Session(again.model, providers, folder=origin.folder)
        found = made.run({name: feeds[name] for name in made.inputs if name in feeds})
    except OnnxplainError as error:
        return Finding("method", None, f"not made again: {str(error).splitlines()[0]}")
    for name, there in ((n, results[n]) for n in about["attributions"]):
        here = found.get(name)
        if here is None or here.shape != there.shape:
            return Finding("method", False, f"'{about['method']}' makes no '{name}' of this shape")
        size = float(np.nanmax(np.abs(here.astype(np.float64)), initial=0.0))
        apart = np.abs(here.astype(np.float64) - there.astype(np.float64))
        if not np.array_equal(np.isnan(here), np.isnan(there)) or float(np.nanmax(apart, initial=0.0)) > CLOSE * size:
            worst = float(np.nanmax(apart, initial=0.0))
            wrong = f"{worst:.3g} apart where the greatest is {size:.3g}"
            return Finding("method", False, f"'{about['method']}' makes another '{name}': {wrong}")
    return Finding("method", True, f"'{about['method']}' makes the same attributions of {origin.name}")


def _rewritten(about: Mapping[str, Any], origin: Source) -> Rewritten | None:
    """The model rewritten as the metadata says, to explain the score that it names; None where neither kind of score is that."""
    entries = about["attributions"].values()
    layers = [e["tensor"] for e in entries if e["kind"] in ("layer", "map")]
    for score in ("logit", "probability"):
        request = Request.for_graph(
            about["method"], options=about["options"], target={"seed": "cotangent"}.get(about["target"], about["target"]),
            output=about["output"], layer=layers or None, inputs=None if layers else [e["explains"] for e in entries],
            baseline=about["baseline"], score=score, batch_size=about.get("batch_size"),
        )  # fmt: skip
        again = rewrite_source(origin.copy(), request, whole=True)
        if all(again.about["score"][key] == about["score"][key] for key in ("tensor", "kind")):
            return again
    return None
