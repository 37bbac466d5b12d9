"""What rewriting costs: time, memory, nodes and bytes, each measured in a process of its own; and how soon the command answers.

`python benchmarks/rewriting.py [--models FOLDER] [--methods M,…] [--rounds N] [MODEL.onnx…]` prints a table in
Markdown. FOLDER holds exported models (`benchmarks/speed_models.py NAME FOLDER` makes them); the Llamas, one of 20,000 nodes and
one with 13 GB of weights in a sparse file, are made here. Times are the least of the rounds. "rewrite" is the call
`rewrite(path, method)`, which returns a model with its weights; "to a file" reads, rewrites and saves it as `onnxplain rewrite`
does. Both include what is imported then.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from llama import Llama, save_llama

CHILD = """
import json, sys, time
from pathlib import Path
import onnxplain
path, method, out = sys.argv[1:]
start = time.perf_counter()
if out:
    from onnxplain.io.reader import read
    from onnxplain.explain.request import Request
    from onnxplain.explain.rewrite import rewrite_source
    from onnxplain.io.writer import write_model
    source = read(path, hold=True)
    made = rewrite_source(source, Request.for_graph(method)).model
    write_model(made, Path(out), source.folder, source.lazy_weights)
else:
    made = onnxplain.rewrite(path, method)
seconds = time.perf_counter() - start
peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps({"seconds": seconds, "peak": int(peak) // 1024, "nodes": len(made.graph.node)}))
"""
METHODS = ("gradient", "lrp-epsilon-plus", "attnlrp")
WIDE = {"width": 4096, "heads": 32, "groups": 8, "hidden": 14336, "words": 32000}
HEADER = ["model", "MB", "nodes", "method", "rewrite, s", "MB", "to a file, s", "MB", "nodes then", "file grows by"]


def measured(path: Path, method: str, out: Path | None, rounds: int) -> dict[str, float]:
    """The quickest of some runs, each in a process of its own."""
    words = [sys.executable, "-c", CHILD, str(path), method, "" if out is None else str(out)]
    runs = [json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout) for _ in range(rounds)]
    return min(runs, key=lambda run: run["seconds"])


def row(name: str, path: Path, method: str, rounds: int) -> list[str]:
    import onnx

    out = path.with_name("explained.onnx")
    returned, written = measured(path, method, None, rounds), measured(path, method, out, rounds)
    size, grown = path.stat().st_size, out.stat().st_size
    out.unlink()
    nodes = len(onnx.load(path, load_external_data=False).graph.node)
    beside = path.with_name(f"{path.name}.data")
    stored = size + (beside.stat().st_size if beside.exists() else 0)
    growth = f"{100 * (grown - size) / stored:.1f} %" if stored else ""
    times = [f"{returned['seconds']:.2f}", f"{returned['peak']}", f"{written['seconds']:.2f}", f"{written['peak']}"]
    return [name, f"{stored / 1e6:,.0f}", f"{nodes:,}", method, *times, f"{written['nodes']:,}", growth]


def answers(*arguments: str) -> float:
    """Seconds until a Python process with these arguments ends, the least of ten."""

    def once() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return time.perf_counter() - start

    return min(once() for _ in range(10))


def deep(nodes: int) -> int:
    """How many layers make a Llama of at least so many nodes."""
    one, two = (len(Llama(layers=n).graph().node) for n in (1, 2))
    return 1 - (one - nodes) // (two - one)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = [*chosen.files, *(sorted(chosen.models.glob("*.onnx")) if chosen.models else [])]
        models = {path.stem: Path(folder) / path.name for path in made}
        for path in made:  # the explained model is written beside it
            models[path.stem].symlink_to(path.resolve())
        if not chosen.files:
            models["llama, 20,000 nodes"] = save_llama(Path(folder) / "deep.onnx", layers=deep(20_000))
            models["llama, 13 GB outside"] = save_llama(Path(folder) / "wide.onnx", external=True, layers=14, **WIDE)
            models["its skeleton"] = save_llama(Path(folder) / "narrow.onnx", layers=14)
        lines = [HEADER, ["---"] * len(HEADER)]
        for line in lines:
            print(f"| {' | '.join(line)} |", flush=True)
        for name, path in models.items():
            for method in chosen.methods.split(","):
                print(f"| {' | '.join(row(name, path, method, chosen.rounds))} |", flush=True)
    help_, alone, bare = (answers(*a) for a in (["-m", "onnxplain", "--help"], ["-c", "import onnxplain"], ["-c", ""]))
    print(f"\n`onnxplain --help` answers after {help_:.2f} s, `import onnxplain` takes {alone:.2f} s; Python alone {bare:.2f} s.")


if __name__ == "__main__":
    main()
