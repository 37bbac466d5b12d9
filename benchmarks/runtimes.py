"""Which runtimes run explained models, and how far their numbers are from ONNX Runtime's: `python benchmarks/runtimes.py`.

Writes docs/runtimes.md. Every runtime is installed by itself, into an environment below build/runtimes, and runs the same files
in a process of its own (runtime_probe.py, runtime_probe.mjs). Takes some minutes and about 2 GB; needs pip, and npm for the
two of JavaScript.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from onnxplain import __version__, rewrite
from onnxplain.errors import OnnxplainError
from onnxplain.io.metadata import read_metadata
from onnxplain.method.registry import all_methods

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build" / "runtimes"
PAGE = ROOT / "docs" / "runtimes.md"
WEB = ROOT / "examples" / "web"

FIXTURES = {
    "digits": "convolutions, max pooling",
    "resnet": "residual sums, batch norm folded",
    "unet": "transposed convolution, resizing",
    "vit": "attention over patches",
    "bert": "attention over tokens, two integer inputs",
    "gpt2": "causal attention",
    "lstm": "two bidirectional LSTM layers",
    "cancer": "a table",
    "cancer_sklearn": "scikit-learn's MLP, with outputs that are no tensors",
}
"""The models of the table, and what is in them."""


OPTIONS = {"steps": 4, "samples": 4, "noise": "input"}
"""Loops are short: how long they are changes nothing of what runs. Noise is given: runtimes draw numbers of their own."""


@dataclass(frozen=True)
class Runtime:
    """One row: what pip (or npm) installs, which part of the probe runs it, and whether the extents are fixed in the files."""

    name: str
    kind: str
    packages: tuple[str, ...] = ()
    fixed: bool = False


OLD = "numpy<2"
RUNTIMES = (
    Runtime("ONNX Runtime 1.32.0", "onnxruntime", ("onnxruntime==1.32.0",)),
    Runtime("ONNX Runtime 1.27.0", "onnxruntime", ("onnxruntime==1.27.0",)),
    Runtime("ONNX Runtime 1.24.4", "onnxruntime", ("onnxruntime==1.24.4",)),
    Runtime("ONNX Runtime 1.22.1", "onnxruntime", ("onnxruntime==1.22.1",)),
    Runtime("ONNX Runtime 1.20.1", "onnxruntime", ("onnxruntime==1.20.1",)),
    Runtime("ONNX Runtime 1.19.2", "onnxruntime", ("onnxruntime==1.19.2",)),
    Runtime("ONNX Runtime 1.18.1", "onnxruntime", ("onnxruntime==1.18.1", OLD)),
    Runtime("ONNX Runtime 1.16.3", "onnxruntime", ("onnxruntime==1.16.3", OLD)),
    Runtime("ONNX Runtime 1.15.1", "onnxruntime", ("onnxruntime==1.15.1", OLD)),
    Runtime("ONNX Runtime 1.15.1, basic graph optimization", "onnxruntime_basic", ("onnxruntime==1.15.1", OLD)),
    Runtime("onnxruntime-node 1.30.0", "node"),
    Runtime("onnxruntime-web 1.30.0 (wasm)", "web"),
    Runtime("onnx 1.23.2, reference evaluator", "reference", ("onnx==1.23.2",)),
    Runtime("OpenVINO 2026.4.1", "openvino", ("openvino==2026.4.1",)),
    Runtime("OpenVINO 2026.4.1, fixed extents", "openvino", ("openvino==2026.4.1",), fixed=True),
    Runtime("tract 0.23.9, fixed extents", "tract", ("tract==0.23.9", "numpy"), fixed=True),
    Runtime("OpenCV 5.0.0 (dnn), fixed extents", "opencv", ("opencv-python-headless==5.0.0.93",), fixed=True),
)

ALONE = "though not where it stands alone"
REASONS = (
    (r"ONNX Runtime 1\.1[5-8]", r"ended the process", "its pass AttentionFusion aborts; with basic graph optimization they run"),
    (
        r"reference",
        r"Scan is not implemented for other output input_direction",
        "its Scan has no directions: they run forward only",
    ),
    (r".", r"ZipMap|output_probability|has_tensor_type", "knows no outputs but tensors (the model has a ZipMap)"),
    (
        r"OpenVINO",
        r"reduction_axes.*is_static",
        "wants to know how many axes are summed, which with free extents only the run tells",
    ),
    (r"OpenVINO", r"Axes are not correct", "refuses a form of Resize (Interpolate: axes are not correct)"),
    (r"OpenVINO", r"Number of Scan node inputs", "counts the inputs of a Scan wrongly, though the standard's checker accepts it"),
    (r"OpenVINO", r"ShuffleChannelsFusion", "its pass ShuffleChannelsFusion fails on a free extent"),
    (
        r"OpenVINO",
        r"image_attribution' is another one",
        f"gives another result for a strided ConvTranspose of this graph, {ALONE}",
    ),
    (r"OpenVINO", r"input_ids_attribution' is another one", "gives other numbers; which operator is at fault is not known"),
    (r"OpenCV", r"image_attribution' is another one", "MaxPool counts its indices otherwise than the standard: other numbers"),
    (r"OpenCV", r".", "its importer lacks a form of an operator, or makes other shapes of it, or ends the process"),
    (r"tract", r"Unimplemented\(Loop\)", "has no Loop"),
    (r"tract", r"Unimplemented\(Scaler\)", "has no Scaler (ai.onnx.ml)"),
    (r"tract", r"Failed analyse for node .* Scan", "does not find the shapes in the body of a Scan"),
)
"""What an error of a runtime means, where it does not say so itself: patterns of the name and of the error."""


def families() -> dict[str, str]:
    """The first method of each family, by the family's name."""
    firsts: dict[str, str] = {}
    for m in all_methods().values():
        firsts.setdefault(m.run.__module__.rpartition(".")[2], m.name)
    return firsts


