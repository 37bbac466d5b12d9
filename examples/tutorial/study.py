"""The figures of Montavon, Samek, Müller 2017 on digits; writes docs/tutorial.md's tables and its figures.

Needs onnxplain[all] alone: python examples/tutorial/study.py. With MNIST and a folder that digits.py, transfer.py and text.py of
fixtures/studies filled, tables are printed and figures go into the folder: python examples/tutorial/study.py MNIST.npz FOLDER.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.page import DOCS, fill, run
from examples.tutorial import figures_validation, text, transfer
from examples.tutorial.digits import load
from examples.tutorial.figures import draw
from examples.tutorial.measure import FOLDER, METHODS, PUBLISHED, SAMPLES, Measured, area, measure, signed
from examples.tutorial.negative import NETWORKS
from examples.tutorial.prototypes import search
from onnxplain import Prototypes
from onnxplain.concepts.picture import plot_prototypes
from onnxplain.results.plot.style import percent

SHOWN = (1, 2, 4, 8, 16)
"""Numbers of patches removed in the table."""


def tables(found: Measured) -> dict[str, str]:
    """What was measured, for the page, by the names of its blocks."""
    shares = ["| | negative share | published |", "|---|---|---|"]
    for name in (n for n in METHODS if n != "sensitivity"):
        published = f"{100 * PUBLISHED[name]:.0f} %" if name in PUBLISHED else ""
        shares.append(f"| {name} | {percent(float(found.explained[name].negative_share().mean()))} | {published} |")
    causes = ["| changed | simple Taylor | α2β1 | α3β2 |", "|---|---|---|---|"]
    taylor = {"as above": percent(float(found.explained["simple Taylor"].negative_share().mean()))}
    causes += [f"| {n} | {taylor.get(n, '')} | {percent(two)} | {percent(three)} |" for n, (two, three) in found.setups.items()]
    causes += [f"| network: {n} | {' | '.join(percent(v) for v in values)} |" for n, values in found.networks.items()]
    causes.append("| published | " + " | ".join(f"{100 * v:.0f} %" for v in PUBLISHED.values()) + " |")
    jumps = ["| | median step | largest step | largest / median |", "|---|---|---|---|"]
    for name, (middle, most) in found.largest.items():
        jumps.append(f"| {name} | {middle:.2f} | {most:.2f} | {most / middle:.1f} |")
    flips = ["| patches removed | " + " | ".join(map(str, SHOWN)) + " | area |", "|---|" + "---|" * (len(SHOWN) + 1)]
    for name, curve in found.curves.items():
        flips.append(f"| {name} | " + " | ".join(signed(curve[k]) for k in SHOWN) + f" | {signed(area(curve))} |")
    before, after = found.grid
    grid = f"Strongest over weakest place within the stride: {before:.2f} as it is, {after:.2f} averaged over 16 translations."
    pairs = ["| | class has more relevance at its own digit |", "|---|---|"]
    pairs += [f"| {name} | {percent(share)} of {count} |" for name, (share, count) in found.halves.items()]
    return {
        "shares": "\n".join(shares),
        "causes": "\n".join(causes),
        "jumps": "\n".join(jumps),
        "flips": "\n".join(flips),
        "grid": grid,
        "pairs": "\n".join(pairs),
    }


def prototype_table(rows: Mapping[str, Prototypes], data: object) -> str:
    """How sure the model is of its prototypes, and how near they are to digits."""
    lines = ["| searched with | least probability of ten | mean distance to the nearest digit |", "|---|---|---|"]
    for name, found in rows.items():
        lines.append(f"| {name} | {found.probabilities.min():.3f} | {found.nearest(data).mean():.2f} |")
    return "\n".join(lines)


def main(file: Path | None, folder: Path) -> None:
    """Measure, say, and draw; write the page for the committed model."""
    digits = load(file)
    needed = [*("model", "strided"), *NETWORKS, *text.MODELS, *transfer.MODELS]
    if missing := [n for n in needed if not (folder / f"{n}.onnx").exists()]:
        raise ValueError(
            f"{folder} has no {', '.join(f'{n}.onnx' for n in missing)}; digits.py, transfer.py and text.py of "
            "fixtures/studies write them"
        )
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    print(f"{digits.name}, {SAMPLES} of {len(digits.test)} test pictures; accuracy {about['model']['test_accuracy']}\n")
    found = measure(digits, folder)
    read, learners = text.measure(folder), transfer.measure(digits, folder)
    made = tables(found) | {"text": text.tables(read), "transfer": transfer.table(learners)}
    rows = search(digits, folder / "model.onnx")
    made["prototypes"] = prototype_table(rows, digits.train)
    print("\n\n".join(made.values()))
    out = DOCS if file is None else folder
    plot_prototypes(rows, data=digits.train).savefig(out / "tutorial_prototypes.png", dpi=150, metadata={"Software": None})
    draw(found, out)
    for name, page in {"text": figures_validation.text(read), "transfer": figures_validation.marks(learners)}.items():
        page.figure.savefig(out / f"tutorial_{name}.png", dpi=150, metadata={"Software": None})
    if file is None:
        fill("tutorial.md", made)


if __name__ == "__main__":
    arguments = [Path(a) for a in sys.argv[1:]]
    if len(arguments) not in (0, 2):
        sys.exit("error: expected no argument, or MNIST.npz and a folder with models that were trained on it")
    run(main, *(arguments or (None, FOLDER)))
