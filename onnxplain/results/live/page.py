"""Writing a live page: a folder for a static host, or one HTML file to send."""

from __future__ import annotations

import base64
import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onnxplain._optional import optional
from onnxplain.errors import OutputError
from onnxplain.io.writer import write_file
from onnxplain.results.live.description import PageSettings, describe_page
from onnxplain.results.live.explained_file import ExplainedFile
from onnxplain.results.live.program import TEMPLATES, page_program
from onnxplain.results.live.runtime import web_runtime

__all__ = ["check_page_place", "write_page"]

LARGEST_TEXT = 500_000_000
"""Letters of the longest text that browsers keep."""


def write_page(
    files: Sequence[ExplainedFile],
    path: str | os.PathLike[str],
    settings: PageSettings | None = None,
    *,
    runtime: str | os.PathLike[str] | None = None,
) -> Path:
    """Write a page that predicts and explains in the browser: what is dropped, drawn, pasted or moved by sliders.

    The page needs no server and no network: it carries ONNX Runtime and the explained files, and runs from any static host and
    from a disk. What people put in does not leave it.

    Args:
        files: explained files of one model, by different methods.
        path: a folder, or a file that ends in .html, which holds everything.
        settings: title, names, how pixels become numbers, examples.
        runtime: the folder of onnxruntime-web; None has npm fetch it once.

    Returns:
        The page: the file, or `index.html` in the folder.

    Raises:
        ModelError: the files are not of one model, or it takes what no page offers.
        InputError: names or examples do not fit.
        OutputError: the page cannot be written.
        MissingDependencyError: Jinja2 is not installed, or there is no onnxruntime-web.
    """
    path = Path(path)
    check_page_place(path)
    about = describe_page(files, settings or PageSettings())
    ort = web_runtime(runtime)
    parts = {"ort-wasm": packed(ort.wasm), "ort-loader": packed(ort.loader)}
    parts |= {entry["name"]: _packed_file(file) for entry, file in zip(about["files"], files, strict=True)}
    if path.suffix.lower() == ".html":
        text = _page(
            about, inline=True, style=_asset("page.css"), parts=list(parts.items()), runtime=ort.script, program=page_program()
        )
        return write_file(path, text.encode())
    return _write_folder(path, about, parts, ort.script)


def check_page_place(path: Path) -> None:
    """Check that a page can be written there.

    Raises:
        OutputError: it is neither a folder, nor to become one, nor an .html file.
    """
    if path.suffix and path.suffix.lower() != ".html" and not path.is_dir():
        raise OutputError(
            f"{path} is neither a folder nor an .html file; call it {path.with_suffix('.html').name}, or {path.stem}/"
        )
    if path.suffix.lower() != ".html" and path.exists() and not path.is_dir():
        raise OutputError(f"cannot write a page to {path}: it is a file; name a folder, or a file that ends in .html")


def packed(content: bytes) -> str:
    """A part of a page as text: compressed, in base64."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


def _packed_file(file: ExplainedFile) -> str:
    text = packed(file.content)
    if len(text) > LARGEST_TEXT:
        raise OutputError(
            f"{file.path} is too large for a page: {len(file.content) / 1e6:,.0f} MB, of which browsers take about 370"
        )
    return text


def _asset(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _page(about: dict[str, Any], **variables: Any) -> str:
    """The page's HTML."""
    with optional("plot", "pages"):
        from jinja2 import Environment
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text: str = environment.from_string(_asset("page.html")).render(
        title=about["title"],
        lead=_lead(about),
        kind=about["kind"],
        draws=about["draws"],
        fitted=about["fitted"],
        resizes=about["kind"] == "picture" and (about["height"] is not None or about["width"] is not None),
        about=json.dumps(about, ensure_ascii=True).replace("<", "\\u003c"),
        icon=base64.b64encode(_asset("icon.svg").encode()).decode(),
        **variables,
    )
    return text


def _lead(about: dict[str, Any]) -> str:
    what = "Draw or drop a picture" if about["draws"] else "Drop a picture" if about["kind"] == "picture" else "Change a row"
    return f"{what}: one ONNX file returns the prediction and what it rests on."


def _write_folder(folder: Path, about: dict[str, Any], parts: dict[str, str], runtime: str) -> Path:
    """Everything the page needs first, the page itself last. Parts that an earlier page left there are removed."""
    try:
        (folder / "parts").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
    for name, text in parts.items():
        script = f"window.onnxplainParts ??= {{}};\nwindow.onnxplainParts[{json.dumps(name)}] = {json.dumps(text)};\n"
        write_file(folder / "parts" / f"{name}.js", script.encode())
    write_file(folder / "ort.js", runtime.encode())
    write_file(folder / "page.js", page_program().encode())
    write_file(folder / "page.css", _asset("page.css").encode())
    made = write_file(folder / "index.html", _page(about, inline=False).encode())
    for left in (folder / "parts").glob("*.js"):
        if left.stem not in parts:
            left.unlink()
    return made
