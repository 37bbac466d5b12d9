"""Explained models in C++: the programs of examples/cpp, built against the installed ONNX Runtime's own library."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxplain import rewrite
from onnxplain.io.metadata import METADATA_KEY, read_metadata
from tests.support import host_cases
from tests.support.host_cases import FIXTURES, Case
from tests.support.paths import ROOT

fcntl = pytest.importorskip("fcntl", reason="the programs are built under a POSIX file lock")
EXAMPLE = ROOT / "examples" / "cpp"
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]

pytestmark = [
    pytest.mark.cpp,
    pytest.mark.skipif(COMPILER is None, reason="no C++ compiler on this machine"),
]


def shell(*words: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(w) for w in words], cwd=folder, capture_output=True, text=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One test process at a time in here: what one has downloaded and built the others find."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "cpp.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def runtime() -> Path:
    """Headers of a release, and the library that Python runs on; a release can be named by ONNXRUNTIME_ROOT."""
    release = os.environ.get("ONNXRUNTIME_ROOT")
    with alone(ROOT / "build"):
        done = shell(sys.executable, EXAMPLE / "get_onnxruntime.py", ROOT / "build" / "onnxruntime", *filter(None, [release]))
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def built(runtime: Path) -> Path:
    """The folder with the programs, built by CMake, or by the compiler alone where there is none."""
    out = ROOT / "build" / "cpp"
    if shutil.which("cmake"):
        flags = [f"-DONNXRUNTIME_ROOT={runtime}", f"-DCMAKE_CXX_COMPILER={COMPILER}", "-DCMAKE_CXX_FLAGS=-Werror"]
        commands: list[list[object]] = [["cmake", "-S", EXAMPLE, "-B", out, *flags], ["cmake", "--build", out]]
    else:
        out.mkdir(parents=True, exist_ok=True)
        link = ["-isystem", runtime / "include", "-L", runtime / "lib", f"-Wl,-rpath,{runtime / 'lib'}"]
        commands = [
            [COMPILER, "-std=c++17", "-O2", *WARNINGS[:3], EXAMPLE / f"{p}.cpp", *link, "-lonnxruntime", "-o", out / p]
            for p in ("explain", "smallest")
        ]
    with alone(ROOT / "build"):
        for command in commands:
            done = shell(*command)
            assert done.returncode == 0, done.stdout + done.stderr
    return out


def explain(
    built: Path, model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], folder: Path, *more: object
) -> subprocess.CompletedProcess[str]:
    """Run the program on a model with every input from a .npy file."""
    path = folder / "explained.onnx"
    onnx.save(model, path)
    about = read_metadata(model)
    assert about is not None
    run_time = about["run_time_inputs"]
    baselines = {name: explained for explained, name in run_time.get("baseline", {}).items()}  # others go by their own names
    words: list[object] = []
    for i, (name, array) in enumerate(feeds.items()):
        file = folder / f"{i}.npy"
        np.save(file, array)
        if name == run_time.get("target"):
            words += ["--target", ",".join(map(str, array))]
        elif name == run_time.get("seed"):
            words += ["--seed", file]
        elif name in baselines:
            words += ["--baseline", f"{baselines[name]}={file}"]
        else:
            words += [f"{name}={file}"]
    return shell(built / "explain", path, *words, "--out", folder / "results", *more)


def results(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path) for path in (folder / "results").glob("*.npy")}


@pytest.mark.parametrize("case", host_cases.cases(), ids=str)
def test_same_bits_as_in_python(case: Case, built: Path, tmp_path: Path) -> None:
    model, feeds, expected = host_cases.made(case)
    done = explain(built, model, feeds, tmp_path)
    assert done.returncode == 0, done.stderr
    named = {re.sub(r"[^A-Za-z0-9._-]", "_", name): array for name, array in expected.items()}
    host_cases.same(results(tmp_path), named)


def digits(method: str = "gradient", **settings: object) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    with np.load(FIXTURES / "digits" / "data.npz") as data:
        return rewrite(FIXTURES / "digits" / "model.onnx", method, **settings), {"image": data["image"][:3]}


def test_raw_files_and_a_number_as_baseline(built: Path, tmp_path: Path) -> None:
    model, feeds = digits("taylor", target="input", baseline="input")
    expected = host_cases.run(model, {**feeds, "target": np.array([3]), "baseline": np.full((1, 1, 8, 8), 0.25, np.float32)})
    onnx.save(model, tmp_path / "explained.onnx")
    feeds["image"].tofile(tmp_path / "image.raw")
    for text in ("image.raw", "image=image.raw", "image.raw:3x1x8x8"):
        words = [built / "explain", "explained.onnx", text, "--baseline", "0.25", "--target", "3", "--out", "results"]
        done = shell(*words, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        host_cases.same(results(tmp_path), expected)


def test_target_left_out_is_the_top_prediction(built: Path, tmp_path: Path) -> None:
    model, feeds = digits(target="input")
    assert explain(built, model, feeds, tmp_path).returncode == 0
    host_cases.same(results(tmp_path), host_cases.run(model, {**feeds, "target": np.array([-1])}))


def test_target_beyond_the_last_is_nan_for_its_sample(built: Path, tmp_path: Path) -> None:
    model, feeds = digits(target="input")
    assert explain(built, model, feeds, tmp_path, "--target", "2,10,-1").returncode == 0
    found = results(tmp_path)["image_attribution"]
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2]]).all()


def nan_image(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    image = feeds["image"].copy()
    image[1, 0, 2, 3] = np.nan
    return {"image": image}


BAD = {
    "shape": (
        lambda f: {"image": f["image"][:, :, :7]},
        [],
        r"'image' expects float \[batch, 1, 8, 8\], got float \[3, 1, 7, 8\]",
    ),
    "rank": (lambda f: {"image": f["image"][0]}, [], r"expects float \[batch, 1, 8, 8\], got float \[1, 8, 8\]"),
    "type": (lambda f: {"image": f["image"].astype(np.float64)}, [], r"expects float .*, got double"),
    "missing": (lambda f: {}, [], r"'image' expects float .*, and is missing"),
    "nan": (nan_image, [], r"'image' holds nan at \[1, 0, 2, 3\]"),
    "too many targets": (lambda f: f, ["--target", "1,2,3,4"], r"onnxplain/target"),
    "no number": (lambda f: f, ["--target", "three"], r"--target takes whole numbers, not 'three'"),
    "no seed": (lambda f: f, ["--seed", "0.npy"], r"this file has no input 'seed'"),
    "no baseline": (lambda f: f, ["--baseline", "0"], r"there are none"),
    "unknown option": (lambda f: f, ["--loud"], r"unknown option --loud"),
    "order": (lambda f: {"image": np.asfortranarray(f["image"])}, [], r"column by column"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_line(name: str, built: Path, tmp_path: Path) -> None:
    change, words, message = BAD[name]
    model, feeds = digits(target="input")
    done = explain(built, model, change(feeds), tmp_path, *words)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("explain: ")
    assert re.search(message, last), done.stderr
    assert not (tmp_path / "results").exists() or not list((tmp_path / "results").iterdir())


def test_bad_files_are_named(built: Path, tmp_path: Path) -> None:
    model, _ = digits(target=3)
    onnx.save(model, tmp_path / "fixed.onnx")
    (tmp_path / "noise.onnx").write_bytes(b"noise")
    (tmp_path / "short.raw").write_bytes(b"\0" * 100)
    (tmp_path / "short.npy").write_bytes(b"\x93NUMPY")
    image = FIXTURES / "digits" / "digit_3.npy"
    for words, message in [
        ([FIXTURES / "digits" / "model.onnx", image], "is no explained model"),
        (["absent.onnx", image], "absent.onnx"),
        (["noise.onnx", image], "noise.onnx"),
        (["fixed.onnx", "absent.npy"], "no file at absent.npy"),
        (["fixed.onnx", "short.npy"], "is no .npy file"),
        (["fixed.onnx", "short.raw"], r"has 100 bytes; one row of \[batch, 1, 8, 8\] of float has 256"),
        (["fixed.onnx", image, "--target", "2"], r"the target is fixed in this file \('3'\)"),
    ]:
        done = shell(built / "explain", *words, folder=tmp_path)
        assert done.returncode == 2, words
        assert re.search(message, done.stderr), done.stderr


AWKWARD = 'bild "ä" \\ 😀\t\n'


def described(model: onnx.ModelProto, text: str, path: Path) -> Path:
    """The model in a file, with other metadata."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = text
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("ascii_only", [True, False])
def test_names_of_every_kind_come_through_the_json_reader(ascii_only: bool, built: Path, tmp_path: Path) -> None:
    model, _ = digits(target="input")
    about = read_metadata(model)
    assert about is not None
    path = described(model, json.dumps({**about, "output": AWKWARD}, ensure_ascii=ascii_only, indent=1), tmp_path / "e.onnx")
    done = shell(built / "explain", path, FIXTURES / "digits" / "digit_3.npy")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"gradient of '{AWKWARD}', target input\n")


