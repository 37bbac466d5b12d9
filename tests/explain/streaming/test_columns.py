"""What stands in the results: nothing under the name of something else, no sample over another, the same whatever the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest

import onnxplain
from onnxplain.errors import InputError, OutputError
from onnxplain.results.streams.sink import ArraySink, FileSink

QUIET: dict[str, Any] = {"progress": False, "providers": "cpu", "threads": 1, "overwrite": True}


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[n,3] x) => (float[n,2] y, float[2] k) '
        "<float[3,2] w = {1,2,3,4,5,6}, int64[1] a = {0}> { y = MatMul(x, w) k = ReduceSum<keepdims=0>(w, a) }"
    )


@pytest.fixture(scope="module")
def pooled() -> onnx.ModelProto:
    """It takes pictures of any size."""
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[n,1,h,w] x) => (float[n,1] y) '
        "{ r = Relu(x) p = GlobalAveragePool(r) y = Flatten(p) }"
    )


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_outputs_without_samples_are_left_out_whatever_the_batch(tmp_path: Path, model: onnx.ModelProto, batch: int) -> None:
    np.save(tmp_path / "x.npy", np.arange(15, dtype=np.float32).reshape(5, 3))
    settings = {"output": "y", "batch_size": batch, "part": batch, **QUIET}
    onnxplain.map(model, tmp_path / "x.npy", tmp_path / "a.parquet", **settings)
    assert pq.read_schema(tmp_path / "a.parquet").names == ["index", "y", "target", "x_attribution"]
    onnxplain.map(model, tmp_path / "x.npy", tmp_path / "a", form="npy", **settings)
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["index.npy", "target.npy", "x_attribution.npy", "y.npy"]


@pytest.mark.parametrize("part", [6, 3, 2])
def test_samples_of_several_shapes_in_several_parts(tmp_path: Path, pooled: onnx.ModelProto, part: int) -> None:
    (tmp_path / "x").mkdir()
    for i in range(6):
        np.save(tmp_path / "x" / f"{i}.npy", np.full((1, 4 + 2 * (i >= 3), 5), i + 1, np.float32))
    done = onnxplain.map(pooled, tmp_path / "x", tmp_path / "a.parquet", batch_size=part, part=part, **QUIET)
    found = pq.read_table(tmp_path / "a.parquet")
    assert found["x_attribution_shape"].to_pylist() == [[1, 4, 5]] * 3 + [[1, 6, 5]] * 3
    assert done.summary["x_attribution"].mean_sizes() == pytest.approx((1 / 20 + 1 / 30) / 2)


def rows(path: Path, header: str, *lines: str) -> Path:
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    return path


@pytest.mark.parametrize("second", ["cust", "x_y"])
@pytest.mark.parametrize("part", [1, 4])
def test_samples_whose_files_would_have_one_name(tmp_path: Path, model: onnx.ModelProto, second: str, part: int) -> None:
    first = second.replace("_", "..")
    data = rows(tmp_path / "x.csv", "id,a,b,c", f"{first},1,0,0", f"{second},2,0,0", "z,3,0,0")
    with pytest.raises(OutputError, match=f"samples 0 and 1 would both be {second}.npz"):
        onnxplain.map(model, data, tmp_path / "a", form="npz", key="id", output="y", batch_size=1, part=part, **QUIET)


def test_samples_that_two_processes_write_under_one_name_are_missed(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "a", tmp_path)
    sink.begin({}, 2)
    sink.write(0, {"index": np.array([0])}, ["k"])
    sink.write(0, {"index": np.array([0])}, ["k"])  # a part that is repeated
    with pytest.raises(OutputError, match="1 samples have the key of another"):
        sink.finish(1, 2)
    sink.finish(1, 1)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["k.npz"]


def test_columns_whose_arrays_would_have_one_name(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="'a/b' and 'a_b' would both be in a_b"):
        ArraySink(tmp_path / "a", tmp_path).begin({"a/b": np.zeros((1, 2)), "a_b": np.zeros((1, 2))}, 3)


def test_what_a_killed_run_left_of_a_zarr_store_goes(tmp_path: Path) -> None:
    pytest.importorskip("zarr", reason="zarr is not installed: it comes with the extra 'zarr', from Python 3.11 on")
    sink = ArraySink(tmp_path / "a", tmp_path, zarr=True)
    sink.begin({"x": np.zeros((1, 2))}, 3)
    (tmp_path / "arrays" / "x" / "c").mkdir(parents=True)
    (tmp_path / "arrays" / "x" / "c" / "0.ddbd43f1.partial").write_bytes(b"")
    sink.write(0, {"x": np.ones((3, 2)), "index": np.arange(3)}, None)
    sink.finish(1, 3)
    assert not list((tmp_path / "a").rglob("*.partial"))


@pytest.mark.parametrize("form", ["npy", "zarr"])
def test_every_sample_has_a_line_for_its_key(tmp_path: Path, model: onnx.ModelProto, form: str) -> None:
    if form == "zarr":
        pytest.importorskip("zarr", reason="zarr is not installed: it comes with the extra 'zarr', from Python 3.11 on")
    data = rows(tmp_path / "x.csv", "id,a,b,c", "A,1,0,0", "B,oops,0,0", '"C\nD",3,0,0', "E,1,1,1", "F,no,1,1")
    settings = {"key": "id", "on_error": "skip", "output": "y", "batch_size": 1, "part": 2, **QUIET}
    onnxplain.map(model, data, tmp_path / "a", form=form, **settings)
    assert (tmp_path / "a" / "keys.txt").read_text(encoding="utf-8") == "A\n\nC D\nE\n\n"


@pytest.mark.parametrize(
    ("header", "settings", "message"),
    [
        ("index,a,b,c", {"keep": ["index"]}, "column 'index' cannot be kept"),
        ("y,a,b,c", {"keep": ["y"]}, "column 'y' cannot be kept"),
        ("target,a,b,c", {"cohort": "target"}, "column 'target' cannot be kept"),
        ("y,a,b,c", {"target_column": "y"}, "column 'y' cannot be kept"),
        ("key,a,b,c", {"keep": ["key"], "key": "key"}, "column 'key' cannot be kept"),
        ("class,a,b,c", {"cohort": "class"}, "a cohort called 'class'"),
        ("r,a,b,c", {"keep": ["r"], "form": "npy"}, "arrays hold numbers only"),
    ],
)
def test_kept_columns_that_would_be_lost(
    tmp_path: Path, model: onnx.ModelProto, header: str, settings: dict[str, Any], message: str
) -> None:
    data = rows(tmp_path / "x.csv", header, "1,1,0,0", "0,2,0,0")
    with pytest.raises((InputError, OutputError), match=message):
        onnxplain.map(model, data, tmp_path / "a.parquet", output="y", **settings, **QUIET)


def test_a_column_called_target_may_say_the_target(tmp_path: Path, model: onnx.ModelProto) -> None:
    data = rows(tmp_path / "x.csv", "target,key,a,b,c", "1,u,1,0,0", "0,v,2,0,0")
    onnxplain.map(model, data, tmp_path / "a.parquet", output="y", target_column="target", keep=["key"], **QUIET)
    found = pq.read_table(tmp_path / "a.parquet")
    assert found["target"].to_pylist() == [1, 0]
    assert found["key"].to_pylist() == ["u", "v"]
    np.testing.assert_array_equal(found["x_attribution"].to_pylist(), [[2, 4, 6], [1, 3, 5]])


def test_reasons_in_the_list_of_errors_are_no_formulas(tmp_path: Path, model: onnx.ModelProto) -> None:
    data = rows(tmp_path / "x.csv", "id,a,b,c", "x,1,0,0", "=cmd(),oops,0,0")
    onnxplain.map(model, data, tmp_path / "a.parquet", output="y", key="id", on_error="skip", **QUIET)
    assert "\n1,'=cmd()," in (tmp_path / "a.parquet.errors.csv").read_text(encoding="utf-8")
