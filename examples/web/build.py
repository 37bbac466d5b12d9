"""Build the page of the digits model: `python examples/web/build.py [FOLDER]` (out/web), after `npm ci` in examples/web.

It is a live page as `onnxplain page` writes them, of the digits model explained by every method, one ONNX file each, with a
digit of each kind to begin with.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from onnxplain.errors import OnnxplainError
from onnxplain.explain.rewrite import rewrite
from onnxplain.io.metadata import added_inputs, read_metadata
from onnxplain.io.pictures.preprocessing import Preprocessing
from onnxplain.method.registry import Method, all_methods
from onnxplain.results.live.description import PageSettings
from onnxplain.results.live.explained_file import ExplainedFile, read_explained
from onnxplain.results.live.page import write_page

HERE = Path(__file__).resolve().parent
DIGITS = HERE.parent.parent / "fixtures" / "digits"
FIRST = "input-x-gradient"
"""The method shown first."""


def explained(folder: Path, method: Method) -> ExplainedFile | None:
    """The model explained by a method, compared with an empty picture where it compares; None for methods that need more."""
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
    path = folder / f"digits-{method.name}.onnx"
    path.write_bytes(made.SerializeToString())
    return read_explained(path)


def main() -> None:
    """Write everything into the folder."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "out/web")
    if not (HERE / "node_modules" / "onnxruntime-web").is_dir():
        raise SystemExit("onnxruntime-web is not installed: run `npm ci --ignore-scripts` in examples/web first")
    with np.load(DIGITS / "data.npz") as data:
        pixels, labels = data["image"], data["label"]
    first = [int(np.flatnonzero(labels == digit)[0]) for digit in range(10)]
    settings = PageSettings(
        title="Draw a digit",
        labels=[str(digit) for digit in range(10)],
        look=Preprocessing(scale=1 / 255),
        examples={"image": pixels[first]},
        example_names=[f"a {digit} of the test set" for digit in range(10)],
        fitted=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        files = [file for m in all_methods().values() if (file := explained(Path(folder), m))]
        files.sort(key=lambda file: file.about["method"] != FIRST)
        write_page(files, out, settings, runtime=HERE)
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    print(f"{out}: {len(files)} methods, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
