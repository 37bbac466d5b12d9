"""Connection weights of perceptrons, read from the graph (Garson, Olden). Nothing is run or perturbed."""

from __future__ import annotations

import numpy as np
import onnx

from onnxplain.errors import MethodError
from onnxplain.ir.node import Node
from onnxplain.ir.ops import standard_traits
from onnxplain.ir.tensor import Tensor
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array, Scorer

__all__ = ["garson_shares", "layer_weights"]


@method(
    "olden",
    summary="Connection weights of a perceptron multiplied along all ways from an input to the output, the same for every sample",
    formula="Σ over hidden units h of w_ih · w_ho",
    source="Olden, Joy, Death 2004, An accurate comparison of methods for quantifying variable importance in ANNs",
    forward_only=True,
)
def olden(context: PerturbationContext) -> PerturbationResult:
    first, *rest = layer_weights(context)
    product = first
    for weights in rest:
        product = product @ weights
    return _at_inputs(context, product)


@method(
    "garson",
    summary="Each input's share of the connection weights of a perceptron, whatever their sign, the same for every sample",
    formula="Σ over hidden units h of |w_ih| / Σ_i |w_ih| · |w_ho|, as a share",
    source="Garson 1991, Interpreting neural-network connection weights; Goh 1995, eq. 4",
    signed=False,
    forward_only=True,
)
def garson(context: PerturbationContext) -> PerturbationResult:
    return _at_inputs(context, garson_shares(layer_weights(context)))


def garson_shares(layers: list[Array]) -> Array:
    """The share of every input in every output, [inputs, outputs]: the columns sum to 1."""
    shares = np.eye(len(layers[0]))
    for weights in layers:
        size = np.abs(weights).sum(axis=0, keepdims=True)
        shares = shares @ (np.abs(weights) / np.where(size > 0, size, 1))
    return shares


def _at_inputs(context: PerturbationContext, table: Array) -> PerturbationResult:
    """What a table [inputs, outputs] says of each sample's target."""
    name, x = next(iter(context.x.items()))
    if table.shape[0] != int(np.prod(x.shape[1:])) or table.shape[1] != int(np.prod(context.prediction.scores.shape[1:])):
        raise MethodError(f"the layers map {table.shape[0]} numbers to {table.shape[1]}, not '{name}' to the explained output")
    read = context.read(table[:, None, None, :], slice(0, context.count))[:, :, 0]
    values = np.broadcast_to(np.moveaxis(read, 0, -1), (context.count, read.shape[-1], len(table)))
    return PerturbationResult({name: values.reshape(*values.shape[:2], *x.shape[1:])})


def layer_weights(context: PerturbationContext) -> list[Array]:
    """The weights [from, to] of every layer, the first first.

    Raises:
        MethodError: several inputs are explained, or the model is no chain of dense layers.
    """
    if len(context.x) != 1:
        raise MethodError(f"connection weights need one input, found {len(context.x)}: {', '.join(context.x)}")
    scorer, source = context.scorer, next(iter(context.x))
    tensor, found = scorer.score.tensor, list[Array]()
    while tensor.name != source:
        node = scorer.graph.producer(tensor)
        if node is None:
            raise MethodError(f"the way from the output ends at '{tensor.name}', not at '{source}': no perceptron")
        live = [t for t in node.inputs if t is not None and not scorer.graph.is_constant(t)]
        if node.op == "Concat" and len(live) == 2 and _is_opposite(scorer, live):  # the two classes of one unit
            found.append(np.array([[-1.0, 1.0]]))
            live = live[1:]
        elif node.op in ("MatMul", "Gemm") and not node.domain:  # operators: dense layers
            found.append(_dense(scorer, node, live))
        elif node.op == "Mul" and len(live) == 2 and (gated := _gated(scorer, live)):  # swish
            live = [gated]
        elif not _is_passed(node, live):
            raise MethodError(
                f"connection weights are those of perceptrons, chains of dense layers: {node} is none; use permutation"
            )
        tensor = live[0]
    if not found:
        raise MethodError("the model has no dense layer whose connection weights could be read")
    return found[::-1]


def _gated(scorer: Scorer, pair: list[Tensor]) -> Tensor | None:
    """The one of two tensors whose sigmoid the other is."""
    for x, gate in (pair, pair[::-1]):
        maker = scorer.graph.producer(gate)
        if maker is not None and maker.op == "Sigmoid" and maker.x.name == x.name:
            return x
    return None


def _is_opposite(scorer: Scorer, pair: list[Tensor]) -> bool:
    """Whether the first of two tensors is the other with its sign turned."""
    maker = scorer.graph.producer(pair[0])
    return maker is not None and maker.op == "Neg" and maker.x.name == pair[1].name


def _is_passed(node: Node, live: list[Tensor]) -> bool:
    """Whether connection weights look past an operator: an activation, the elements as they are, or a constant that is a bias
    or puts the input on a scale."""
    facts = standard_traits(node)
    kept = facts.keeps_order or facts.recodes or facts.of_logits or (node.domain == "ai.onnx.ml" and facts.elementwise)
    return len(live) == 1 and bool(facts.activation or kept or (facts.elementwise == "all" and facts.linear_in))


def _dense(scorer: Scorer, node: Node, live: list[Tensor]) -> Array:
    weight = node.input(1)
    if len(live) != 1 or live[0].name != node.x.name or node.get("transA", 0):
        raise MethodError(f"the weights of {node} are no constant on its right side: no perceptron")
    proto = next(t for t in scorer.graph.model.graph.initializer if t.name == weight.name)
    values = np.asarray(onnx.numpy_helper.to_array(proto, str(scorer.folder or "")), np.float64)
    if values.ndim != 2:
        raise MethodError(f"the weights of {node} have {values.ndim} axes, not 2: no perceptron")
    values = values.T if node.get("transB", 0) else values
    return np.asarray(values * float(node.get("alpha", 1.0)) if node.op == "Gemm" else values)
