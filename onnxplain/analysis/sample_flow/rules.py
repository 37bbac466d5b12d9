"""Which rule says where the samples lie in what an operator makes."""

from __future__ import annotations

from onnxplain.analysis.sample_flow import moves, products
from onnxplain.analysis.sample_flow.reading import Reading, Result, Rule
from onnxplain.ir.node import Node
from onnxplain.ir.ops import OpTraits

__all__ = ["rule_for"]

# operators of this file: which axes each leaves apart, as the standard defines it

ML_ROWS = "ai.onnx.ml"
"""The domain whose operators on tensors treat every row alone."""


def _settings(n: Reading) -> Result:
    """DynamicQuantizeLinear: the numbers, and the scale and zero point of all of them, which are settings."""
    x = n.place(0)
    return [x, None, None] if x is not None else n.unknown()


_SOFTMAX = moves.along("axis", -1)

RULES: dict[str, Rule] = {
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "LpNormalization", "TopK"), _SOFTMAX),
    "CumSum": moves.along("axis", 0, 1),
    "CumProd": moves.along("axis", 0, 1),
    "DFT": moves.along("axis", -2, 2),
    **dict.fromkeys(("ArgMax", "ArgMin"), moves.chosen),
    "Transpose": moves.transposed,
    "Squeeze": moves.squeezed,
    "Unsqueeze": moves.unsqueezed,
    **dict.fromkeys(("Reshape", "Flatten"), moves.reshape),
    "Expand": moves.expanded,
    "Tile": moves.repeated,
    "Slice": moves.sliced,
    "Split": moves.cut,
    "Concat": moves.concatenated,
    **dict.fromkeys(("Pad", "CenterCropPad"), moves.padded),
    **dict.fromkeys(("Resize", "Upsample"), moves.resized),
    "Gather": moves.gathered,
    "GatherElements": moves.gathered_elements,
    "GatherND": moves.gathered_nd,
    "ScatterElements": moves.scattered_elements,
    "OneHot": moves.one_hot,
    "ReverseSequence": moves.reversed_rows,
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth", "MaxUnpool", "Col2Im", "STFT", "Multinomial", "AffineGrid"), moves.blocks),
    **dict.fromkeys(("Trilu", "Bernoulli", "Dropout"), moves.through),
    "Det": moves.blocks,
    "DynamicQuantizeLinear": _settings,
    **dict.fromkeys(("Conv", "ConvTranspose", "ConvInteger"), products.convolved(1)),
    "QLinearConv": products.convolved(3),
    "DeformConv": products.convolved(1, (2, 4)),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), products.pooled),
    **dict.fromkeys(("GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"), products.channels_first((0, 1))),
    "InstanceNormalization": products.channels_first((0, 1)),
    "GroupNormalization": products.channels_first((0,)),
    "LRN": products.channels_first((0,), beyond=True),
    **dict.fromkeys(("BatchNormalization", "MeanVarianceNormalization"), products.statistics),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), products.from_axis),
    **dict.fromkeys(("MatMul", "MatMulInteger"), products.matrix_product()),
    "QLinearMatMul": products.matrix_product(0, 3),
    "Gemm": products.general_product,
    "Einsum": products.contracted,
    **dict.fromkeys(("LSTM", "GRU", "RNN"), products.recurrent),
    "Attention": products.attention,
    "GridSample": products.grid,
    "com.microsoft.DynamicQuantizeLSTM": products.recurrent,
}
"""By operator, with its domain where that is not the standard's."""


def rule_for(node: Node, facts: OpTraits) -> Rule | None:
    """The rule of a node's operator; None where nothing is known of it."""
    own = RULES.get(node.operator)
    if own is not None:
        return own
    if facts.elementwise:
        return moves.elementwise if facts.elementwise == "all" else moves.through
    if facts.reduces:
        return moves.reduced
    return moves.each_row if node.domain == ML_ROWS else None