def write_cases(folder: Path) -> dict[str, dict[str, str]]:
    """Every fixture explained by a method of each family, with inputs and what this ONNX Runtime says; the cases by family."""
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, dict[str, str]] = {}
    for family, method in families().items():
        written[family] = {}
        for fixture in FIXTURES:
            found = all_methods()[method]
            options: dict[str, Any] = {o.name: OPTIONS[o.name] for o in found.options if o.name in OPTIONS}
            if found.needs_baseline:
                options["baseline"] = "input"
            try:
                model = rewrite(ROOT / "fixtures" / fixture / "model.onnx", method, target="input", **options)
            except OnnxplainError as error:
                print(f"{method} refuses {fixture}: {error}")
                continue
            name = f"{fixture}-{method}"
            (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
            feeds = inputs(model, fixture)
            write_fixed(folder / f"{name}-fixed.onnx", fixture, method, feeds, options)
            np.savez(folder / f"{name}-in.npz", **feeds)
            session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
            results = dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))
            about = read_metadata(model) or {}  # gaps are differences of nearly equal sums: no number to compare
            gaps = set(about["reports"].values())
            tensors = {k: v for k, v in results.items() if isinstance(v, np.ndarray) and v.dtype.kind == "f" and k not in gaps}
            np.savez(folder / f"{name}-out.npz", **tensors)
            shapes = {k: [str(v.dtype), list(v.shape), v.ravel().tolist()] for k, v in feeds.items()}
            expected = {k: v.ravel().tolist() for k, v in tensors.items()}
            (folder / f"{name}.json").write_text(json.dumps({"feeds": shapes, "expected": expected, "outputs": list(results)}))
            written[family][fixture] = name
    return written


def write_fixed(
    path: Path, fixture: str, method: str, feeds: Mapping[str, np.ndarray[Any, Any]], options: Mapping[str, Any]
) -> None:
    """The same from a model of which every extent is a number, as it is exported for one batch size."""
    model = onnx.load(ROOT / "fixtures" / fixture / "model.onnx")
    fix(model, feeds)
    del model.graph.value_info[:]
    made = rewrite(model, method, target="input", **options)
    fix(made, feeds)
    path.write_bytes(made.SerializeToString())


