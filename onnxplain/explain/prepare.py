"""First station: a model that was read, and a request, become a prepared model and a request whose names are tensors of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import onnx

from onnxplain.analysis.tensor_names import resolve, resolved
from onnxplain.errors import MethodError
from onnxplain.explain.request import Request
from onnxplain.explain.similarity import with_similarity
from onnxplain.io.metadata import METADATA_KEY
from onnxplain.io.reader import Source
from onnxplain.passes import expanded, prepared, preparing, scored, simplified

__all__ = ["WORDS", "Prepared", "prepare_source", "stages"]

WORDS = ("score", "explained")
"""What `expose` may name beside tensors: the tensor that is explained, and those that get an attribution."""


@dataclass(frozen=True)
class Prepared:
    """A model ready for analysis.

    Attributes:
        source: the model after all passes.
        request: what is asked for, with tensors' names for whatever address the user wrote.
        masked: the tensor each mask belongs to, by the name the user gave.
    """

    source: Source
    request: Request
    masked: Mapping[str, str]


def prepare_source(source: Source, request: Request) -> Prepared:
    """Run all passes, in place. The batch normalizations that the request names tensors of stay as they are.

    Raises:
        MethodError: the model is an explained model already.
        LayerError: an operator was named by a number that the model has not.
    """
    if any(p.key == METADATA_KEY for p in source.model.metadata_props):
        raise MethodError(
            f"{source.name} is an explained model already; explain the original (onnxplain inspect shows what it holds)"
        )
    source = with_similarity(prepared(source, request.registry), request.similarity)
    named = _named(source.model, request)
    masked = {name: resolve(source.model, name) for name in request.mask}
    for run in _passes_of_the_method(named, masked):
        source = run(source)
    return Prepared(source, named, masked)


def stages(source: Source, request: Request) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The passes of `prepare_source` one by one, in place: the name of each that changed something, and the model after it."""
    for name in preparing(source.model, request.registry):
        yield name, source.model
    source = with_similarity(source, request.similarity)
    if request.method.forward_only:
        return
    named = _named(source.model, request)
    masked = {name: resolve(source.model, name) for name in request.mask}
    source = replace(source, passes=())
    for run in _passes_of_the_method(named, masked):
        before, source = source.passes or (), run(source)
        for name in (source.passes or ())[len(before) :]:
            yield name, source.model


def _passes_of_the_method(named: Request, masked: Mapping[str, str]) -> tuple[Callable[[Source], Source], ...]:
    """What the method wants of a prepared model: operators in smaller ones, batch normalizations in the maps beside them, and
    the score that is explained, where the model does not compute it."""
    kept = (named.output, *named.layer, *masked.values(), *named.expose)
    return (
        lambda source: expanded(source, named.method.expands(named.options), named.registry),
        lambda source: simplified(source, kept),
        lambda source: scored(source, named.output, named.score),
    )


def _named(model: onnx.ModelProto, request: Request) -> Request:
    """The request with the names of tensors for whatever addresses it holds."""
    return replace(
        request,
        output=None if request.output is None else resolve(model, request.output),
        layer=tuple(resolved(model, request.layer)),
        expose=tuple(e if e in WORDS else resolve(model, e) for e in request.expose),
    )
