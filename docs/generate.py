"""Write the tables of README.md from the registry, so that they cannot drift: `python docs/generate.py [--check]`."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

from onnxplain.method import all_methods
from onnxplain.registry import load_registry

README = Path(__file__).resolve().parent.parent / "README.md"


def methods() -> str:
    """One row per method."""
    rows = ["| method | attribution | what it tells | source |", "|---|---|---|---|"]
    for m in all_methods().values():
        formula = m.formula.replace("|", "\\|")
        rows.append(f"| `{m.name}` | {formula} | {m.summary} | {m.source} |")
    return "\n".join(rows)


def operators() -> str:
    """One row per rule file, with its operators."""
    files: dict[str, set[str]] = defaultdict(set)
    registry = load_registry()
    for spec in registry:
        files[Path(spec.source).stem].add(f"{spec.operator}" if spec.domain else spec.op)
    count = len({(s.domain, s.op) for s in registry})
    rows = [f"{count} operators have a rule of their own:", "", "| rules | operators |", "|---|---|"]
    rows += [f"| [`{name}`](rules/{name}.py) | {' '.join(sorted(ops))} |" for name, ops in sorted(files.items())]
    return "\n".join(rows)


def updated(text: str) -> str:
    """The page with every generated block made anew."""
    for name, make in {"methods": methods, "operators": operators}.items():
        pattern = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"README.md has no block '{name}'")
        block = make()
        text = pattern.sub(lambda found, block=block: f"{found[1]}{block}\n{found[2]}", text)
    return text


def main() -> None:
    """Write the page, or with --check fail where it is out of date."""
    before = README.read_text(encoding="utf-8")
    after = updated(before)
    if "--check" in sys.argv[1:]:
        if before != after:
            raise SystemExit("README.md is out of date: run python docs/generate.py")
    else:
        README.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
