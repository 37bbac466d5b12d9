"""ONNX Runtime for the browser, which every page carries: from a folder, or fetched once by npm and kept."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from onnxplain.errors import MissingDependencyError, OutputError
from onnxplain.io.writer import write_file

__all__ = ["INTEGRITY", "VERSION", "WebRuntime", "web_runtime"]

VERSION = "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the package's archive, as npm's lock file names it."""
FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


@dataclass(frozen=True)
class WebRuntime:
    """The parts of onnxruntime-web that a page needs.

    Attributes:
        script: the script that defines `ort`.
        loader: the module that starts the WebAssembly.
        wasm: the WebAssembly.
    """

    script: str
    loader: bytes
    wasm: bytes


def web_runtime(folder: str | os.PathLike[str] | None = None) -> WebRuntime:
    """ONNX Runtime for the browser.

    Args:
        folder: a folder with onnxruntime-web in it: the package, its `dist`, or where `npm install onnxruntime-web` was run.
            None takes the one that was fetched before, or has npm fetch it.

    Raises:
        OutputError: the folder holds no onnxruntime-web.
        MissingDependencyError: npm is not installed, or could not fetch the package.
    """
    if folder is None:
        return _read(_kept())
    places = [Path(folder) / below for below in ("", "dist", "node_modules/onnxruntime-web/dist")]
    found = next((p for p in places if all((p / name).is_file() for name in FILES)), None)
    if found is None:
        raise OutputError(
            f"{folder} holds no onnxruntime-web ({FILES[-1]} is not in it); run there: npm install onnxruntime-web@{VERSION}"
        )
    return _read(found)


def _read(folder: Path) -> WebRuntime:
    script, loader, wasm = ((folder / name).read_bytes() for name in FILES)
    return WebRuntime(script.decode(), loader, wasm)


def _kept() -> Path:
    """The folder of the runtime that was fetched, now or before."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = home / "onnxplain" / f"onnxruntime-web-{VERSION}"
    if not all((kept / name).is_file() for name in FILES):
        try:
            kept.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot keep onnxruntime-web in {kept}: {error.strerror or error}; set XDG_CACHE_HOME") from error
        _fetch(kept)
    return kept


def _fetch(kept: Path) -> None:
    """Have npm fetch the package, and keep the files that pages need once its archive is the very one that is expected."""
    npm = shutil.which("npm")
    otherwise = f"or give --runtime FOLDER, where `npm install onnxruntime-web@{VERSION}` was run"
    if npm is None:
        raise MissingDependencyError(
            f"pages carry onnxruntime-web {VERSION}, which npm fetches, and there is no npm: install Node.js, {otherwise}"
        )
    with tempfile.TemporaryDirectory(prefix="onnxplain-") as folder:
        command = [npm, "pack", f"onnxruntime-web@{VERSION}", "--pack-destination", folder]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        archive = next(Path(folder).glob("*.tgz"), None)
        if done.returncode or archive is None:
            said = next((line for line in done.stderr.splitlines()[::-1] if line.strip()), "no reason given")
            raise MissingDependencyError(f"npm could not fetch onnxruntime-web {VERSION} ({said}); try again, {otherwise}")
        digest = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if digest != INTEGRITY:
            raise MissingDependencyError(
                f"npm fetched another onnxruntime-web {VERSION} than the one expected ({digest}); {otherwise[3:]}"
            )
        with tarfile.open(archive) as package:
            for name in FILES:
                member = package.extractfile(f"package/dist/{name}")
                assert member is not None  # the digest is that of an archive which has it
                write_file(kept / name, member.read())
