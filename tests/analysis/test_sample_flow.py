"""Where samples lie, claimed by analysis and tried out on ONNX Runtime: a sample that changes must change its own slice alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain.analysis.sample_axis import find_sample_axes
from onnxplain.analysis.sample_flow.place import Gone, Place, Product, place_after_reshape
from onnxplain.analysis.score import find_score
from onnxplain.io.reader import read
from onnxplain.ir.graph import Graph
from onnxplain.ir.registry import load_registry
from onnxplain.passes import prepared
from tests.support.models import model, node, run

N = 3


def weights(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


def loop_body() -> onnx.GraphProto:
    """state ← tanh(state + x); each step returns it too."""
    nodes = [
        node("Add", "state x", "sum"), node("Tanh", "sum", "after"), node("Identity", "after", "row"), node("Identity", "go", "on"),
    ]  # fmt: skip
    info = onnx.helper.make_tensor_value_info
    given = [info("i", 7, []), info("go", 9, []), info("state", 1, ["batch", 4])]
    return onnx.helper.make_graph(nodes, "body", given, [info("on", 9, []), info("after", 1, None), info("row", 1, None)])


def scan_body() -> onnx.GraphProto:
    info = onnx.helper.make_tensor_value_info
    nodes = [node("Add", "state row", "after"), node("Identity", "after", "made")]
    given = [info("state", 1, None), info("row", 1, ["batch", 4])]
    return onnx.helper.make_graph(nodes, "body", given, [info("after", 1, None), info("made", 1, None)])


def scan_over_samples(carried: bool) -> list[onnx.NodeProto]:
    """Steps take a sample each; a state goes on from one to the next, or knows nothing of them."""
    info = onnx.helper.make_tensor_value_info
    nodes = [node("Add", "state row", "made"), node("Identity", "made" if carried else "state", "after")]
    given = [info("state", 1, None), info("row", 1, [4])]
    body = onnx.helper.make_graph(nodes, "body", given, [info("after", 1, None), info("made", 1, None)])
    return [onnx.helper.make_node("Scan", ["z", "x"], ["last", "y"], num_scan_inputs=1, body=body)]


def padded_as_by_pytorch(begins: str) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """Pads that are put together at run time, the last axis first, by the exporter of TorchScript: pairs, turned round.

    The first four are of the last two axes, the rest, `begins` among them, of the samples.
    """
    nodes = [
        node("Shape", "x", "s"), node("Gather", "s two", "d"), node("Cast", "d", "f", to=1), node("Cast", "f", "e", to=7),
        node("Unsqueeze", "e zero", "u"), node("Concat", f"u one one one {begins} zero", "flat", axis=0),
        node("Reshape", "flat pairs", "rows"), node("Slice", "rows last least zero last", "back"),
        node("Transpose", "back", "turned", perm=[1, 0]), node("Reshape", "turned last", "long"), node("Cast", "long", "pads", to=7),
        node("Tanh", "x", "t"), node("Pad", "t pads", "y"),
    ]  # fmt: skip
    return nodes, {
        "two": np.int64(2), "zero": ints(0), "one": ints(1), "pairs": ints(-1, 2), "last": ints(-1), "least": ints(-(2**63) + 1),
    }  # fmt: skip


KEPT: dict[str, tuple[list[onnx.NodeProto], list[Any], Mapping[str, Any], int]] = {
    "elementwise": ([node("Tanh", "x", "y")], ["batch", 4], {}, 0),
    "stretched to extents of 32 bits, as TensorFlow writes them": (
        [
            node("Unsqueeze", "x two", "h"), node("Shape", "x", "s"), node("Cast", "s", "short", to=6),
            node("Slice", "short zero one zero", "n"), node("Concat", "n beside", "wide", axis=0), node("Cast", "wide", "long", to=7),
            node("Expand", "h long", "e"), node("Tanh", "e", "y"),
        ],
        ["batch", 4],
        {"two": ints(2), "zero": ints(0), "one": ints(1), "beside": np.array([4, 2], np.int32)},
        0,
    ),
    "cut from 0 to the end, as TensorFlow writes it": (
        [node("Slice", "x begin end axes", "y")], ["batch", 4], {"begin": ints(0, 1), "end": ints(10**9, 3), "axes": ints(0, 1)}, 0,
    ),
    "padded by what is known at run time only": (padded_as_by_pytorch("zero")[0], ["batch", 2, 3], padded_as_by_pytorch("zero")[1], 0),
    "broadcast to a longer operand": ([node("Add", "x w", "y")], ["batch", 4], {"w": weights(2, 1, 4)}, 1),
    "rows times a matrix": ([node("MatMul", "x w", "y")], ["batch", 4], {"w": weights(4, 2)}, 0),
    "a matrix times columns": ([node("MatMul", "w x", "y")], [4, "batch"], {"w": weights(2, 4)}, 1),
    "rows times a vector": ([node("MatMul", "x w", "y")], ["batch", 4], {"w": weights(4)}, 0),
    "a stack of matrices": ([node("MatMul", "x w", "y")], [2, "batch", 4], {"w": weights(2, 4, 3)}, 1),
    "a product of samples' own matrices": (
        [node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "x t", "y")], ["batch", 2, 4], {}, 0,
    ),
    "Gemm": ([node("Gemm", "x w b", "y", transB=1)], ["batch", 4], {"w": weights(2, 4), "b": weights(2)}, 0),
    "Gemm of a transposed input": ([node("Gemm", "x w", "y", transA=1)], [4, "batch"], {"w": weights(4, 2)}, 0),
    "Einsum": ([node("Einsum", "x w", "y", equation="tnc,cd->ntd")], [2, "batch", 4], {"w": weights(4, 3)}, 0),
    "convolution": ([node("Conv", "x w", "y")], ["batch", 2, 5], {"w": weights(3, 2, 3)}, 0),
    "pooling": ([node("MaxPool", "x", "y", kernel_shape=[2])], ["batch", 2, 6], {}, 0),
    "global pooling": ([node("GlobalAveragePool", "x", "y")], ["batch", 2, 6], {}, 0),
    "softmax over another axis": ([node("Softmax", "x", "s", axis=0), node("Tanh", "s", "y")], [4, "batch"], {}, 1),
    "layer normalization": ([node("LayerNormalization", "x w", "y")], ["batch", 4], {"w": weights(4)}, 0),
    "instance normalization": ([node("InstanceNormalization", "x w w", "y")], ["batch", 2, 4], {"w": weights(2)}, 0),
    "reduction": ([node("ReduceMax", "x a", "y", keepdims=0)], [4, "batch", 2], {"a": ints(0)}, 0),
    "Transpose": ([node("Transpose", "x", "y", perm=[1, 2, 0])], ["batch", 4, 2], {}, 2),
    "Squeeze": ([node("Squeeze", "x a", "y")], [1, "batch", 4], {"a": ints(0)}, 0),
    "Unsqueeze": ([node("Unsqueeze", "x a", "y")], ["batch", 4], {"a": ints(0, 2)}, 1),
    "Reshape that splits the features": ([node("Reshape", "x s", "y")], [2, "batch", 6], {"s": ints(0, -1, 2, 3)}, 1),
    "there and back": (
        [node("Reshape", "x s", "f"), node("MatMul", "f w", "g"), node("Reshape", "g t", "y")],
        ["batch", 5, 4], {"s": ints(-1, 4), "w": weights(4, 2), "t": ints(-1, 5, 2)}, 0,
    ),
    "Flatten": ([node("Flatten", "x", "y")], ["batch", 2, 4], {}, 0),
    "Slice of another axis": ([node("Slice", "x b e a", "y")], ["batch", 4], {"b": ints(1), "e": ints(3), "a": ints(1)}, 0),
    "Gather of another axis": ([node("Gather", "x i", "y", axis=0)], [4, "batch"], {"i": ints(2, 0)}, 1),
    "one step of time": ([node("Gather", "x i", "y", axis=0)], [4, "batch", 2], {"i": np.int64(-1)}, 0),
    "Concat along another axis": ([node("Concat", "x x", "y", axis=1)], ["batch", 4], {}, 0),
    "Pad of another axis": ([node("Pad", "x p", "y")], ["batch", 4], {"p": ints(0, 1, 0, 2)}, 0),
    "Expand": ([node("Expand", "x s", "y")], ["batch", 1], {"s": ints(2, 1, 4)}, 1),
    "Tile": ([node("Tile", "x s", "y")], ["batch", 4], {"s": ints(1, 2)}, 0),
    "Resize": (
        [onnx.helper.make_node("Resize", ["x", "", "s"], ["y"])], ["batch", 1, 2, 2], {"s": np.array([1, 1, 2, 2], np.float32)}, 0,
    ),
    "TopK": ([node("TopK", "x k", "y i", axis=0)], [4, "batch"], {"k": ints(2)}, 1),
    "LSTM": ([node("LSTM", "x w r", "y", hidden_size=2)], [4, "batch", 3], {"w": weights(1, 8, 3), "r": weights(1, 8, 2)}, 2),
    "the state of a GRU": (
        [onnx.helper.make_node("GRU", ["x", "w", "r"], ["", "y"], hidden_size=2)], [4, "batch", 3],
        {"w": weights(1, 6, 3), "r": weights(1, 6, 2)}, 1,
    ),
    "the rows of a loop": (
        [onnx.helper.make_node("Loop", ["m", "", "x"], ["last", "y"], body=loop_body())], ["batch", 4], {"m": np.int64(2)}, 1,
    ),
    "a scan over time": (
        [
            node("Shape", "x", "s", start=1), node("ConstantOfShape", "s", "z"),
            onnx.helper.make_node("Scan", ["z", "x"], ["y", "rows"], num_scan_inputs=1, body=scan_body()),
        ],
        [5, "batch", 4], {}, 0,
    ),
    "a scan with a sample to each step": (scan_over_samples(False), ["batch", 4], {"z": weights(4)}, 0),
}  # fmt: skip
"""Nodes, the shape of the input, weights, and where the samples lie in the output."""

MIXED: dict[str, tuple[list[onnx.NodeProto], list[Any], Mapping[str, Any]]] = {
    "samples are summed over": ([node("MatMul", "w x", "y")], ["batch", 4], {"w": weights(N, N)}),
    "a norm of the batch": ([node("ReduceMean", "x a", "m", keepdims=1), node("Sub", "x m", "y")], ["batch", 4], {"a": ints(0)}),
    "softmax over samples": ([node("Softmax", "x", "s", axis=0), node("Tanh", "s", "y")], ["batch", 4], {}),
    "every sample with every other": ([node("Transpose", "x", "t", perm=[1, 0]), node("MatMul", "x t", "y")], ["batch", 4], {}),
    "channels": (
        [node("Unsqueeze", "x a", "u"), node("Conv", "u w", "y")],
        ["batch", 5],
        {"a": ints(0), "w": weights(2, N, 3)},
    ),
    "time": (
        [node("Unsqueeze", "x a", "u"), node("LSTM", "u w r", "y", hidden_size=2)],
        ["batch", 3],
        {"a": ints(1), "w": weights(1, 8, 3), "r": weights(1, 8, 2)},
    ),
    "a scan from sample to sample": (scan_over_samples(True), ["batch", 4], {"z": weights(4)}),
    "the first sample alone": ([node("Gather", "x i", "y", axis=0)], ["batch", 4], {"i": np.int64(0)}),
}


def followed(nodes: list[onnx.NodeProto], shape: list[Any], constants: Mapping[str, Any]) -> tuple[onnx.ModelProto, Any]:
    """The model, and where the samples of extent batch lie in its output."""
    made = model(nodes, {"x": shape}, {"y": None}, constants)
    graph = Graph(prepared(read(made), load_registry()).model)
    score = find_score(graph, None)
    axes = find_sample_axes(graph, score)
    return made, axes


def moved(made: onnx.ModelProto, shape: list[Any], sample: int) -> np.ndarray[Any, Any]:
    """By how much every element of the output changes with one sample."""
    axis = shape.index("batch")
    x = np.random.default_rng(0).normal(size=[N if d == "batch" else d for d in shape]).astype(np.float32)
    other = x.copy()
    place = (slice(None),) * axis + (sample,)
    other[place] = np.random.default_rng(1).normal(size=x[place].shape)
    return np.abs(run(made, {"x": other})["y"] - run(made, {"x": x})["y"])


@pytest.mark.parametrize("name", KEPT)
def test_a_sample_moves_its_own_slice_alone(name: str) -> None:
    nodes, shape, constants, expected = KEPT[name]
    made, axes = followed(nodes, shape, constants)
    assert (axes.axis, axes.proven, axes.of_inputs) == (expected, True, {"x": shape.index("batch")})
    for sample in range(N):
        by = np.moveaxis(moved(made, shape, sample), expected, 0).reshape(N, -1).max(axis=1)
        assert by[sample] > 0
        assert np.delete(by, sample).max() == 0


@pytest.mark.parametrize("name", MIXED)
def test_what_mixes_samples_has_no_axis_for_them(name: str) -> None:
    nodes, shape, constants = MIXED[name]
    made, axes = followed(nodes, shape, constants)
    assert axes.axis is None
    assert not axes.open
    assert "mixes" in axes.reason
    changed = moved(made, shape, 0)
    alone = [
        axis for axis in range(changed.ndim)
        if changed.shape[axis] == N and np.delete(np.moveaxis(changed, axis, 0), 0, 0).max() == 0
    ]  # fmt: skip
    assert not alone


def test_pads_that_may_add_samples_prove_nothing() -> None:
    nodes, constants = padded_as_by_pytorch("u")
    _, axes = followed(nodes, ["batch", 2, 3], constants)
    assert (axes.axis, set(axes.open)) == (None, {"x"})


def test_what_is_not_known_is_neither_proven_nor_disproved() -> None:
    nodes = [node("Bend", "x", "h", domain="my.ops"), node("Tanh", "h", "y")]
    graph = Graph(model(nodes, {"x": ["batch", 3]}, {"y": ["batch", 3]}))
    axes = find_sample_axes(graph, find_score(graph, None))
    assert (axes.axis, axes.proven) == (0, False)
    assert axes.states["y"] == Gone("my.ops.Bend 'h'", False)


SAMPLES = Product(1, ("batch",))


@pytest.mark.parametrize(
    ("place", "before", "after", "expected"),
    [
        (Place(0), ("batch", 6), ("batch", 2, 3), Place(0)),
        (Place(0), ("batch", 6), (None, 2, 3), Place(0)),
        (Place(0), ("batch", 6), ("made_up", 2, 3), Place(0)),
        (Place(1), (4, "batch", 6), (4, "batch", 2, 3), Place(1)),
        (Place(1), ("t", "batch", 6), (None, 6), Place(0, outer=Product(1, ("t",)))),
        (Place(0), ("batch", "t", 6), (None, 6), Place(0, inner=Product(1, ("t",)))),
        (Place(0, inner=Product(1, ("t",))), ("unk", 6), (None, "t", 6), Place(0)),
        (Place(0), ("batch", 6), (1, "batch", 6), Place(1)),
        (Place(1), (2, "batch", 6), ("batch", 12), None),
        (Place(0), ("batch", "t"), ("t", "batch"), None),
        (Place(0), ("batch", 6), None, None),
    ],
)  # fmt: skip
def test_reshapes(place: Place, before: Any, after: Any, expected: Place | None) -> None:
    """The samples are found again where the extents before them say so, and only there."""
    assert place_after_reshape(place, before, after, "batch") == expected
