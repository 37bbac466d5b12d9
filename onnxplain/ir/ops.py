"""Facts about operators: what one computes, whatever the gradient is.

One principle says where a fact stands. What a standard operator computes is fixed by the standard, so its facts stand in this
table (`ai.onnx`, `ai.onnx.ml`, and the compound operators of canonization): passes need them before any rule is chosen. The facts
of any other operator come with the rule file that serves it: `@rule("Bend", domain="my.domain", traits=OpTraits(...))`. The
registry answers for both: `registry.traits(node)`.

A fact holds for every input, in inference, unless an attribute makes another operation of it (`reduction` of ScatterElements).
What is not claimed is not known: analyses then prove less, and nothing becomes wrong. Tests check the claims numerically. Which
rule a method chooses for an operator is no fact and does not stand here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Literal, Protocol, TypeAlias

__all__ = [
    "STANDARD",
    "UNKNOWN",
    "Activation",
    "OpTraits",
    "Operands",
    "Operation",
    "Traits",
    "claims",
    "standard_traits",
    "traits_of",
]

Operands: TypeAlias = Literal["", "first", "all"]
"""Which operands a fact is about: none (it is not claimed), the first one, or all of them."""

Activation: TypeAlias = Literal["", "rectifier", "smooth", "squash", "bend"]
"""Kinds of activation: "rectifier" lets through what is above zero and is made of straight pieces, "smooth" does so with a
rounded bend, "squash" flattens out on both sides, "bend" is nonlinear in some other way."""


@dataclass(frozen=True)
class OpTraits:
    """Facts about one operator. What is left out is not claimed.

    Attributes:
        elementwise: every element of the result depends only on the elements at its place: of the first operand (the others are
            settings, such as bounds or a scale), or of all operands, which broadcast.
        activation: the kind of nonlinearity, where it is elementwise and bends.
        piecewise_linear: elementwise, and made of straight pieces.
        linear_in: affine in the first operand, in each of the operands, or in all of them together, the others held constant.
        multiplies: sums of products of elements of two operands, at fixed places (matrix products, convolutions).
        convolves: slides its weights over places.
        weightless: linear, but with no weights that mix elements and could be taken apart.
        moves_elements: every element of the result is an element of the first operand, or of any; attributes and settings say
            which.
        keeps_order: moves all elements of its operand to the same row-major order: only the shape changes.
        selects_elements: every element of the result is an element of the first operand, or of any; their values, or indices,
            say which.
        recodes: the same numbers in another data type, but for rounding.
        quantizes: real numbers as integers with a scale, or back.
        commutative: operands may change places.
        zero_at_zero: the result is zero where the first operand is, the others held constant; of a product, where any is.
        zero_below_zero: the result is zero where the operand is below zero.
        nonnegative: no result is below zero.
        keeps_nonnegative: no result is below zero where the first operand, or no operand, is.
        within_one: every result lies in [0, 1].
        finite: finite operands give finite results, but for overflow.
        unbounded_slope: its slope may be infinite or undefined where its operand (its divisor) is zero, or elsewhere too.
        of_logits: makes probabilities, or their logarithms, of logits.
        shape_only: the result depends on the extents of the operand, not on its values.
        random: gives another result each time.
        makes_sequence: returns a sequence.
        runs_subgraphs: runs graphs of its own.
        recurrent: steps through time with a state.
        pools: makes one number of each window of places.
        reduces: makes one number of all elements along axes (`keepdims`).
        channels_first: works on [samples, channels, places ...].
        mixes_axes: an axis of the result may mean something else than that axis of an operand.
        keeps_rank: the results have the rank of the first operand.
        input_ranks: the ranks that the operands must have; None for any.
        output_rank: the rank of the first result, where it is always the same.
        parameters: the operands that hold weights and biases, where they are constants.
        keeps_blocks: how ONNX Runtime's CPU kernels treat images in blocks of channels: the result is in blocks where the first
            operand is, or where all are; "pool" for those that run on whole blocks alone.

    Example:
        >>> from onnxplain import OpTraits
        >>> bend = OpTraits(elementwise="first", activation="rectifier", nonnegative=True, zero_at_zero=True)
        >>> bend.nonnegative, bend.finite
        (True, False)
    """

    elementwise: Operands = ""
    activation: Activation = ""
    piecewise_linear: bool = False
    linear_in: Literal["", "first", "each", "together"] = ""
    multiplies: bool = False
    convolves: bool = False
    weightless: bool = False
    moves_elements: Operands = ""
    keeps_order: bool = False
    selects_elements: Operands = ""
    recodes: bool = False
    quantizes: bool = False
    commutative: bool = False
    zero_at_zero: bool = False
    zero_below_zero: bool = False
    nonnegative: bool = False
    keeps_nonnegative: Operands = ""
    within_one: bool = False
    finite: bool = False
    unbounded_slope: Literal["", "at zero", "anywhere"] = ""
    of_logits: bool = False
    shape_only: bool = False
    random: bool = False
    makes_sequence: bool = False
    runs_subgraphs: bool = False
    recurrent: bool = False
    pools: bool = False
    reduces: bool = False
    channels_first: bool = False
    mixes_axes: bool = False
    keeps_rank: bool = False
    input_ranks: tuple[int | None, ...] = ()
    output_rank: int | None = None
    parameters: tuple[int, ...] = ()
    keeps_blocks: Literal["", "first", "all", "pool"] = ""

    @property
    def lets_through(self) -> bool:
        """Whether it is an activation that lets through what is above zero."""
        return self.activation in ("rectifier", "smooth")


class Operation(Protocol):
    """A node, of a model or emitted."""

    @property
    def op(self) -> str:
        """The operator's name."""

    @property
    def domain(self) -> str:
        """Its operator-set domain."""


