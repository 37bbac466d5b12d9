"""Every operator of the standard that has a derivative is served."""

from __future__ import annotations

import onnx
import pytest

from onnxplain.explain.catalog import HOW, operators

DIFFERENTIABLE = """
Abs Acos Acosh Add Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Col2Im Compress Concat Conv ConvTranspose Cos Cosh
CumProd CumSum Det Div Dropout Einsum Erf Exp Expand Flatten GRU Gather GatherElements GatherND Gemm GlobalAveragePool
GlobalLpPool GlobalMaxPool GridSample Identity InstanceNormalization LRN LSTM Log LpNormalization LpPool MatMul Max MaxPool
MaxRoiPool MaxUnpool Mean Min Mod Mul Neg Pad Pow RNN Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Reshape
Resize ScatterElements ScatterND Sigmoid Sin Sinh Slice Split Sqrt Squeeze Sub Sum Tan Tanh TensorScatter Tile TopK Transpose
Trilu Unsqueeze Where
ConcatFromSequence DFT DeformConv DequantizeLinear If Loop OneHot Optional OptionalGetElement ReverseSequence RoiAlign STFT Scan
SequenceAt SequenceConstruct SequenceErase SequenceInsert SplitToSequence Unique
Celu Elu HardSigmoid HardSwish LeakyRelu MeanVarianceNormalization Mish PRelu ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
ReduceSumSquare Relu Selu Shrink Softplus Softsign SwiGLU Swish ThresholdedRelu CastLike CausalConvWithState CenterCropPad Clip
DepthToSpace Gelu GroupNormalization LinearAttention LogSoftmax NegativeLogLikelihoodLoss Softmax SoftmaxCrossEntropyLoss
SpaceToDepth Attention LayerNormalization RMSNormalization RotaryEmbedding Range SequenceMap AffineGrid DynamicQuantizeLinear
""".split()
"""The operators of the default domain that have a derivative: 146."""

LEARNED = "LinearRegressor LinearClassifier Scaler Normalizer SVMRegressor SVMClassifier Imputer FeatureVectorizer ArrayFeatureExtractor"


def test_every_differentiable_operator_is_served() -> None:
    assert len(DIFFERENTIABLE) == len(set(DIFFERENTIABLE)) == 146
    rows = operators()
    served = {(r.domain, r.operator): r.how for r in rows}
    known = {s.name for s in onnx.defs.get_all_schemas() if not s.domain}
    missing = [op for op in DIFFERENTIABLE if op in known and ("ai.onnx", op) not in served]
    assert not missing
    assert not [op for op in LEARNED.split() if ("ai.onnx.ml", op) not in served]
    # A derivative is not called zero that is not.
    assert not [op for op in DIFFERENTIABLE if served.get(("ai.onnx", op)) == "zero"]


@pytest.mark.parametrize("how", HOW)
def test_every_way_is_in_use(how: str) -> None:
    assert any(r.how == how for r in operators())


def test_rules_say_what_they_do() -> None:
    assert not [r.operator for r in operators() if r.how not in ("body", "expansion") and not r.formula]
