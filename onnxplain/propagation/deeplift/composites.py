"""Which DeepLIFT rule serves which node."""

from __future__ import annotations

from onnxplain.analysis.canonize.neuron import group_neurons
from onnxplain.ir.markers import STAND_IN
from onnxplain.ir.registry import Rule
from onnxplain.propagation.composite import EXPANDED, Composite, NodePattern
from onnxplain.propagation.deeplift import norms as deeplift_norms
from onnxplain.propagation.deeplift import rules as deeplift
from onnxplain.propagation.deeplift.bounds import bounded
from onnxplain.propagation.deeplift.control_flow import control
from onnxplain.propagation.deeplift.products import factors
from onnxplain.propagation.deeplift.quantization import rounding, written_out
from onnxplain.propagation.deeplift.ranks import greatest
from onnxplain.propagation.deeplift.reveal_cancel import reveal_cancel

__all__ = ["deeplift_composite"]

# operators of this file: which rule serves which is a composite's choice, and no fact

MAXIMA = ("MaxPool", "GlobalMaxPool", "MaxRoiPool", "Max", "Min", "ReduceMax", "ReduceMin")

QUADRATIC = ("ReduceSumSquare", "ReduceL2")
"""Quadratic functions, and their roots."""

LINEAR = ("Neg", "Dropout", "AffineGrid", "OneHot")
"""Linear in what is live, though their roles do not say so."""

SELECTS = (
    "Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "TensorScatter", "Compress", "MaxUnpool",
    "SequenceAt", "SequenceErase", "ai.onnx.ml.ArrayFeatureExtractor", "ai.onnx.ml.Imputer",
)  # fmt: skip
"""Selection by other operands than the values."""

QUANTIZERS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")

BASE: tuple[tuple[NodePattern, Rule], ...] = (
    (NodePattern(operators=MAXIMA), deeplift.maximum),
    (NodePattern(operators=("TopK",)), greatest),
    (NodePattern(operators=("Where",)), deeplift.average),
    (NodePattern(operators=("Div",)), deeplift.quotient),
    (NodePattern(operators=QUADRATIC), deeplift.midpoint),
    (NodePattern(operators=LINEAR), deeplift.linear),
    (NodePattern(operators=QUANTIZERS), rounding),
    (NodePattern(operators=("CastLike",), names=(f"*{STAND_IN}/*",)), written_out),
    (NodePattern(operators=("LRN",)), deeplift_norms.response),
    (NodePattern(operators=("ReduceL1",)), deeplift_norms.sizes),
    (NodePattern(operators=("ReduceLogSum",)), deeplift_norms.log_sum),
    (NodePattern(operators=("ReduceLogSumExp",)), deeplift_norms.log_sum_exp),
    (NodePattern(operators=("ReduceProd",)), factors),
    (NodePattern(roles=("softmax",)), deeplift_norms.softmax_multipliers),
    (NodePattern(roles=("norm",)), deeplift_norms.normalized),
    (NodePattern(roles=("gate",)), deeplift.gated_product),
    (NodePattern(roles=("bilinear", "product", "scale")), deeplift.midpoint),
    (NodePattern(roles=("linear", "sum", "layout")), deeplift.linear),
    (NodePattern(operators=SELECTS), deeplift.linear),
    (NodePattern(roles=("elementwise",)), deeplift.rescale),
    (NodePattern(operators=("Clip",)), bounded),
    (NodePattern(roles=("control",)), control),
)


def deeplift_composite(rule: str) -> Composite:
    """The composite of DeepLIFT, with Rescale or RevealCancel at nonlinearities behind linear maps."""
    if rule == "rescale":
        return Composite(rule, BASE, canonize=True, strict=True, expands=EXPANDED, float32=True)
    neuron = (NodePattern(operators=("onnxplain.Neuron",)), reveal_cancel)
    return Composite(rule, (neuron, *BASE), canonize=True, strict=True, expands=EXPANDED, float32=True, groups=(group_neurons,))
