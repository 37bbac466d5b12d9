"""Selection: what is explained of a model, found by analysis before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnxplain.analysis.explained import Explained
from onnxplain.analysis.sample_axis import SampleAxes
from onnxplain.analysis.score import Score
from onnxplain.ir.graph import Graph
from onnxplain.ir.registry import Registry
from onnxplain.ir.tensor import Tensor

__all__ = ["Selection"]


@dataclass(frozen=True)
class Selection:
    """What is explained of a model.

    Attributes:
        graph: the model, with all names resolved.
        registry: the rules it is analysed with.
        score: the output that is explained, and the tensor the backward pass starts from.
        explained: the tensors that get an attribution.
        layers: inner tensors a method looks at beside them.
        origins: the tensors the model begins with.
        layer_inputs: the inputs that explained layers come from.
        axes: which axes count samples.
        masked: the tensors that masks belong to, by the name the user gave.
        symbol: the extent that counts samples, where batches are to be run a few samples at a time.
        left_out: the inputs that get no attribution where inputs are explained, with the reason.
    """

    graph: Graph
    registry: Registry
    score: Score
    explained: tuple[Explained, ...]
    layers: tuple[Explained, ...]
    origins: tuple[Tensor, ...]
    layer_inputs: tuple[Explained, ...]
    axes: SampleAxes
    masked: Mapping[str, Tensor] = field(default_factory=dict)
    symbol: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
