"""Class activation maps: where in the input the score is decided, from the activations and gradients of one layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from onnxplain.builder.builder import Builder
from onnxplain.ir.tensor import Tensor
from onnxplain.method.cam_geometry import SpatialMap, places
from onnxplain.method.context import AttributionContext
from onnxplain.method.registry import method
from onnxplain.propagation.lrp.composites import modified_backprop
from onnxplain.propagation.lrp.role_rules import guided

__all__ = ["channel_sum"]

Weigh: TypeAlias = "Callable[[Builder, Tensor, Tensor], Tensor]"
"""From a layer's activations and gradients, [samples, channels, places], to the map before its ReLU, [samples, 1, places]."""


def activation_map(name: str, *, summary: str, formula: str, source: str) -> Callable[[Weigh], Weigh]:
    """Enter a function of activations and gradients as a method."""

    def register(weigh: Weigh) -> Weigh:
        def run(
            context: AttributionContext, *, relu: bool = True, upsample: bool = False, axes: Sequence[int] | None = None,
            grid: Sequence[int] | None = None,
        ) -> dict[Tensor, Tensor]:  # fmt: skip
            at = places(context, axes, grid)
            return {at.input.tensor: at.finished(weighed(at, weigh), relu=relu, upsample=upsample)}

        method(name, summary=summary, formula=formula, source=source, signed=False, attributes_to="map", auto_layer=True)(run)
        return weigh

    return register


def weighed(at: SpatialMap, weigh: Weigh) -> Tensor:
    """The map of the only target, before its ReLU: [samples, 1, places]."""
    x = at.layer.tensor
    slope = at.job.gradient(of=[x])[x]
    return weigh(at.job.b, at.flat(x), at.flat(slope))


def channel_sum(b: Builder, weights: Tensor, a: Tensor) -> Tensor:
    """Σ_k w_k A_k: [samples, maps, channels] and [samples, channels, places] to [samples, maps, places]."""
    made: Tensor = b.MatMul(weights, a)
    return made


def as_row(b: Builder, weights: Tensor) -> Tensor:
    """[samples, channels, 1] as [samples, 1, channels]."""
    made: Tensor = b.Transpose(weights, perm=[0, 2, 1])
    return made


@activation_map(
    "grad-cam",
    summary="Where the layer's channels that raise the score are active: channels weighted by their mean gradients",
    formula="ReLU(Σ_k α_k A_k), α_k = mean over places of ∂f/∂A_k",
    source="Selvaraju et al. 2017, Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, eqs. 1-2",
)
def grad_cam(b: Builder, a: Tensor, slope: Tensor) -> Tensor:
    return channel_sum(b, as_row(b, b.ReduceMean(slope, [2], keepdims=1)), a)


@activation_map(
    "grad-cam++",
    summary="As Grad-CAM, with gradients above zero weighted so that several objects of a class count alike",
    formula="ReLU(Σ_k w_k A_k), w_k = Σ_ij g⁺ / (2 + g Σ A_k), g = ∂f/∂A_k",
    source="Chattopadhyay et al. 2018, Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional "
    "Networks, eqs. 10, 19",
)
def grad_cam_plus_plus(b: Builder, a: Tensor, slope: Tensor) -> Tensor:
    """g² / (2 g² + Σ A · g³) · g⁺ with g² cancelled, which is defined where g = 0 too."""
    total = b.ReduceSum(a, [2], keepdims=1)
    rising = b.Relu(slope)
    return channel_sum(b, as_row(b, b.ReduceSum(b.Div(rising, b.Add(b.Mul(rising, total), 2)), [2], keepdims=1)), a)


@activation_map(
    "hires-cam",
    summary="Activations times gradients place by place, summed over channels: no averaging over places",
    formula="ReLU(Σ_k ∂f/∂A_k ⊙ A_k)",
    source="Draelos, Carin 2020, Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks",
)
def hires_cam(b: Builder, a: Tensor, slope: Tensor) -> Tensor:
    return b.ReduceSum(b.Mul(slope, a), [1], keepdims=1)


@activation_map(
    "layer-cam",
    summary="As HiResCAM with gradients above zero only: fine maps from early layers too",
    formula="ReLU(Σ_k (∂f/∂A_k)⁺ ⊙ A_k)",
    source="Jiang et al. 2021, LayerCAM: Exploring Hierarchical Class Activation Maps for Localization, eqs. 4-6",
)
def layer_cam(b: Builder, a: Tensor, slope: Tensor) -> Tensor:
    return b.ReduceSum(b.Mul(b.Relu(slope), a), [1], keepdims=1)


@activation_map(
    "xgrad-cam",
    summary="As Grad-CAM, with gradients averaged by how active the places are: comes closest to adding up to the score",
    formula="ReLU(Σ_k α_k A_k), α_k = Σ_ij A_k / (Σ A_k) · ∂f/∂A_k",
    source="Fu et al. 2020, Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs, eq. 9",
)
def xgrad_cam(b: Builder, a: Tensor, slope: Tensor) -> Tensor:
    total = b.ReduceSum(a, [2], keepdims=1)
    silent = b.Equal(total, 0)  # channels that are nowhere active have no weight
    weights = b.Div(b.ReduceSum(b.Mul(slope, a), [2], keepdims=1), b.Where(silent, 1, total))
    return channel_sum(b, as_row(b, b.Where(silent, 0, weights)), a)


@method(
    "guided-grad-cam",
    summary="Guided backpropagation where Grad-CAM says the score is decided: as fine as the one, of the class as the other",
    formula="guided-backprop ⊙ grad-cam, enlarged to the input",
    source="Selvaraju et al. 2017, Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, section 3.2",
    composite=modified_backprop("guided-backprop", guided),
    attributes_to="input",
    auto_layer=True,
)
def guided_grad_cam(
    context: AttributionContext, *, axes: Sequence[int] | None = None, grid: Sequence[int] | None = None
) -> dict[Tensor, Tensor]:
    b, at = context.b, places(context, axes, grid)
    wide = at.laid(b.Relu(weighed(at, grad_cam)), upsample=True)
    cam = at.over_input(b.Squeeze(wide, [1]))
    fine = context.messages(modified_backprop("guided-backprop", guided))
    return {x: b.Mul(slope, cam) for x, slope in fine.items()}
