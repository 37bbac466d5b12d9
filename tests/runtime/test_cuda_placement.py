"""On CUDA no node of an explained model falls back to the processor, but for arithmetic on extents. Tested without a GPU: ONNX
Runtime's own CUDA provider places the nodes, against stub libraries (tests/cuda_stubs.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import rewrite
from onnxplain.runtime.cuda_placement import left_to_processor
from tests.support import cuda_stubs
from tests.support.models import model, node
from tests.support.paths import FIXTURES

MODELS = ("resnet", "lrp_vgg", "vit", "bert", "mobilenet", "convnext", "densenet", "unet", "gpt2", "llama")
METHODS: dict[str, dict[str, Any]] = {
    "gradient": {},
    "lrp-epsilon": {},
    "lrp-epsilon-plus": {},
    "lrp-alpha2-beta1": {},
    "lrp-epsilon-gamma-box": {"low": -3.0, "high": 3.0},
    "attnlrp": {},
}


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if cuda_stubs.why_not():
        pytest.skip(cuda_stubs.why_not())
    return cuda_stubs.build_stubs(tmp_path_factory.mktemp("stubs"))


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The explained models of both exporters."""
    folder, made = tmp_path_factory.mktemp("explained"), []
    for name in MODELS:
        for path in sorted((FIXTURES / name).glob("model*.onnx")):
            for method, options in METHODS.items():
                made.append(folder / f"{name}-{path.stem}-{method}.onnx")
                onnx.save(rewrite(path, method, **options), made[-1])
    return made


@pytest.fixture(scope="module")
def as_written(stubs: Path, explained: list[Path]) -> dict[str, dict[str, Any]]:
    """Where their nodes go before ONNX Runtime optimizes the graphs."""
    return cuda_stubs.place(explained, stubs)


@pytest.fixture(scope="module")
def optimized(stubs: Path, explained: list[Path]) -> dict[str, dict[str, Any]]:
    """Where their nodes go after that."""
    return cuda_stubs.place(explained, stubs, optimized=True)


def of_extents(graph: onnx.GraphProto, outer: frozenset[str] = frozenset()) -> set[str]:
    """The names of nodes that do arithmetic on extents and constants, those in bodies too."""
    known = {"", *outer, *(t.name for t in graph.initializer)}
    names = set()
    for n in graph.node:
        bodies = [a.g for a in n.attribute if a.HasField("g")]
        names |= {name for body in bodies for name in of_extents(body, frozenset(known))}
        if n.op_type in ("Shape", "Size", "Constant") or (n.input and not bodies and known.issuperset(n.input)):
            known.update(n.output)
            names.add(n.name)
    return names


def test_every_node_has_a_kernel(explained: list[Path]) -> None:
    """By the list of kernels, which needs neither the provider nor a compiler."""
    for path in explained:
        assert [n.name for n in left_to_processor(onnx.load(path))] == [], path


def test_no_node_is_placed_on_the_processor(as_written: dict[str, dict[str, Any]]) -> None:
    for path, found in as_written.items():
        graph = onnx.load(path).graph
        assert len(found["on_cpu"]) < len(graph.node)
        assert set(found["on_cpu"]) - of_extents(graph) == set(), path


@pytest.mark.parametrize("stage", ["as_written", "optimized"])
def test_nothing_is_copied_in_mid_graph(stage: str, request: pytest.FixtureRequest) -> None:
    """Nothing at all from the device; to it only numbers that come from extents (the count of a mean)."""
    for path, found in request.getfixturevalue(stage).items():
        for kind, tensor, is_of_extents in found["copies"]:
            assert kind == "MemcpyFromHost", f"{path}: {tensor} is copied from the device"
            assert is_of_extents, f"{path}: {tensor} is copied to the device"


