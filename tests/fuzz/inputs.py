"""Mutants of input files: arrays, archives, tables, pictures, composites, options."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from tests.support.paths import FIXTURES

__all__ = ["read"]

CELLS = (
    "1",
    "2.5",
    "-3",
    "",
    "NA",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "9" * 5000,
    "x",
    '"a,b"',
    '"',
    "=1+1",
    "\x00",
    "é",
    "1_000",
    "٣",
    "1e",
    "0x1",
)


def _header(rng: random.Random) -> bytes:
    shape = rng.choice(
        (
            "(64,)",
            "(1, 1, 8, 8)",
            "(1099511627776,)",
            "(-1, 8)",
            "(2, 0, 8, 8)",
            "(" * 300,
            "(1 << 40, 8)",
            f"({'9' * 5000},)",
            "(True,)",
        )
    )
    kind = rng.choice(("<f4", "<f8", "|O", "<U5", "|V8", "<i8", "<c16", "<M8[s]", "nonsense", [("a", "<f4")]))
    text = f"{{'descr': {kind!r}, 'fortran_order': {rng.choice((False, True, 3))}, 'shape': {shape}, }}".encode()
    version = rng.choice((b"\x01\x00", b"\x02\x00", b"\x09\x00"))
    length = (
        struct.pack("<H", len(text) % 65536) if version == b"\x01\x00" else struct.pack("<I", rng.choice((len(text), 1 << 31)))
    )
    return b"\x93NUMPY" + version + length + text


def _npy(rng: random.Random) -> bytes:
    if rng.random() < 0.4:
        return _header(rng) + bytes(rng.choice((0, 4, 256, 512)))
    file = io.BytesIO()
    shape = rng.choice(((1, 1, 8, 8), (64,), (8, 8), (), (0, 1, 8, 8), (2, 1, 8, 8), (1, 3, 8, 8)))
    kind = rng.choice((np.float32, np.float64, np.int64, bool, np.complex64, "U5", np.float16))
    np.save(file, np.full(shape, rng.choice((0, 1, 1e30, float("nan"), float("inf")))).astype(kind), allow_pickle=False)
    return _bytes(rng, file.getvalue())


def _npz(rng: random.Random) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for _ in range(rng.choice((0, 1, 1, 2))):
            archive.writestr(
                rng.choice(("image.npy", "x.npy", "a", "../up.npy", "image")),
                rng.choice((_npy(rng), bytes(rng.choice((0, 1 << 22))))),
            )
    data = bytearray(file.getvalue())
    if rng.random() < 0.2 and len(data) > 30:
        data[6] |= 1  # encrypted
        at = data.find(b"PK\x01\x02")
        if at >= 0:
            data[at + 8] |= 1
    return _bytes(rng, bytes(data)) if rng.random() < 0.5 else bytes(data)


def _csv(rng: random.Random) -> bytes:
    delimiter = rng.choice((",", ";", "\t", "|", " "))
    width = rng.choice((1, 3, 64))
    rows = [
        delimiter.join(rng.choice(CELLS) for _ in range(width + (rng.random() < 0.1))) for _ in range(rng.choice((0, 1, 2, 20)))
    ]
    if rng.random() < 0.5:
        rows = [delimiter.join(str(rng.random()) for _ in range(64)) for _ in range(3)]
        if rng.random() < 0.3:
            rows[1] = "1" * 140_000 + delimiter + rows[1]
    text = rng.choice(("\n", "\r\n", "\r")).join(rows)
    encoding = rng.choice(("utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-32"))
    data = text.encode(encoding, "replace")
    return _bytes(rng, data) if rng.random() < 0.2 else data


@lru_cache(maxsize=1)
def _pictures() -> dict[str, bytes]:
    from PIL import Image

    made = {}
    for kind in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "ICO", "TGA", "PCX"):
        file = io.BytesIO()
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).convert("RGB" if kind == "ICO" else "L").save(file, kind)
        made[kind] = file.getvalue()
    made["EPS"] = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    png = bytearray(made["PNG"])
    png[16:24] = struct.pack(">II", 60000, 60000)
    made["huge"] = bytes(png)
    return made


def _picture(rng: random.Random) -> bytes:
    data = rng.choice(list(_pictures().values()))
    return _bytes(rng, data) if rng.random() < 0.7 else data


def _toml(rng: random.Random) -> bytes:
    lines = [
        'name = "mine"',
        'base = "lrp-epsilon-plus"',
        "[[rule]]",
        'rule = "gamma"',
        "gamma = 0.1",
        'operators = ["Conv"]',
        "depth = [1, 5]",
    ]
    for _ in range(rng.choice((0, 1, 2))):
        at = rng.randrange(len(lines) + 1)
        lines.insert(at, rng.choice((
            "a = " + "[" * 3000 + "]" * 3000, "gamma = " + "9" * 5000, "depth = [" + "1," * 9 + "]", 'rule = "no"', "x.y.z = 1", "[[rule]]", "gamma = nan",
            "operators = 3", "depth = 'a'", "first = 2", "= 1", "a" * 70000 + " = 1", "name = 1", "base = []", "rule = 1", "[rule]", "gamma = '1'", "gamma = 1e999",
        )))  # fmt: skip
    if rng.random() < 0.3:
        del lines[rng.randrange(len(lines))]
    data = "\n".join(lines).encode()
    return _bytes(rng, data) if rng.random() < 0.3 else data


def _bytes(rng: random.Random, data: bytes) -> bytes:
    made = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 4))):
        at = rng.randrange(len(made) or 1)
        kind = rng.randrange(4)
        if kind == 0:
            made[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del made[at : at + rng.choice((1, 8))]
        elif kind == 2:
            made[at:at] = bytes(rng.randrange(256) for _ in range(4))
        else:
            del made[at:]
    return bytes(made)


FORMATS: dict[str, Callable[[random.Random], bytes]] = {
    ".npy": _npy, ".npz": _npz, ".csv": _csv, ".txt": _csv, ".png": _picture, ".jpg": _picture, ".toml": _toml, "option": _toml,
}  # fmt: skip


def read(rng: random.Random, folder: Path) -> None:
    """Read a mutant as the input of a model, as a baseline or as a composite."""
    from onnxplain.cli.options import method_options
    from onnxplain.io.samples import headers, read_array, read_arrays, read_inputs, read_labels
    from onnxplain.method.composite_file import read_composite
    from onnxplain.runtime.inputs import check_inputs, model_inputs

    ending = rng.choice(list(FORMATS))
    if ending == "option":
        deep = rng.choice(("[" * 100_000, "9" * 5000, "{" * 3000, '"\\ud800"', "1e999", "NaN", "nul", "[1, 2]"))
        method_options([f"a={deep}"])
        return
    path = folder / f"mutant{ending}"
    path.write_bytes(FORMATS[ending](rng))
    if ending == ".toml":
        read_composite(path)
        return
    model = FIXTURES / rng.choice(("digits/model.onnx", "digits_keras/model.onnx", "blackbox/mixed.onnx", "lrp_mlp/model.onnx"))
    tensors = model_inputs(model)
    readers: list[Callable[[], object]] = [
        lambda: check_inputs(read_inputs([str(path)], tensors), tensors), lambda: read_array(path), lambda: headers([str(path)]),
        lambda: read_labels(path), lambda: read_arrays(path),
    ]  # fmt: skip
    rng.choice([readers[0], readers[0], *readers])()