Traits: TypeAlias = Callable[[Operation], OpTraits]
"""The facts about a node's operator: `registry.traits`, or `standard_traits` where no registry is at hand."""


_Function = partial(OpTraits, elementwise="first")
_Pair = partial(OpTraits, elementwise="all", finite=True)
_Move = partial(OpTraits, moves_elements="first", linear_in="together", finite=True)
_Reshape = partial(_Move, keeps_order=True)
_Select = partial(OpTraits, selects_elements="first")
_Product = partial(OpTraits, linear_in="each", multiplies=True, finite=True)
_Window = partial(OpTraits, pools=True, channels_first=True, keeps_rank=True)
_Reduce = partial(OpTraits, reduces=True)

STANDARD: Mapping[str, OpTraits] = {
    # -- functions of each element alone: activations -----------------------------------------------------------------
    "Relu": _Function(
        activation="rectifier",
        piecewise_linear=True,
        zero_at_zero=True,
        zero_below_zero=True,
        nonnegative=True,
        finite=True,
        keeps_blocks="first",
    ),
    "LeakyRelu": _Function(
        activation="rectifier", piecewise_linear=True, zero_at_zero=True, keeps_nonnegative="first", finite=True
    ),
    "PRelu": OpTraits(elementwise="all", activation="rectifier", piecewise_linear=True, zero_at_zero=True, finite=True),
    "ThresholdedRelu": _Function(activation="rectifier", piecewise_linear=True, zero_at_zero=True, finite=True),
    "Clip": _Function(activation="rectifier", piecewise_linear=True, finite=True, keeps_blocks="first"),
    "Gelu": _Function(activation="smooth", zero_at_zero=True, keeps_nonnegative="first", finite=True),
    "Swish": _Function(activation="smooth", zero_at_zero=True, keeps_nonnegative="first"),
    "HardSwish": _Function(activation="smooth", zero_at_zero=True, keeps_nonnegative="first", finite=True, keeps_blocks="first"),
    "Mish": _Function(activation="smooth", zero_at_zero=True),
    "Elu": _Function(activation="smooth", zero_at_zero=True, keeps_nonnegative="first", finite=True),
    "Selu": _Function(activation="smooth", zero_at_zero=True, keeps_nonnegative="first", finite=True),
    "Celu": _Function(activation="smooth", zero_at_zero=True, keeps_nonnegative="first", finite=True),
    "Softplus": _Function(activation="smooth", nonnegative=True, finite=True),
    "Sigmoid": _Function(
        activation="squash", nonnegative=True, within_one=True, finite=True, of_logits=True, keeps_blocks="first"
    ),
    "HardSigmoid": _Function(
        activation="squash", piecewise_linear=True, nonnegative=True, within_one=True, finite=True, keeps_blocks="first"
    ),
    "Tanh": _Function(activation="squash", zero_at_zero=True, finite=True, keeps_blocks="first"),
    "Softsign": _Function(activation="squash", zero_at_zero=True, finite=True),
    "Erf": _Function(activation="squash", zero_at_zero=True, finite=True),
    "Atan": _Function(activation="squash", zero_at_zero=True),
    "Shrink": _Function(activation="bend", piecewise_linear=True),
    "Abs": _Function(activation="bend", piecewise_linear=True, zero_at_zero=True, nonnegative=True, finite=True),
    "Exp": _Function(activation="bend", nonnegative=True, unbounded_slope="anywhere"),
    # -- other functions of each element alone --------------------------------------------------------------------------
    "Sqrt": _Function(zero_at_zero=True, nonnegative=True, unbounded_slope="at zero"),
    **dict.fromkeys(("Log", "Reciprocal"), _Function(unbounded_slope="at zero")),
    **dict.fromkeys(("Asin", "Atanh"), _Function(zero_at_zero=True, unbounded_slope="anywhere")),
    **dict.fromkeys(("Acos", "Acosh"), _Function(unbounded_slope="anywhere")),
    **dict.fromkeys(("Sin", "Tan", "Sinh", "Asinh"), _Function(zero_at_zero=True)),
    **dict.fromkeys(("Cos", "Cosh"), _Function()),
    "Neg": _Function(linear_in="together", zero_at_zero=True, finite=True),
    "Sign": _Function(zero_at_zero=True, finite=True),
    **dict.fromkeys(("Ceil", "Floor", "Round"), _Function(zero_at_zero=True)),
    **dict.fromkeys(("Not", "IsNaN", "IsInf"), _Function(finite=True)),
    "BitwiseNot": _Function(),
    "Cast": _Function(
        recodes=True, piecewise_linear=True, linear_in="together", zero_at_zero=True, keeps_nonnegative="first", finite=True
    ),
    "CastLike": _Function(recodes=True, linear_in="together"),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _Function(quantizes=True)),
    "DynamicQuantizeLinear": OpTraits(quantizes=True),
    # -- functions of elements at the same place ------------------------------------------------------------------------
    "Add": _Pair(linear_in="together", commutative=True, keeps_nonnegative="all", keeps_blocks="all"),
    "Sum": _Pair(linear_in="together", commutative=True, keeps_nonnegative="all", keeps_blocks="all"),
    "Mean": OpTraits(elementwise="all", linear_in="together", commutative=True, keeps_nonnegative="all"),
    "Sub": _Pair(linear_in="together"),
    "Mul": _Pair(linear_in="each", commutative=True, zero_at_zero=True, keeps_nonnegative="all", keeps_blocks="all"),
    "Div": OpTraits(elementwise="all", linear_in="first", zero_at_zero=True, keeps_nonnegative="all", unbounded_slope="at zero"),
    "Max": _Pair(selects_elements="all", activation="bend", piecewise_linear=True, commutative=True),
    "Min": _Pair(selects_elements="all", activation="bend", piecewise_linear=True, commutative=True),
    "Where": _Pair(selects_elements="all", activation="bend"),
    "Pow": OpTraits(elementwise="all", unbounded_slope="at zero"),
    "Mod": OpTraits(elementwise="all"),
    **dict.fromkeys(("And", "Or", "Equal"), _Pair(commutative=True)),
    "Xor": OpTraits(elementwise="all", commutative=True),
    **dict.fromkeys(("Greater", "GreaterOrEqual", "Less", "LessOrEqual"), _Pair()),
    **dict.fromkeys(("BitwiseAnd", "BitwiseOr", "BitwiseXor"), OpTraits(elementwise="all", commutative=True)),
    "BitShift": OpTraits(elementwise="all"),
    # -- elements in other places ---------------------------------------------------------------------------------------
    "Identity": _Reshape(
        elementwise="first",
        piecewise_linear=True,
        zero_at_zero=True,
        keeps_blocks="first",
    ),
    "Dropout": _Reshape(elementwise="first", zero_at_zero=True),
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze"), _Reshape(mixes_axes=True)),
    "Flatten": _Reshape(mixes_axes=True, output_rank=2),
    **dict.fromkeys(("Expand",), _Move(mixes_axes=True)),
    "Tile": _Move(mixes_axes=True, keeps_rank=True),
    **dict.fromkeys(("Transpose", "Slice", "Split", "ReverseSequence"), _Move(keeps_rank=True)),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _Move(channels_first=True, keeps_rank=True)),
    "Concat": OpTraits(moves_elements="all", linear_in="together", finite=True, keeps_blocks="all"),
    **dict.fromkeys(("SequenceConstruct", "SequenceInsert"), OpTraits(moves_elements="all", makes_sequence=True)),
    "ConcatFromSequence": OpTraits(moves_elements="all", linear_in="together"),
    "SplitToSequence": OpTraits(moves_elements="first", makes_sequence=True),
    # -- chosen elements ------------------------------------------------------------------------------------------------
    "Gather": _Select(linear_in="first", finite=True, parameters=(0,)),
    "GatherElements": _Select(linear_in="first", keeps_rank=True),
    **dict.fromkeys(("GatherND", "Compress"), _Select(linear_in="first")),
    **dict.fromkeys(("TopK", "Unique", "SequenceAt"), _Select()),
    "SequenceErase": _Select(makes_sequence=True),
    "ScatterElements": OpTraits(selects_elements="all", finite=True, keeps_rank=True),
    "ScatterND": OpTraits(selects_elements="all", keeps_rank=True),
    "TensorScatter": OpTraits(selects_elements="all"),
    "OneHot": OpTraits(linear_in="together", finite=True),
    # -- linear maps ----------------------------------------------------------------------------------------------------
    **dict.fromkeys(
        ("Conv", "ConvTranspose"),
        _Product(convolves=True, channels_first=True, input_ranks=(None, None, 1), parameters=(1, 2)),
    ),
    "DeformConv": OpTraits(linear_in="first", convolves=True, channels_first=True, parameters=(1, 3)),
    "Gemm": _Product(mixes_axes=True, input_ranks=(2, 2, None), output_rank=2, parameters=(0, 1, 2)),
    "MatMul": _Product(parameters=(0, 1)),
    "Einsum": OpTraits(linear_in="each", multiplies=True, mixes_axes=True, parameters=(0, 1)),
    "ConvInteger": OpTraits(parameters=(1,)),
    "MatMulInteger": OpTraits(parameters=(0, 1)),
    "QLinearConv": OpTraits(parameters=(3, 8)),
    "QLinearMatMul": OpTraits(parameters=(0, 3)),
    "BatchNormalization": OpTraits(linear_in="first", weightless=True, channels_first=True, keeps_blocks="first"),
    "DFT": OpTraits(linear_in="first", weightless=True),
    "STFT": OpTraits(linear_in="each", weightless=True, output_rank=4),
    "Pad": OpTraits(linear_in="together", finite=True, keeps_rank=True),
    "Resize": OpTraits(finite=True, keeps_rank=True),
    **dict.fromkeys(("CumSum", "Trilu"), OpTraits(linear_in="first", keeps_rank=True)),
    "CenterCropPad": OpTraits(linear_in="first", keeps_rank=True),
    **dict.fromkeys(("MaxUnpool", "RoiAlign", "Upsample"), OpTraits(keeps_rank=True)),
    # -- windows and reductions -----------------------------------------------------------------------------------------
    "MaxPool": _Window(selects_elements="first", finite=True, keeps_blocks="pool"),
    "GlobalMaxPool": _Window(selects_elements="first", keeps_blocks="pool"),
    "MaxRoiPool": OpTraits(selects_elements="first", pools=True),
    "AveragePool": _Window(linear_in="first", keeps_nonnegative="first", finite=True, keeps_blocks="pool"),
    "GlobalAveragePool": _Window(linear_in="first", keeps_nonnegative="first", finite=True, keeps_blocks="pool"),
    **dict.fromkeys(("LpPool", "GlobalLpPool"), _Window(nonnegative=True)),
    **dict.fromkeys(("ReduceSum", "ReduceMean"), _Reduce(linear_in="first", keeps_nonnegative="first", finite=True)),
    **dict.fromkeys(("ReduceMax", "ReduceMin"), _Reduce(selects_elements="first")),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceSumSquare"), _Reduce(nonnegative=True)),
    **dict.fromkeys(("ReduceProd", "ReduceLogSum", "ReduceLogSumExp"), _Reduce()),
    "ArgMax": _Reduce(finite=True),
    "ArgMin": _Reduce(),
    # -- softmax and norms ----------------------------------------------------------------------------------------------
    "Softmax": OpTraits(nonnegative=True, within_one=True, finite=True, of_logits=True),
    "LogSoftmax": OpTraits(of_logits=True),
    "Hardmax": OpTraits(nonnegative=True, within_one=True),
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization", "LRN"), OpTraits(channels_first=True)),
    # -- what is made of extents, or of nothing -------------------------------------------------------------------------
    "Shape": OpTraits(shape_only=True, finite=True, output_rank=1),
    "Size": OpTraits(shape_only=True, finite=True, output_rank=0),
    **dict.fromkeys(("EyeLike", "SequenceLength"), OpTraits(shape_only=True)),
    **dict.fromkeys(("RandomNormalLike", "RandomUniformLike"), OpTraits(shape_only=True, random=True)),
    **dict.fromkeys(("RandomNormal", "RandomUniform", "Bernoulli", "Multinomial"), OpTraits(random=True)),
    **dict.fromkeys(("Constant", "ConstantOfShape", "Range"), OpTraits(finite=True)),
    "SequenceEmpty": OpTraits(makes_sequence=True),
    **dict.fromkeys(("NonZero", "MelWeightMatrix"), OpTraits(output_rank=2)),
    # -- graphs and states ----------------------------------------------------------------------------------------------
    **dict.fromkeys(("If", "Loop", "Scan"), OpTraits(runs_subgraphs=True, mixes_axes=True)),
    "SequenceMap": OpTraits(runs_subgraphs=True, makes_sequence=True),
    **dict.fromkeys(
        ("LSTM", "GRU", "RNN"),
        OpTraits(recurrent=True, input_ranks=(3, 3, 3, 2, 1, 3, 3, 2), output_rank=4, parameters=(1, 2, 3)),
    ),
    # -- machine learning -----------------------------------------------------------------------------------------------
    "ai.onnx.ml.Scaler": _Function(linear_in="first"),
    "ai.onnx.ml.Imputer": _Function(),
    # -- compound operators of canonization -----------------------------------------------------------------------------
    "onnxplain.Activation": _Function(activation="smooth"),
    "onnxplain.Gelu": _Function(activation="smooth", zero_at_zero=True),
    "onnxplain.Silu": _Function(activation="smooth", zero_at_zero=True),
    "onnxplain.Function": _Function(),
    "onnxplain.Shift": _Function(linear_in="first"),
    "onnxplain.Softmax": OpTraits(nonnegative=True, within_one=True, of_logits=True),
    "onnxplain.LogSoftmax": OpTraits(of_logits=True),
}
"""The facts about standard operators, by operator with its domain."""

UNKNOWN = OpTraits()
"""Nothing is claimed."""


def traits_of(op: str, domain: str = "") -> OpTraits:
    """The facts about a standard operator.

    Args:
        op: the operator's name.
        domain: its operator-set domain.

    Returns:
        The facts; nothing is claimed for an operator outside the table.
    """
    return STANDARD.get(op if domain in ("", "ai.onnx") else f"{domain}.{op}", UNKNOWN)


def standard_traits(node: Operation) -> OpTraits:
    """The facts about a node's operator, if it is a standard one."""
    return traits_of(node.op, node.domain)


def claims(fact: str) -> frozenset[str]:
    """The standard operators, with their domains, of which a fact is claimed."""
    assert fact in {f.name for f in fields(OpTraits)}
    return frozenset(operator for operator, traits in STANDARD.items() if getattr(traits, fact))
