"""DeepLIFT: the score's change since a baseline, handed back call by call to what changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, TypeAlias

from onnxplain.errors import InputError, MethodError
from onnxplain.ir.ops import standard_traits
from onnxplain.ir.tensor import Tensor
from onnxplain.method.attribution import change_since, gap, over_targets
from onnxplain.method.baselines import has_several, reference, references
from onnxplain.method.context import AttributionContext
from onnxplain.method.path import completeness_gap
from onnxplain.method.registry import method
from onnxplain.method.sampling.accumulate import Mean, repeated
from onnxplain.propagation.composite import Composite
from onnxplain.propagation.deeplift.composites import deeplift_composite

__all__: list[str] = []

PAPER = "Shrikumar, Greenside, Kundaje 2017, Learning Important Features Through Propagating Activation Differences"

Rule: TypeAlias = Literal["rescale", "reveal-cancel"]


def composite(*, rule: Rule = "rescale", **rest: Any) -> Composite:
    """The rules of the walk."""
    if rule not in ("rescale", "reveal-cancel"):
        raise MethodError(f"rule is 'rescale' or 'reveal-cancel', got '{rule}'")
    return deeplift_composite(rule)


@method(
    "deeplift",
    summary="The score's change since a baseline, handed back call by call to what changed",
    formula="m · (x − x′), Σ m_x Δx = Σ m_y Δy at every call",
    source=PAPER,
    axioms=("completeness", "conservation"),
    needs_baseline=True,
    composite=composite,
    repeats=True,
)
def deeplift(job: AttributionContext, *, rule: Rule = "rescale", delta: bool = True) -> dict[Tensor, Tensor]:
    for e in job.explained:
        if has_several(job, e):
            raise MethodError(f"several baselines for '{e.name}': deeplift compares with one, deeplift-shap with several")
    there = job.at({e.tensor: reference(job, e) for e in job.explained})
    made = compared(there, composite(rule=rule))
    if delta and job.origin is None:
        job.report("delta", gap(job, made, change_since(job, there)))
    return dict(zip(job.sources, made, strict=True))


@method(
    "deeplift-shap",
    summary="DeepLIFT averaged over many baselines, such as training samples: SHAP values where calls add up",
    formula="E[m · (x − x′)], x′ from the baselines",
    source="Lundberg, Lee 2017, A Unified Approach to Interpreting Model Predictions; DeepExplainer of the shap package",
    axioms=("completeness",),
    needs_baseline=True,
    composite=composite,
    repeats=True,
)
def deeplift_shap(
    job: AttributionContext, *, rule: Rule = "rescale", delta: bool = True, chunk: int | str | None = None
) -> dict[Tensor, Tensor]:
    b = job.b
    baselines = [references(job, e) for e in job.explained]
    counts = {n for n in (r.dim(0) for r in baselines) if isinstance(n, int)}
    if len(counts) > 1:
        raise InputError(f"the explained inputs have different numbers of baselines: {', '.join(map(str, sorted(counts)))}")
    count = b.Shape(baselines[0], start=0, end=1)

    def points(numbers: Tensor) -> dict[Tensor, Tensor]:
        return {
            x: replace(b.Gather(r, numbers, axis=0), dtype=x.dtype, shape=("points", *(r.shape or ())[1:]))
            for x, r in zip(job.sources, baselines, strict=True)
        }

    made = repeated(job, count, points, lambda there: compared(there, composite(rule=rule)), Mean(), chunk=chunk)
    if delta and job.origin is None:
        job.report("delta", completeness_gap(job, made, count, points, chunk))
    return dict(zip(job.sources, made, strict=True))


def compared(there: AttributionContext, rules: Composite) -> list[Tensor]:
    """m · Δx of every explained tensor, for a job at the baselines of another."""
    assert there.origin is not None
    before, copies = there.origin
    b = there.b
    here = before if copies is None else before.at({x: copies.tile(x) for x in before.sources}, copies)
    twins = {(t if copies is None else here.became.get(t, t)): there.became[t] for t in differing(before) if t in there.became}

    def attributions(seeded: AttributionContext) -> list[Tensor]:
        found = seeded.gradient(rules, twins=twins, there=there.calls)
        pairs = [(found[x], x, x0) for x, x0 in zip(here.sources, there.sources, strict=True)]
        return [replace(b.Mul(m, b.Sub(b.cast(x, m), b.cast(x0, m))), dtype=m.dtype, shape=x.shape) for m, x, x0 in pairs]

    return over_targets(here, attributions)


def differing(job: AttributionContext) -> set[Tensor]:
    """The tensors whose values, not only extents, depend on the explained ones."""
    changed = set(job.sources)
    for call in job.calls:
        if not standard_traits(call).shape_only and any(t is not None and t in changed for t in call.reads):
            changed.update(t for t in call.outputs if t is not None)
    return changed
