"""The cost of operators, from the file that ONNX Runtime's profiler writes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxplain.ir.ops import traits_of

__all__ = ["costs", "operator_costs"]


def costs(file: Path, skip: int = 0) -> dict[str, dict[str, float]]:
    """Read the cost of each operator from a profile.

    Args:
        file: the file that ONNX Runtime wrote.
        skip: the number of warm-up runs at the beginning, which are not counted.

    Returns:
        By operator, the most expensive first: `seconds` of one run, `share` of the total time, and the number of `nodes`.
    """
    return operator_costs(json.loads(file.read_text(encoding="utf-8")), skip)


def operator_costs(events: Sequence[Mapping[str, Any]], skip: int = 0) -> dict[str, dict[str, float]]:
    """As `costs`, from the profiler's events.

    Args:
        events: the events, in the order of the file.
        skip: as in `costs`.

    Returns:
        As `costs`.
    """
    runs = sorted((e for e in events if e.get("name") == "model_run"), key=lambda e: e["ts"])[skip:]
    if not runs:
        return {}
    begin = runs[0]["ts"]
    spent: dict[str, float] = defaultdict(float)
    nodes: dict[str, set[str]] = defaultdict(set)
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time") or event["ts"] < begin:
            continue
        operator = event["args"]["op_name"]
        if not traits_of(operator).runs_subgraphs:  # the nodes inside are listed themselves
            spent[operator] += event["dur"] / 1e6 / len(runs)
            nodes[operator].add(event["name"])
    total = sum(spent.values()) or 1.0
    ordered = sorted(spent, key=lambda op: -spent[op])
    return {op: {"seconds": spent[op], "share": spent[op] / total, "nodes": len(nodes[op])} for op in ordered}
