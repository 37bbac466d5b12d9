"""Sweep over published architectures: export, explain, compare with autograd in float64; makes docs/model-coverage.md.

`python benchmarks/sweep.py [NAME ...]` needs torch, timm and transformers. Without names every architecture runs; with names
these run and the other rows stay. Nothing is downloaded: the weights are random, the transformers configurations are tiny.
Every architecture runs in a process of its own, under a time limit, so that none stops the others.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib
import io
import json
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "fixtures"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import onnx
import onnx.inliner
import torch
from common.architectures import normal
from common.fixture import Export
from common.torch_tools import export_dynamo, export_legacy
from torch import nn

import onnxplain
from benchmarks.architectures import CASES, Arrays, import_timm, made
from benchmarks.autograd import error, gradient

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "model-coverage.md"
ROWS = ROOT / "out" / "architectures.json"
PACKAGES = ["torch", "timm", "transformers", "onnx", "onnxscript", "onnxruntime", "onnx-graphsurgeon", "numpy"]
SECONDS = 150
"""What one architecture may take."""
AIM = 1e-4
"""Largest relative error that the table is meant to show."""
STEP, MOVES = 1e-6, 12
"""Where an error is larger: how far, relatively, and how often the input is moved to see whether the gradient jumps by itself."""


# -- one row ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One line of the table; `problem` says what went wrong, if anything did."""

    name: str
    family: str
    exporter: str = ""
    before: int = 0
    after: int = 0
    seconds: float = 0.0
    error: float | None = None
    noise: float | None = None
    kink: float | None = None
    problem: str = ""


def export(model: nn.Module, inputs: Arrays) -> tuple[onnx.ModelProto, str]:
    """By the current exporter, with a batch axis if it can; else by the old one."""
    fixed: dict[str, dict[int, str]] = {name: {} for name in inputs}
    attempts: dict[str, Callable[[], Export]] = {
        "dynamo": lambda: export_dynamo(model, inputs, "logits"),
        "dynamo, fixed batch": lambda: export_dynamo(model, inputs, "logits", fixed),
        "legacy": lambda: export_legacy(model, inputs, "logits"),
    }
    reasons: list[str] = []
    for name, attempt in attempts.items():
        found = attempted(attempt)
        if not isinstance(found, str):
            return onnx.inliner.inline_local_functions(found.model), name
        reasons.append(f"{name}: {found}")
    raise RuntimeError("not exported: " + "; ".join(reasons))


def attempted(attempt: Callable[[], Export]) -> Export | str:
    """The export, or what went wrong."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return attempt()
    except Exception as failure:
        return told(failure)


def told(failure: Exception) -> str:
    """An error in one line, without the folders of this machine."""
    words = " ".join(f"{type(failure).__name__}: {failure}".split())
    return re.sub(r"(/[\w.+-]+){2,}/", "…/", words)[:400]


def measure(name: str) -> Row:
    """Export one architecture, explain it and compare."""
    torch.set_num_threads(1)
    row = Row(name, CASES[name].family)
    try:
        model, inputs, embedding = made(CASES[name])
        expected, target = gradient(model, inputs, embedding, torch.float64)
        if not np.isfinite(expected).all() or not np.abs(expected).reshape(len(expected), -1).any(1).all():
            raise ValueError("the reference gradient vanishes or is not finite")
        noise = error(gradient(model, inputs, embedding, torch.float32, target)[0], expected)
        exported, exporter = export(model, inputs)
        row = replace(row, exporter=exporter, before=len(exported.graph.node), noise=noise)
        start = time.process_time()
        explained = onnxplain.rewrite(exported)
        row = replace(row, seconds=time.process_time() - start, after=len(explained.graph.node))
        explanation = onnxplain.Explainer(exported, providers="cpu", threads=1)(inputs, target.tolist())
        row = replace(row, error=error(explanation.attributions[next(iter(inputs))], expected))
        if row.error is not None and not row.error <= AIM:
            near = (gradient(model, inputs, embedding, torch.float64, target, STEP)[0] for _ in range(MOVES))
            row = replace(row, kink=max(error(found, expected) for found in near))
        return row
    except Exception as failure:
        return replace(row, problem=told(failure))


def measure_apart(name: str) -> Row:
    """The same in a process of its own, forked so that the packages are imported once."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=lambda: there.send(measure(name)))
    process.start()
    there.close()
    try:
        if here.poll(SECONDS):
            row: Row = here.recv()
            return row
        return Row(name, CASES[name].family, problem=f"not finished in {SECONDS} s")
    except EOFError:
        process.join()
        return Row(name, CASES[name].family, problem=f"the process ended with status {process.exitcode}")
    finally:
        process.kill()
        process.join()


