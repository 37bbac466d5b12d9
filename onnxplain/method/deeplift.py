"""DeepLIFT: the score's change since a baseline, handed back node by node to what changed."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from onnxplain.errors import InputError, MethodError
from onnxplain.ir.tensor import Tensor
from onnxplain.method.attribution import change_since, contribution, difference, gap, over_targets
from onnxplain.method.baselines import has_several, reference, references, shared_baseline
from onnxplain.method.context import AttributionContext
from onnxplain.method.path import completeness_gap
from onnxplain.method.registry import method
from onnxplain.method.sampling.accumulate import RunningMean, accumulate
from onnxplain.method.sampling.shared import at_shared, differing, stretched
from onnxplain.propagation.composite import Composite
from onnxplain.propagation.deeplift.composites import deeplift_composite

__all__: list[str] = []

PAPER = "Shrikumar, Greenside, Kundaje 2017, Learning Important Features Through Propagating Activation Differences"

Rule: TypeAlias = Literal["rescale", "reveal-cancel"]


def composite(*, rule: Rule = "rescale", **rest: Any) -> Composite:
    """The rules of the backward pass."""
    if rule not in ("rescale", "reveal-cancel"):
        raise MethodError(f"rule is 'rescale' or 'reveal-cancel', got '{rule}'")
    return deeplift_composite(rule)


@method(
    "deeplift",
    summary="The score's change since a baseline, handed back node by node to what changed",
    formula="m · (x − x′), Σ m_x Δx = Σ m_y Δy at every node",
    source=PAPER,
    axioms=("completeness", "conservation"),
    needs_baseline=True,
    composite=composite,
    multi_point=True,
)
def deeplift(context: AttributionContext, *, rule: Rule = "rescale", delta: bool = True) -> dict[Tensor, Tensor]:
    for e in context.explained:
        if has_several(context, e):
            raise MethodError(f"several baselines for '{e.name}': deeplift compares with one, deeplift-shap with several")
    there = at_baseline(context)
    made = compared(there, composite(rule=rule))
    if delta and context.origin is None:
        context.report("delta", gap(context, made, change_since(context, there)))
    return dict(zip(context.sources, made, strict=True))


def at_baseline(context: AttributionContext) -> AttributionContext:
    """The context at the baseline; one that all samples share is computed once, when the file is loaded."""
    shared = {e.tensor: shared_baseline(context, e) for e in context.explained}
    rows = {x: row for x, row in shared.items() if row is not None}
    once = at_shared(context, rows) if len(rows) == len(shared) and context.origin is None else None
    every = None if once is None else stretched(once, [t for t in differing(context) if t in once.became])
    return every or context.at({e.tensor: reference(context, e) for e in context.explained})


@method(
    "deeplift-shap",
    summary="DeepLIFT averaged over many baselines, such as training samples: SHAP values where nodes add up",
    formula="E[m · (x − x′)], x′ from the baselines",
    source="Lundberg, Lee 2017, A Unified Approach to Interpreting Model Predictions; DeepExplainer of the shap package",
    axioms=("completeness",),
    needs_baseline=True,
    composite=composite,
    multi_point=True,
)
def deeplift_shap(
    context: AttributionContext, *, rule: Rule = "rescale", delta: bool = True, chunk: int | str | None = None
) -> dict[Tensor, Tensor]:
    b = context.b
    baselines = [references(context, e) for e in context.explained]
    counts = {n for n in (r.dim(0) for r in baselines) if isinstance(n, int)}
    if len(counts) > 1:
        raise InputError(f"the explained inputs have different numbers of baselines: {', '.join(map(str, sorted(counts)))}")
    count = b.Shape(baselines[0], start=0, end=1)

    def points(numbers: Tensor) -> dict[Tensor, Tensor]:
        return {x: b.Gather(r, numbers, axis=0) for x, r in zip(context.sources, baselines, strict=True)}

    made = accumulate(context, count, points, lambda there: compared(there, composite(rule=rule)), RunningMean(), chunk=chunk)
    if delta and context.origin is None:
        context.report("delta", completeness_gap(context, made, count, points, chunk))
    return dict(zip(context.sources, made, strict=True))


def compared(there: AttributionContext, rules: Composite) -> list[Tensor]:
    """m · Δx of every explained tensor, for a context at the baselines of another."""
    assert there.origin is not None
    before, copies = there.origin
    b = there.b
    here = before if copies is None else before.at({x: copies.tile(x) for x in before.sources}, copies)
    references = {
        (t if copies is None else here.became.get(t, t)): there.became[t] for t in differing(before) if t in there.became
    }

    def attributions(seeded: AttributionContext) -> list[Tensor]:
        found = seeded.gradient(rules, references=references, reference_nodes=there.nodes)
        pairs = [(found[x], x, x0) for x, x0 in zip(here.sources, there.sources, strict=True)]
        return [contribution(here, m, difference(here, b.cast(x, m), b.cast(x0, m))) for m, x, x0 in pairs]

    return over_targets(here, attributions)
