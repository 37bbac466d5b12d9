"""docs/speed.md from the results: tables between marks in the page, and the plot beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from speed_plan import ALL, NETS, SINGLE, Goal, goal_of, key_of, method_of

from onnxplain.bench.spread import Spread, ratio

__all__ = ["tables", "write_page"]

Results = Mapping[str, Any]

NAMES = {
    "torch": "PyTorch autograd", "compile": "torch.compile", "captum": "Captum", "zennit": "Zennit", "lxt": "LXT",
    "onnx-ad": "onnx-ad", SINGLE: SINGLE,
}  # fmt: skip
"""Tools as they stand in the tables."""

TARGETS = {
    ("captum", "gradient"): "Captum Saliency", ("captum", "integrated-gradients"): "Captum IntegratedGradients",
    ("captum", "smoothgrad"): "Captum NoiseTunnel", ("captum", "lrp-epsilon"): "Captum LRP",
    ("zennit", "lrp-epsilon-plus"): "Zennit EpsilonPlus", ("zennit", "lrp-epsilon-gamma-box"): "Zennit EpsilonGammaBox",
    ("zennit", "lrp-epsilon-alpha2-beta1"): "Zennit EpsilonAlpha2Beta1", ("zennit", "lrp-epsilon"): "Zennit, ε everywhere",
    ("zennit", "lrp-alpha2-beta1"): "Zennit, αβ everywhere", ("lxt", "attnlrp"): "LXT AttnLRP",
}  # fmt: skip
"""Classes of the tools, by method."""


def write_page(results: Results, page: Path) -> None:
    """Write the generated blocks of the page anew, and the plot beside it."""
    text = page.read_text(encoding="utf-8")
    for name, block in tables(results).items():
        pattern = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{page} has no block '{name}'")
        text = pattern.sub(lambda found, block=block: f"{found[1]}{block}\n{found[2]}", text)
    page.write_text(text, encoding="utf-8")
    if any(r["method"] == "gradient" for r in results.values()):
        from speed_plot import plot

        plot(results, page.with_suffix(".png"))


def tables(results: Results) -> dict[str, str]:
    """The generated blocks by name."""
    records = [results[c.key] for c in ALL if c.key in results]
    case = ("model", "method", "batch")
    return {
        "conditions": conditions(records),
        "goals": goals(records),
        "forward": table((*case, "forward, ms", "explained, ms", "ratio", "goal", ""), forward(records)),
        "peers": table((*case, "tool", "its ms", "ours, ms", "times faster", "numbers apart", "goal", ""), peers(records)),
        "memory": table((*case, "forward, MB", "explained, MB", "ratio", "goal", "", "larger file", ""), memory(records)),
        "missing": missing(records),
    }


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """Markdown; words to the left, numbers to the right."""
    words = ("model", "method", "tool", "goal", "")
    lines = [f"| {' | '.join(head)} |", "|" + "".join("---|" if name in words else "---:|" for name in head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def judged(goal: Goal | None, value: float) -> tuple[str, str]:
    """A goal and whether it is met; both empty where there is none."""
    return ("", "") if goal is None else (goal.text, "met" if goal.met(value) else "**not met**")


def ms(seconds: list[float]) -> str:
    """The median, in milliseconds."""
    return f"{1e3 * Spread.of(seconds).median:.3g}"


def forward(records: list[Any]) -> Iterator[tuple[str, ...]]:
    """A row per case: the explained file against the model."""
    for r in records:
        found = ratio(r["seconds"]["onnxplain"], r["seconds"]["forward"])
        goal = goal_of(r["model"], r["method"], r["batch"], "forward")
        times = ms(r["seconds"]["forward"]), ms(r["seconds"]["onnxplain"])
        yield (r["model"], method_of(r), str(r["batch"]), *times, str(found), *judged(goal, found.median))


def peers(records: list[Any]) -> Iterator[tuple[str, ...]]:
    """A row per case and tool that computed the same."""
    for r in records:
        for tool in (t for t in NAMES if t in r["seconds"]):
            mine, seconds = r["seconds"]["onnxplain"], r["seconds"][tool]
            goal = goal_of(r["model"], r["method"], r["batch"], tool)
            # What a path method is held against is a cost of our own: the ratio is turned for the judgement only.
            judge = ratio(mine, seconds) if tool == SINGLE else ratio(seconds, mine)
            name = TARGETS.get((tool, r["method"]), NAMES[tool])
            yield (r["model"], method_of(r), str(r["batch"]), name, ms(seconds), ms(mine), str(ratio(seconds, mine)),
                   difference(r, tool), *judged(goal, judge.median))  # fmt: skip


def difference(record: Any, tool: str) -> str:
    """How far the numbers are apart, or why they cannot be compared."""
    if tool == SINGLE:
        return ""
    found = record["difference"].get(tool)
    return "own random draws" if found is None else f"{found:.0e}"


def memory(records: list[Any]) -> Iterator[tuple[str, ...]]:
    """A row per case."""
    for r in records:
        held, size = r["memory"], r["size"]
        found, larger = held["onnxplain"] / held["forward"], size["onnxplain"] / size["forward"]
        goal, limit = (goal_of(r["model"], r["method"], r["batch"], "forward", what) for what in ("memory", "size"))
        yield (r["model"], method_of(r), str(r["batch"]), f"{held['forward'] / 1e6:.0f}", f"{held['onnxplain'] / 1e6:.0f}",
               f"{found:.2f}", *judged(goal, found), f"{larger - 1:.1%}", judged(limit, larger)[1])  # fmt: skip


def goals(records: list[Any]) -> str:
    """How many of the ratios that have a goal meet it, and each that does not."""
    met, lost = 0, []
    for kind, rows in (("against the forward run", forward(records)), ("against", peers(records)), ("memory", memory(records))):
        for row in rows:
            verdicts = [cell for cell in row if cell in ("met", "**not met**")]
            met += verdicts.count("met")
            if "**not met**" in verdicts:
                where = f"{row[0]}, {row[1]}, batch {row[2]}"
                lost.append(f"- {where}: {described(kind, row)}")
    total = met + len(lost)
    return "\n".join([f"{met} of {total} ratios with a goal meet it." + (" Not met:" if lost else ""), "", *lost]).rstrip()


def described(kind: str, row: tuple[str, ...]) -> str:
    """One ratio in words."""
    if kind == "against":
        return (
            f"{row[6]} times faster than {row[3]}; goal {row[8]}"
            if row[3] != SINGLE
            else f"{row[5]} ms against {row[4]} ms for {SINGLE}"
        )
    if kind == "memory":
        parts = [f"memory × {row[5]}, goal {row[6]}"] if row[7] == "**not met**" else []
        return "; ".join(parts + ([f"file larger by {row[8]}, goal ≤ 5%"] if row[9] == "**not met**" else []))
    return f"{row[5]} × the forward run; goal {row[6]}"


def missing(records: list[Any]) -> str:
    """What tools could not do, in their own words."""
    rows = [(r, tool, r["failed"][tool]) for r in records for tool in NAMES if tool in r["failed"]]
    if not rows:
        return "\n\n".join(["Every tool took every model it was asked for.", *unmeasured(records)])
    lines = (
        f"| {r['model']} | {method_of(r)} | {r['batch']} | {TARGETS.get((tool, r['method']), NAMES[tool])} | {escaped(text)} |"
        for r, tool, text in rows
    )
    told = "\n".join(["| model | method | batch | tool | what it says |", "|---|---|---:|---|---|", *lines])
    return "\n\n".join([told, *unmeasured(records)])


def unmeasured(records: list[Any]) -> Iterator[str]:
    """What the plan holds and the results do not: whole cases, then tools."""
    done = {key_of(r): {*r["seconds"], *r["failed"]} for r in records}
    cases, tools = [], []
    for case in ALL:
        name = f"{case.model} {method_of(vars(case))} batch {case.batch}"
        found = done.get(case.key)
        if found is None:
            cases.append(name)
        else:
            tools += [f"{NAMES[tool]} on {name}" for tool in case.peers if tool not in found]
    yield from (f"Not measured yet: {', '.join(listed)}." for listed in (cases, tools) if listed)


def escaped(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")[:240]


def conditions(records: list[Any]) -> str:
    """Machine, versions and dates, of all records."""
    if not records:
        return "Nothing was measured yet."
    machines = sorted({f"{r['machine']['processor']}, {r['machine']['cores']} cores, {r['threads']} threads" for r in records})
    found: dict[str, set[str]] = {}
    for r in records:
        for name, number in r["versions"].items():
            found.setdefault(name, set()).add(number)
    listed = ", ".join(f"{name} {' and '.join(sorted(numbers))}" for name, numbers in sorted(found.items()))
    dates = sorted({r["date"] for r in records})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    rounds = sorted({len(r["seconds"]["onnxplain"]) for r in records})
    return f"{'; '.join(machines)}; float32. {listed}. {when}; {rounds[0]} to {rounds[-1]} rounds."


assert set(NETS) <= {c.model for c in ALL}
