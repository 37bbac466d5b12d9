"""Weights that stay in the model's file while it is rewritten: the same model comes out, and few bytes go through memory."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from onnxplain import rewrite
from onnxplain.cli.main import main
from onnxplain.errors import ModelError, OutputError
from onnxplain.explain.request import Request
from onnxplain.explain.rewrite import rewrite_source
from onnxplain.io import lazy_weights as held
from onnxplain.io import reader as load
from onnxplain.io.reader import read
from onnxplain.io.writer import write_model
from tests.support.models import model, node

RANDOM = np.random.default_rng(0)
WIDE = 200  # 160 kB of float32, above what is looked at


def weights(*shape: int) -> np.ndarray[Any, Any]:
    return (RANDOM.standard_normal(shape) / 14).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model with weights in every place: raw and packed initializers, a Constant node, the branches of If, small and large."""
    monkeypatch.setattr(load, "WORTHWHILE", 1)
    branches = {}
    for name in ("then_branch", "else_branch"):
        out = helper.make_tensor_value_info(f"{name}_y", 1, ["n", WIDE])
        own = numpy_helper.from_array(weights(WIDE, WIDE), f"{name}_w")
        branches[name] = helper.make_graph([node("MatMul", f"r {name}_w", f"{name}_y")], name, [], [out], [own])
    constant = node("Constant", "", "c", value=numpy_helper.from_array(weights(WIDE, WIDE)))
    nodes = [
        constant,
        node("MatMul", "x w", "m"), node("Add", "m bias", "a"), node("Relu", "a", "r"), node("Not", "flag", "no"),
        node("If", "no", "i", **branches), node("MatMul", "i packed", "p"), node("MatMul", "p c", "y"),
    ]  # fmt: skip
    made = model(nodes, {"x": ["n", WIDE]}, {"y": ["n", WIDE]}, {"w": weights(WIDE, WIDE), "bias": weights(WIDE)})
    made.graph.input.append(helper.make_tensor_value_info("flag", TensorProto.BOOL, []))
    made.graph.initializer.append(
        helper.make_tensor("packed", TensorProto.FLOAT, [WIDE, WIDE], weights(WIDE, WIDE).ravel().tolist())
    )
    made.producer_name = "tests"
    made.metadata_props.add(key="a", value="b")
    onnx.save(made, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def without_digest(made: onnx.ModelProto) -> onnx.ModelProto:
    """Where the model came from as a message, its digest is another."""
    for entry in made.metadata_props:
        entry.value = entry.value.partition('"source_sha256"')[0]
    return made


@pytest.mark.parametrize("method", ["gradient", "lrp-epsilon-plus", "integrated-gradients"])
def test_the_same_model_with_and_without(path: Path, method: str) -> None:
    settings = {"baseline": 0} if method.startswith("integrated") else {}
    assert read(path, hold=True).lazy_weights is not None
    found, expected = (rewrite(m, method, **settings) for m in (path, onnx.load(path)))
    assert f'"source_sha256": "{hashlib.sha256(path.read_bytes()).hexdigest()}"' in found.metadata_props[-1].value
    assert without_digest(found) == without_digest(expected)


def test_the_written_file_is_the_model(path: Path, tmp_path: Path) -> None:
    source = read(path, hold=True)
    made = rewrite_source(source, Request.for_graph("gradient")).model
    assert made.ByteSize() < path.stat().st_size - 3 * WIDE * WIDE, "what lies in the graph itself was read"
    for goal in (tmp_path / "other.onnx", path):  # the model itself may be written over
        write_model(made, goal, source.folder, source.lazy_weights)
        assert sorted(f.name for f in tmp_path.iterdir() if f.suffix != ".onnx") == []
        written = onnx.load(goal)
        feeds = {"x": weights(3, WIDE), "flag": np.array(False)}
        assert ort.InferenceSession(goal).run(None, feeds)[1].any()
        whole = source.lazy_weights.embed(written) if source.lazy_weights else written
        assert whole == written
        assert {t.name for t in written.graph.initializer} == {t.name for t in made.graph.initializer}


def test_a_link_of_another_name(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link.onnx").symlink_to(path)
    source = read(tmp_path / "link.onnx", hold=True)
    assert source.lazy_weights is not None
    assert without_digest(rewrite(tmp_path / "link.onnx")) == without_digest(rewrite(path))


def test_command_writes_what_the_function_returns(path: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["rewrite", str(path), "-o", str(tmp_path / "out.onnx")])
    assert done.exit_code == 0, done.output
    written, returned = onnx.load(tmp_path / "out.onnx"), rewrite(path)
    order = {t.name: t for t in written.graph.initializer}
    del written.graph.initializer[:]
    written.graph.initializer.extend(order[t.name] for t in returned.graph.initializer)
    assert written == returned


def test_copying_where_the_system_does_not(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In full by reading and writing, and when the system stops half-way."""
    source = read(path, hold=True)
    made = rewrite_source(source, Request.for_graph("gradient")).model
    expected = write_model(made, tmp_path / "a.onnx", source.folder, source.lazy_weights).read_bytes()
    copied: list[int] = []

    def once(*arguments: Any) -> int:
        if copied:
            raise OSError("no")
        copied.append(1000)
        return real(*arguments[:2], 1000, *arguments[3:])

    real = getattr(__import__("os"), "copy_file_range", None)
    if real is not None:
        monkeypatch.setattr("os.copy_file_range", once)
        assert write_model(made, tmp_path / "b.onnx", source.folder, source.lazy_weights).read_bytes() == expected
        monkeypatch.delattr("os.copy_file_range")
    assert write_model(made, tmp_path / "c.onnx", source.folder, source.lazy_weights).read_bytes() == expected


def test_weights_whose_values_are_needed_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch normalization folds into its convolution, as in a model that was handed over whole."""
    monkeypatch.setattr(load, "WORTHWHILE", 1)
    stored = {"w": weights(100, 100, 3, 3)} | {name: np.abs(weights(100)) for name in "s b m v".split()}
    nodes = [node("Conv", "x w", "c"), node("BatchNormalization", "c s b m v", "y")]
    onnx.save(model(nodes, {"x": ["n", 100, 5, 5]}, {"y": ["n", 100, 3, 3]}, stored), tmp_path / "m.onnx")
    found, expected = (rewrite(m, target="cotangent") for m in (tmp_path / "m.onnx", onnx.load(tmp_path / "m.onnx")))
    assert without_digest(found) == without_digest(expected)


@pytest.mark.parametrize("keep", [0, 1, 10, 300_000, -1])
def test_damaged_files_are_refused_as_ever(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"no ONNX model|cut off"):
        read(path, hold=True)


def test_other_files_are_refused_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "WORTHWHILE", 1)
    for content in (b"\xff" * 100, b"hello world", bytes(100), bytes([58, 255, 255, 255, 255, 15]) * 3):
        (tmp_path / "m.onnx").write_bytes(content)
        with pytest.raises(ModelError, match="no ONNX model"):
            read(tmp_path / "m.onnx", hold=True)


def test_more_than_protocol_buffers_take(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = read(path, hold=True)
    made = rewrite_source(source, Request.for_graph("gradient")).model
    monkeypatch.setattr("onnxplain.io.writer.FILE_LIMIT", 100_000)
    with pytest.raises(OutputError, match="more than 2 GB"):
        write_model(made, tmp_path / "out.onnx", source.folder, source.lazy_weights)


CHILD = """
import sys
from pathlib import Path
from onnxplain.io.reader import read
from onnxplain.explain.request import Request
from onnxplain.explain.rewrite import rewrite_source
from onnxplain.io.writer import write_model
source = read(sys.argv[1], hold=True)
write_model(rewrite_source(source, Request.for_graph(sys.argv[2])).model, Path(sys.argv[3]), source.folder, source.lazy_weights)
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) // 1024)
print(dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())["rchar"])
"""


def child(*arguments: object) -> tuple[int, int]:
    """Rewrite in a process of its own: the greatest resident size in MB, and the bytes that it read from files."""
    words = [str(a) for a in arguments]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *words], capture_output=True, text=True, check=True, cwd=Path(held.__file__).parents[1]
    )
    memory, read_bytes = done.stdout.split()
    return int(memory), int(read_bytes)


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts what a process reads as Linux tells it")
@pytest.mark.parametrize("method", ["gradient", "lrp-epsilon-plus"])
def test_ten_gigabytes_beside_a_model_cost_nothing(tmp_path: Path, method: str) -> None:
    """Weights in a sparse file take no room on the disk; rewriting and saving read none of them."""
    wide, layers = 16384, 10
    nodes = [node("MatMul", f"x{i} w{i}", f"x{i + 1}") for i in range(layers)]
    made = model(nodes, {"x0": ["n", wide]}, {f"x{layers}": ["n", wide]}, {})
    length = 4 * wide * wide
    for i in range(layers):
        tensor = made.graph.initializer.add(name=f"w{i}", data_type=1, dims=[wide, wide], data_location=TensorProto.EXTERNAL)
        for key, value in {"location": "m.data", "offset": i * length, "length": length}.items():
            tensor.external_data.add(key=key, value=str(value))
    onnx.save(made, tmp_path / "m.onnx")
    with open(tmp_path / "m.data", "wb") as file:
        file.truncate(layers * length)
    assert (tmp_path / "m.data").stat().st_size > 10e9
    memory, read_bytes = child(tmp_path / "m.onnx", method, tmp_path / "out.onnx")
    assert memory < 500
    assert read_bytes < 50e6


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="tells the memory of a process as Linux does")
def test_a_large_file_does_not_go_through_memory(tmp_path: Path) -> None:
    """300 MB within the model, as a hole in the file: read once for its digest, and copied by the system."""
    length = 300 << 20
    made = model([node("MatMul", "x w", "y")], {"x": ["n", 1 << 16]}, {"y": ["n", 1200]}, {})
    message = TensorProto(name="w", data_type=1, dims=[1 << 16, 1200]).SerializeToString()
    made.graph.initializer.add(name="w", data_type=1, dims=[1 << 16, 1200], raw_data=b"")
    del made.graph.initializer[:]
    tensor = message + held._tag(held.RAW_DATA, length)
    graph = made.graph.SerializeToString() + held._tag(held.INITIALIZER, len(tensor) + length) + tensor
    made.ClearField("graph")
    with open(tmp_path / "m.onnx", "wb") as file:
        file.write(made.SerializeToString() + held._tag(held.GRAPH, len(graph) + length) + graph)
        file.truncate(file.tell() + length)
    memory, _ = child(tmp_path / "m.onnx", "gradient", tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").stat().st_size > length
    assert memory < 200
