"""docs/deployed.md, from what benchmarks/deployed.py measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["page"]

Row = Mapping[str, Any]
LRP = "lrp-epsilon-plus"

LONGEST = 300
"""Letters of a message that are shown."""

HEAD = (
    "file", "nodes", "prediction", "not optimized", "gradient error", "relevance", "path gap", "DeepLIFT gap",
    "forward, ms", "gradient", LRP, "deeplift",
)  # fmt: skip


INTRODUCTION = f"""\
# Deployed files

Made by `python benchmarks/deployed.py CACHE`, never by hand: trained files that packages of PyPI and npm ship. None of them was
made here or is kept here. Each distinct file is rewritten and measured at random inputs of its declared shapes, two samples where
it takes so many.

- *prediction*: the largest difference between the explained file's own outputs and the original's, relative to the largest number
  of the output (to 1 for probabilities), both as ONNX Runtime optimizes them. *not optimized*: both without its optimizations.
- *gradient error*: the gradient of the top predictions against central differences of the original file in float32, relative to
  the gradient: of four directions the one furthest beyond what the differences are certain to (±).
- *relevance*: of `{LRP}`, as shares of the score, what reaches the inputs, what biases keep, and the rest, which rules that
  do not conserve lose (softmax, norms, products of what is explained).
- *path gap*: what integrated gradients (from zero, 50 steps) sum to beyond the change of the score, as a share of it; the
  quadrature's shrinks with more steps (→ 200). *DeepLIFT gap*: the same for DeepLIFT, which integrates nothing.
- Times are those of one sample; methods are given in forward runs, measured in turns.
"""


def page(rows: Sequence[Row], about: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """The whole page."""
    served = [row for row in rows if "error" in _step(row, "gradient") or "reason" in _step(row, "gradient")]
    relevant = [row for row in rows if "lost" in _step(row, LRP)]
    return "\n".join(
        [
            INTRODUCTION,
            f"{len(rows)} distinct files: {len(served)} get a gradient, {len(relevant)} relevance.",
            "",
            f"{about['processor']}, {about['cores']} cores, {about['threads']} threads; "
            + ", ".join(f"{name} {number}" for name, number in versions.items())
            + f"; {about['date']}.",
            "",
            f"| {' | '.join(HEAD)} |",
            "|---|" + "---:|" * (len(HEAD) - 1),
            *(f"| {' | '.join(_cells(row))} |" for row in rows),
            "",
            "## What did not work",
            "",
            *(_failures(rows) or ["Everything did."]),
            "",
            "## The packages",
            "",
            "| package | licence | files |",
            "|---|---|---|",
            *_packages(rows),
            "",
        ]
    )


def _step(row: Row, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = row["steps"].get(name, {})
    return found


def _cells(row: Row) -> list[str]:
    compared, times = _step(row, "gradient"), _step(row, "times")
    error = _number(compared.get("error"))
    if error:
        error = f"{error} ± {_number(compared['certain'])}"
    return [
        row["name"],
        str(_step(row, "inputs").get("nodes", "")),
        _number(_step(row, "prediction").get("optimized")),
        _number(_step(row, "prediction").get("plain")),
        error or _sign(compared),
        _shares(_step(row, LRP)),
        *(_gap(_step(row, name)) for name in ("integrated-gradients", "deeplift")),
        *(f"{times[key]:.3g}" if key in times else "" for key in ("forward, ms", "gradient", LRP, "deeplift")),
    ]


def _number(value: float | None) -> str:
    return "" if value is None else "0" if value == 0 else f"{value:.1e}"


def _shares(step: Row) -> str:
    """Where relevance went."""
    if "lost" not in step:
        return _sign(step)
    rest = 1 - step["inputs"] - step["biases"]
    return " / ".join(f"{share:.2g}" for share in (step["inputs"], step["biases"], rest if abs(rest) > 5e-4 else 0.0))


def _gap(step: Row) -> str:
    if "gap" not in step:
        return _sign(step)
    return _number(step["gap"]) + (f" → {_number(step['finer'])}" if "finer" in step else "")


def _sign(step: Mapping[str, Any]) -> str:
    """What stands where a number is missing."""
    return "refused" if "refused" in step else "failed" if "problem" in step else "not compared" if "reason" in step else ""


def _failures(rows: Sequence[Row]) -> list[str]:
    """A line for every message, with the steps that gave it."""
    lines = []
    for row in rows:
        said: dict[str, list[str]] = {}
        for name, found in row["steps"].items():
            text = found.get("problem") or found.get("reason")
            if text:
                said.setdefault(text, []).append(name)
        lines += [f"- {row['name']}, {', '.join(names)}: {_plain(text)}" for text, names in said.items()]
    return lines


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is, its beginning where it is long."""
    short = text if len(text) <= LONGEST else f"{text[:LONGEST].rpartition(' ')[0]} …"
    return short.replace("|", "\\|").replace("<", "\\<")


def _packages(rows: Sequence[Row]) -> list[str]:
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        key = row["package"], row["licence"]
        counts[key] = counts.get(key, 0) + 1
    return [f"| {package} | {licence} | {count} |" for (package, licence), count in counts.items()]