def fix(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write the extents of the given arrays into a model's inputs and outputs, wherever their symbols stand."""
    extents: dict[str, int] = {}
    for info in model.graph.input:
        dims = info.type.tensor_type.shape.dim
        extents |= {d.dim_param: n for d, n in zip(dims, feeds[info.name].shape, strict=True) if d.dim_param}
    for info in (*model.graph.input, *model.graph.output):
        for d in info.type.tensor_type.shape.dim:
            if d.dim_param in extents:
                d.dim_value = extents[d.dim_param]


def inputs(model: onnx.ModelProto, fixture: str) -> dict[str, np.ndarray[Any, Any]]:
    """Two samples, their index 1 and top prediction as targets, and a tenth of the input as the baseline."""
    with np.load(ROOT / "fixtures" / fixture / "data.npz") as data:
        feeds = {k: v[:2] for k, v in data.items() if k != "label"}
    for info in model.graph.input:
        if info.name == "target":
            feeds["target"] = np.array([1, -1])
        elif info.name not in feeds:
            kind = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
            symbols = {d.dim_param: n for i in model.graph.input if i.name in feeds and i.name != "target"
                       for d, n in zip(i.type.tensor_type.shape.dim, feeds[i.name].shape, strict=True)}  # fmt: skip
            shape = [d.dim_value or symbols.get(d.dim_param, 2) for d in info.type.tensor_type.shape.dim]
            feeds[info.name] = (np.random.default_rng(0).random(shape) / 10).astype(kind)
    return feeds


def installed(runtime: Runtime) -> list[str]:
    """The command that runs the probe with the runtime at hand."""
    if runtime.kind in ("node", "web"):
        return ["node", str(HERE / "runtime_probe.mjs"), runtime.kind]
    place = BUILD / re.sub(r"[^A-Za-z0-9.]+", "_", runtime.packages[0])
    python = place / "bin" / "python"
    if not (place / "installed").exists():
        venv.create(place, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", *runtime.packages]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{runtime.name} does not install: {done.stderr.strip().splitlines()[-1]}")
        (place / "installed").touch()
    return [str(python), str(HERE / "runtime_probe.py"), runtime.kind]


def probe(command: list[str], folder: Path, names: list[str], fixed: bool) -> dict[str, dict[str, Any]]:
    """What a runtime makes of each case; a case that ends the process is left out in the next one."""
    answers: dict[str, dict[str, Any]] = {}
    while rest := [n for n in names if n not in answers]:
        files = [f"{name}-fixed" if fixed else name for name in rest]
        done = subprocess.run([*command, str(folder), *files], capture_output=True, text=True, timeout=1800)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        answers |= {a["case"].removesuffix("-fixed"): a for a in lines}
        if len(lines) < len(rest):
            last = (done.stderr.strip().splitlines() or ["no word"])[-1]
            answers[rest[len(lines)]] = {"case": rest[len(lines)], "error": f"ended the process ({done.returncode}): {last}"}
    return answers


def cell(cases: Mapping[str, str], answers: Mapping[str, Mapping[str, Any]]) -> str:
    """How many models run, and the largest difference over the largest number of an output."""
    good = [answers[name]["difference"] for name in cases.values() if "difference" in answers[name]]
    if not good:
        return "none"
    most = f"{max(good):.0e}".replace("e-0", "e-") if max(good) else "equal"
    return f"{len(good)} of {len(cases)}, {most}"


def failures(runtime: str, cases: Mapping[str, Mapping[str, str]], answers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """One line per kind of failure, with the models it hits."""
    found: dict[str, set[str]] = {}
    for group in cases.values():
        for fixture, name in group.items():
            if "error" in answers[name]:
                found.setdefault(reason(runtime, answers[name]["error"]), set()).add(fixture)
    for text, fixtures in found.items():
        yield f"{', '.join(f for f in FIXTURES if f in fixtures)}: {text}"


def reason(runtime: str, error: str) -> str:
    """What an error means: as explained above, else its own words."""
    for name, pattern, meaning in REASONS:
        if re.search(name, runtime) and re.search(pattern, error):
            return meaning
    plain = re.sub(r"[`|\s]+", " ", re.sub(r"\x1b\[[0-9;]*m", "", error))
    return f"`{plain[:220].strip()}`"


INTRODUCTION = f"""# Explained models on other runtimes

Made by `python benchmarks/runtimes.py`; do not edit.

Files written by onnxplain {__version__}, target and baseline given at run time, two samples each, on the CPU. A cell says how
many models run, and the largest difference from ONNX Runtime {ort.__version__} over the largest number of the output, predictions
and attributions alike. Differences of about 1e-6 are rounding in float32; what differs by more than a hundredth has not run.
Where extents are fixed, the models were exported for two samples. Operator set 18 came with ONNX Runtime 1.14;
1.15 is the oldest release with a package for Python 3.11.
"""


def page(cases: Mapping[str, Mapping[str, str]], answers: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The whole page."""
    head = list(cases)
    rows = [f"| {name} | {' | '.join(cell(cases[f], found) for f in head)} |" for name, found in answers.items()]
    lists = []
    for name, found in answers.items():
        lines = list(failures(name, cases, found))
        if lines:
            lists += [f"**{name}**", "", *(f"- {line}" for line in lines), ""]
    models = [f"- `{name}`: {what}" for name, what in FIXTURES.items()]
    methods = [f"- {family}: `{method}`" for family, method in families().items()]
    parts = [
        INTRODUCTION, f"| runtime | {' | '.join(head)} |", f"|---|{'---|' * len(head)}", *rows, "",
        "A method of each family:", "", *methods, "", "The models:", "", *models, "",
        "## What does not run, and why", "", *lists,
    ]  # fmt: skip
    return "\n".join(parts).rstrip() + "\n"


def main() -> None:
    """Probe all runtimes (or those whose kind or name is given) and write the page."""
    folder = BUILD / "cases"
    cases = write_cases(folder)
    names = [name for group in cases.values() for name in group.values()]
    kept = BUILD / "answers.json"
    answers: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() and sys.argv[1:] else {}
    for runtime in RUNTIMES:
        if sys.argv[1:] and not any(word in (runtime.kind, runtime.name) for word in sys.argv[1:]):
            continue
        answers[runtime.name] = probe(installed(runtime), folder, names, runtime.fixed)
        print(runtime.name, *(cell(group, answers[runtime.name]) for group in cases.values()), sep=" | ", flush=True)
        kept.write_text(json.dumps(answers))
    order = [r.name for r in RUNTIMES if r.name in answers]
    PAGE.write_text(page(cases, {name: answers[name] for name in order}), encoding="utf-8")


if __name__ == "__main__":
    main()
