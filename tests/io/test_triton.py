"""Model repositories for Triton: its own message reads the configuration, and the model runs on what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner

from onnxplain import rewrite
from onnxplain.cli.main import main
from onnxplain.errors import OutputError
from onnxplain.io.metadata import read_metadata
from onnxplain.io.triton import triton_config
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits" / "model.onnx"
KINDS = {"TYPE_FP32": np.float32, "TYPE_INT64": np.int64}


def parsed(text: str) -> Any:
    """The configuration as Triton's own protocol buffer."""
    pytest.importorskip("tritonclient", reason="tritonclient is not installed")
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    return text_format.Parse(text, model_config_pb2.ModelConfig())


def as_served(config: Any, path: Path, count: int) -> list[np.ndarray]:
    """What the model answers when a server calls it as the configuration says."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = {}
    for i in config.input:
        kind = KINDS[type(config.input[0]).DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[i.data_type].name]
        dims = list(i.reshape.shape) if i.HasField("reshape") else list(i.dims)
        feeds[i.name] = np.ones([count, *dims], kind)
    return session.run([o.name for o in config.output], feeds)


@pytest.mark.parametrize("count", [1, 5])
def test_a_repository(tmp_path: Path, count: int) -> None:
    done = CliRunner().invoke(main, ["rewrite", str(DIGITS), "--triton", str(tmp_path / "repository"), "-t", "input"])
    assert done.exit_code == 0, done.output
    folder = tmp_path / "repository" / "model_gradient"
    config = parsed((folder / "config.pbtxt").read_text(encoding="utf-8"))
    assert (config.name, config.backend, config.max_batch_size) == (folder.name, "onnxruntime", 32)
    assert {i.name: (list(i.dims), i.HasField("reshape")) for i in config.input} == {
        "image": ([1, 8, 8], False),
        "target": ([1], True),
    }
    assert config.HasField("dynamic_batching")
    assert len(config.model_warmup) == 1
    found = as_served(config, folder / "1" / "model.onnx", count)
    for output, value in zip(config.output, found, strict=True):
        assert value.shape == (count, *output.dims)


def test_a_model_of_fixed_batch_is_not_batched() -> None:
    made = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[2,3] x) => (float[2,3] y) { y = Mul(x, x) }'
    )
    explained = rewrite(made, "gradient", target=0)
    config = parsed(triton_config(explained, read_metadata(explained) or {}, "m"))
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [2, 3]
    assert not config.HasField("dynamic_batching")


def test_what_is_no_tensor_is_refused() -> None:
    explained = zipped()
    with pytest.raises(OutputError, match="no tensor that Triton can serve"):
        triton_config(explained, read_metadata(explained) or {}, "m")


def zipped() -> onnx.ModelProto:
    made = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18, "ai.onnx.ml": 3]> g (float[n,2] x) => (float[n,2] y) { y = Mul(x, x) }'
    )
    node = onnx.helper.make_node("ZipMap", ["y"], ["z"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    made.graph.node.append(node)
    kind = onnx.helper.make_map_type_proto(onnx.TensorProto.INT64, onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, []))
    made.graph.output.append(onnx.helper.make_value_info("z", onnx.helper.make_sequence_type_proto(kind)))
    return rewrite(made, "gradient", target=0, output="y")


def test_somewhere_to_write_is_needed() -> None:
    done = CliRunner().invoke(main, ["rewrite", str(DIGITS)])
    assert done.exit_code == 2
    assert "say where to write" in done.output


def test_a_model_in_a_repository_is_replaced_only_by_force(tmp_path: Path) -> None:
    command = ["rewrite", str(DIGITS), "--triton", str(tmp_path)]
    folder = tmp_path / "model_gradient"
    assert CliRunner().invoke(main, command).exit_code == 0
    (folder / "config.pbtxt").write_text("mine", encoding="utf-8")
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 2
    assert "exists; give --force" in refused.output
    assert (folder / "config.pbtxt").read_text(encoding="utf-8") == "mine"
    assert CliRunner().invoke(main, [*command, "--force"]).exit_code == 0
    assert (folder / "config.pbtxt").read_text(encoding="utf-8").startswith('name: "model_gradient"')
    own = str(folder / "1" / "model.onnx")
    refused = CliRunner().invoke(main, ["rewrite", own, "--triton", str(tmp_path), "--triton-name", "model_gradient", "--force"])
    assert refused.exit_code == 2
    assert "is read by this command" in refused.output