def test_samples_that_take_turns_cost_no_copies(stubs: Path, tmp_path: Path) -> None:
    """The loop around a model brings nothing to the processor, and copies only numbers that come from extents."""
    made = []
    for name in ("resnet", "vit", "bert"):
        for size in (1, 3):
            made.append(tmp_path / f"{name}-{size}.onnx")
            onnx.save(rewrite(FIXTURES / name / "model.onnx", "gradient", batch_size=size), made[-1])
    for optimize in (False, True):
        for path, found in cuda_stubs.place(made, stubs, optimized=optimize).items():
            assert optimize or set(found["on_cpu"]) - of_extents(onnx.load(path).graph) == set(), path
            assert all(is_of_extents for _, _, is_of_extents in found["copies"]), path
            assert len(found["copies"]) <= (0 if path.endswith("-1.onnx") else 2), path


WITHOUT: dict[str, tuple[list[onnx.NodeProto], list[int | str], int]] = {
    "Det": ([node("Det", "x", "y", "it")], ["n", 3, 3], 18),
    "Tan": ([node("Tan", "x", "y", "it")], ["n", 3], 18),
    "Mean": ([node("Mean", "x x", "y", "it")], ["n", 3], 18),
    "LpPool": ([node("LpPool", "x", "y", "it", kernel_shape=[2])], ["n", 3, 4], 18),
    "SAME ConvTranspose": ([node("ConvTranspose", "x w", "y", "it", auto_pad="SAME_UPPER", strides=[2])], ["n", 3, 4], 18),
    "uneven ConvTranspose": ([node("ConvTranspose", "x w", "y", "it", pads=[0, 1])], ["n", 3, 4], 18),
    "last of equals": (
        [node("ArgMax", "x", "a", "it", axis=1, select_last_index=1), node("Cast", "a", "y", "cast", to=1)],
        ["n", 3],
        18,
    ),
    "pooling of opset 22": ([node("MaxPool", "x", "y", "it", kernel_shape=[2])], ["n", 3, 4], 22),
    "a type without a kernel": (
        [node("Cast", "x", "i", "to", to=6), node("MatMul", "i i", "m", "it"), node("Cast", "m", "y", "back", to=1)],
        [3, 3],
        18,
    ),
}
WITH: dict[str, tuple[list[onnx.NodeProto], list[int | str], int]] = {
    "Exp": ([node("Exp", "x", "y", "it")], ["n", 3], 18),
    "even ConvTranspose": ([node("ConvTranspose", "x w", "y", "it", pads=[1, 1])], ["n", 3, 4], 18),
    "pooling": ([node("MaxPool", "x", "y", "it", kernel_shape=[2])], ["n", 3, 4], 18),
    "a body's operators": ([node("Softplus", "x", "y", "it")], ["n", 3], 18),
    "extents": ([node("Shape", "x", "s", "shape"), node("Expand", "o s", "y", "it")], ["n", 3], 18),
}


@pytest.mark.parametrize("name", [*WITHOUT, *WITH])
def test_the_list_of_kernels_agrees_with_the_provider(name: str, stubs: Path, tmp_path: Path) -> None:
    nodes, extents, opset = (WITHOUT | WITH)[name]
    weights = {"w": np.ones((3, 3, 2), np.float32), "o": np.ones(1, np.float32)}
    read = {n for each in nodes for n in each.input}
    made = model([*nodes], {"x": extents}, {"y": None}, {k: v for k, v in weights.items() if k in read}, opset=opset)
    onnx.save(made, tmp_path / "m.onnx")
    (found,) = cuda_stubs.place([tmp_path / "m.onnx"], stubs).values()
    assert ("it" in found["on_cpu"]) == (name in WITHOUT)
    assert [n.name for n in left_to_processor(made)] == (["it"] if name in WITHOUT else [])


def test_copies_are_seen(stubs: Path, tmp_path: Path) -> None:
    """The tests above can fail: Det runs on the processor alone, between copies there and back."""
    nodes = [node("MatMul", "x x", "m"), node("Det", "m", "d", "det"), node("Exp", "d", "y")]
    onnx.save(model(nodes, {"x": ["n", 3, 3]}, {"y": ["n"]}, {}), tmp_path / "det.onnx")
    (found,) = cuda_stubs.place([tmp_path / "det.onnx"], stubs).values()
    assert found["on_cpu"] == ["det"]
    assert {kind for kind, *_ in found["copies"]} == {"MemcpyToHost", "MemcpyFromHost"}
    assert not any(is_of_extents for *_, is_of_extents in found["copies"])
