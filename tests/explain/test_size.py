"""Size of what is emitted, counted in nodes: it decides how long rewriting takes and how much the file grows.

Nodes that depend on weights alone (a weight turned round) are left out: runtimes compute them once, when they load the file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxplain import rewrite
from onnxplain.passes import prepare
from tests.support.models import model, node
from tests.support.paths import FIXTURES

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def at_run_time(made: onnx.ModelProto) -> int:
    """How many nodes depend on an input of the model."""
    constants = {t.name for t in made.graph.initializer}
    reached = {i.name for i in made.graph.input} - constants
    count = 0
    for n in made.graph.node:
        if reached.intersection(n.input) or any(a.type == onnx.AttributeProto.GRAPH for a in n.attribute):
            reached.update(n.output)
            count += 1
    return count


@pytest.mark.parametrize(
    ("path", "bound"),
    [
        (LIGHT / "light_resnet50.onnx", 2.35),
        (FIXTURES / "resnet" / "model.onnx", 2.8),  # what a model has once weighs more in a small one
        (FIXTURES / "bert" / "model.onnx", 3.0),
        (FIXTURES / "bert" / "model_legacy.onnx", 3.0),
        (FIXTURES / "gpt2" / "model.onnx", 3.0),
        (FIXTURES / "llama" / "model.onnx", 3.0),
        (FIXTURES / "vit" / "model.onnx", 3.0),
    ],
    ids=lambda value: f"{value.parent.name}-{value.stem}" if isinstance(value, Path) else str(value),
)
def test_nodes_of_the_explained_model(path: Path, bound: float) -> None:
    """The forward and the backward, relative to the forward."""
    forward = onnx.load(path)
    prepare(forward)
    explained = rewrite(path, target="cotangent")
    assert at_run_time(explained) < bound * at_run_time(forward)


def chain(length: int) -> onnx.ModelProto:
    """Blocks of a product, an activation, and a sum with what the block before it made; symbolic extents."""
    nodes, last = [], "x"
    for i in range(length // 3):
        nodes += [node("MatMul", f"{last} w", f"m{i}"), node("Relu", f"m{i}", f"r{i}"), node("Add", f"r{i} {last}", f"a{i}")]
        last = f"a{i}"
    nodes.append(node("Identity", last, "y"))
    return model(nodes, {"x": ["n", 4]}, {"y": ["n", 4]}, {"w": np.eye(4, dtype=np.float32)})


def convolutions(length: int) -> onnx.ModelProto:
    """Blocks of a convolution, a norm and an activation."""
    nodes, last = [], "x"
    for i in range(length // 3):
        norm = node("BatchNormalization", f"c{i} one zero zero one", f"b{i}")
        nodes += [node("Conv", f"{last} w", f"c{i}"), norm, node("Relu", f"b{i}", f"r{i}")]
        last = f"r{i}"
    nodes.append(node("GlobalAveragePool", last, "y"))
    stored = {"w": np.ones((4, 4, 1, 1)), "one": np.ones(4), "zero": np.zeros(4)}
    return model(nodes, {"x": ["n", 4, 2, 2]}, {"y": ["n", 4, 1, 1]}, {k: v.astype(np.float32) for k, v in stored.items()})


@pytest.mark.parametrize("method", ["gradient", "lrp-epsilon-plus", "attnlrp"])
@pytest.mark.parametrize("make", [chain, convolutions])
def test_work_grows_linearly_with_the_nodes(make: Callable[[int], onnx.ModelProto], method: str) -> None:
    """Nodes, and nodes of functions while rewriting, of ten times as long a chain."""

    def measured(length: int) -> tuple[int, int]:
        made, calls = make(length), 0

        def count(frame: FrameType, event: str, argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            explained = rewrite(made, method, target="cotangent")
        finally:
            sys.setprofile(before)
        return len(explained.graph.node), calls

    measured(30)  # what is done once
    (nodes, calls), (more_nodes, more_calls) = measured(300), measured(3000)
    assert more_nodes < 10 * nodes + 20
    assert more_calls < 11 * calls


@pytest.mark.parametrize(
    "method", ["gradient", "lrp-epsilon", "lrp-epsilon-plus", "attnlrp", "integrated-gradients", "smoothgrad"]
)
@pytest.mark.parametrize("name", ["light_resnet50", "light_densenet121", "light_vgg19", "light_squeezenet"])
def test_the_file_grows_by_a_twentieth_at_most(name: str, method: str) -> None:
    """What rewriting adds to the file, against the weights that the architecture has. Path methods add the model twice, without
    its weights: a little more for a network of many small layers."""
    made = onnx.load(LIGHT / f"{name}.onnx")
    sizes = {n.output[0]: np.prod(_shape(made, n.input[0])) for n in made.graph.node if n.op_type == "ConstantOfShape"}
    sizes |= {t.name: np.prod(t.dims) for t in made.graph.initializer}
    explained = rewrite(made, method, baseline=0.0 if method == "integrated-gradients" else None)
    limit = 0.06 if method == "integrated-gradients" else 0.05
    assert explained.ByteSize() - made.ByteSize() < limit * 4 * sum(sizes.values())


def _shape(made: onnx.ModelProto, name: str) -> np.ndarray[Any, Any]:
    return numpy_helper.to_array(next(t for t in made.graph.initializer if t.name == name))
