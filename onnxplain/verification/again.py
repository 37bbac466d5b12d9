"""The attributions of an explained file made once more, of the model, by the method and the options that its metadata names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnxplain.analysis.score import DERIVED
from onnxplain.errors import LayerError, MethodError, OnnxplainError, TargetError
from onnxplain.explain.request import Request
from onnxplain.explain.rewrite import rewrite_source
from onnxplain.explain.write import Rewritten
from onnxplain.io.reader import Source
from onnxplain.method.registry import all_methods
from onnxplain.runtime.session import Arrays, Providers, Session
from onnxplain.verification.findings import Finding

__all__ = ["made_again"]

CLOSE = 1e-3
"""By how much attributions that are made again may differ, as a share of the greatest: machines round differently."""

LARGEST = 10_000
"""Numbers up to which options are taken: steps, samples and the like take time and memory in their measure."""

MOST = {"seed": 2**63 - 1, "shifts": 16}
"""Options with bounds of their own: seeds take none of either, and shifts go along two axes."""

OPENED = ("Any", "str | PathLike")
"""How the types of options begin that can be arrays or the names of files."""


def made_again(
    about: Mapping[str, Any], origin: Source, feeds: Arrays, results: Mapping[str, Any], providers: Providers
) -> Finding:
    """Whether the method that is named, with its options, makes these attributions of the model: it is rewritten once more."""
    reason = _not_asked(about)
    if reason:
        return Finding("method", None, f"not made again: {reason}")
    try:
        again = _rewritten(about, origin)
        if again is None:
            return Finding("method", False, f"the explained score is not '{about['score']['tensor']}' of {origin.name}")
        other = _other(about, again.about)
        if other:
            return Finding("method", False, other)
        made = Session(again.model, providers, folder=origin.folder)
        found = made.run({name: feeds[name] for name in made.inputs if name in feeds})
    except (MethodError, TargetError, LayerError) as error:
        if isinstance(error, TargetError) and "·" in about["target"]:
            return Finding("method", None, "not made again: the metadata tells sums of elements in words")
        return Finding("method", False, f"'{about['method']}' cannot make them: {str(error).splitlines()[0]}")
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


def _other(about: Mapping[str, Any], again: Mapping[str, Any]) -> str:
    """The first thing that this version writes into the metadata otherwise; empty for files of other versions."""
    if about["version"] != again["version"]:
        return ""
    if about["batched"] != again["batched"]:
        return f"batched: it is {again['batched']}, not {about['batched']}"
    for key in ("attributions", "sample_axes", "run_time_inputs"):
        here, there = again[key], about.get(key, {})
        shared = here.keys() & there.keys() if key == "sample_axes" else here.keys() | there.keys()
        for name in sorted(shared):
            if here.get(name) != there.get(name):
                return f"{key}: '{name}' is {here.get(name, 'missing')}, not {there.get(name, 'missing')}"
    return ""


def _not_asked(about: Mapping[str, Any]) -> str:
    """Why a method is not to run with these options; empty where it may. Metadata is anybody's: it opens no file, and asks for
    no more work than methods do that people use."""
    options = about["options"]
    if about.get("similarity") is not None:
        return "what the embedding is compared with is not in the metadata"
    if "baked in" in (*options.values(), about["baseline"]) or "mask" in about["run_time_inputs"]:
        return "arrays, masks or composites that were given are not in the metadata"
    method = all_methods()[about["method"]]
    if any(option.name == "neuron" for option in method.options):
        return "the layer that it goes through is not in the metadata"
    for option in method.options:
        value = options.get(option.name)
        if isinstance(value, str) and value != option.default and option.annotation.startswith(OPENED):
            return f"'{option.name}' may be the name of a file or of an array, which are not in the metadata"
    for name, value in options.items():
        most = MOST.get(name, LARGEST)
        if isinstance(value, int | float) and abs(value) > most:
            return f"{name} = {value:.3g} is more than {most:,}" if abs(value) < 1e300 else f"{name} is beyond all numbers"
    return ""


def _rewritten(about: Mapping[str, Any], origin: Source) -> Rewritten | None:
    """The model rewritten as the metadata says, to explain the score that it names; None where neither kind of score is that."""
    entries = about["attributions"].values()
    layers = [e["tensor"] for e in entries if e["kind"] in ("layer", "map")]
    kind = about["score"]["kind"]
    for score in (kind,) if kind in DERIVED else ("logit", "probability"):
        request = Request.for_graph(
            about["method"], options=about["options"], target={"seed": "cotangent"}.get(about["target"], about["target"]),
            output=about["output"], layer=layers or None, inputs=None if layers else [e["explains"] for e in entries],
            baseline=about["baseline"], score=score, batch_size=about.get("batch_size"),
        )  # fmt: skip
        again = rewrite_source(origin.copy(), request, whole=True)
        if all(again.about["score"][key] == about["score"][key] for key in ("tensor", "kind")):
            return again
    return None
