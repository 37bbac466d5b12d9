"""Test points for operators and attributes that ONNX has no backend case for. One line each; no test code."""

from __future__ import annotations

from tests.support.own_case import Own, OwnGraph
from tests.support.own_layers import ACTIVATION, ELEMENTWISE, IMAGE, INDEXING, LAYOUT, LINEAR, NORMALIZATION, POOLING, REDUCTION
from tests.support.own_models import GRAPHS, LEARNED, RECURRENT, SAMPLING, SIGNAL

CASES: list[Own | OwnGraph] = [
    *GRAPHS,
    *ELEMENTWISE,
    *ACTIVATION,
    *LINEAR,
    *POOLING,
    *LAYOUT,
    *INDEXING,
    *IMAGE,
    *SAMPLING,
    *LEARNED,
    *SIGNAL,
    *REDUCTION,
    *NORMALIZATION,
    *RECURRENT,
]
