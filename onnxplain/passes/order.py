"""Nodes in topological order. The standard asks for it; some converters (ONNX Runtime's float16 one) append theirs at the end,
and ONNX Runtime runs the file all the same."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import onnx

__all__ = ["sort_nodes"]


def sort_nodes(model: onnx.ModelProto) -> bool:
    """Put every node behind those whose results it reads; nodes that may keep their order do."""
    nodes = model.graph.node
    makers = {o: i for i, node in enumerate(nodes) for o in node.output if o}
    needs = [{makers[name] for name in _reads(node) if name in makers} - {i} for i, node in enumerate(nodes)]
    if all(not needed or max(needed) < i for i, needed in enumerate(needs)):
        return False
    readers: dict[int, list[int]] = {}
    for i, needed in enumerate(needs):
        for maker in needed:
            readers.setdefault(maker, []).append(i)
    ready = [i for i, needed in enumerate(needs) if not needed]
    order: list[int] = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for reader in readers.get(i, ()):
            needs[reader].discard(i)
            if not needs[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):  # a cycle: left for the checks behind to name
        return False
    kept = [nodes[i] for i in order]
    del nodes[:]
    nodes.extend(kept)
    return True


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Every name that a node reads; those local to its subgraphs do no harm."""
    yield from node.input
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield from (o.name for o in attribute.g.output)
            for inner in attribute.g.node:
                yield from _reads(inner)
