"""Positions of a language model: which axis of its scores counts tokens, and which of them is the last.

A model that scores every word of its vocabulary at every token predicts one word per position. What it says next is at the last
of them, so that its top prediction is the top word there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.analysis.lookups import entrances
from onnxplain.analysis.sample_axis import SampleAxes
from onnxplain.ir.graph import Graph
from onnxplain.ir.tensor import Tensor, same_dim

__all__ = ["Positions", "find_positions", "last_only"]

MASK = "attention_mask"
"""What exporters call the input that is 1 at tokens and 0 at padding."""


@dataclass(frozen=True)
class Positions:
    """Scores [samples, positions, vocabulary].

    Attributes:
        tokens: the input of token ids, [samples, positions].
        mask: the input that is 0 at padding, [samples, past and present positions]; None where the model takes none.
    """

    tokens: str
    mask: str | None

    def told(self) -> dict[str, Any]:
        """What metadata says of them."""
        return {"tokens": self.tokens, "mask": self.mask}


def find_positions(graph: Graph, score: Tensor, axes: SampleAxes) -> Positions | None:
    """The positions of a language model's scores.

    The proof is in the graph: the score has three axes, of samples, of the tokens of an integer input, and of as many words as
    the table has rows in which that input is looked up.

    Args:
        graph: the model.
        score: the explained tensor.
        axes: which axes count samples.

    Returns:
        The positions; None where the model is no language model.
    """
    shape = score.shape
    if shape is None or len(shape) != 3 or axes.axis != 0 or not score.is_float:
        return None
    for tokens in graph.inputs:
        own = tokens.shape
        if tokens.is_float or own is None or len(own) != 2 or axes.of_input(tokens.name) != 0 or not same_dim(own[1], shape[1]):
            continue
        found, _ = entrances(graph, tokens)
        if any(e.kind == "embedding" and _rows(graph, e.tensor) == shape[2] for e in found):
            mask = next((t for t in graph.inputs if t.name == MASK and t.shape and len(t.shape) == 2), None)
            return Positions(tokens.name, mask.name if mask is not None and axes.of_input(MASK) == 0 else None)
    return None


def _rows(graph: Graph, embedding: Tensor) -> Any:
    """The rows of the table that an embedding was looked up in."""
    node = graph.producer(embedding)
    while node is not None and node.op != "Gather" and node.inputs and node.inputs[0] is not None:
        node = graph.producer(node.inputs[0])
    return node.x.shape[0] if node is not None and node.op == "Gather" and node.x.shape else None


def last_only(ranked: np.ndarray[Any, Any], mask: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
    """Scores [samples, positions, vocabulary], −∞ but at the last position of each sample that is no padding.

    Args:
        ranked: the scores.
        mask: 0 at padding, [samples, past and present positions]; None where nothing is padded.
    """
    places = np.arange(ranked.shape[1])
    last = np.full(len(ranked), ranked.shape[1] - 1)
    if mask is not None:
        total = mask.shape[1]
        last = np.where(mask != 0, np.arange(1, total + 1), 0).max(axis=1) - 1 - (total - ranked.shape[1])
    return np.where((places == last[:, None])[..., None], ranked, -np.inf)
