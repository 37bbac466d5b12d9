"""What an explanation says of itself: in the metadata of an explained model, and in what forward passes give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnxplain._version import __version__
from onnxplain.analysis.positions import find_positions
from onnxplain.analysis.sample_axis import SampleAxes
from onnxplain.analysis.score import Score
from onnxplain.explain.emit import Emission
from onnxplain.explain.request import Request
from onnxplain.explain.sample_places import sample_places
from onnxplain.io.metadata import CONTRACT
from onnxplain.io.reader import Source
from onnxplain.ir.graph import Graph
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.composite import Composite
from onnxplain.runtime.scorer import Scorer

__all__ = ["describe", "describe_forward"]


def describe(request: Request, emission: Emission, source: Source) -> dict[str, Any]:
    """What the metadata of an explained model says."""
    method = request.method
    return {
        **_head(request, {k: _in_words(v) for k, v in request.options.items()}, method.axioms_with(request.options)),
        "target": str(request.target),
        **_score(emission.selection.score),
        **_positions(emission.selection.graph, emission.selection.score, emission.selection.axes),
        "batched": emission.selection.axes.batched,
        "sample_axes": sample_places(emission),
        "baseline": _baseline(request.baseline),
        "attributions": {
            name: {"explains": e.name, "tensor": e.tensor.name, "kind": e.kind} for name, e in emission.attributions.items()
        },
        "left_out": dict(emission.selection.left_out),
        "approximated": emission.selection.graph.approximated(),
        "run_time_inputs": _run_time_inputs(emission.run_time, emission.run_time_inputs),
        **_origin(source),
        "reports": dict(emission.reports),
        **_similarity(request),
        "batch_size": request.batch_size,
    }


def describe_forward(request: Request, scorer: Scorer, names: tuple[str, ...], source: Source) -> dict[str, Any]:
    """The same of explanations by forward passes, which explain the inputs of these names; no file holds it."""
    options = {k: v if isinstance(v, str | int | float | None) else "given" for k, v in request.options.items()}
    return {
        **_head(request, options, request.method.axioms),
        "target": "input",
        **_score(scorer.score),
        **_positions(scorer.graph, scorer.score, scorer.axes),
        "batched": scorer.batched,
        "sample_axes": {
            **{t.name: scorer.axes.of(t) for t in (*scorer.inputs, *scorer.graph.outputs, scorer.score.tensor)},
            **{f"{n}_attribution": scorer.axes.of_input(n) for n in names},
        },
        "baseline": None,
        "attributions": {f"{n}_attribution": {"explains": n, "tensor": n, "kind": "input"} for n in names},
        "left_out": scorer.left_out(names),
        "approximated": {},
        "run_time_inputs": {},
        **_origin(source),
        "reports": {},
        **_similarity(request),
    }


def _head(request: Request, options: Mapping[str, Any], axioms: tuple[str, ...]) -> dict[str, Any]:
    return {
        "contract": CONTRACT,
        "version": __version__,
        "method": request.method.name,
        "method_info": {**request.method.info, "per_unit": request.method.is_per_unit(request.options)},
        "options": dict(options),
        "axioms": list(axioms),
    }


def _score(score: Score) -> dict[str, Any]:
    shape = score.tensor.shape
    return {
        "output": score.output,
        "score": {
            "tensor": score.tensor.name,
            "kind": score.kind,
            "activation": score.activation,
            "shape": None if shape is None else list(shape),
        },
    }


def _positions(graph: Graph, score: Score, axes: SampleAxes) -> dict[str, Any]:
    """Of language models, whose top prediction is that of the last position."""
    found = find_positions(graph, score.tensor, axes)
    return {} if found is None else {"positions": found.told()}


def _similarity(request: Request) -> dict[str, Any]:
    """Of a score that is the similarity of an embedding to a reference."""
    return {} if request.similarity is None else {"similarity": request.similarity.told()}


def _origin(source: Source) -> dict[str, Any]:
    return {"source_sha256": source.sha256, "passes": list(source.passes or ())}


def _run_time_inputs(run_time: Mapping[str, Tensor], inputs: Mapping[tuple[str, str], Tensor]) -> dict[str, Any]:
    """The names of run-time inputs: by kind, and those of methods by the explained tensor too."""
    kinds = dict.fromkeys(kind for kind, _ in inputs)
    return {
        **{key: t.name for key, t in run_time.items()},
        **{kind: {name: t.name for (k, name), t in inputs.items() if k == kind} for kind in kinds},
    }


def _baseline(given: Any) -> str | int | float | None:
    """A number as it is; "input" for what the host gives, in the explained tensor's terms or as integers to look up."""
    values = list(given.values()) if isinstance(given, Mapping) else [given]
    if any(isinstance(value, str) for value in values):
        return "input"
    return given if given is None or isinstance(given, int | float) else "baked in"


def _in_words(value: Any) -> str | int | float | None:
    """An option's value as the metadata tells it: numbers and words as they are, composites by name."""
    value = value.item() if isinstance(value, np.generic) else value.name if isinstance(value, Composite) else value
    return value if isinstance(value, str | int | float | None) else "baked in"
