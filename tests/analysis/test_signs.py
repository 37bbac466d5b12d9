"""Tensors said to be not below zero never are: on whole networks, and at the edges of single operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain.analysis.nonnegative import nonnegative_tensors
from onnxplain.builder.builder import Builder
from onnxplain.ir.graph import Graph
from onnxplain.ir.ops import standard_traits
from onnxplain.passes import prepare
from tests.support.models import model, node, run
from tests.support.paths import FIXTURES


def proven(made: onnx.ModelProto) -> list[str]:
    graph = Graph(made)
    names = nonnegative_tensors(graph.nodes, Builder(graph).value, standard_traits)
    return [t.name for node in graph.nodes for t in node.outputs if t is not None and t.name in names]


@pytest.mark.parametrize("name", ["resnet", "densenet", "mobilenet", "unet", "vit", "stft", "detector_head"])
def test_no_number_of_a_network_contradicts(name: str) -> None:
    path = FIXTURES / name / "model_legacy.onnx"
    made = onnx.load(path)
    prepare(made)
    found = proven(made)
    assert found
    made.graph.output.extend(onnx.ValueInfoProto(name=n) for n in found if n not in {o.name for o in made.graph.output})
    with np.load(path.parent / "data.npz") as data:
        feeds = {i.name: data[i.name][:2] for i in made.graph.input}
    outputs = run(made, feeds)
    assert all(np.min(outputs[n]) >= 0 for n in found if np.size(outputs[n]))


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        ("Relu x", True),
        ("Exp x", True),
        ("Tanh x", False),
        ("LeakyRelu x", False),
        ("LeakyRelu r", True),
        ("Neg r", False),
        ("Add r r", True),
        ("Add r x", False),
        ("Sub r r", False),
        ("Mul r two", True),
        ("Mul r below", False),
        ("Mul x x", True),
        ("Max x r", True),
        ("Max x below", False),
        ("Min r two", True),
        ("Min r x", False),
        ("Clip x two", True),
        ("Clip x below", False),
        ("Clip r below two", True),
        ("Clip r below below", False),  # the upper bound wins
        ("Concat r x", False),
        ("Concat r two4", True),
    ],
)
def test_single_operators(write: str, expected: bool) -> None:
    op, *operands = write.split()
    settings: dict[str, Any] = {"axis": 0} if op == "Concat" else {}
    weights = {"two": np.float32(2), "below": np.float32(-1), "two4": np.full(4, 2, np.float32)}
    made = model([node("Relu", "x", "r"), node(op, " ".join(operands), "y", **settings)], {"x": (4,)}, {"y": None}, weights)
    assert ("y" in proven(made)) is expected
