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
from tests.fuzz.pool import Outcome, clean, outcomes

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
    given = parser.parse_args()
    if given.number is not None:
        return _one(given.kind or "model", given.number)
    kinds = [given.kind] if given.kind else list(KINDS)
    import onnxplain.cli.show
    import onnxplain.evaluation.journal
    import onnxplain.verification.verify  # noqa: F401 - before the processes are forked

    until = None if given.cases else time.monotonic() + given.seconds
    found = list(outcomes(islice(numbered(kinds, given.first), given.cases), until))
    clean()
    show(found)
    if given.json:
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


if __name__ == "__main__":
    sys.exit(main())
