"""Lay out an ONNX Runtime for C++ from what is at hand: `python get_onnxruntime.py FOLDER`, then `-DONNXRUNTIME_ROOT=FOLDER`.

The library is the one inside the installed Python package. That package has no headers: they come from Debian's
libonnxruntime-dev, which is downloaded and unpacked into the folder, never installed, or from an unpacked release of ONNX
Runtime (`python get_onnxruntime.py FOLDER RELEASE`). The C API is versioned, so a library serves headers of its own and of
every older release. To build against a release alone, give its folder as ONNXRUNTIME_ROOT.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = "libonnxruntime-dev"
SUITES = ("trixie", "forky", "sid")
"""Debian's suites that hold the package; asked one after the other where the machine's own suite does not."""


def library() -> Path:
    """The shared library inside the installed onnxruntime package."""
    found = importlib.util.find_spec("onnxruntime")
    if found is None or found.origin is None:
        raise SystemExit("no onnxruntime package in this Python: pip install onnxruntime")
    folder = Path(found.origin).parent / "capi"
    for path in sorted([*folder.glob("libonnxruntime.so*"), *folder.glob("libonnxruntime*.dylib")]):
        return path
    raise SystemExit(f"the installed onnxruntime package has no shared library in {folder}; use a release of ONNX Runtime")


def run(*command: str | Path, folder: Path | None = None) -> str:
    """What a command prints; its last words where it fails."""
    done = subprocess.run([str(c) for c in command], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise RuntimeError(f"{command[0]} failed: {''.join(last)}")
    return done.stdout


def own_sources() -> list[dict[str, str]]:
    """The machine's own Debian sources as apt knows them, one a repository."""
    text = run("apt-get", "indextargets", "Created-By: Packages", "Component: main")
    entries = [dict(line.split(": ", 1) for line in block.splitlines() if ": " in line) for block in text.split("\n\n")]
    debian = [e for e in entries if e.get("Repo-URI") and e.get("Release", "").count("-") == 0]
    debian = [e for e in debian if e.get("Origin", "Debian") == "Debian" and e["Repo-URI"].rstrip("/").endswith("/debian")]
    return list({e["Repo-URI"]: e for e in debian}.values())


def apt_options(folder: Path, sources: Path) -> list[str]:
    """Options that keep everything apt writes inside a folder, and make it read one list of sources."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    settings = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def download(folder: Path) -> Path:
    """The package's file, from the machine's own suite or a newer one of the same repository."""
    folder.mkdir(parents=True, exist_ok=True)
    others = [suite_options(folder, source, suite) for source in own_sources() for suite in SUITES]
    problems = [problem for options in [[], *others] if (problem := fetch(folder, options))]
    package = next(folder.glob(f"{PACKAGE}_*.deb"), None)
    if package is None:
        raise SystemExit(f"{PACKAGE} cannot be downloaded ({'; '.join(dict.fromkeys(problems))}); name a release of ONNX Runtime")
    return package


def fetch(folder: Path, options: list[str]) -> str:
    """Download the package with these options of apt unless it is there already; what went wrong."""
    if next(folder.glob(f"{PACKAGE}_*.deb"), None) is not None:
        return ""
    try:
        if options:
            run("apt-get", *options, "update")
        run("apt-get", *options, "download", PACKAGE, folder=folder)
    except RuntimeError as error:
        return str(error)
    return ""


def suite_options(folder: Path, source: dict[str, str], suite: str) -> list[str]:
    """apt's options for another suite of a repository that the machine already uses."""
    keyring = next(Path("/usr/share/keyrings").glob("debian-archive-keyring.*"), None)
    signed = f"signed-by={keyring}" if keyring else ""
    place = folder / suite
    place.mkdir(parents=True, exist_ok=True)
    sources = place / "sources.list"
    sources.write_text(f"deb [{signed}] {source['Repo-URI']} {suite} main\n".replace("[] ", ""), encoding="utf-8")
    return apt_options(place.resolve(), sources.resolve())


def headers(root: Path, release: str | None) -> Path:
    """The folder with the C and C++ headers: a release's, or those of Debian's package."""
    if release is not None:
        found = next(Path(release, "include").rglob("onnxruntime_cxx_api.h"), None)
        if found is None:
            raise SystemExit(f"no onnxruntime_cxx_api.h below {release}/include: expected an unpacked release of ONNX Runtime")
        return found.parent
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise SystemExit("no apt on this machine to get headers from: name an unpacked release of ONNX Runtime")
    run("dpkg-deb", "--extract", download(root / "download"), root / "download" / "package")
    return next((root / "download" / "package").rglob("onnxruntime_cxx_api.h")).parent


def main() -> None:
    """Make FOLDER/include and FOLDER/lib."""
    if len(sys.argv) not in (2, 3):
        raise SystemExit("usage: python get_onnxruntime.py FOLDER [RELEASE]")
    root = Path(sys.argv[1]).resolve()
    shared = library()
    (root / "lib").mkdir(parents=True, exist_ok=True)
    # The names that linkers and loaders look for: libonnxruntime.so, and the soname with the major version.
    for name in ("libonnxruntime.so", "libonnxruntime.so.1", shared.name):
        link = root / "lib" / name
        link.unlink(missing_ok=True)
        link.symlink_to(shared)
    if not (root / "include" / "onnxruntime_cxx_api.h").exists():
        shutil.copytree(headers(root, sys.argv[2] if len(sys.argv) == 3 else None), root / "include", dirs_exist_ok=True)
        shutil.rmtree(root / "download", ignore_errors=True)
    print(root)


if __name__ == "__main__":
    main()
