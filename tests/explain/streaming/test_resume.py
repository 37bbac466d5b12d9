"""Going on: what a failure promises is kept, for every kind of data; and the first samples neither end a run nor fill the memory."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import onnxplain
from onnxplain.errors import InputError, OutputError
from onnxplain.explain.streaming.pace import COPIES
from onnxplain.io.datasets.arrays import ArrayData

ONE: dict[str, Any] = {"progress": False, "providers": "cpu", "threads": 1, "batch_size": 1, "part": 1}


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[n,3] x) => (float[n,2] y) '
        "<float[3,2] w = {1,2,3,4,5,6}> { y = MatMul(x, w) }"
    )


def write(kind: str, folder: Path, cells: list[str]) -> Path:
    """Three samples; a cell that is no number makes one that cannot be read or explained."""
    path = folder / f"x.{kind}"
    if kind == "csv":
        path.write_text("\n".join(["a,b,c", *(f"{c},0,0" for c in cells)]), encoding="utf-8")
    elif kind == "npy":
        np.save(path, np.array([[float(c) if c.isdigit() else np.inf, 0, 0] for c in cells], np.float32))
    elif kind == "folder":
        path.mkdir(exist_ok=True)
        for i, c in enumerate(cells):
            text = f"{c} 0 0"
            if not (path / f"{i}.txt").exists() or (path / f"{i}.txt").read_text(encoding="utf-8") != text:
                (path / f"{i}.txt").write_text(text, encoding="utf-8")
    else:
        with tarfile.open(path, "w") as archive:
            for i, c in enumerate(cells):
                entry = tarfile.TarInfo(f"{i}.txt")
                entry.size = len(f"{c} 0 0")
                archive.addfile(entry, io.BytesIO(f"{c} 0 0".encode()))
    return path


@pytest.mark.parametrize("kind", ["csv", "npy", "folder", "tar"])
def test_a_mended_sample_of_another_size(tmp_path: Path, model: onnx.ModelProto, kind: str) -> None:
    out = tmp_path / "a.parquet"
    with pytest.raises(InputError, match=r"mend it, or leave such samples out .* and go on with resume"):
        onnxplain.map(model, write(kind, tmp_path, ["1", "oops", "3"]), out, **ONE)
    data = write(kind, tmp_path, ["1", "2222222", "3"])
    done = onnxplain.map(model, data, out, resume=True, **ONE)
    read = pq.read_table(out)
    assert read["index"].to_pylist() == [0, 1, 2]
    np.testing.assert_allclose(read["y"].to_pylist(), [[1, 2], [2222222, 4444444], [3, 6]])
    assert not done.problems


@pytest.mark.parametrize("kind", ["csv", "folder", "tar"])
def test_samples_that_were_explained_must_stay_what_they_were(tmp_path: Path, model: onnx.ModelProto, kind: str) -> None:
    out = tmp_path / "a.parquet"
    with pytest.raises(InputError, match="oops"):
        onnxplain.map(model, write(kind, tmp_path, ["1", "oops", "3"]), out, **ONE)
    with pytest.raises(OutputError, match="some of samples 0 to 0 are no longer what was explained"):
        onnxplain.map(model, write(kind, tmp_path, ["7", "2", "3"]), out, resume=True, **ONE)


def test_a_parquet_file_is_mended_as_a_whole(tmp_path: Path, model: onnx.ModelProto) -> None:
    def table(middle: float) -> Path:
        values = pa.table(
            {"a": [1.0, middle, 3.0], "b": [0.0] * 3, "c": [0.0] * 3, "note": ["", "" if middle > 9 else "x" * 99, ""]}
        )
        pq.write_table(values, tmp_path / "x.parquet")
        return tmp_path / "x.parquet"

    out, settings = tmp_path / "a.parquet", {"columns": ["a", "b", "c"], **ONE}
    with pytest.raises(InputError, match="or mend the file and begin anew with overwrite"):
        onnxplain.map(model, table(float("inf")), out, **settings)
    with pytest.raises(OutputError, match="it differs in data"):
        onnxplain.map(model, table(2.0), out, resume=True, **settings)
    assert onnxplain.map(model, table(2.0), out, overwrite=True, **settings).count == 3


def test_samples_may_be_left_out_from_now_on_but_not_brought_back(tmp_path: Path, model: onnx.ModelProto) -> None:
    out, data = tmp_path / "a.parquet", write("csv", tmp_path, ["1", "oops", "3", "oops"])
    with pytest.raises(InputError, match="oops"):
        onnxplain.map(model, data, out, **ONE)
    done = onnxplain.map(model, data, out, resume=True, on_error="skip", **ONE)
    assert [p.index for p in done.problems] == [1, 3]
    work = tmp_path / ".b.parquet.parts"
    with pytest.raises(InputError, match="sample 1"):
        onnxplain.map(model, data, tmp_path / "b.parquet", **ONE)
    plan = work / "plan.json"
    plan.write_text(plan.read_text(encoding="utf-8").replace('"on_error": "stop"', '"on_error": "skip"'), encoding="utf-8")
    with pytest.raises(OutputError, match="differs in on_error"):
        onnxplain.map(model, data, tmp_path / "b.parquet", resume=True, **ONE)


def test_a_bad_first_sample_does_not_end_a_run_that_leaves_such_out(tmp_path: Path, model: onnx.ModelProto) -> None:
    x = np.ones((5, 3), np.float32)
    x[:2, 0] = np.nan
    np.save(tmp_path / "x.npy", x)
    settings = {"progress": False, "providers": "cpu", "threads": 1}
    done = onnxplain.map(model, tmp_path / "x.npy", tmp_path / "a.parquet", on_error="skip", **settings)
    assert [p.index for p in done.problems] == [0, 1]
    assert pq.read_table(tmp_path / "a.parquet")["index"].to_pylist() == [2, 3, 4]


def test_the_first_samples_are_read_within_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[n,30000] x) => (float[n,1] y) '
        "<int64[1] a = {1}> { y = ReduceSum(x, a) }"
    )
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (1000, 30000))
    spans, read = [], ArrayData.read

    def seen(data: ArrayData, start: int, stop: int) -> Any:
        spans.append(stop - start)
        return read(data, start, stop)

    monkeypatch.setattr(ArrayData, "read", seen)
    settings = {"progress": False, "providers": "cpu", "threads": 1, "memory": "20MB"}
    done = onnxplain.map(wide, tmp_path / "x.npy", tmp_path / "a", form="npy", **settings)
    assert max(spans) * 2 * COPIES * 30_000 * 4 <= 20e6
    assert done.batch <= max(spans)
