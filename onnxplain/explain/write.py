"""Last stations: what was emitted is brought into the form that runs fastest, and written as a model that describes itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import onnx

from onnxplain.analysis.sample_axis import SampleAxes
from onnxplain.explain.describe import describe
from onnxplain.explain.emit import Emission
from onnxplain.explain.prepare import Prepared
from onnxplain.explain.request import Request
from onnxplain.io.metadata import write_metadata
from onnxplain.io.reader import Source
from onnxplain.ir.emitted import Emitted
from onnxplain.method.baselines import LOOKED_UP
from onnxplain.passes.lowering import lowered
from onnxplain.passes.microbatch import Samples, in_batches
from onnxplain.passes.parts import sum_parts

__all__ = ["Lowered", "Rewritten", "Written", "lower", "tell", "write"]


@dataclass(frozen=True)
class Lowered:
    """An emission whose operators are in the form that runs fastest."""

    emission: Emission
    calls: Sequence[Emitted]


@dataclass(frozen=True)
class Written:
    """The explained model, which does not yet say what it is, and the source with the names of all passes that were run."""

    emission: Emission
    model: onnx.ModelProto
    source: Source


@dataclass(frozen=True)
class Rewritten:
    """An explained model with what is known about it.

    Attributes:
        model: the explained model.
        about: what its metadata says.
        source: the model it was made from, with the names of the passes that were run.
        axes: which axes of the original's tensors count samples.
        look_ups: by what is explained, or comes before a layer, the input whose integers look it up.
    """

    model: onnx.ModelProto
    about: dict[str, Any]
    source: Source
    axes: SampleAxes
    look_ups: Mapping[str, str] = field(default_factory=dict)


def lower(emission: Emission) -> Lowered:
    """The emitted operators in the form that runs fastest."""
    return Lowered(emission, lowered(emission.b, emission.selection.registry.traits))


def write(lowered: Lowered, prepared: Prepared, *, whole: bool = False) -> Written:
    """The explained model: the original's graph with what was emitted, of which only what results need is kept.

    Args:
        lowered: what is to be written.
        prepared: the model, which becomes the explained one, and the request.
        whole: whether weights that are held in the model's file are put into the result.

    Raises:
        MethodError: samples are to take turns, and an output has no axis to join them along.
    """
    emission, source, request = lowered.emission, prepared.source, prepared.request
    extra = [*emission.run_time.values(), *emission.run_time_inputs.values()]
    graph, alone = emission.selection.graph, request.only_attribution
    model = graph.finish(lowered.calls, emission.b.constants, emission.results, inputs=extra, alone=alone)
    if sum_parts(model):
        source = replace(source, passes=(*(source.passes or ()), "sum-parts"))
    if request.batch_size is not None:
        chosen = tuple(t.name for kind, t in emission.run_time.items() if kind == "target")
        model = in_batches(model, Samples(request.batch_size, emission.selection.symbol, chosen))
    if whole and source.lazy_weights is not None:  # while a thread still computes the digest, which is asked for next
        source.lazy_weights.embed(model)
    return Written(emission, model, source)


def tell(written: Written, request: Request) -> Rewritten:
    """The explained model with its description among its metadata."""
    about = describe(request, written.emission, written.source)
    write_metadata(written.model, about)
    selection = written.emission.selection
    look_ups = {e.name: e.source for e in (*selection.explained, *selection.layer_inputs) if e.kind in LOOKED_UP}
    return Rewritten(written.model, about, written.source, selection.axes, look_ups)
