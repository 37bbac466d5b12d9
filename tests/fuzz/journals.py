"""Mutants of journals of evaluations."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

__all__ = ["resume"]

ABOUT = {"model": "ab" * 32, "seed": 0}
MEANINGS = {"subject": {"gradient": {"method": "gradient"}}, "metric": {"deletion": {"metric": "deletion", "replace": "mean"}}}
VALUES: tuple[Any, ...] = (None, 0, -1, 1 << 70, 1.5, True, "", "nope", [], {}, [1], {"a": 1}, "\x1b[2J")


def _lines() -> list[Any]:
    head: list[Any] = [{"journal": ABOUT}]
    head += [
        {"kind": kind, "label": label, "means": means} for kind, labels in MEANINGS.items() for label, means in labels.items()
    ]
    return head + [{"subject": "gradient", "metric": "deletion", "sample": i, "value": 0.5, "curve": [1, 0.5]} for i in range(3)]


def resume(rng: random.Random, folder: Path) -> None:
    """Open a journal with a mutated line and read what it holds."""
    from onnxplain.evaluation.journal import Journal

    lines = _lines()
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(lines))
        kind = rng.randrange(5)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, lines[at])
        elif kind == 2 and isinstance(lines[at], dict) and lines[at]:
            key = rng.choice(list(lines[at]))
            lines[at] = {k: v for k, v in lines[at].items() if k != key}
        elif kind == 3 and isinstance(lines[at], dict) and lines[at]:
            key = rng.choice(list(lines[at]))
            lines[at] = {**lines[at], key: rng.choice(VALUES)}
        else:
            lines[at] = rng.choice(VALUES)
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    if rng.random() < 0.3:
        at = rng.randrange(len(data))
        data = (
            data[:at]
            + rng.choice((b"", b"\x00", b"\xff\xfe", b"[" * 100_000 + b"\n", b"9" * 5000 + b"\n", b"\n\n"))
            + data[at + 1 :]
        )
    path = folder / "journal.jsonl"
    path.write_bytes(data)
    journal = Journal(path, ABOUT, MEANINGS)
    try:
        for (subject, metric, sample), entry in journal.found.items():
            assert isinstance(subject, str), "subject"
            assert isinstance(metric, str), "metric"
            assert isinstance(sample, int), "sample"
            assert isinstance(entry, dict), "entry"
    finally:
        journal.close()
