"""Gradients against finite differences: one random direction through the model and one number to compare.

For random v over the sources and u over the targets, the slope of <u, f(x + hv)> at h = 0 must equal <v, gradient>.
Both sides are computed in float64 by onnx's reference evaluator, on the model turned to double precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import onnx

from onnxplain.errors import InputError
from onnxplain.ir.own_kernels import only_written
from onnxplain.ir.registry import Registry
from onnxplain.passes import prepare
from onnxplain.propagation.composite import GRADIENT, Composite
from onnxplain.propagation.vjp import vjp
from onnxplain.verification.reference.evaluator import Evaluator, evaluate_reference

__all__ = ["Comparison", "compare", "double", "float_names", "run", "vector_jacobian_product"]

Array: TypeAlias = "np.ndarray[Any, Any]"
Arrays: TypeAlias = "Mapping[str, Any]"
"""Values by tensor name: arrays, or lists of them for sequences."""

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
"""The types that become double. The 8- and 4-bit floats stay: rounding to them has no slope."""

TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "output_datatype", "softmax_precision")
"""Attributes that hold a data type as a number."""

# operators: the attribute of each that holds a data type
DEFAULT_FLOAT = {
    **dict.fromkeys(("EyeLike", "RandomNormal", "RandomUniform"), "dtype"),
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow"), "output_datatype"),
    "GroupNormalization": "stash_type",
    "SequenceEmpty": "dtype",
    "ConstantOfShape": "value",
}
"""Operators that compute in float32 unless this attribute says otherwise."""


@dataclass(frozen=True)
class Comparison:
    """A slope by finite differences and by the gradient graph.

    `error` is their difference, beyond what rounding explains, relative to the size of the terms summed. `smooth` says
    whether the slope is the same on both sides of the point: on a kink (a tie of two maxima, Relu at 0) there is no
    number to compare with. `cotangents` and `gradients` are what the gradient graph was given and gave.
    """

    numeric: float
    analytic: float
    error: float
    tolerance: float
    smooth: bool
    cotangents: Mapping[str, Array] = field(repr=False, compare=False)
    gradients: Mapping[str, Array] = field(repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether the two agree."""
        return bool(self.error <= self.tolerance)


def compare(
    model: onnx.ModelProto,
    inputs: Arrays,
    sources: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    *,
    seed: int = 0,
    step: float = 2**-20,
    tolerance: float = 1e-6,
    composite: Composite = GRADIENT,
    registry: Registry | None = None,
) -> Comparison:
    """Compare the gradient graph of a model with central differences at one point.

    Args:
        model: any ONNX model; it is copied.
        inputs: a value for each of its inputs.
        sources: the inputs to vary, all floating-point ones by default.
        targets: the outputs to follow, all floating-point ones by default.
        cotangent: chooses the random direction and the random weights of the outputs.
        step: the step, for inputs that are smaller than 1 relative to their size.
        tolerance: the greatest relative error that counts as agreement.
        composite: which rules to check.
        registry: the rules, the package's own by default.

    Raises:
        InputError: the model's outputs are not finite at this point.
    """
    sources = float_names(model.graph.input) if sources is None else sources
    targets = float_names(model.graph.output) if targets is None else targets
    exact = double(model)
    only_written(exact)
    point = {name: _double_value(value) for name, value in inputs.items()}
    generator = np.random.default_rng(seed)
    v = {s: _direction(generator, point[s]) for s in sources}
    forward = Evaluator(exact)
    middle = forward.run(point, targets)
    weights = {t: generator.standard_normal(np.shape(y)) for t, y in zip(targets, middle, strict=True)}
    # Elements that are infinite (masked scores) stay out of it.
    u = {t: np.where(np.isfinite(y), weights[t], 0) for t, y in zip(targets, middle, strict=True)}
    finite = np.isfinite(_flat(middle))
    if finite.size and not finite.any():
        raise InputError("the model's outputs are not finite at this point; check it at another one")

    def outputs(h: float) -> Array:
        moved = {s: point[s] + h * v[s] for s in sources}
        return _flat(forward.run({**point, **moved}, targets) if h else middle)[finite]

    terms, kink = _slope(outputs, step)
    along = _flat([u[t] for t in targets])[finite]
    numeric = float(along @ terms)
    gradients = vector_jacobian_product(exact, point, u, sources, composite=composite, registry=registry)
    analytic = float(sum(np.sum(v[s] * gradients[s]) for s in sources))
    size = max(float(np.linalg.norm(along * terms)), abs(numeric), abs(analytic))
    rounding = 4 * np.finfo(np.float64).eps / step * float(np.linalg.norm(along * _flat(middle)[finite]))
    error = float(np.maximum(abs(numeric - analytic) - rounding, 0)) / max(size, 1e-300)  # np.maximum keeps NaN
    smooth = bool(np.linalg.norm(along * kink) <= 1e-2 * size + 2 * rounding)
    return Comparison(numeric, analytic, error, tolerance, smooth, u, gradients)


