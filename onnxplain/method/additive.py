"""SHAP values of models that are sums of terms of one column each: linear models, and additive ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np

from onnxplain.analysis.additive import additive_terms
from onnxplain.analysis.columns import ColumnFlow, Columns
from onnxplain.builder.builder import Builder
from onnxplain.builder.extents import Extents
from onnxplain.errors import InputError, MethodError
from onnxplain.ir.graph import Graph, named_dims
from onnxplain.ir.ops import Traits
from onnxplain.ir.tensor import Tensor
from onnxplain.method.attribution import gap, over_targets, score
from onnxplain.method.background import table_rows, values_at
from onnxplain.method.context import AttributionContext
from onnxplain.method.registry import method

__all__: list[str] = []

Array: TypeAlias = "np.ndarray[Any, Any]"


def _serves(graph: Graph, score: Tensor, traits: Traits) -> None:
    """Raises where the score is no sum of terms of one column each."""
    additive_terms(graph, score, ColumnFlow(graph, traits))


@method(
    "linear-shap",
    summary="Exact SHAP values of linear and additive models, on the columns that go in, encoders and scalers included",
    formula="φⱼ = Σₜ ∂f/∂t · (t(xⱼ) − E[t(zⱼ)]), t the terms of column j",
    source="Lundberg, Lee 2017, A Unified Approach to Interpreting Model Predictions, corollary 1; z from the background",
    axioms=("completeness", "implementation-invariance"),
    multi_point=True,
    attributes_to="column",
    serves=_serves,
)
def linear_shap(context: AttributionContext, *, background: Any = None, delta: bool = True) -> dict[Tensor, Tensor]:
    graph, b = context.graph, context.b
    flow = ColumnFlow(graph, context.registry.traits)
    terms = additive_terms(graph, context.target, flow)
    *values, scores = values_at(graph, [*terms, context.target], table_rows(context, background))
    _check(context, flow, dict(zip(terms, values, strict=True)), scores)
    usual = [b.const(_mean(v), t.dtype) for v, t in zip(values, terms, strict=True)]

    def attributions(seeded: AttributionContext) -> list[Tensor]:
        slopes = seeded.gradient(of=terms)
        parts = [(b.Mul(slopes[t], b.Sub(t, u)), flow.of(t)) for t, u in zip(terms, usual, strict=True)]
        return [_on_columns(b, x, [(part, columns) for part, columns in parts if columns is not None]) for x in context.sources]

    made = over_targets(context, attributions)
    if context.origin is None:
        base = b.const(_mean(scores), context.target.dtype)
        context.report("base_value", score(context.with_point(target=b.expand(base, context.target))))
        if delta:
            change = score(context.with_point(target=b.Sub(context.target, base)))
            context.report("delta", gap(context, made, change))
    return dict(zip(context.sources, made, strict=True))


def _check(context: AttributionContext, flow: ColumnFlow, terms: Mapping[Tensor, Array], scores: Array) -> None:
    """Raises where a term has no samples along its first axis, or the background gives numbers that are none."""
    size = context.selection.axes.fixed or 1
    for term in terms:
        columns = flow.of(term)
        if context.selection.axes.of(term) not in (0, None) or columns is None or not columns.ndim or len(columns) != size:
            raise MethodError(
                f"'{term.name}' {named_dims(term)} does not hold the samples along its first axis, so linear-shap cannot tell "
                "its columns; exact-shapley and kernel-shap explain any model"
            )
    for values in (*terms.values(), scores):
        bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
        if bad.any():
            raise InputError(
                f"row {int(bad.argmax())} of background makes the model give NaN or infinity; leave such rows out, or fill in "
                "what is missing"
            )


def _mean(values: Array) -> Array:
    """The mean over rows, [1, ...]."""
    return np.asarray(values.mean(axis=0, dtype=np.float64, keepdims=True), values.dtype)


def _on_columns(b: Builder, x: Tensor, parts: Sequence[tuple[Tensor, Columns]]) -> Tensor:
    """What terms contribute, summed up where their columns are: in the shape of an input."""
    width, sums = prod(d for d in (x.shape or ())[1:] if isinstance(d, int)), []
    for part, columns in parts:
        sample = columns.reshape(len(columns), -1)[0]
        sends = np.zeros((len(sample), width))
        for i, (name, column) in ((i, c) for i, found in enumerate(sample) for c in found):
            if name == x.name:
                sends[i, column] = 1
        if sends.any():
            sums.append(b.MatMul(b.Reshape(part, [-1, len(sample)]), b.const(sends, part.dtype)))
    if not sums:
        return b.Expand(b.const(0.0), b.shape(x))
    return b.shaped(b.Reshape(b.total(sums), Extents(b, [-1]).then(Extents.of(b, x, 1)).operand), x.shape)
