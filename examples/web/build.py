"""Build the static page: `python examples/web/build.py [FOLDER]` (out/web), after `npm ci` in examples/web.

The page needs no server of its own: any static host will do, or `python -m http.server` in the folder. It holds the digits model
explained by every method, one ONNX file each, and ONNX Runtime for the browser.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain.errors import OnnxplainError
from onnxplain.explain.rewrite import rewrite
from onnxplain.io.metadata import read_metadata
from onnxplain.method.registry import Method, all_methods
from onnxplain.verification.verify import added_inputs

HERE = Path(__file__).resolve().parent
DIGITS = HERE.parent.parent / "fixtures" / "digits"
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
FIRST = "input-x-gradient"
"""The method shown first."""


def explained(out: Path, method: Method) -> dict[str, Any] | None:
    """Write the model explained by a method, compared with an empty picture where it compares; what the page says of it.

    None for a method that needs more than a model and a target.
    """
    name = f"models/digits-{method.name}.onnx"
    try:
        made = rewrite(DIGITS / "model.onnx", method.name, target="input", baseline=0 if method.needs_baseline else None)
    except OnnxplainError as error:
        print(f"{method.name} is left out: {error}")
        return None
    more = [name for name in added_inputs(read_metadata(made) or {}) if name != "target"]
    if more:
        print(f"{method.name} is left out: it takes '{more[0]}' at run time")
        return None
    (attribution,) = (o for o in made.graph.output if o.name in (read_metadata(made) or {})["attributions"])
    extents = [d.dim_value for d in attribution.type.tensor_type.shape.dim][1:]
    if len(extents) != 3 or extents[0] != 1 or extents[1] != extents[2]:
        print(f"{method.name} is left out: its attribution {extents} is no square picture")
        return None
    (out / name).write_bytes(made.SerializeToString())
    words: dict[str, Any] = {"name": method.name, "formula": method.formula, "summary": method.summary, "signed": method.signed}
    words["compares"] = method.needs_baseline
    return {**words, "file": name, "first": method.name == FIRST}


def main() -> None:
    """Write everything into the folder."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "out/web")
    runtime = HERE / "node_modules" / "onnxruntime-web" / "dist"
    if not runtime.is_dir():
        raise SystemExit("onnxruntime-web is not installed: run `npm ci --ignore-scripts` in examples/web first")
    for folder in ("models", "ort"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for name in ("index.html", "style.css", "icon.svg", "app.js", "digit.js", "explained.js"):
        shutil.copy(HERE / name, out / name)
    for name in RUNTIME:
        shutil.copy(runtime / name, out / "ort" / name)
    methods = [entry for m in all_methods().values() if (entry := explained(out, m))]
    with np.load(DIGITS / "data.npz") as data:
        pixels, labels = data["image"], data["label"]
    first = [int(np.flatnonzero(labels == digit)[0]) for digit in range(10)]
    samples = [{"label": int(labels[i]), "pixels": [round(float(p), 4) for p in pixels[i].ravel()]} for i in first]
    (out / "site.json").write_text(json.dumps({"methods": methods, "samples": samples}), encoding="utf-8")
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    print(f"{out}: {len(methods)} methods, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
