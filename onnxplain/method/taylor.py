"""Simple Taylor decomposition: the first-order terms of an expansion at a given root point."""

from __future__ import annotations

from onnxplain.ir.tensor import Tensor
from onnxplain.method.attribution import contribution, difference
from onnxplain.method.baselines import reference
from onnxplain.method.context import AttributionContext
from onnxplain.method.registry import method

__all__: list[str] = []


@method(
    "taylor",
    summary="Simple Taylor decomposition: first-order terms of the expansion at a root point (the baseline)",
    formula="(x − x̃) · ∂f/∂x at x̃",
    source="Montavon, Samek, Müller 2017, Methods for Interpreting and Understanding DNNs, section 4.2, eq. 5",
    axioms=("implementation-invariance",),
    needs_baseline=True,
)
def taylor(context: AttributionContext) -> dict[Tensor, Tensor]:
    roots = {e.tensor: reference(context, e) for e in context.explained}
    slopes = context.gradient(at=roots)
    return {x: contribution(context, slopes[x], difference(context, x, root)) for x, root in roots.items()}
