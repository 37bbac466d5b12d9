"""Inputs made up for a model that comes without any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnxplain.errors import InputError
from onnxplain.ir.graph import Graph

__all__ = ["random_inputs"]


def random_inputs(graph: Graph, seed: int = 0, extents: Mapping[Any, int] | None = None) -> dict[str, np.ndarray[Any, Any]]:
    """Random numbers of the shapes and types a model takes: normal floats, small indices, masks of ones.

    Args:
        graph: of the model.
        seed: chooses the numbers.
        extents: of axes that the model leaves free, by symbol; others become 2 where they come first, 8 elsewhere.

    Raises:
        InputError: an input is text or of unknown rank.
    """
    generator = np.random.default_rng(seed)
    rows = _table_rows(graph)
    result: dict[str, np.ndarray[Any, Any]] = {}
    symbols: dict[Any, int] = dict(extents or {})
    for tensor in graph.inputs:
        if tensor.shape is None or tensor.dtype is None or tensor.dtype.kind in "OUS":
            raise InputError(
                f"input '{tensor.name}' cannot be made up (its shape or type does not say enough); give an input file"
            )
        shape = [d if isinstance(d, int) else symbols.setdefault(d, 2 if axis == 0 else 8) for axis, d in enumerate(tensor.shape)]
        if tensor.is_float:
            result[tensor.name] = generator.standard_normal(shape).astype(tensor.dtype)
        elif tensor.name in rows:
            result[tensor.name] = generator.integers(0, rows[tensor.name], shape).astype(tensor.dtype)
        else:
            result[tensor.name] = np.ones(shape, tensor.dtype)
    return result


def _table_rows(graph: Graph) -> dict[str, int]:
    """For integer inputs that look up tables: how many rows the smallest table has."""
    carried = {t.name: {t.name} for t in graph.inputs if not t.is_float}
    rows: dict[str, int] = {}
    for node in graph.nodes:
        for name, reached in carried.items():
            if not any(t is not None and t.name in reached for t in node.inputs):
                continue
            if node.op == "Gather" and node.x.name not in reached and graph.is_constant(node.x) and node.x.is_float:
                extent = node.x.dim(int(node.get("axis", 0)))
                if isinstance(extent, int):
                    rows[name] = min(rows.get(name, extent), extent)
            reached.update(y.name for y in node.outputs if y is not None and not y.is_float)
    return rows
