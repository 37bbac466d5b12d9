"""Data sets explained in a stream: the numbers of an Explainer, whatever the data, the form of the results and the processes."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import onnxplain
from onnxplain import Explainer
from onnxplain.errors import InputError, OutputError
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits" / "model.onnx"
CANCER = FIXTURES / "cancer" / "model.onnx"
IMAGES = np.load(FIXTURES / "digits" / "data.npz")["image"]
ROWS = np.load(FIXTURES / "cancer" / "data.npz")["features"][:20]
QUIET: dict[str, Any] = {"progress": False, "providers": "cpu", "threads": 1, "batch_size": 4, "part": 8}


def mapped(model: Path, data: Any, out: Path, *methods: str, **settings: Any) -> onnxplain.Mapped:
    return onnxplain.map(model, data, out, methods or "gradient", **{**QUIET, **settings})


def attribution(path: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
    column = pq.read_table(path)[name].combine_chunks()
    if not shape:
        return column.to_numpy()
    return column.flatten().to_numpy().reshape(len(column), *shape)


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return Explainer(DIGITS, providers="cpu", threads=1, batch_size=4)(IMAGES).attribution


@pytest.mark.parametrize("processes", [1, 2])
def test_arrays_to_parquet(tmp_path: Path, expected: np.ndarray, processes: int) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    done = mapped(DIGITS, tmp_path / "x.npy", tmp_path / "a.parquet", processes=processes)
    assert (done.count, done.problems, done.batch) == (20, (), 4)
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)] == [8, 8, 4]
    table = file.read()
    assert table["index"].to_pylist() == list(range(20))
    assert table.schema.field("image_attribution").metadata == {b"shape": b"1,8,8"}
    np.testing.assert_array_equal(attribution(tmp_path / "a.parquet", "image_attribution", (1, 8, 8)), expected)
    np.testing.assert_array_equal(table["target"].to_numpy(), Explainer(DIGITS)(IMAGES).target)
    assert not (tmp_path / ".a.parquet.parts").exists()


@pytest.mark.parametrize("compressed", [False, True])
def test_npz_to_arrays(tmp_path: Path, expected: np.ndarray, compressed: bool) -> None:
    (np.savez_compressed if compressed else np.savez)(tmp_path / "x.npz", image=IMAGES, other=np.zeros(3))
    mapped(DIGITS, tmp_path / "x.npz", tmp_path / "a", form="npy")
    found = np.load(tmp_path / "a" / "image_attribution.npy", mmap_mode="r")
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.load(tmp_path / "a" / "index.npy"), np.arange(20))


def test_zarr_to_zarr(tmp_path: Path, expected: np.ndarray) -> None:
    zarr = pytest.importorskip("zarr", reason="zarr is not installed: it comes with the extra 'zarr', from Python 3.11 on")
    store = zarr.create_array(store=str(tmp_path / "x.zarr"), shape=IMAGES.shape, dtype="float32", chunks=(3, 1, 8, 8))
    store[:] = IMAGES
    mapped(DIGITS, tmp_path / "x.zarr", tmp_path / "a.zarr")
    group = zarr.open(str(tmp_path / "a.zarr"), mode="r")
    np.testing.assert_array_equal(group["image_attribution"][:], expected)


def pictures(folder: Path) -> np.ndarray:
    pixels = np.clip(IMAGES * 16, 0, 255).astype(np.uint8)
    for i, picture in enumerate(pixels):
        goal = folder / f"class{i % 2}" / f"{i:02}.png"
        goal.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[0]).save(goal)
    return pixels.astype(np.float32)


def test_a_folder_of_pictures_one_file_a_sample(tmp_path: Path) -> None:
    pixels = pictures(tmp_path / "x")
    mapped(DIGITS, tmp_path / "x", tmp_path / "a", form="npz", scale=0.0625)
    wanted = Explainer(DIGITS, providers="cpu", threads=1)(pixels / 16).attribution
    for i in range(20):
        found = np.load(tmp_path / "a" / f"class{i % 2}" / f"{i:02}.png.npz")
        np.testing.assert_allclose(found["image_attribution"], wanted[i], rtol=1e-4, atol=1e-5)


def test_a_webdataset_archive(tmp_path: Path, expected: np.ndarray) -> None:
    for name, rows in (("a", range(12)), ("b", range(12, 20))):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as archive:
            for i in rows:
                array, text = io.BytesIO(), json.dumps({"label": i}).encode()
                np.save(array, IMAGES[i])
                for ending, data in (("npy", array.getvalue()), ("json", text)):
                    entry = tarfile.TarInfo(f"s/{i:04}.{ending}")
                    entry.size = len(data)
                    archive.addfile(entry, io.BytesIO(data))
    mapped(DIGITS, [tmp_path / "a.tar", tmp_path / "b.tar"], tmp_path / "a.parquet")
    assert pq.read_table(tmp_path / "a.parquet")["key"].to_pylist() == [f"s/{i:04}" for i in range(20)]
    np.testing.assert_array_equal(attribution(tmp_path / "a.parquet", "image_attribution", (1, 8, 8)), expected)


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow"])
def test_tables(tmp_path: Path, kind: str) -> None:
    names = [f"f{i}" for i in range(30)]
    columns = {"id": [f"r{i}" for i in range(20)], **dict(zip(names, ROWS.T, strict=True)), "region": ["north", "south"] * 10}
    table, path = pa.table(columns), tmp_path / f"x.{kind}"
    if kind == "csv":
        lines = [",".join(columns), *(f"r{i},{','.join(map(repr, r.tolist()))},{'ns'[i % 2]}" for i, r in enumerate(ROWS))]
        path.write_text("\n".join(lines).replace(",n", ",north").replace(",s", ",south"), encoding="utf-8")
    elif kind == "parquet":
        pq.write_table(table, path, row_group_size=7)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=7)
    done = mapped(CANCER, path, tmp_path / "a.parquet", key="id", cohort="region", target=1)
    found = pq.read_table(tmp_path / "a.parquet")
    assert found["key"].to_pylist() == columns["id"]
    assert found["region"].to_pylist() == columns["region"]
    wanted = Explainer(CANCER, providers="cpu", threads=1)(ROWS, 1).attribution
    np.testing.assert_allclose(attribution(tmp_path / "a.parquet", "features_attribution", (30,)), wanted, rtol=1e-5, atol=1e-7)
    summary = done.summary["features_attribution"]
    np.testing.assert_allclose(summary.mean_sizes("region=south"), np.abs(wanted[1::2]).mean(axis=0), rtol=1e-5)
    assert list(done.summary.features or ()) == names


def test_texts(tmp_path: Path) -> None:
    """A model that takes text gets the content of each file."""
    made = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18, "ai.onnx.ml": 3]> g (string[n] text) => (float[n,1] y) '
        '<int64[1] a = {1}> { k = ai.onnx.ml.LabelEncoder<keys_strings = ["good", "bad"], values_floats = [2.0, -1.0]>(text) y = Unsqueeze(k, a) }'
    )
    for name, word in (("1.txt", "bad"), ("2.txt", "good")):
        (tmp_path / "x").mkdir(exist_ok=True)
        (tmp_path / "x" / name).write_text(word, encoding="utf-8")
    onnxplain.map(made, tmp_path / "x", tmp_path / "a.parquet", "occlusion", target=0, baseline="bad", progress=False)
    assert attribution(tmp_path / "a.parquet", "text_attribution", ()).tolist() == [0.0, 3.0]


def test_several_methods_share_what_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    mapped(DIGITS, tmp_path / "x.npy", tmp_path / "a.parquet", "gradient", "lrp-epsilon")
    for method in ("gradient", "lrp-epsilon"):
        found = attribution(tmp_path / "a.parquet", f"{method}.image_attribution", (1, 8, 8))
        np.testing.assert_array_equal(
            found, Explainer(DIGITS, method, providers="cpu", threads=1, batch_size=4)(IMAGES).attribution
        )


# -- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_corrupt_picture(tmp_path: Path) -> None:
    pictures(tmp_path / "x")
    (tmp_path / "x" / "class1" / "05.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(InputError, match=r"sample class1/05.png: cannot read .*resume"):
        mapped(DIGITS, tmp_path / "x", tmp_path / "a.parquet")
    with pytest.raises(OutputError, match="differs in target"):
        mapped(DIGITS, tmp_path / "x", tmp_path / "a.parquet", target=1, resume=True)
    done = mapped(DIGITS, tmp_path / "x", tmp_path / "a.parquet", on_error="skip", resume=True)
    assert [(p.key, p.index) for p in done.problems] == [("class1/05.png", 12)]
    assert pq.read_table(tmp_path / "a.parquet")["index"].to_pylist() == [i for i in range(20) if i != 12]
    assert "class1/05.png" in (tmp_path / "a.parquet.errors.csv").read_text(encoding="utf-8")


def test_a_mended_picture_and_resume(tmp_path: Path) -> None:
    pixels = pictures(tmp_path / "x")
    broken = tmp_path / "x" / "class1" / "19.png"
    whole = broken.read_bytes()
    broken.write_bytes(bytes(len(whole)))
    with pytest.raises(InputError, match="class1/19"):
        mapped(DIGITS, tmp_path / "x", tmp_path / "a.parquet")
    broken.write_bytes(whole)
    done = mapped(DIGITS, tmp_path / "x", tmp_path / "a.parquet", resume=True)
    assert not done.problems
    order = [*range(0, 20, 2), *range(1, 20, 2)]
    wanted = Explainer(DIGITS, providers="cpu", threads=1)(pixels[order]).attribution
    np.testing.assert_allclose(attribution(tmp_path / "a.parquet", "image_attribution", (1, 8, 8)), wanted, rtol=1e-4, atol=1e-5)


def test_rows_of_another_width_and_cells_that_are_no_numbers(tmp_path: Path) -> None:
    lines = [",".join(f"f{i}" for i in range(30)), *(",".join(map(repr, r.tolist())) for r in ROWS)]
    lines[3] += ",7"
    lines[9] = lines[9].replace(lines[9].split(",")[4], "many")
    (tmp_path / "x.csv").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError, match="line 4: 31 values where 30 are expected"):
        mapped(CANCER, tmp_path / "x.csv", tmp_path / "a.parquet")
    done = mapped(CANCER, tmp_path / "x.csv", tmp_path / "b.parquet", on_error="skip")
    assert [p.index for p in done.problems] == [2, 8]
    assert "'many' is no number" in done.problems[1].reason
    wanted = Explainer(CANCER, providers="cpu", threads=1)(np.delete(ROWS, [2, 8], axis=0)).attribution
    np.testing.assert_allclose(attribution(tmp_path / "b.parquet", "features_attribution", (30,)), wanted, rtol=1e-5, atol=1e-7)


def test_a_sample_that_cannot_be_explained_leaves_the_others_of_its_batch(tmp_path: Path) -> None:
    x = IMAGES.copy()
    x[6, 0, 0, 0] = np.inf
    np.save(tmp_path / "x.npy", x)
    done = mapped(DIGITS, tmp_path / "x.npy", tmp_path / "a", form="npy", on_error="skip")
    assert [p.index for p in done.problems] == [6]
    found = np.load(tmp_path / "a" / "image_attribution.npy")
    assert np.isnan(found[6]).all()
    assert np.isfinite(np.delete(found, 6, axis=0)).all()
    assert np.load(tmp_path / "a" / "index.npy")[5:8].tolist() == [5, -1, 7]


def test_outputs_that_exist_are_kept(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    mapped(DIGITS, tmp_path / "x.npy", tmp_path / "a.parquet")
    before = (tmp_path / "a.parquet").read_bytes()
    for settings in ({}, {"resume": True}):
        with pytest.raises(OutputError, match="exists"):
            mapped(DIGITS, tmp_path / "x.npy", tmp_path / "a.parquet", "saliency", **settings)
    assert (tmp_path / "a.parquet").read_bytes() == before
    mapped(DIGITS, tmp_path / "x.npy", tmp_path / "a.parquet", "saliency", overwrite=True)
    assert (tmp_path / "a.parquet").read_bytes() != before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"memory": "much"}, "memory is a number of bytes"),
        ({"on_error": "ignore"}, "on_error is 'stop' or 'skip'"),
        ({"key": "id"}, "are for tables"),
        ({"scale": 2.0}, "are for pictures"),
    ],
)
def test_wrong_settings(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    with pytest.raises(InputError, match=message):
        mapped(DIGITS, tmp_path / "x.npy", tmp_path / "a.parquet", **settings)
    assert list(tmp_path.glob(".*")) == []


def test_columns_that_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"2 columns of features, input 'features' .* takes 30"):
        mapped(CANCER, tmp_path / "x.csv", tmp_path / "a.parquet")
    with pytest.raises(OutputError, match="cannot tell the form"):
        mapped(CANCER, tmp_path / "x.csv", tmp_path / "a.xls")
