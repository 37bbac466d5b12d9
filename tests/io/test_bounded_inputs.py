"""Hostile inputs end in one line, before they take memory or start a decoder that nobody asked for."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onnxplain.cli.options import method_options
from onnxplain.errors import InputError, MethodError, OnnxplainError
from onnxplain.io.datasets.arrays import ArrayData
from onnxplain.io.plain import from_json, from_toml
from onnxplain.io.samples import read_array, read_arrays, read_inputs, read_labels
from onnxplain.io.table import csv_text
from onnxplain.ir.tensor import Tensor
from onnxplain.method.composite_file import read_composite

GREY = Tensor("image", np.dtype(np.float32), ("N", 1, 8, 8))
ROWS = Tensor("x", np.dtype(np.float32), ("N", 3))


def refused(path: Path, match: str, tensor: Tensor = GREY) -> None:
    tracemalloc.start()
    with pytest.raises(InputError, match=match) as caught:
        read_inputs([str(path)], [tensor])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(str(caught.value).splitlines()) == 1
    assert most < 64 << 20


def npy(header: str, version: bytes = b"\x01\x00", data: bytes = b"") -> bytes:
    text = header.encode()
    length = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + version + length + text + data


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }"), "is cut off: .* needs 4,398,046,511,104 bytes"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }", b"\x02\x00"), "is cut off"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 8), }"), "negative extent"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", data=b"\x80\x04."), "Python objects"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 3000 + ", }"), "header is damaged"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",), }"), "header is damaged"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 1, 8, 8), }", data=bytes(256)), "header is damaged"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': ('1', 1, 8, 8), }", data=bytes(256)), "header is damaged"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", b"\x04\x00"), "no array in NumPy's format"),
        (npy("{'descr': 'nonsense', 'fortran_order': False, 'shape': (1,), }"), "header is damaged"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31), "its header has 2,147,483,648 bytes"),
        (b"GIF89a" + bytes(64), "no array in NumPy's format"),
        (b"", "no array in NumPy's format"),
    ],
)  # fmt: skip
def test_arrays_are_bounded_by_their_file(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    refused(tmp_path / "a.npy", told)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("image.npy", content)
    refused(tmp_path / "a.npz", told)
    for name in ("a.npy", "a.npz"):  # as a data set, which is mapped into memory
        with pytest.raises(InputError, match=told) as caught:
            ArrayData({"": tmp_path / name}, (GREY,))
        assert len(str(caught.value).splitlines()) == 1


def test_a_mapped_array_ends_with_its_member(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 8, 8), }"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("image.npy", npy(header, data=bytes(256)))
        archive.writestr("z.npy", npy(header, data=bytes(512)))
    with pytest.raises(InputError, match=r"is cut off: .* needs 512 bytes, 256 are there"):
        ArrayData({"": path}, (GREY,))


@pytest.mark.parametrize("place", [-1, 2**31])
def test_an_archive_whose_directory_lies(place: int, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, image=np.zeros((1, 1, 8, 8), np.float32))
    data = bytearray(path.read_bytes())
    entry = data.rfind(b"PK\x01\x02") + 42
    data[entry : entry + 4] = struct.pack("<I", place % len(data) if place < 0 else place)
    path.write_bytes(bytes(data))
    for read in (lambda: ArrayData({"": path}, (GREY,)), lambda: read_inputs([str(path)], [GREY])):
        with pytest.raises(InputError, match="cannot read") as caught:
            read()
        assert len(str(caught.value).splitlines()) == 1


def test_an_archive_that_expands_a_thousandfold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", image=np.zeros(40_000_000, np.uint8))
    assert (tmp_path / "a.npz").stat().st_size < 50_000
    monkeypatch.setattr("onnxplain.io.arrays.EXPANDED", 1 << 24)
    with pytest.raises(InputError, match="expands to 40,000,128 bytes"):
        ArrayData({"": tmp_path / "a.npz"}, (GREY,))
    refused(tmp_path / "a.npz", r"expands to 40,000,128 bytes, which is beyond a limit of 16,777,216; save large arrays as .npy")


def test_archives_that_hold_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("image", b"text")
    refused(path, "no array in NumPy's format")
    np.savez(path, image=np.zeros((1, 1, 8, 8), np.float32))
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(data))
    refused(path, "is encrypted")
    path.write_bytes(b"no archive")
    refused(path, "not a zip file")


def test_good_arrays_of_every_kind_come_back(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6.0).reshape(2, 3), "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)), "text": np.array(["ä", "b"]),
        "empty": np.zeros((0, 3), np.float16), "scalar": np.array(2.5), "record": np.zeros(2, [("x", "<f4"), ("y", "<i8")]),
    }  # fmt: skip
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    found = read_arrays(tmp_path / "a.npz")
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        np.save(tmp_path / "one.npy", array)
        np.testing.assert_array_equal(read_array(tmp_path / "one.npy"), array)


# -- pictures ---------------------------------------------------------------------------------------------------------------


def picture(kind: str, size: tuple[int, int] = (8, 8)) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(size[0] * size[1], dtype=np.uint8).reshape(size)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_pictures_are_known_by_content(kind: str, tmp_path: Path) -> None:
    for ending in (".png", f".{kind.lower()}"):
        path = tmp_path / f"a{ending}"
        path.write_bytes(picture(kind))
        (array,) = read_inputs([str(path)], [GREY]).values()
        assert array.shape == (1, 1, 8, 8)
        np.testing.assert_allclose(array.ravel(), np.arange(64), atol=0 if kind not in ("JPEG", "WEBP") else 12)


@pytest.mark.parametrize(
    "content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n", picture("PPM"), picture("PCX")]
)
def test_other_formats_start_no_decoder(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*words: object, **more: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("subprocess.Popen", started)
    (tmp_path / "a.png").write_bytes(content)
    refused(tmp_path / "a.png", "its content is none of PNG, JPEG")


def test_sizes_are_read_before_pixels(tmp_path: Path) -> None:
    data = bytearray(picture("PNG"))
    data[16:24] = struct.pack(">II", 12_000, 13_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path = tmp_path / "a.png"
    path.write_bytes(bytes(data))
    refused(path, "13,000×12,000 pixels, more than 134,217,728")
    data[16:24] = struct.pack(">II", 120_000, 130_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(bytes(data))
    refused(path, "has more than 134,217,728 pixels")
    path.write_bytes(picture("PNG", (9, 8)))
    refused(path, "9×8 pixels")
    frames = [Image.new("L", (8, 8), i) for i in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    refused(tmp_path / "a.gif", "holds 3 pictures; save the one that is meant")


def test_turned_pictures_are_measured_as_they_are_seen(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(96, dtype=np.uint8).reshape(8, 12))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "a.png", exif=exif)
    (array,) = read_inputs([str(tmp_path / "a.png")], [Tensor("image", np.dtype(np.float32), ("N", 1, 12, 8))]).values()
    np.testing.assert_array_equal(array[0, 0], np.rot90(np.arange(96).reshape(8, 12), -1))


# -- text -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"1,2,3\n" + b"1" * 140_000 + b",2,3\n", "line 2, is no row of a table: field larger"),
        ("1,2,3\n".encode("utf-16"), "text in UTF-16"),
        ("1,2,3\n".encode("utf-32"), "text in UTF-16 or UTF-32"),
        ("1,2,ä\n".encode("latin-1"), "no text in UTF-8"),
        (b"1,2,\x003\n", "holds NUL"),
        (b"1,2,3\n4,1_000,6\n", "'1_000' is no number"),
        (b"1|2|3\n", "no rows|is no number|values"),
    ],
)
def test_tables(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    refused(tmp_path / "a.csv", told, ROWS)


def test_nesting_and_digits_without_end(tmp_path: Path) -> None:
    for text in ("[" * 100_000, "9" * 5000, '{"a":' * 100_000):
        with pytest.raises(ValueError, match=r"nested too deeply|thousands of digits"):
            from_json(text)
        with pytest.raises(MethodError, match="--option a: it"):
            method_options([f"a={text}"])
    for text in ("a = " + "[" * 5000 + "]" * 5000, "a = " + "9" * 5000):
        with pytest.raises(ValueError, match=r"nested too deeply|thousands of digits"):
            from_toml(text)
        (tmp_path / "c.toml").write_text(text)
        with pytest.raises(MethodError, match="is no TOML: it"):
            read_composite(tmp_path / "c.toml")
    assert from_json("[1, {}]") == [1, {}]
    with pytest.raises(json.JSONDecodeError):
        from_json("[1,")


def test_labels_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_bytes(b"a\xff")
    with pytest.raises(OnnxplainError, match="no text in UTF-8"):
        read_labels(tmp_path / "l.txt")


def test_cells_that_spreadsheets_would_compute() -> None:
    made = csv_text(["=a", "b"], [["=1+1", -1.5], ["@x", np.float32(2)], ["-3", "+x"], ["-x,y", None], ["\t=1", "-inf"]])
    assert made == "'=a,b\n'=1+1,-1.5\n'@x,2.0\n-3,'+x\n\"'-x,y\",\n'\t=1,-inf\n"
