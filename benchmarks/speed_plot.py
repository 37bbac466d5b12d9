"""The plot of docs/speed.md: what a gradient costs, in forward runs, by every tool; and relevance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from speed_plan import NETS

from onnxplain.bench.spread import ratio

__all__ = ["plot"]

COLOURS = {"onnxplain": "#0b6e4f", "onnx-ad": "#7a9e9f", "compile": "#b8a04a", "torch": "#c9772f", "captum": "#a63d2f",
           "zennit": "#6a4c93", "lxt": "#34608f"}  # fmt: skip
LABELS = {"onnxplain": "onnxplain", "onnx-ad": "onnx-ad", "compile": "torch.compile", "torch": "PyTorch", "captum": "Captum",
          "zennit": "Zennit", "lxt": "LXT"}  # fmt: skip
RELEVANCE = ("lrp-epsilon", "lrp-epsilon-plus", "lrp-epsilon-gamma-box", "lrp-alpha2-beta1", "lrp-epsilon-alpha2-beta1")


def plot(results: Mapping[str, Any], path: Path) -> None:
    """Two panels at batch 1: gradients of the networks, relevance of two of them and of the transformers."""
    gradients = [(m, results.get(f"{m}/gradient/1")) for m in NETS]
    relevance = [(f"{m}\n{short(k)}", results.get(f"{m}/{k}/1")) for m in ("resnet50", "vgg16") for k in RELEVANCE]
    relevance += [(f"{m}\nattnlrp", results.get(f"{m}/attnlrp/1")) for m in ("bert-base", "vit-b16")]
    figure, panels = plt.subplots(2, 1, figsize=(11, 8.4), layout="constrained")
    bars(panels[0], [(n, r) for n, r in gradients if r], "The gradient of one sample")
    bars(panels[1], [(n, r) for n, r in relevance if r], "Relevance of one sample")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def short(method: str) -> str:
    """The name of a relevance method in lines that fit under its bars."""
    words = method.removeprefix("lrp-").split("-")
    return "-\n".join("-".join(words[i : i + 2]) for i in range(0, len(words), 2))


def bars(axes: Axes, groups: list[tuple[str, Any]], title: str) -> None:
    """A group of bars per record, one bar per tool, in forward runs of ONNX Runtime."""
    seen: set[str] = set()
    for place, (_, record) in enumerate(groups):
        tools = [t for t in COLOURS if t in record["seconds"]]
        width = 0.82 / max(len(tools), 1)
        for i, tool in enumerate(tools):
            found = ratio(record["seconds"][tool], record["seconds"]["forward"])
            x = place + (i - (len(tools) - 1) / 2) * width
            number = f"{found.median:.2g}" if found.median < 10 else f"{found.median:.0f}"
            axes.bar(x, found.median, width * 0.92, color=COLOURS[tool], label=None if tool in seen else LABELS[tool])
            error = [[found.median - found.low], [found.high - found.median]]
            axes.errorbar(x, found.median, error, color="black", lw=0.7, capsize=1.5)
            axes.annotate(number, (x, found.high), (0, 2), textcoords="offset points", ha="center", fontsize=7)
            seen.add(tool)
    axes.set_xticks(range(len(groups)), [name for name, _ in groups], fontsize=7)
    axes.set_ylabel("forward runs of the model\nin ONNX Runtime")
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.axhline(1, color="grey", lw=0.8, ls=":", zorder=0)
    if groups:
        axes.legend(frameon=False, fontsize=8, ncols=6, loc="upper left")
    axes.margins(y=0.16)