@pytest.mark.parametrize("text", ['{"contract": 1', "", "{,}", '{"a" 1}', "[1", '{"contract": "1}', '{"a": "\\u12"}', "1 2"])
def test_damaged_metadata_is_refused(text: str, built: Path, tmp_path: Path) -> None:
    path = described(digits(target="input")[0], text, tmp_path / "e.onnx")
    done = shell(built / "explain", path, FIXTURES / "digits" / "digit_3.npy")
    assert done.returncode == 2
    assert re.search("is damaged|is no explained model|follows contract", done.stderr), done.stderr


def test_another_contract_is_refused(built: Path, tmp_path: Path) -> None:
    path = described(digits(target="input")[0], '{"contract": 99}', tmp_path / "e.onnx")
    assert "follows contract '99', this header knows contract 1" in shell(built / "explain", path, "x.npy").stderr


def test_header_compiles_without_a_warning(runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "two.cpp").write_text('#include "onnxplain.hpp"\n#include "onnxplain.hpp"\n')
    words = [COMPILER, "-std=c++17", "-fsyntax-only", *WARNINGS, "-I", EXAMPLE, "-isystem", runtime / "include"]
    done = shell(*words, tmp_path / "two.cpp")
    assert done.returncode == 0, done.stderr


def test_smallest_program(built: Path, tmp_path: Path) -> None:
    """The program of docs/contract.md does what it says."""
    model, _ = digits(target="input")
    onnx.save(model, tmp_path / "explained.onnx")
    done = shell(built / "smallest", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = host_cases.run(model, {"image": np.full((1, 1, 8, 8), 0.5, np.float32), "target": np.array([3])})
    first, *rows = done.stdout.splitlines()
    assert first == f"score of the 3: {expected['logits'][0, 3]:g}"
    np.testing.assert_allclose([[float(n) for n in r.split()] for r in rows], expected["image_attribution"][0, 0], atol=5.1e-4)


def test_pages_show_the_program_that_is_tested() -> None:
    program = (EXAMPLE / "smallest.cpp").read_text(encoding="utf-8")
    assert f"```cpp\n{program}```" in (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    (part,) = re.findall(r"```cpp\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert part in program
    assert "session.Run" in part
