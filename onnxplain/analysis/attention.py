"""Self-attention in a graph: the weights with which every token looks at every other, layer by layer."""

from __future__ import annotations

from onnxplain.analysis.lookups import entrances
from onnxplain.errors import MethodError
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node
from onnxplain.ir.tensor import Tensor

__all__ = ["attention_weights", "token_input"]

# operators: what stands between a softmax and the product with values, and leaves weights what they are, or sets some to zero
BETWEEN = ("Cast", "Dropout", "Identity", "Where")


def attention_weights(graph: Graph) -> tuple[Tensor, ...]:
    """The weights of self-attention, [samples, heads, tokens, tokens], in the order of the layers.

    They are what a softmax over its last axis makes, and a product applies to the values. Exporters of PyTorch put zeros in place
    of rows in which everything is masked; the weights are what comes of that.

    Args:
        graph: the model, prepared: fused attention is written out by then.

    Raises:
        MethodError: there is none, or the model has several sequences, as an encoder and a decoder.
    """
    makers = {t.name: node for node in graph.nodes for t in node.outputs if t is not None}
    found = [node.x for node in graph.nodes if node.op == "MatMul" and _is_normalized(makers, node.x)]
    if not found:
        raise MethodError(
            "the model has no self-attention that is written as a softmax [samples, heads, tokens, tokens] and a product with "
            "values; attnlrp explains attention of every form"
        )
    lengths = {t.shape[1] for t in graph.inputs if t.shape is not None and _is_sequence(graph, t)}
    if len(lengths) > 1 or any(_differ(t) for t in found):
        said = " and ".join(map(str, sorted(lengths, key=str))) if len(lengths) > 1 else "its own tokens and others"
        raise MethodError(
            f"attention is between {said}, as of a decoder to an encoder, and a rollout is among the same tokens only; attnlrp "
            "explains such models"
        )
    return tuple(found)


def _is_sequence(graph: Graph, tensor: Tensor) -> bool:
    """Whether an input has an element, or a vector, for every token of a sequence."""
    if tensor.is_float:
        return tensor.rank == 3
    return tensor.rank == 2 and any(e.kind == "embedding" for e in entrances(graph, tensor)[0])


def _differ(weights: Tensor) -> bool:
    """Whether there are surely more keys than queries, or less."""
    queries, keys = (weights.shape or (0, 0, 0, 0))[2:]
    return isinstance(queries, int) and isinstance(keys, int) and queries != keys


def _is_normalized(makers: dict[str, Node], tensor: Tensor) -> bool:
    """Whether a tensor [samples, heads, queries, keys] comes from a softmax over its last axis."""
    if tensor.rank != 4:
        return False
    pending = [tensor]
    while pending:
        node = makers.get(pending.pop().name)
        if node is None or node.domain:
            continue
        if node.op == "Softmax":
            if node["axis"] in (-1, 3):
                return True
        elif node.op in BETWEEN:
            pending += [t for t in node.inputs[1 if node.op == "Where" else 0 :] if t is not None and t.rank == 4]
    return False


def token_input(graph: Graph, inputs: tuple[str, ...]) -> str:
    """The input of tokens: the one named, else the one of integers whose table has most rows, if no other has as many.

    Args:
        graph: the model.
        inputs: those that may be meant, of the score's inputs.

    Raises:
        MethodError: none of them is looked up in a table, or several may be meant.
    """
    rows: dict[str, int] = {}
    for tensor in graph.inputs:
        if tensor.name in inputs and not tensor.is_float and tensor.rank == 2:
            tables = [e.tensor for e in entrances(graph, tensor)[0] if e.kind == "embedding"]
            found = [_rows(graph, table) for table in tables]
            if found:
                rows[tensor.name] = max(found)
    most = [name for name, count in rows.items() if count == max(rows.values())]
    if len(most) == 1:
        return most[0]
    if most:
        raise MethodError(f"{' or '.join(map(repr, most))} may be the tokens: name one by inputs= (--input)")
    raise MethodError("attention is between tokens, and no input of integers [samples, tokens] is looked up in a table")


def _rows(graph: Graph, looked_up: Tensor) -> int:
    """The rows of the table that a tensor was looked up in; 0 where their number is not known."""
    node = graph.producer(looked_up)
    while node is not None and node.op != "Gather" and node.inputs and node.inputs[0] is not None:
        node = graph.producer(node.x)
    extent = node.x.dim(0) if node is not None and node.op == "Gather" and node.x.shape else 0
    return extent if isinstance(extent, int) else 0
