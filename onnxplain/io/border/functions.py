"""Functions that end: none calls itself, and written out they are not more than can be handled."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from onnxplain.errors import ModelError
from onnxplain.ir.edit import subgraphs

__all__ = ["MOST_NODES", "check_functions"]

MOST_NODES = 200_000
"""Nodes that a model may have once its functions are written out where they are called."""

Key = tuple[str, str, str]
"""Domain, name and overload of a function."""


def check_functions(model: onnx.ModelProto, name: str) -> None:
    """Check that the functions of a model can be written out.

    Raises:
        ModelError: a function calls itself, one name stands for two, or more than `MOST_NODES` nodes would result.
    """
    functions = {_key(f): f for f in model.functions}
    if len(functions) < len(model.functions):
        raise ModelError(f"{name} is damaged: two functions have one name; export it again")
    sizes: dict[Key, int] = {}
    open_ones: list[Key] = []

    def size(nodes: Iterable[onnx.NodeProto]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            total += function_size(key) if key in functions else 1
            total += sum(size(graph.node) for graph in subgraphs(node))
        return total

    def function_size(key: Key) -> int:
        if key in open_ones:
            circle = " → ".join(k[1] for k in (*open_ones[open_ones.index(key) :], key))
            raise ModelError(f"{name} has a function that calls itself: {circle[:200]}; ONNX allows none")
        if key not in sizes:
            if len(open_ones) > 200:
                raise ModelError(f"{name} has functions that call each other more than 200 deep; export it without functions")
            open_ones.append(key)
            sizes[key] = size(functions[key].node)
            open_ones.pop()
        return sizes[key]

    total = size(model.graph.node)
    if functions and total > MOST_NODES:
        raise ModelError(
            f"{name} has {total:,} nodes once its functions are written out, more than {MOST_NODES:,}; export it without them"
        )


def _key(function: onnx.FunctionProto) -> Key:
    return function.domain, function.name, function.overload
