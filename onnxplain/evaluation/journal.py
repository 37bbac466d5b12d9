"""Journal: results on disk as they come, so that a killed evaluation goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from onnxplain.errors import OutputError
from onnxplain.io.parts import lock
from onnxplain.io.plain import from_json

__all__ = ["Journal", "Key"]

MEND = "cut the journal off before it, or name another file"

Key = tuple[str, str, int]
"""Subject, metric, sample."""


class Journal:
    """An append-only file with a line of JSON for each (subject, metric, sample).

    The first line says what is evaluated; each subject and metric has a line that says what its label means. Lines are flushed to
    the disk batch by batch; what a killed run left of a line is cut off.

    Args:
        path: the file; it is made where there is none. None keeps results in memory only.
        about: what must be the same for results to be used again: model, data, seed ….
        meanings: of the labels of subjects and metrics: {"subject": {label: …}, "metric": {label: …}}.

    Raises:
        OutputError: the file is of another evaluation (what differs is named), is no journal, is in use, or cannot be written.
    """

    def __init__(self, path: Path | None, about: Mapping[str, Any], meanings: Mapping[str, Mapping[str, Any]]) -> None:
        self.found: dict[Key, dict[str, Any]] = {}
        self._file: IO[bytes] | None = None
        self._path = path
        if path is None:
            return
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise OutputError(f"cannot write the journal {path}: {error.strerror}") from None
        try:
            if not lock(self._file):
                raise OutputError(f"another evaluation is writing the journal {path}; wait for it or name another")
            self._read(path, json.loads(json.dumps(about)), json.loads(json.dumps(meanings)))
        except BaseException:
            self.close()
            raise

    def add(self, entries: Iterable[tuple[Key, Mapping[str, Any]]]) -> None:
        """Record results; when this returns they are on the disk."""
        lines = []
        for (subject, metric, sample), entry in entries:
            self.found[subject, metric, sample] = dict(entry)
            lines.append({"subject": subject, "metric": metric, "sample": sample, **entry})
        self._write(lines)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, lines: Iterable[Mapping[str, Any]]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"cannot write the journal {self._path}: {error.strerror}") from None

    def _read(self, path: Path, about: dict[str, Any], meanings: dict[str, dict[str, Any]]) -> None:
        assert self._file is not None
        self._file.seek(0)
        data = self._file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):  # the run was killed while it wrote
            self._file.truncate(whole)
        lines = [self._line(path, n, line) for n, line in enumerate(data[:whole].splitlines(), 1)]
        if not lines:
            self._write([{"journal": about}])
        else:
            _same(path, lines[0].get("journal"), about)
        known: dict[str, dict[str, Any]] = {"subject": {}, "metric": {}}
        for number, line in enumerate(lines[1:], 2):
            if "means" in line:
                known[line["kind"]][line["label"]] = line["means"]
                continue
            key = line.pop("subject"), line.pop("metric"), line.pop("sample")
            if self.found.get(key, line) != line:
                raise OutputError(f"{path}, line {number}, is another result of {' '.join(map(str, key))}; {MEND}")
            self.found[key] = line
        new = []
        for kind, labels in meanings.items():
            for label, means in labels.items():
                if label not in known[kind]:
                    new.append({"kind": kind, "label": label, "means": means})
                elif known[kind][label] != means:
                    raise OutputError(
                        f"the journal {path} holds results of another {kind} '{label}': {_short(known[kind][label])} there, "
                        f"{_short(means)} here; name another journal or give it another label"
                    )
        self._write(new)

    def _line(self, path: Path, number: int, line: bytes) -> dict[str, Any]:
        try:
            made = from_json(line)
        except ValueError:
            made = None
        if not isinstance(made, dict) or not (number == 1 or _is_entry(made)):
            raise OutputError(f"{path}, line {number}, is no line of a journal; {MEND}")
        return made


def _is_entry(line: Mapping[str, Any]) -> bool:
    """Whether a line says what a label means, or holds the result of a sample."""
    if "means" in line:
        return line.get("kind") in ("subject", "metric") and isinstance(line.get("label"), str)
    named = all(isinstance(line.get(key), str) for key in ("subject", "metric"))
    return named and type(line.get("sample")) is int and line["sample"] >= 0


def _same(path: Path, there: Any, here: dict[str, Any]) -> None:
    if not isinstance(there, dict):
        raise OutputError(f"{path} is no journal of an evaluation; name another file")
    other = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    if other:
        differing = ", ".join(f"{n} ({_short(there.get(n))} there, {_short(here.get(n))} here)" for n in other)
        raise OutputError(f"the journal {path} is of another evaluation: it differs in {differing}; name another journal")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:12] + "…" if " " not in text else text[:57] + "…"
