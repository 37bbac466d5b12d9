"""One node of every operator that facts are claimed of, for the standard's reference evaluator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from onnxplain.ir.ops import OpTraits, traits_of

Array: TypeAlias = "np.ndarray[Any, Any]"

OPSET = 24


@dataclass(frozen=True)
class Sample:
    """A node: inputs that are operands (their shapes) or settings (their values), and attributes."""

    inputs: tuple[tuple[int, ...] | Array, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def operands(self) -> list[int]:
        """The places of the operands."""
        return [i for i, given in enumerate(self.inputs) if isinstance(given, tuple)]


def _ints(*values: int) -> Array:
    return np.array(values, np.int64)


def _floats(*values: float) -> Array:
    return np.array(values, np.float64)


IMAGE = (2, 4, 6, 6)
PAGE = (2, 6)
KERNEL = {"kernel_shape": [2, 2], "strides": [2, 2]}
AXIS = {"keepdims": 0}

SAMPLES = {
    "PRelu": Sample((PAGE, np.full(6, 0.1))),
    "Clip": Sample((PAGE, np.array(0.0), np.array(6.0))),
    "Cast": Sample((PAGE,), {"to": TensorProto.DOUBLE}),
    "CastLike": Sample((PAGE, np.zeros(1))),
    "Not": Sample((np.array([True, False]),)),
    "Where": Sample((np.arange(12).reshape(PAGE) % 2 == 0, PAGE, PAGE)),
    "And": Sample((np.array([True, False]), np.array([True, True]))),
    "Or": Sample((np.array([True, False]), np.array([True, True]))),
    "Xor": Sample((np.array([True, False]), np.array([True, True]))),
    "BitwiseAnd": Sample((_ints(5, 6), _ints(3, 9))),
    "BitwiseOr": Sample((_ints(5, 6), _ints(3, 9))),
    "BitwiseXor": Sample((_ints(5, 6), _ints(3, 9))),
    "BitwiseNot": Sample((_ints(5, 6),)),
    "BitShift": Sample((np.array([5, 6], np.uint8), np.array([1, 2], np.uint8)), {"direction": "LEFT"}),
    "Mod": Sample((PAGE, PAGE), {"fmod": 1}),
    "QuantizeLinear": Sample((PAGE, np.array(0.5, np.float32))),
    "DequantizeLinear": Sample((np.arange(6, dtype=np.uint8), np.array(0.5, np.float32))),
    "DynamicQuantizeLinear": Sample((PAGE,)),
    "Reshape": Sample((PAGE, _ints(3, 4))),
    "Squeeze": Sample(((1, 2, 1, 3), _ints(0, 2))),
    "Unsqueeze": Sample((PAGE, _ints(1))),
    "Flatten": Sample(((2, 3, 2),)),
    "Expand": Sample(((2, 1), _ints(3, 2, 4))),
    "Tile": Sample((PAGE, _ints(2, 1))),
    "Transpose": Sample(((2, 3, 4),), {"perm": [2, 0, 1]}),
    "Slice": Sample((PAGE, _ints(1), _ints(5), _ints(1))),
    "Split": Sample((PAGE,), {"num_outputs": 2, "axis": 1}),
    "ReverseSequence": Sample(((4, 2), _ints(3, 2))),
    "DepthToSpace": Sample((IMAGE,), {"blocksize": 2}),
    "SpaceToDepth": Sample((IMAGE,), {"blocksize": 2}),
    "Concat": Sample((PAGE, PAGE), {"axis": 0}),
    "SequenceConstruct": Sample((PAGE, PAGE)),
    "Gather": Sample((PAGE, _ints(1, 0, 1))),
    "GatherElements": Sample((PAGE, np.zeros((1, 6), np.int64))),
    "GatherND": Sample((PAGE, np.array([[0, 1], [1, 5]], np.int64))),
    "Compress": Sample((PAGE, np.array([True, False])), {"axis": 0}),
    "TopK": Sample((PAGE, _ints(2)), {"axis": 1}),
    "Unique": Sample(((6,),)),
    "ScatterElements": Sample((PAGE, np.array([[1, 0]], np.int64), (1, 2))),
    "ScatterND": Sample((PAGE, np.array([[1]], np.int64), (1, 6))),
    "TensorScatter": Sample(((2, 3, 4, 5), (2, 3, 1, 5), _ints(1, 2))),
    "OneHot": Sample((_ints(0, 2), np.array(3), (2,))),
    "Conv": Sample((IMAGE, (3, 4, 3, 3)), {"pads": [1, 1, 1, 1]}),
    "ConvTranspose": Sample((IMAGE, (4, 3, 3, 3)), {"pads": [1, 1, 1, 1]}),
    "DeformConv": Sample(((1, 2, 4, 4), np.ones((2, 2, 2, 2)), np.full((1, 8, 3, 3), 0.3), np.zeros(2)), {"kernel_shape": [2, 2]}),
    "Gemm": Sample(((2, 3), (3, 4), np.ones(4))),
    "MatMul": Sample(((2, 3), (3, 4))),
    "Einsum": Sample(((2, 3), (3, 4)), {"equation": "ij,jk->ki"}),
    "BatchNormalization": Sample((IMAGE, np.ones(4), np.ones(4), np.ones(4), np.full(4, 2.0))),
    "DFT": Sample(((1, 8, 1), _ints(8)[0], _ints(1)[0])),
    "STFT": Sample(((1, 16, 1), np.array(4), (8,))),
    "Pad": Sample((PAGE, _ints(0, 1, 0, 2), ())),
    "Resize": Sample((IMAGE, np.zeros(0), np.array([1, 1, 2, 2], np.float32)), {"mode": "linear"}),
    "CumSum": Sample((PAGE, np.array(1, np.int64))),
    "Trilu": Sample(((4, 4),)),
    "CenterCropPad": Sample((PAGE, _ints(4, 4))),
    "RoiAlign": Sample((IMAGE, np.array([[0, 0, 3, 3]], np.float64), _ints(0)), {"output_height": 2, "output_width": 2}),
    "MaxUnpool": Sample(((1, 1, 2, 2), np.array([[[[0, 2], [8, 10]]]], np.int64)), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    **dict.fromkeys(("MaxPool", "AveragePool"), Sample((IMAGE,), KERNEL)),
    "LpPool": Sample((IMAGE,), {**KERNEL, "p": 2}),
    **dict.fromkeys(("GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"), Sample((IMAGE,))),
    "MaxRoiPool": Sample((IMAGE, np.array([[0, 0, 0, 3, 3]], np.float64)), {"pooled_shape": [2, 2]}),
    "InstanceNormalization": Sample((IMAGE, np.ones(4), np.zeros(4))),
    "GroupNormalization": Sample((IMAGE, np.ones(4), np.zeros(4)), {"num_groups": 2}),
    "LRN": Sample((IMAGE,), {"size": 3}),
    "Constant": Sample((), {"value": helper.make_tensor("c", TensorProto.FLOAT, [2], [1.0, -2.0])}),
    "ConstantOfShape": Sample((_ints(2, 3),)),
    "Range": Sample((np.array(0), np.array(5), np.array(2))),
    "EyeLike": Sample(((3, 3),)),
    **dict.fromkeys(("RandomNormalLike", "RandomUniformLike"), Sample(((4, 4),))),
    "Bernoulli": Sample((np.full((4, 4), 0.5),)),
    **dict.fromkeys(("RandomNormal", "RandomUniform"), Sample((), {"shape": [4, 4]})),
    "Multinomial": Sample(((2, 50),), {"sample_size": 40}),
    "NonZero": Sample((PAGE,)),
    "MelWeightMatrix": Sample((np.array(4), np.array(16), np.array(8000), np.array(0.0, np.float32), np.array(4000.0, np.float32))),
    "LSTM": Sample(((3, 2, 4), (1, 8, 4), (1, 8, 2)), {"hidden_size": 2}),
    "GRU": Sample(((3, 2, 4), (1, 6, 4), (1, 6, 2)), {"hidden_size": 2}),
    "RNN": Sample(((3, 2, 4), (1, 2, 4), (1, 2, 2)), {"hidden_size": 2}),
}  # fmt: skip
"""Nodes of operators; those that are not listed are functions of each element, or take one operand."""


BY_ONNX_RUNTIME = frozenset({"MaxRoiPool", "GlobalLpPool", "Multinomial"})
"""Operators that the reference evaluator does not have."""


def sample(op: str, traits: OpTraits | None = None) -> Sample:
    """The node of an operator."""
    facts = traits_of(op) if traits is None else traits
    if op in SAMPLES:
        return SAMPLES[op]
    if facts.reduces:
        axes = {"axis": 1} if op.startswith("Arg") else {}
        return Sample((PAGE,) if axes else (PAGE, _ints(1)), {**AXIS, **axes})
    return Sample((PAGE, PAGE) if facts.elementwise == "all" else (PAGE,))


def draw(given: Sample, random: np.random.Generator) -> list[Array]:
    """Inputs of a node, its operands drawn."""
    return [random.standard_normal(i) if isinstance(i, tuple) else i for i in given.inputs]


def evaluate(op: str, given: Sample, inputs: Sequence[Array]) -> Any:
    """The first result of a node: by the standard's reference evaluator in double precision, where it has the operator."""
    names = [f"x{i}" if x.size or x.dtype != np.float64 else "" for i, x in enumerate(inputs)]
    single = op in BY_ONNX_RUNTIME
    inputs = [x.astype(np.float32) if single and x.dtype == np.float64 else x for x in inputs]
    node = helper.make_node(op, names, ["y"], **given.attributes)
    kinds = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for n, x in zip(names, inputs, strict=True) if n]  # fmt: skip
    graph = helper.make_graph([node], "call", kinds, [onnx.ValueInfoProto(name="y")])
    opset = 21 if single else OPSET
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    if single:
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, dict(zip(names, inputs, strict=True)))[0]
    with np.errstate(all="ignore"):
        return ReferenceEvaluator(model).run(None, {n: x for n, x in zip(names, inputs, strict=True) if n})[0]