# -- the table -------------------------------------------------------------------------------------------------------


def line(row: Row) -> str:
    """One line of the table."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.1e}"

    nodes = f"{row.before} → {row.after or '?'}" if row.before else ""
    seconds = f"{row.seconds:.2f}" if row.after else ""
    result = number(row.error) if row.error is not None else row.problem.replace("|", "\\|")
    cells = [row.name, row.family, row.exporter, nodes, seconds, result, number(row.noise), number(row.kink)]
    return f"| {' | '.join(cells)} |"


def page(rows: list[Row], versions: dict[str, str]) -> str:
    """docs/model-coverage.md."""
    errors = {row.name: row.error for row in rows if row.error is not None}
    worst = max(errors, key=errors.__getitem__, default="")
    above = [name for name, value in errors.items() if not value <= AIM]
    failed = [row.name for row in rows if row.error is None]
    waiting = [name for name in CASES if name not in {row.name for row in rows}]
    summary = [
        f"{len(rows)} architectures, {len(errors)} compared, {len(errors) - len(above)} within {AIM:.0e}."
        + (f" Worst: {worst}, {errors[worst]:.1e}." if worst else ""),
        *([f"Above {AIM:.0e}: {', '.join(above)}."] if above else []),
        *([f"Without a number: {', '.join(failed)}."] if failed else []),
        *([f"Not run for this table: {', '.join(waiting)}."] if waiting else []),
    ]
    return "\n".join(
        [
            "# Model coverage",
            "",
            "Made by `python benchmarks/sweep.py`, never by hand. Architectures of timm and transformers, with random",
            "weights and small inputs, exported by PyTorch, explained, and compared with PyTorch's autograd in float64.",
            "Language models are explained at the embedding, from the top word of the last position; all others from",
            "the top output, at their input or embedding.",
            "",
            "*Error* is the largest difference relative to the largest gradient, for the worse of two samples, in float32",
            "on ONNX Runtime. *torch float32* is the same error of PyTorch's own autograd in float32: the noise of the",
            "model itself. Nodes are those of the exported and of the explained graph; seconds are the CPU time of rewriting.",
            f"*Moved*, given where the error exceeds {AIM:.0e}: how much, at most, the float64 gradient itself changes when the",
            f"input is moved at random by {STEP:.0e} of itself, {MOVES} times. Where this is as large as the error, the input",
            "lies at a kink (a ReLU at zero, a tie in a pool, a switch of experts) or where float32 cannot resolve the slope.",
            "",
            *summary,
            "",
            ", ".join(f"{name} {number}" for name, number in versions.items()) + f"; {datetime.date.today().isoformat()}.",
            "",
            "| architecture | from | exporter | nodes | seconds | error | torch float32 | moved |",
            "|---|---|---|---|---|---|---|---|",
            *map(line, rows),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="*", help="; ".join(CASES))
    parser.add_argument("--until", metavar="HH:MM", default="99", help="begin nothing after this time")
    arguments = parser.parse_args()
    if unknown := set(arguments.name) - set(CASES):
        parser.error(f"no such architecture: {', '.join(sorted(unknown))}")
    versions = {"onnxplain": onnxplain.__version__} | {name: version(name) for name in PACKAGES}
    stored = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    kept = stored["rows"] if arguments.name and stored.get("versions") == versions else []
    rows = {row["name"]: Row(**row) for row in kept}
    import_timm()
    importlib.import_module("transformers")
    export_dynamo(nn.Linear(2, 2), {"x": normal(0, 2, 2)}, "y")  # imports the exporter
    for name in arguments.name or CASES:
        if f"{datetime.datetime.now():%H:%M}" >= arguments.until:
            break
        rows[name] = measure_apart(name)
        print(line(rows[name]), flush=True)
        ordered = [rows[key] for key in CASES if key in rows]
        ROWS.parent.mkdir(exist_ok=True)
        ROWS.write_text(json.dumps({"versions": versions, "rows": [asdict(row) for row in ordered]}, indent=1))
        TABLE.write_text(page(ordered, versions))


if __name__ == "__main__":
    main()
