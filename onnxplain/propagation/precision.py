"""Half-precision models propagated in float32.

All tensors that carry messages are computed a second time, in float32, and the backward pass goes through those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import onnx

from onnxplain.analysis.liveness import liveness
from onnxplain.builder.builder import Builder
from onnxplain.ir.node import Node, Subgraph
from onnxplain.ir.ops import standard_traits
from onnxplain.ir.tensor import Tensor, is_float

__all__ = ["in_float32", "is_half"]

FLOAT32 = np.dtype(np.float32)

HALVES = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


def is_half(tensor: Tensor | None) -> bool:
    """Whether this is a float16 or bfloat16 tensor."""
    return tensor is not None and tensor.dtype is not None and is_float(tensor.dtype) and tensor.dtype.itemsize == 2


def in_float32(
    b: Builder,
    nodes: Sequence[Node],
    sources: Sequence[Tensor],
    targets: Iterable[Tensor],
    role: Callable[[Node], str],
) -> tuple[Sequence[Node], dict[Tensor, Tensor]]:
    """The nodes between sources and targets in float32, and what each half-precision tensor became.

    Where nothing is in half precision these are the nodes themselves. Casts to half precision become the identity; weights
    are cast, which ONNX Runtime does once when it loads the file. Nodes keep their names. Comparisons and their like, which
    belong to functions of one tensor (x · [x > 0]), are made again beside them.
    """
    live = liveness(nodes, sources, targets, role).nodes
    if not any(is_half(t) for node in live for t in (*node.reads, *node.outputs)):
        return nodes, {}
    became: dict[Tensor, Tensor] = {}
    made: list[Node] = []
    with b.scope("onnxplain/float32"):
        for node in _with_conditions(nodes, live, sources):
            became.update({t: _cast(b, t) for t in node.reads if t is not None and is_half(t) and t not in became})
            inputs = [t if t is None else became.get(t, t) for t in node.inputs]
            copy = b.replay(_wide_call(node), inputs, {t: became.get(t, t) for t in node.captures})
            copy = replace(copy, captures=tuple(became.get(t, t) for t in node.captures), needs_grad=())
            became.update({old: new for old, new in zip(node.outputs, copy.outputs, strict=True) if old and new and old != new})
            made.append(copy)
        became.update({t: _cast(b, t) for t in (*sources, *targets) if is_half(t) and t not in became})
    return made, became


def _with_conditions(nodes: Sequence[Node], live: Sequence[Node], sources: Iterable[Tensor]) -> list[Node]:
    """Live nodes, and the functions of each element beside the way through which what they make comes back to them."""
    on_the_way = {_key(node): node for node in live}
    wanted = {t.name for node in live for t in node.reads if t is not None}
    aside: set[str] = set()
    for node in reversed(nodes):
        if _key(node) in wanted and _key(node) not in on_the_way and standard_traits(node).elementwise:
            aside.add(_key(node))
            wanted.update(t.name for t in node.reads if t is not None)
    fresh, found = {t.name for t in sources}, []
    for node in nodes:
        follows = _key(node) in aside and any(t is not None and t.name in fresh for t in node.reads)
        if follows or _key(node) in on_the_way:
            found.append(on_the_way.get(_key(node), node))
            fresh.update(t.name for t in node.outputs if t is not None)
    return found


def _key(node: Node) -> str:
    """The name of a node's first result that is not left out."""
    return next((t.name for t in node.outputs if t is not None), "")


def _cast(b: Builder, tensor: Tensor) -> Tensor:
    """A tensor in float32; small constants are constants again, so that what is looked up of them is known."""
    values = b.value(tensor)
    if values is not None:
        return b.const(values.astype(FLOAT32), FLOAT32)
    return b.Cast(tensor, to=onnx.TensorProto.FLOAT)


def _wide(tensor: Tensor) -> Tensor:
    return replace(tensor, dtype=FLOAT32) if is_half(tensor) else tensor


def _wide_call(node: Node) -> Node:
    """The node with float32 where it has half precision, in its subgraphs too."""
    outputs = tuple(t if t is None else _wide(t) for t in node.outputs)
    if node.op == "Cast" and not node.domain and node["to"] in HALVES:
        if is_float(node.x.dtype or FLOAT32):
            return replace(node, op="Identity", attributes={}, inputs=node.inputs[:1], outputs=outputs)
        return replace(node, attributes={**node.attributes, "to": onnx.TensorProto.FLOAT}, outputs=outputs)
    attributes = {k: _wide_graph(v) if isinstance(v, Subgraph) else v for k, v in node.attributes.items()}
    return replace(node, inputs=tuple(t if t is None else _wide(t) for t in node.inputs), outputs=outputs, attributes=attributes)


def _wide_graph(graph: Subgraph) -> Subgraph:
    inputs, outputs = (tuple(_wide(t) for t in tensors) for tensors in (graph.inputs, graph.outputs))
    return Subgraph(inputs, outputs, tuple(_wide_call(node) for node in graph.nodes))
