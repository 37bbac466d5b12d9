"""Connection weights of perceptrons, read from the graph (Garson, Olden). Nothing is run or perturbed."""

from __future__ import annotations

import numpy as np
import onnx

from onnxplain.errors import MethodError
from onnxplain.ir.node import Call
from onnxplain.ir.tensor import Tensor
from onnxplain.method.blackbox.task import Found, Task
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array, Forward

__all__ = ["garson_shares", "layer_weights"]

ACTIVATIONS = frozenset(
    """Cast Celu Clip Dropout Elu Erf Gelu HardSigmoid HardSwish Identity LeakyRelu LogSoftmax Mish Relu Selu Sigmoid Softmax
    Softplus Softsign Swish Tanh ThresholdedRelu Flatten Reshape Squeeze""".split()
)
"""Operators between layers of weights: connection weights look past them."""

SHIFTS = frozenset(("Add", "Sub", "Mul", "Div"))
"""Operators that, with a constant, are a bias or put the input on a scale: connection weights are those behind the scale."""


@method(
    "olden",
    summary="Connection weights of a perceptron multiplied along all ways from an input to the output, the same for every sample",
    formula="Σ over hidden units h of w_ih · w_ho",
    source="Olden, Joy, Death 2004, An accurate comparison of methods for quantifying variable importance in ANNs",
    forward_only=True,
)
def olden(task: Task) -> Found:
    first, *rest = layer_weights(task)
    product = first
    for weights in rest:
        product = product @ weights
    return _at_inputs(task, product)


@method(
    "garson",
    summary="Each input's share of the connection weights of a perceptron, whatever their sign, the same for every sample",
    formula="Σ over hidden units h of |w_ih| / Σ_i |w_ih| · |w_ho|, as a share",
    source="Garson 1991, Interpreting neural-network connection weights; Goh 1995, eq. 4",
    signed=False,
    forward_only=True,
)
def garson(task: Task) -> Found:
    return _at_inputs(task, garson_shares(layer_weights(task)))


def garson_shares(layers: list[Array]) -> Array:
    """The share of every input in every output, [inputs, outputs]: the columns sum to 1."""
    shares = np.eye(len(layers[0]))
    for weights in layers:
        size = np.abs(weights).sum(axis=0, keepdims=True)
        shares = shares @ (np.abs(weights) / np.where(size > 0, size, 1))
    return shares


def _at_inputs(task: Task, table: Array) -> Found:
    """What a table [inputs, outputs] says of each sample's target."""
    name, x = next(iter(task.x.items()))
    if table.shape[0] != int(np.prod(x.shape[1:])) or table.shape[1] != int(np.prod(task.prediction.scores.shape[1:])):
        raise MethodError(f"the layers map {table.shape[0]} numbers to {table.shape[1]}, not '{name}' to the explained output")
    read = task.read(table[:, None, None, :], slice(0, task.count))[:, :, 0]
    values = np.broadcast_to(np.moveaxis(read, 0, -1), (task.count, read.shape[-1], len(table)))
    return Found({name: values.reshape(*values.shape[:2], *x.shape[1:])})


def layer_weights(task: Task) -> list[Array]:
    """The weights [from, to] of every layer, the first first.

    Raises:
        MethodError: several inputs are explained, or the model is no chain of dense layers.
    """
    if len(task.x) != 1:
        raise MethodError(f"connection weights need one input, found {len(task.x)}: {', '.join(task.x)}")
    forward, source = task.forward, next(iter(task.x))
    tensor, found = forward.score.tensor, list[Array]()
    while tensor.name != source:
        call = forward.graph.producer(tensor)
        if call is None:
            raise MethodError(f"the way from the output ends at '{tensor.name}', not at '{source}': no perceptron")
        live = [t for t in call.inputs if t is not None and not forward.graph.is_constant(t)]
        if call.op == "Concat" and len(live) == 2 and _is_opposite(forward, live):  # the two classes of one unit
            found.append(np.array([[-1.0, 1.0]]))
            live = live[1:]
        elif call.op in ("MatMul", "Gemm") and not call.domain:
            found.append(_dense(forward, call, live))
        elif call.op == "Mul" and len(live) == 2 and (gated := _gated(forward, live)):  # swish
            live = [gated]
        elif not _is_passed(call, live):
            raise MethodError(
                f"connection weights are those of perceptrons, chains of dense layers: {call} is none; use permutation"
            )
        tensor = live[0]
    if not found:
        raise MethodError("the model has no dense layer whose connection weights could be read")
    return found[::-1]


def _gated(forward: Forward, pair: list[Tensor]) -> Tensor | None:
    """The one of two tensors whose sigmoid the other is."""
    for x, gate in (pair, pair[::-1]):
        maker = forward.graph.producer(gate)
        if maker is not None and maker.op == "Sigmoid" and maker.x.name == x.name:
            return x
    return None


def _is_opposite(forward: Forward, pair: list[Tensor]) -> bool:
    """Whether the first of two tensors is the other with its sign turned."""
    maker = forward.graph.producer(pair[0])
    return maker is not None and maker.op == "Neg" and maker.x.name == pair[1].name


def _is_passed(call: Call, live: list[Tensor]) -> bool:
    plain = not call.domain and (call.op in ACTIVATIONS or call.op in SHIFTS)
    return len(live) == 1 and (plain or (call.domain == "ai.onnx.ml" and call.op in ("Scaler", "Imputer")))


def _dense(forward: Forward, call: Call, live: list[Tensor]) -> Array:
    weight = call.input(1)
    if len(live) != 1 or live[0].name != call.x.name or call.get("transA", 0):
        raise MethodError(f"the weights of {call} are no constant on its right side: no perceptron")
    proto = next(t for t in forward.graph.model.graph.initializer if t.name == weight.name)
    values = np.asarray(onnx.numpy_helper.to_array(proto, str(forward.folder or "")), np.float64)
    if values.ndim != 2:
        raise MethodError(f"the weights of {call} have {values.ndim} axes, not 2: no perceptron")
    values = values.T if call.get("transB", 0) else values
    return np.asarray(values * float(call.get("alpha", 1.0)) if call.op == "Gemm" else values)
