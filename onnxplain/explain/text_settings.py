"""TextSettings: what an Explainer was told of texts, and where it finds what it was not told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onnxplain.errors import InputError
from onnxplain.explain.request import Request
from onnxplain.explain.text_front import TextFront, TokenizerLike, holds_text, no_tokenizer
from onnxplain.io.reader import Source
from onnxplain.io.text.inputs import TextInputs
from onnxplain.io.text.tokenizer import Tokenizer, tokenizer_beside
from onnxplain.ir.graph import Graph

__all__ = ["TextSettings"]

AT_RUN_TIME = ("input", "ids")
"""Words for a baseline that a host gives, which are no texts."""


@dataclass(frozen=True)
class TextSettings:
    """What was said of texts when an Explainer was set up.

    Attributes:
        tokenizer: the tokenizer, if one was given.
        baseline: a baseline in tokens or words, which takes its ids from each batch.
        folder: where the model lies.
    """

    tokenizer: Tokenizer | None = None
    baseline: Any = None
    folder: Path | None = None

    @classmethod
    def of(cls, source: Source, tokenizer: TokenizerLike | None, baseline: Any) -> TextSettings:
        """The settings from what users write.

        Raises:
            InputError: there is no such tokenizer.
        """
        in_words = holds_text(baseline) and baseline not in AT_RUN_TIME
        place = tokenizer_beside(source.folder) if tokenizer is None and in_words else None
        given = tokenizer if tokenizer is not None else place
        if given is None:
            return cls(folder=source.folder)
        found = given if isinstance(given, Tokenizer) else Tokenizer.read(given)
        return cls(found, baseline if in_words else None, source.folder)

    def front(self, graph: Graph, request: Request, heads: Mapping[str, int]) -> TextFront:
        """The way of texts into a model.

        Raises:
            InputError: there is no tokenizer, it is of another vocabulary, or no input takes tokens.
        """
        named = request.inputs[0] if request.inputs is not None and len(request.inputs) == 1 else None
        TextInputs.of(graph.inputs, named)
        if self.tokenizer is not None:
            return TextFront.of(self.tokenizer, graph, named, heads)
        place = tokenizer_beside(self.folder)
        if place is None:
            raise InputError(no_tokenizer(self.folder))
        return TextFront.of(Tokenizer.read(place), graph, named, heads)

    def request(self, request: Request, front: TextFront) -> Request:
        """The request for texts: their tokens are explained, unless inputs or layers were named."""
        named = request.inputs is not None or bool(request.layer)
        return request if named else replace(request, inputs=(front.name,))
