"""Fuzz for a while, and say what broke by place: python -m tests.fuzz --seconds 60 [--kind model] [--first 0] [--json FILE]."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from tests.fuzz.cases import KINDS
from tests.fuzz.pool import BYTES, SECONDS, Outcome, clean, outcomes

SHARES = {"model": 16, "input": 4, "metadata": 1, "journal": 2}
"""How many cases of each kind go in one round."""


def numbered(kinds: list[str], first: int) -> Iterator[tuple[str, int]]:
    """Cases of all kinds by turns, without end."""
    counts = dict.fromkeys(kinds, first)
    while True:
        for kind in kinds:
            for _ in range(SHARES[kind]):
                yield kind, counts[kind]
                counts[kind] += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kind", choices=list(KINDS))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--cases", type=int, help="how many, however long it takes")
    parser.add_argument("--number", type=int, help="run one case in this process, with its traceback")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path, help="write the counts as a page of the documentation")
    given = parser.parse_args()
    if given.number is not None:
        return _one(given.kind or "model", given.number)
    kinds = [given.kind] if given.kind else list(KINDS)
    import onnxplain.cli.show
    import onnxplain.evaluation.journal
    import onnxplain.verification.verify  # noqa: F401 - before the processes are forked

    begin = time.monotonic()
    until = None if given.cases else time.monotonic() + given.seconds
    found = list(outcomes(islice(numbered(kinds, given.first), given.cases), until))
    clean()
    show(found)
    if given.page:
        given.page.write_text(page(found, time.monotonic() - begin), encoding="utf-8")
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps([asdict(o) for o in found]))
    return int(any(o.verdict not in ("fine", "refused") for o in found))


def _one(kind: str, number: int) -> int:
    import tempfile

    from tests.fuzz.cases import run_case

    with tempfile.TemporaryDirectory() as folder:
        run_case(kind, number, Path(folder))
    return 0


def show(found: list[Outcome]) -> None:
    """Counts by kind, and crashes by place."""
    for kind in KINDS:
        counts = Counter(o.verdict for o in found if o.kind == kind)
        if counts:
            print(f"{kind}: {sum(counts.values()):,} cases: " + ", ".join(f"{n:,} {v}" for v, n in sorted(counts.items())))
    places: dict[tuple[str, str, str], list[Outcome]] = defaultdict(list)
    for outcome in found:
        if outcome.verdict not in ("fine", "refused"):
            places[outcome.kind, outcome.verdict, outcome.where].append(outcome)
    for (kind, verdict, where), group in sorted(places.items(), key=lambda p: -len(p[1])):
        numbers = ", ".join(str(o.number) for o in group[:4])
        print(f"{len(group):5} {kind} {verdict} {where} [{numbers}] {group[0].detail[:140]!r}")


PAGE = """# Reliability

What happens with files that nobody should have made. `make reliability` mutates small models of many kinds, inputs of every format, the
metadata of explained files and journals of evaluations, by seed, and asks onnxplain to work with each mutant, in a process with limits.
`make fuzz` does so for an hour with new seeds, and the tests do it for seconds. The code is in `tests/fuzz/`.

A mutant of a model goes through `rewrite`, and part of them through `plan`, `advise`, `check` and `verify`, with a method drawn by lot.

| what is mutated | cases | a result | refused in one line | crash | over {memory} | over {seconds:.0f} s | process ended |
|---|---:|---:|---:|---:|---:|---:|---:|
{rows}

Made in {minutes:.0f} minutes by `{command}` with onnxplain {version}, onnx {onnx}, ONNX Runtime {runtime}. Crashes are errors that were
not raised on purpose, control characters in messages among them.
{places}"""


def page(found: list[Outcome], seconds: float) -> str:
    """The counts as a page."""
    import onnx
    import onnxruntime

    from onnxplain._version import __version__

    rows = []
    for kind, name in (("model", "models"), ("input", "inputs"), ("metadata", "metadata"), ("journal", "journals")):
        counts = Counter(o.verdict for o in found if o.kind == kind)
        cells = [sum(counts.values()), *(counts[v] for v in ("fine", "refused", "crash", "memory", "hang", "abort"))]
        rows.append(f"| {name} | {' | '.join(f'{c:,}' for c in cells)} |")
    places = Counter(f"`{o.where}`" for o in found if o.verdict == "crash")
    places.update(f"{o.verdict} of {o.kind} {o.number}" for o in found if o.verdict in ("memory", "hang", "abort"))
    told = "\nWhat is open: " + "; ".join(f"{place} ({n})" for place, n in places.most_common()) + ".\n" if places else ""
    return PAGE.format(
        rows="\n".join(rows), minutes=seconds / 60, command="python -m tests.fuzz --page docs/reliability.md", version=__version__,
        onnx=onnx.__version__, runtime=onnxruntime.__version__, places=told, seconds=SECONDS, memory=f"{BYTES >> 30} GiB",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
