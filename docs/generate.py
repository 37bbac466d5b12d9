"""Write the tables of the pages in docs/ from what they describe, so that they cannot drift:
`python docs/generate.py [--check]`."""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import contract
import house
import reference

from onnxplain.evaluation.metric import FAMILIES, NEEDS, all_metrics
from onnxplain.evaluation.metrics._replacing import REPLACEMENTS
from onnxplain.explain.catalog import HOW, coverage
from onnxplain.ir.registry import load_registry
from onnxplain.method.composite_file import RULES, rule_settings
from onnxplain.method.registry import all_methods

ROOT = Path(__file__).resolve().parent.parent


def methods() -> str:
    """One row per method."""
    rows = ["| method | attribution | what it tells | source |", "|---|---|---|---|"]
    for m in all_methods().values():
        formula = m.formula.replace("|", "\\|")
        authors = re.match(r"(.*? \d{4})", m.source)  # the title is in `onnxplain methods NAME`
        rows.append(f"| `{m.name}` | {formula} | {m.summary} | {authors[1] if authors else m.source} |")
    return "\n".join(rows)


def operators() -> str:
    """One row per way an operator is served and domain."""
    groups: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in coverage(load_registry()):
        groups[row.how, row.domain].add(row.operator)
    total = len({(domain, op) for (_, domain), ops in groups.items() for op in ops})
    head = [f"{total} operators can lie on the way from the target to the input:", "", "| served by | domain | operators |"]
    rows = [
        f"| {meaning} | `{domain}` | {' '.join(sorted(groups[how, domain]))} |"
        for how, meaning in HOW.items()
        for domain in sorted({d for h, d in groups if h == how})
    ]
    return "\n".join([*head, "|---|---|---|", *rows])


def rules() -> str:
    """One row per relevance rule that a composite's file can name."""
    rows = ["| rule | settings | share | source |", "|---|---|---|---|"]
    for name, make in RULES.items():
        made = make()
        settings = ", ".join(f"`{s}`" for s in rule_settings(name)) or "-"
        rows.append(f"| `{name}` | {settings} | {getattr(made, 'formula', '')} | {getattr(made, 'source', '')} |")
    return "\n".join(rows)


def metrics() -> str:
    """A table per family, a row per metric."""
    arrows = {"higher": "↑", "lower": "↓"}
    blocks = []
    for family in FAMILIES:
        rows = [
            f"| `{m.name}` {arrows[m.better]} | {_cell(m.formula)} | {_cell(m.summary)} | {', '.join(sorted(m.needs)) or '-'} "
            f"| {_cell(m.source)} |"
            for m in all_metrics().values()
            if m.family == family
        ]
        if rows:
            head = [
                f"### {family.capitalize()}",
                "",
                "| metric | definition | what it tells | needs | source |",
                "|---|---|---|---|---|",
            ]
            blocks.append("\n".join([*head, *rows]))
    needed = [f"- `{name}`: {text}" for name, text in NEEDS.items() if any(name in m.needs for m in all_metrics().values())]
    return "\n\n".join(["↑ more is better, ↓ less is better. What a metric needs:", "\n".join(needed), *blocks])


def replacements() -> str:
    """One row per way to replace a removed feature."""
    return "\n".join(
        ["| replace | what takes its place |", "|---|---|", *(f"| `{k}` | {_cell(v)} |" for k, v in REPLACEMENTS.items())]
    )


def tree_speed() -> str:
    """One row per ensemble of trees that `benchmarks/trees.py` measured."""
    rows = [
        "| ensemble | trees × depth, columns | rows, background, threads | against a background | shap | | along paths | shap | "
        "| the library | | written in | file |",
        "|" + "---|" * 13,
    ]

    def beside(found: dict[str, Any], ours: str, theirs: str) -> list[str]:
        if theirs not in found:
            return ["", ""]
        return [_microseconds(found[theirs]), f"{found[theirs] / found[ours]:.1f} ×"]

    for found in json.loads((ROOT / "docs" / "trees.json").read_text(encoding="utf-8")):
        cells = [
            found["kind"],
            f"{found['trees']} × {found['depth']}, {found['features']}",
            f"{found['rows']:,}, {found['background']:,}, {found['threads']}",
            _microseconds(found["interventional"]),
            *beside(found, "interventional", "shap, interventional"),
            _microseconds(found["path-dependent"]),
            *beside(found, "path-dependent", "shap, path-dependent"),
            *beside(found, "path-dependent", "own, path-dependent"),
            f"{found['interventional, written']:.1f} s",
            f"{found['interventional, megabytes']:.1f} MB",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _microseconds(value: float) -> str:
    return f"{value:,.0f} µs" if value >= 10 else f"{value:.1f} µs"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "docs/methods.md": {"methods": methods},
    "docs/operators.md": {"operators": operators},
    "docs/lrp.md": {"rules": rules},
    "docs/evaluation.md": {"replacements": replacements, "metrics": metrics},
    "docs/contract.md": {"example": contract.example, "members": contract.members},
    "docs/trees.md": {"speed": tree_speed},
    "docs/api.md": {"names": reference.names},
    "docs/cli.md": {"commands": reference.commands},
    "docs/architecture.md": {"layers": house.layers, "packages": house.tree_table},
}
"""The generated blocks of each page."""


def updated(page: str, text: str) -> str:
    """The page with every generated block made anew."""
    for name, make in PAGES[page].items():
        pattern = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{page} has no block '{name}'")
        block = make()
        text = pattern.sub(lambda found, block=block: f"{found[1]}{block}\n{found[2]}", text)
    return text


def main() -> None:
    """Write the pages, or with --check fail where one is out of date."""
    for page in PAGES:
        before = (ROOT / page).read_text(encoding="utf-8")
        after = updated(page, before)
        if "--check" not in sys.argv[1:]:
            (ROOT / page).write_text(after, encoding="utf-8")
        elif before != after:
            raise SystemExit(f"{page} is out of date: run python docs/generate.py")


if __name__ == "__main__":
    main()
