"""AttentionHeads: the weights of every head, with the gradients there, as arrays and as pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import InputError, OutputError
from onnxplain.io.writer import check_writable, write_file
from onnxplain.results.plot.style import colours, rim, short

__all__ = ["AttentionHeads", "check_attention_ending"]

Array = np.ndarray[Any, Any]

ENDINGS = (".png", ".npz", ".json")


def check_attention_ending(path: Path) -> None:
    """Check that there is such a form, and that the place is writable.

    Raises:
        OutputError: the ending is unknown, or the place is not writable.
    """
    if path.suffix.lower() not in ENDINGS:
        raise OutputError(f"cannot write {path}: attention is written as {', '.join(ENDINGS)}")
    check_writable(path)


@dataclass(frozen=True)
class AttentionHeads:
    """The attention of every layer and head: rows are the tokens that look, columns those that they look at.

    Attributes:
        weights: by the name of its tensor, in the order of the layers: [samples, heads, tokens, tokens].
        gradients: the derivatives of the explained score by these weights, likewise.
        tokens: of each sample, what its tokens read; their numbers where no text was given.
        about: how they were made, as `Explanation.about`.
        names: what was explained of each sample.

    Example:
        >>> import onnxplain
        >>> found = onnxplain.attention_heads("fixtures/reviews/model.onnx", "A fine film")
        >>> {name: array.shape for name, array in found.weights.items()}
        {'val_93': (1, 4, 5, 5), 'val_172': (1, 4, 5, 5)}
        >>> found.tokens[0]
        ['[CLS]', 'a', 'fine', 'film', '[SEP]']
    """

    weights: Mapping[str, Array]
    gradients: Mapping[str, Array]
    tokens: Sequence[Sequence[str]]
    about: Mapping[str, Any]
    names: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.tokens)

    def save(self, path: str | os.PathLike[str], sample: int = 0) -> Path:
        """Write to .npz or .json (all arrays), or to .png (the heads of one sample).

        Args:
            path: where to.
            sample: of a picture, which sample it shows.

        Returns:
            The path.

        Raises:
            OutputError: the ending is unknown, or the file cannot be written.
            InputError: there is no such sample.
            MissingDependencyError: matplotlib, for .png, is not installed.
        """
        path = Path(path)
        check_attention_ending(path)
        if path.suffix.lower() == ".png":
            figure = self.plot(sample)
            return write_file(path, lambda file: figure.savefig(file, format="png", dpi=150, bbox_inches="tight"))
        if path.suffix.lower() == ".json":
            arrays = {kind: {n: a.tolist() for n, a in found.items()} for kind, found in self._arrays().items()}
            return write_file(path, json.dumps({**arrays, **self._told()}).encode())
        flat = {f"{kind}/{name}": a for kind, found in self._arrays().items() for name, a in found.items()}
        return write_file(
            path, lambda file: np.savez_compressed(file, allow_pickle=False, told=np.array(json.dumps(self._told())), **flat)
        )

    def _arrays(self) -> dict[str, Mapping[str, Array]]:
        return {"weights": self.weights, "gradients": self.gradients}

    def _told(self) -> dict[str, Any]:
        return {"tokens": [list(row) for row in self.tokens], "names": list(self.names), "about": dict(self.about)}

    def plot(self, sample: int = 0) -> Any:
        """The heads as small pictures, a row of them per layer, all of the same scale.

        Args:
            sample: which sample.

        Returns:
            The matplotlib figure.

        Raises:
            InputError: there is no such sample.
            MissingDependencyError: matplotlib is not installed.
        """
        if not 0 <= sample < len(self):
            raise InputError(f"there is no sample {sample}: there are {len(self)}, counted from 0")
        with optional("plot", "pictures"):
            from matplotlib.figure import Figure
        rows = [array[sample] for array in self.weights.values()]
        words, most = self.tokens[sample], max(len(row) for row in rows)
        side = max(1.3, 0.17 * len(words))
        figure = Figure(figsize=(1.2 + side * most, 0.9 + (side + 0.25) * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), most, squeeze=False)
        scale = rim(np.concatenate([row.ravel() for row in rows])) or 1.0
        for layer, row in enumerate(rows):
            for head, axes in enumerate(grid[layer]):
                if head >= len(row):
                    axes.set_axis_off()
                    continue
                axes.imshow(colours(row[head], scale, False), interpolation="nearest")
                axes.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=7)
                ticks = {"fontsize": 6, "parse_math": False}
                below = words if layer == len(rows) - 1 else [""] * len(words)
                axes.set_xticks(range(len(words)), below, rotation=90, **ticks)
                axes.set_yticks(range(len(words)), words if head == 0 else [""] * len(words), **ticks)
                axes.tick_params(length=0)
        figure.suptitle(f"attention of every head; full colour: {short(scale)}; a row looks at columns", fontsize=8)
        return figure