def vector_jacobian_product(
    model: onnx.ModelProto,
    inputs: Arrays,
    seeds: Mapping[str, Array],
    sources: Sequence[str],
    *,
    composite: Composite = GRADIENT,
    registry: Registry | None = None,
) -> dict[str, Array]:
    """The vector-Jacobian product of `seeds`, one per target, by our gradient graph in the reference evaluator."""
    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    prepare(graph, registry)
    only_written(graph)
    vjp(graph, sources, list(seeds), composite=composite, registry=registry)
    given = {**inputs, **{f"{t}_seed": u for t, u in seeds.items()}}
    results = run(graph, given, [f"{s}_gradient" for s in sources])
    return dict(zip(sources, results, strict=True))


def run(model: onnx.ModelProto, inputs: Arrays, outputs: Sequence[str]) -> list[Any]:
    """Some outputs of a model by the reference evaluator."""
    return evaluate_reference(model, inputs, list(outputs))


def float_names(values: Iterable[onnx.ValueInfoProto]) -> list[str]:
    """Names of the floating-point tensors among a graph's inputs or outputs."""
    return [v.name for v in values if v.type.HasField("tensor_type") and v.type.tensor_type.elem_type in FLOATS]


def _slope(outputs: Callable[[float], Array], step: float) -> tuple[Array, Array]:
    """The derivative of `outputs(h)` at h = 0, of fourth order in the step, and its jump there."""
    middle, right, left = outputs(0.0), outputs(step), outputs(-step)
    coarse = (right - left) / (2 * step)
    fine = (outputs(step / 2) - outputs(-step / 2)) / step
    return (4 * fine - coarse) / 3, (right - 2 * middle + left) / step


def _direction(generator: np.random.Generator, x: Array) -> Array:
    """A random direction. Its elements have few bits, so that steps along it are exact."""
    size = float(np.sqrt(np.mean(np.square(x)))) if x.size else 1.0
    unit = 2.0 ** np.floor(np.log2(size)) if 0 < size < 1 else 1.0
    return np.asarray(np.round(generator.standard_normal(x.shape) * 256) * (unit / 256))


def _flat(arrays: Sequence[Any]) -> Array:
    return np.concatenate([np.zeros(0), *(np.asarray(a, np.float64).ravel() for a in arrays)])


# -- double precision --------------------------------------------------------------------------------------------------


def double(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model in double precision: inputs, weights, constants and casts."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _double_graph(copy.graph, max((o.version for o in copy.opset_import if o.domain in ("", "ai.onnx")), default=1))
    for function in copy.functions:
        _double_nodes(function.node, max((o.version for o in function.opset_import if not o.domain), default=1))
        for value in function.value_info:
            _double_type(value.type)
    return copy


def _double_graph(graph: onnx.GraphProto, version: int) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info):
        _double_type(value.type)
    for tensor in graph.initializer:
        _double_tensor(tensor)
    for sparse in graph.sparse_initializer:
        _double_tensor(sparse.values)
    _double_nodes(graph.node, version)


def _double_nodes(nodes: Iterable[onnx.NodeProto], version: int) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.name in TYPE_ATTRIBUTES and attribute.i in FLOATS:
                attribute.i = onnx.TensorProto.DOUBLE
            elif attribute.type == onnx.AttributeProto.TENSOR:
                _double_tensor(attribute.t)
            elif attribute.type == onnx.AttributeProto.SPARSE_TENSOR:
                _double_tensor(attribute.sparse_tensor.values)
            elif attribute.type == onnx.AttributeProto.GRAPH:
                _double_graph(attribute.g, version)
            elif attribute.type == onnx.AttributeProto.TYPE_PROTO:
                _double_type(attribute.tp)
        if node.op_type == "Constant" and not node.domain:
            _double_constant(node)
        elif not node.domain and DEFAULT_FLOAT.get(node.op_type, "") not in {"", *(a.name for a in node.attribute)}:
            _default_double(node, version)


def _default_double(node: onnx.NodeProto, version: int) -> None:
    """Write out an attribute whose default means float32."""
    name = DEFAULT_FLOAT[node.op_type]
    if name in onnx.defs.get_schema(node.op_type, version).attributes:
        value = onnx.numpy_helper.from_array(np.zeros(1)) if name == "value" else onnx.TensorProto.DOUBLE
        node.attribute.append(onnx.helper.make_attribute(name, value))


def _double_constant(node: onnx.NodeProto) -> None:
    attribute = node.attribute[0]
    if attribute.name in ("value_float", "value_floats"):
        array = np.asarray(onnx.helper.get_attribute_value(attribute), np.float64)
        attribute.CopyFrom(onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(array)))


def _double_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in FLOATS:
        array = onnx.numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def _double_type(kind: onnx.TypeProto) -> None:
    which = kind.WhichOneof("value")
    if which in ("tensor_type", "sparse_tensor_type"):
        inner = getattr(kind, which)
        if inner.elem_type in FLOATS:
            inner.elem_type = onnx.TensorProto.DOUBLE
    elif which in ("sequence_type", "optional_type"):
        _double_type(getattr(kind, which).elem_type)
    elif which == "map_type":
        _double_type(kind.map_type.value_type)


def _double_value(value: Any) -> Any:
    """An input value in double precision; integers, booleans and strings as they are."""
    if isinstance(value, list | tuple):
        return [_double_value(v) for v in value]
    if value is None:
        return None
    array = np.asarray(value)
    wide = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    return array.astype(np.float64) if wide else array
