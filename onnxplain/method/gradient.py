"""Methods that need one gradient at the input itself."""

from __future__ import annotations

from onnxplain.ir.tensor import Tensor
from onnxplain.method.attribution import contribution
from onnxplain.method.context import AttributionContext
from onnxplain.method.registry import method

__all__: list[str] = []


@method(
    "gradient",
    summary="How much the score changes per unit of each input element",
    formula="∂f/∂x",
    source="Simonyan, Vedaldi, Zisserman 2013, Deep Inside Convolutional Networks",
    axioms=("sensitivity to differentiating inputs", "implementation-invariance"),
    per_unit=True,
)
def gradient(context: AttributionContext) -> dict[Tensor, Tensor]:
    return context.gradient()


@method(
    "saliency",
    summary="The size of the gradient: how strongly each element acts, whichever the direction",
    formula="|∂f/∂x|",
    source="Simonyan, Vedaldi, Zisserman 2013, Deep Inside Convolutional Networks, section 3",
    axioms=("implementation-invariance",),
    signed=False,
)
def saliency(context: AttributionContext) -> dict[Tensor, Tensor]:
    return {x: context.b.Abs(dx) for x, dx in context.gradient().items()}


@method(
    "sensitivity",
    summary="Sensitivity analysis: the squared gradient, which sums to the squared gradient norm",
    formula="(∂f/∂x)²",
    source="Montavon, Samek, Müller 2017, Methods for Interpreting and Understanding DNNs, section 4.1",
    axioms=("implementation-invariance",),
    signed=False,
)
def sensitivity(context: AttributionContext) -> dict[Tensor, Tensor]:
    return {x: context.b.Mul(dx, dx) for x, dx in context.gradient().items()}


@method(
    "input-x-gradient",
    summary="Each element's share of the linearised score",
    formula="x · ∂f/∂x",
    source="Shrikumar, Greenside, Shcherbina, Kundaje 2016, Not Just a Black Box",
    axioms=("implementation-invariance",),
)
def input_x_gradient(context: AttributionContext) -> dict[Tensor, Tensor]:
    return {x: contribution(context, dx, x) for x, dx in context.gradient().items()}
