"""Generation: which earlier tokens every generated token comes from."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import OutputError
from onnxplain.io.npz import write_npz
from onnxplain.io.writer import check_writable, write_file
from onnxplain.results.plot.style import colours, rim, short

__all__ = ["GENERATION_ENDINGS", "Generation", "check_generation_ending"]

GENERATION_ENDINGS = (".npz", ".json", ".csv", ".png", ".html")
"""File endings of generations."""


def check_generation_ending(path: Path) -> None:
    """Say before long work that its result could not be written.

    Raises:
        OutputError: the ending is unknown, or the place is not writable.
    """
    if path.suffix.lower() not in GENERATION_ENDINGS:
        raise OutputError(f"cannot write {path}: a generation is written as {', '.join(GENERATION_ENDINGS)}")
    check_writable(path)


@dataclass(frozen=True)
class Generation:
    """Generated tokens with what each of them comes from.

    Attributes:
        tokens: the ids of the prompt and of what was generated, int64 [sources + 1].
        prompt: how many of them are the prompt.
        matrix: the attribution of every generated token to the tokens before it, [targets, sources]; 0 at tokens that come later.
        scores: the explained score of every generated token, [targets].
        about: how the attributions were made, as `Explanation.about`.
        texts: the tokens as text, one for each of `tokens`; ids where no tokenizer is at hand.

    Example:
        >>> import onnxplain
        >>> made = onnxplain.generate("fixtures/gpt2/model.onnx", [5, 9, 2, 30], continuation=[7, 8])
        >>> made.generated
        array([7, 8])
        >>> made.positions
        array([3, 4])
    """

    tokens: np.ndarray[Any, Any]
    prompt: int
    matrix: np.ndarray[Any, Any]
    scores: np.ndarray[Any, Any]
    about: Mapping[str, Any]
    texts: Sequence[str] = ()

    @property
    def generated(self) -> np.ndarray[Any, Any]:
        """The ids of the generated tokens, [targets]."""
        return self.tokens[self.prompt :]

    @property
    def positions(self) -> np.ndarray[Any, Any]:
        """The position in the model's output that predicts each generated token, [targets]."""
        return np.arange(self.prompt - 1, len(self.tokens) - 1)

    def text(self, number: int) -> str:
        """A token as text.

        Args:
            number: which of `tokens`.

        Returns:
            Its text, its id where there is no text.
        """
        return str(self.texts[number]) if self.texts else str(int(self.tokens[number]))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to .npz (arrays), .json, .csv (a row per target and source), .png (a heat map) or .html (a page).

        Args:
            path: where to.

        Returns:
            The path.

        Raises:
            OutputError: the ending is unknown, or the file cannot be written.
            MissingDependencyError: matplotlib, for .png, is not installed.
        """
        path = Path(path)
        check_generation_ending(path)
        if path.suffix.lower() == ".png":
            figure = self.plot()
            return write_file(path, lambda file: figure.savefig(file, format="png", dpi=150, bbox_inches="tight"))
        if path.suffix.lower() == ".npz":
            arrays = {"tokens": self.tokens, "prompt": np.array(self.prompt), "matrix": self.matrix, "scores": self.scores}
            told = np.array(json.dumps(dict(self.about)))
            return write_file(path, lambda file: write_npz(file, {"about": told, **arrays}))
        text = {".json": self._json, ".csv": self._csv, ".html": self._page}[path.suffix.lower()]()
        return write_file(path, text.encode())

    def plot(self) -> Any:
        """A heat map: a row per generated token, a column per token before it.

        Returns:
            The matplotlib figure.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        with optional("plot", "pictures"):
            from matplotlib.figure import Figure
        targets, sources = self.matrix.shape
        figure = Figure(figsize=(max(3.0, 0.32 * sources + 1), max(1.6, 0.3 * targets + 1)))
        axes = figure.add_subplot()
        scale, signed = rim(self.matrix), bool((self.matrix < 0).any())
        axes.imshow(colours(self.matrix, scale, signed), aspect="auto", interpolation="nearest")
        axes.axvline(self.prompt - 0.5, color="#6b7280", linewidth=0.8, linestyle=(0, (3, 2)))
        axes.set_xticks(range(sources), [self.text(i) for i in range(sources)], rotation=90, fontsize=8, parse_math=False)
        axes.set_yticks(range(targets), [self.text(self.prompt + i) for i in range(targets)], fontsize=8, parse_math=False)
        axes.set_ylabel("generated", fontsize=8)
        axes.set_title(f"{self.about['method']}; full colour: {short(scale)}; the prompt ends at the dashed line", fontsize=8)
        return figure

    def _json(self) -> str:
        texts = [self.text(i) for i in range(len(self.tokens))]
        return json.dumps(
            {
                "tokens": self.tokens.tolist(), "texts": texts, "prompt": self.prompt, "scores": self.scores.tolist(),
                "matrix": self.matrix.tolist(), "about": dict(self.about),
            }
        )  # fmt: skip

    def _csv(self) -> str:
        rows = (
            f"{t},{position},{self.generated[t]},{s},{self.tokens[s]},{float(self.matrix[t, s])!r}\n"
            for t, position in enumerate(self.positions)
            for s in range(position + 1)
        )
        return "target,position,token,source,source_token,attribution\n" + "".join(rows)

    def _page(self) -> str:
        """A page on which hovering over a generated token, or moving to it by keyboard, colours what it comes from."""
        scale = [rim(row) or 1.0 for row in self.matrix]
        signed = bool((self.matrix < 0).any())
        shades = [[f"#{bytes(c).hex()}" for c in colours(row, s, signed)] for row, s in zip(self.matrix, scale, strict=True)]
        words = "".join(
            f'<span id="t{i}"' + (f' class="made" tabindex="0" data-t="{i - self.prompt}"' if i >= self.prompt else "")
            + f">{html.escape(self.text(i))}<small></small></span> "
            for i in range(len(self.tokens))
        )  # fmt: skip
        data = json.dumps({"values": np.round(self.matrix.astype(float), 6).tolist(), "shades": shades})
        parts = {"%METHOD%": html.escape(str(self.about["method"])), "%WORDS%": words, "%DATA%": data}
        return re.sub("|".join(parts), lambda found: parts[found[0]], _PAGE)  # at once: what goes in may hold these marks too


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Generated tokens explained</title>
<style>
body { font: 16px/2.6 system-ui, sans-serif; max-width: 52em; margin: 2em auto; padding: 0 1em; color: #1d2129; background: #fff }
p.note { font-size: 13px; line-height: 1.4; color: #6b7280 }
span { padding: .15em .3em; border-radius: .2em; position: relative }
span.made { border-bottom: 2px solid #6b7280; cursor: pointer }
span.chosen { outline: 2px solid #1d2129 }
span small { position: absolute; left: 0; top: 2.1em; font-size: 10px; line-height: 1; color: #6b7280; white-space: nowrap }
</style>
<p class="note">Method: %METHOD%. Point at an underlined token, or move to it with the tab key: the tokens it comes from are
coloured, red for it and blue against it, with the numbers below them.</p>
<p>%WORDS%</p>
<script>
const data = %DATA%;
const tokens = [...document.querySelectorAll("span[id]")];
function show(made) {
  tokens.forEach((token, i) => {
    const row = data.values[made], known = i < row.length && row[i] !== 0;
    const shade = known ? data.shades[made][i] : "";
    token.style.background = shade;
    const light = shade ? parseInt(shade.slice(1, 3), 16) * .3 + parseInt(shade.slice(3, 5), 16) * .6 : 255;
    token.style.color = light < 95 ? "#fff" : "";
    token.lastChild.textContent = known ? row[i].toPrecision(2) : "";
    token.classList.toggle("chosen", token.dataset.t === String(made));
  });
}
for (const token of tokens) if (token.dataset.t !== undefined)
  for (const event of ["mouseenter", "focus", "click"]) token.addEventListener(event, () => show(+token.dataset.t));
show(0);
</script></html>
"""
