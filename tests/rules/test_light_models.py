"""Whole networks shipped with onnx (2014-2017 architectures, opset 9), with random weights, in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxplain.passes import prepare
from onnxplain.verification.finite_differences import compare
from tests.support.models import run

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
SMALL = ("squeezenet", "shufflenet", "inception_v1")
LARGE = ("bvlc_alexnet", "zfnet512", "inception_v2", "resnet50", "densenet121", "vgg19")


STEP = {"inception_v2": 2.0**-33}
"""Steps of the differences. Of millions of Relus, only a tiny step crosses no kink; rounding, which the comparison takes into
account, then leaves fewer digits."""


def network(name: str) -> onnx.ModelProto:
    """The network with weights drawn at random, scaled so that activations keep their size (He et al. 2015).

    In the file every weight is a ConstantOfShape of one number: all channels would be equal, and wrong axes unseen.
    """
    model = onnx.load(FOLDER / f"light_{name}.onnx")
    shapes = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    uses = {i: (n.op_type, k) for n in model.graph.node for k, i in enumerate(n.input)}
    for n in model.graph.node:  # Caffe's scale layers: a vector that gets two more axes
        if n.op_type == "Unsqueeze":
            uses[n.input[0]] = uses[n.output[0]]
    generator = np.random.default_rng(7)
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = tuple(int(d) for d in shapes[node.input[0]])
        op, place = uses.get(node.output[0], ("", 0))
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        if len(shape) > 1:
            values = generator.normal(size=shape) * np.sqrt(2 / fan_in)
        elif op == "Mul" or (op == "BatchNormalization" and place in (1, 4)):  # scale and variance
            values = generator.uniform(0.5, 1.5, size=shape)
        else:
            values = generator.normal(size=shape) * 0.05
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def check(name: str) -> None:
    model = network(name)
    prepare(model)
    made = [n for n in model.graph.node if n.op_type == "Softmax"]
    if made:  # a softmax over a thousand random classes has hardly a slope
        del model.graph.output[:]
        model.graph.output.append(onnx.helper.make_tensor_value_info(made[-1].input[0], onnx.TensorProto.FLOAT, None))
    (data,) = model.graph.input
    shape = [d.dim_value for d in data.type.tensor_type.shape.dim]
    x = np.random.default_rng(8).normal(size=shape).astype(np.float32)
    # Where processors round differently a kink may lie within one of the steps, but not within all; a wrong slope is wrong in each.
    for step in (STEP.get(name, 2.0**-29), 2.0**-31, 2.0**-27):
        found = compare(model, {data.name: x}, step=step, tolerance=1e-5)
        if found.ok:
            break
    assert abs(found.numeric) > 1e-3
    assert found.ok, found
    single = run(model, {data.name: x})
    assert all(np.isfinite(v).all() for v in single.values())


@pytest.mark.parametrize("name", SMALL)
def test_network(name: str) -> None:
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_network(name: str) -> None:
    check(name)
