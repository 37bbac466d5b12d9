"""Nodes in topological order. The standard asks for it; some converters (ONNX Runtime's float16 one) append theirs at the end,
and ONNX Runtime runs the file all the same."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import onnx

from onnxplain.errors import ModelError
from onnxplain.ir.edit import graphs_in, reads, set_nodes

__all__ = ["sort_nodes"]


def sort_nodes(model: onnx.ModelProto) -> bool:
    """Put every node behind those whose results it reads, in subgraphs too; nodes that may keep their order do.

    Raises:
        ModelError: nodes wait for each other in a cycle.
    """
    done = [_sort(graph) for graph in reversed(graphs_in(model.graph))]  # inner graphs first: sorting one copies those within
    return any(done)


def _sort(graph: onnx.GraphProto) -> bool:
    nodes = list(graph.node)
    makers = {o: i for i, node in enumerate(nodes) for o in node.output if o}
    needs = [{makers[name] for name in reads(node) if name in makers} for node in nodes]
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
    if len(order) < len(nodes):
        raise ModelError(f"{_cycle(nodes, needs)}; ONNX Runtime runs no such file: write it again without the cycle")
    set_nodes(graph, [nodes[i] for i in order])
    return True


def _cycle(nodes: Sequence[onnx.NodeProto], needs: Sequence[set[int]]) -> str:
    """The nodes of a cycle in words: whoever is left waits for somebody who is left too."""
    path = [next(i for i, needed in enumerate(needs) if needed)]
    while path[-1] not in path[:-1]:
        path.append(min(needs[path[-1]]))
    names = [f"{nodes[i].op_type} '{nodes[i].name or nodes[i].output[0]}'" for i in path[path.index(path[-1]) :]]
    shown = names if len(names) < 8 else [*names[:3], "…", *names[-3:]]
    return f"the graph has a cycle: {' needs '.join(shown)}"
