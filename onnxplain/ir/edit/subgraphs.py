"""The graphs within a node or a graph, and what a node reads through them."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

__all__ = ["captures", "defined", "graphs_in", "reads", "subgraphs"]


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs among a node's attributes: the branches of If, the body of Loop and Scan; not those nested deeper."""
    graphs: list[onnx.GraphProto] = []
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            graphs.append(attribute.g)
        graphs += attribute.graphs
    return graphs


def graphs_in(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    """A graph and all graphs nested in it, outer ones before inner ones.

    Whoever writes nodes anew goes through them in reverse: writing a graph's nodes copies the graphs within.
    """
    found = [graph]
    for outer in found:
        found += [inner for node in outer.node for inner in subgraphs(node)]
    return found


def captures(node: onnx.NodeProto) -> list[str]:
    """The names that a node's subgraphs read from outside, in the order of first use; their own names hide outer ones."""
    found: dict[str, None] = {}
    for graph in subgraphs(node):
        own = {v.name for v in graph.input} | _initializers(graph)
        for inner in graph.node:
            found.update((name, None) for name in reads(inner) if name not in own)
            own.update(inner.output)
        found.update((o.name, None) for o in graph.output if o.name not in own)
    return list(found)


def _initializers(graph: onnx.GraphProto) -> set[str]:
    return {t.name for t in graph.initializer} | {s.values.name for s in graph.sparse_initializer}


def reads(node: onnx.NodeProto) -> list[str]:
    """The names that a node reads, each once: its inputs but for those left out, then what its subgraphs capture."""
    return list(dict.fromkeys(name for name in (*node.input, *captures(node)) if name))


def defined(nodes: Iterable[onnx.NodeProto]) -> list[str]:
    """The names that nodes and the graphs within them define; what else they read comes from outside."""
    found: list[str] = []
    for node in nodes:
        found += filter(None, node.output)
        for graph in subgraphs(node):
            found += [*(v.name for v in graph.input), *(t.name for t in graph.initializer), *defined(graph.node)]
    return found
