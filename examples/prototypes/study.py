"""What a network takes for the best example of each digit, searched in four ways; writes docs/prototypes.png.

Run: python examples/prototypes/study.py [picture.png]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

from onnxplain import GaussianRBM, Prototypes, prototype
from onnxplain.concepts.picture import plot_prototypes

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODEL = ROOT / "fixtures" / "digits" / "model.onnx"


def search(data: np.ndarray) -> dict[str, Prototypes]:
    """Prototypes of all ten digits by the words that say how they were found."""
    classes = "all"
    return {
        "small norm, ℓ2": prototype(MODEL, classes, penalty={"l2": 0.001}, bounds=(0, 1)),
        "total variation, ℓ2": prototype(MODEL, classes, penalty={"tv": 0.002, "l2": 0.001}, bounds=(0, 1)),
        "density expert, RBM": prototype(MODEL, classes, penalty=None, expert=GaussianRBM.fit(data), bounds=(0, 1)),
        "code of a decoder": prototype(MODEL, classes, penalty={"l2": 0.001}, decoder=HERE / "decoder.onnx"),
    }


def main(out: Path) -> None:
    data = (load_digits().images / 16).astype(np.float32)[:, None]
    rows = search(data)
    table = Table(box=None)
    for name in ("", "least probability", "mean distance to the nearest digit", "greatest"):
        table.add_column(name, justify="right" if name else "left")
    for name, found in rows.items():
        near = found.nearest(data)
        table.add_row(name, f"{found.probabilities.min():.4f}", f"{near.mean():.2f}", f"{near.max():.2f}")
    Console(width=120).print(table)
    figure = plot_prototypes(rows, data=data, title="What the model takes for the best example of each digit")
    figure.savefig(out, dpi=200)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "prototypes.png")
