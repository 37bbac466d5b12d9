"""Layer-wise relevance propagation: the explained score is handed back, layer by layer, to what contributed to it."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from onnxplain.errors import MethodError
from onnxplain.ir.tensor import Tensor
from onnxplain.method.composite_file import read_composite
from onnxplain.method.context import AttributionContext
from onnxplain.method.registry import method
from onnxplain.propagation.composite import Composite
from onnxplain.propagation.lrp import composites
from onnxplain.propagation.lrp import linear_rules as lrp
from onnxplain.propagation.lrp.composites import Sums
from onnxplain.propagation.lrp.input_bounds import Bound, box_between
from onnxplain.propagation.lrp.linear_rules import STABILIZER, Bias
from onnxplain.propagation.lrp.role_rules import deconvnet, guided
from onnxplain.propagation.lrp.settings import unfit

__all__: list[str] = []

BACH = "Bach et al. 2015, On Pixel-Wise Explanations for Non-Linear Classifier Decisions by LRP"
OVERVIEW = "Montavon et al. 2019, Layer-Wise Relevance Propagation: An Overview"
BEST_PRACTICE = "Kohlbrenner et al. 2020, Towards Best Practice in Explaining Neural Network Decisions with LRP"
DEEP_TAYLOR = "Montavon et al. 2017, Explaining Nonlinear Classification Decisions with Deep Taylor Decomposition"

Build: TypeAlias = "Callable[..., Composite]"


def propagation(
    name: str, *, summary: str, formula: str, source: str, starts_from: str = "score", signed: bool = True, per_unit: bool = False
) -> Callable[[Build], Build]:
    """Enter a function that builds a composite as a method; its keyword-only parameters are the method's options.

    The backward pass starts from the explained score itself, or from one (`starts_from`). `per_unit` says that the result is one
    per unit of the input, as a gradient.
    """

    def register(build: Build) -> Build:
        def checked(**options: Any) -> Composite:
            if problems := unfit(build, options):
                raise MethodError("\n".join(f"method '{name}': {p}" for p in problems))
            return build(**options)

        def run(context: AttributionContext, **options: Any) -> dict[Tensor, Tensor]:
            run_time = {k: context.run_time_input(k) for k, v in options.items() if isinstance(v, str) and v == "input"}
            composite = checked(**{**options, **run_time})
            return context.relevance(composite) if starts_from == "score" else context.messages(composite)

        axioms = ("conservation",) if starts_from == "score" else ()
        method(
            name,
            summary=summary,
            formula=formula,
            source=source,
            axioms=axioms,
            signed=signed,
            composite=checked,
            options=build,
            per_unit=per_unit,
        )(run)
        return build

    return register


@propagation(
    "lrp-epsilon",
    summary="LRP-ε in every layer: what contradicts or is weak is absorbed",
    formula="R_i = Σ_j x_i w_ij / (z_j + ε sign z_j) · R_j",
    source=f"{BACH}, eq. 58",
)
def lrp_epsilon(*, epsilon: float = STABILIZER, bias: Bias = "absorb", stabilizer: float = STABILIZER) -> Composite:
    # `stabilizer` is the ε of sums, means and norms; Arras et al. 2017 give it the value of linear layers.
    return composites.uniform("epsilon", lrp.epsilon(epsilon, bias), value=min(epsilon, stabilizer))


@propagation(
    "lrp-gamma",
    summary="LRP-γ in every layer: what speaks for the output is favoured, so less cancels",
    formula="R_i = Σ_j (x_i w_ij + γ (x_i w_ij)⁺) / Σ_i (…) · R_j",
    source=f"{OVERVIEW}, section 10.2.3",
)
def lrp_gamma(*, gamma: float = 0.25, bias: Bias = "absorb") -> Composite:
    return composites.uniform("gamma", lrp.gamma(gamma, bias=bias))


@propagation(
    "lrp-zplus",
    summary="z⁺ in every layer: only contributions above zero count, so nothing is negative",
    formula="R_i = Σ_j (x_i w_ij)⁺ / Σ_i (x_i w_ij)⁺ · R_j",
    source=f"{DEEP_TAYLOR}, the z⁺-rule",
)
def lrp_zplus(*, bias: Bias = "absorb", sums: Sums = "contribution") -> Composite:
    return composites.uniform("z-plus", lrp.z_plus(bias=bias), sums=sums)


@propagation(
    "lrp-alpha2-beta1",
    summary="LRP-αβ in every layer: evidence for and against the output, weighed α to β",
    formula="R_i = Σ_j (α (x_i w_ij)⁺ / z_j⁺ − β (x_i w_ij)⁻ / z_j⁻) · R_j",
    source=f"{BACH}, eq. 60",
)
def lrp_alpha_beta(*, alpha: float = 2.0, beta: float = 1.0, bias: Bias = "absorb", sums: Sums = "contribution") -> Composite:
    return composites.uniform("alpha-beta", lrp.alpha_beta(alpha, beta, bias=bias), sums=sums)


@propagation(
    "lrp-epsilon-plus",
    summary="z⁺ in convolutions, ε in dense layers",
    formula="z⁺ for convolutions, ε for dense layers",
    source=f"{BEST_PRACTICE}, section III",
)
def lrp_epsilon_plus(*, epsilon: float = STABILIZER, bias: Bias = "absorb", sums: Sums = "contribution") -> Composite:
    return composites.layered("epsilon-plus", convolution=lrp.z_plus(bias=bias), dense=lrp.epsilon(epsilon, bias), sums=sums)


@propagation(
    "lrp-epsilon-plus-flat",
    summary="Flat in the first layer, z⁺ in convolutions, ε in dense layers",
    formula="flat for the first linear layer, z⁺ for convolutions, ε for dense layers",
    source=f"{BEST_PRACTICE}, section III",
)
def lrp_epsilon_plus_flat(*, epsilon: float = STABILIZER, bias: Bias = "absorb", sums: Sums = "contribution") -> Composite:
    return composites.layered(
        "epsilon-plus-flat", convolution=lrp.z_plus(bias=bias), dense=lrp.epsilon(epsilon, bias), first=lrp.flat(), sums=sums
    )


@propagation(
    "lrp-epsilon-alpha2-beta1",
    summary="αβ in convolutions, ε in dense layers",
    formula="αβ for convolutions, ε for dense layers",
    source=f"{BEST_PRACTICE}, section III",
)
def lrp_epsilon_alpha_beta(
    *,
    epsilon: float = STABILIZER,
    alpha: float = 2.0,
    beta: float = 1.0,
    bias: Bias = "absorb",
    sums: Sums = "contribution",
) -> Composite:
    convolution = lrp.alpha_beta(alpha, beta, bias=bias)
    return composites.layered("epsilon-alpha-beta", convolution=convolution, dense=lrp.epsilon(epsilon, bias), sums=sums)


@propagation(
    "lrp-epsilon-alpha2-beta1-flat",
    summary="Flat in the first layer, αβ in convolutions, ε in dense layers",
    formula="flat for the first linear layer, αβ for convolutions, ε for dense layers",
    source=f"{BEST_PRACTICE}, section III",
)
def lrp_epsilon_alpha_beta_flat(
    *,
    epsilon: float = STABILIZER,
    alpha: float = 2.0,
    beta: float = 1.0,
    bias: Bias = "absorb",
    sums: Sums = "contribution",
) -> Composite:
    return composites.layered(
        "epsilon-alpha-beta-flat",
        convolution=lrp.alpha_beta(alpha, beta, bias=bias),
        dense=lrp.epsilon(epsilon, bias),
        first=lrp.flat(),
        sums=sums,
    )


@propagation(
    "lrp-epsilon-gamma-box",
    summary="Box rule at the pixels, γ in convolutions, ε in dense layers",
    formula="box for the first linear layer, γ for convolutions, ε for dense layers",
    source=f"{OVERVIEW}, section 10.3",
)
def lrp_epsilon_gamma_box(
    *,
    low: Bound = 0.0,
    high: Bound = 1.0,
    gamma: float = 0.25,
    epsilon: float = STABILIZER,
    bias: Bias = "absorb",
    sums: Sums = "contribution",
) -> Composite:
    return composites.layered(
        "epsilon-gamma-box",
        convolution=lrp.gamma(gamma, bias=bias),
        dense=lrp.epsilon(epsilon, bias),
        first=box_between(low, high),
        sums=sums,
    )


@propagation(
    "deep-taylor",
    summary="Deep Taylor decomposition: z⁺ inside; at the input the box rule between bounds, w² without",
    formula="z⁺; at the input box (low, high given) or w²",
    source=f"{DEEP_TAYLOR}",
    signed=False,
)
def deep_taylor(*, low: Bound | None = None, high: Bound | None = None, bias: Bias = "ignore") -> Composite:
    if (low is None) != (high is None):
        raise MethodError("deep-taylor takes low and high together (bounded inputs: box rule), or neither (w² rule)")
    first = lrp.w_square(bias=bias) if low is None or high is None else box_between(low, high)
    return composites.uniform("deep-taylor", lrp.z_plus(bias=bias), first=first)


@propagation(
    "excitation-backprop",
    summary="The probability that a winner's path from the output leads here",
    formula="P_i = Σ_j x_i w_ij⁺ / Σ_i x_i w_ij⁺ · P_j, from 1",
    source="Zhang et al. 2016, Top-Down Neural Attention by Excitation Backprop, eq. 5",
    starts_from="one",
    signed=False,
)
def excitation_backprop(*, bias: Bias = "ignore") -> Composite:
    return composites.uniform("excitation-backprop", lrp.z_plus(bias=bias))


@propagation(
    "attnlrp",
    summary="LRP for transformers: relevance goes through attention weights and values alike",
    formula="ε for linear layers, half to each factor, x · (R − y Σ R) for softmax",
    source="Achtibat et al. 2024, AttnLRP: Attention-Aware LRP for Transformers",
)
def attnlrp(*, epsilon: float = 1e-9, bias: Bias = "absorb") -> Composite:
    return composites.attention("attnlrp", epsilon, bias, constant_attention=False)


@propagation(
    "cp-lrp",
    summary="LRP for transformers with attention weights and gates taken for constants",
    formula="ε for linear layers, all to the values of attention and the signal of a gate",
    source="Ali et al. 2022, XAI for Transformers: Better Explanations through Conservative Propagation",
)
def cp_lrp(*, epsilon: float = 1e-9, bias: Bias = "absorb") -> Composite:
    return composites.attention("cp-lrp", epsilon, bias, constant_attention=True)


@propagation(
    "lrp",
    summary="LRP with a composite of your own",
    formula="rule per layer as the composite says",
    source=f"{BACH}",
)
def lrp_own(*, composite: str | PathLike[str] | Composite = "") -> Composite:
    if isinstance(composite, Composite):
        return composite
    if not composite or not isinstance(composite, str | PathLike):
        raise MethodError("method 'lrp' needs the option composite: a TOML file or an onnxplain.Composite")
    return read_composite(Path(composite))


@propagation(
    "guided-backprop",
    summary="Gradients that pass an activation only where it and they are above zero",
    formula="dx = dy where x > 0 and dy > 0",
    source="Springenberg et al. 2015, Striving for Simplicity: The All Convolutional Net, section 3.4",
    starts_from="one",
    per_unit=True,
)
def guided_backprop() -> Composite:
    return composites.modified_backprop("guided-backprop", guided)


@propagation(
    "deconvnet",
    summary="Gradients that pass an activation only where they are above zero",
    formula="dx = dy where dy > 0",
    source="Zeiler, Fergus 2014, Visualizing and Understanding Convolutional Networks, section 2.1",
    starts_from="one",
    per_unit=True,
)
def deconvolution() -> Composite:
    return composites.modified_backprop("deconvnet", deconvnet)
