"""Where commands write: nothing is replaced unasked, two processes never write one file, and `-` is standard output."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from onnxplain.cli.show import to_stderr, wrote
from onnxplain.errors import OutputError
from onnxplain.io.parts import claimed
from onnxplain.io.writer import check_not_read, check_writable

__all__ = ["deliver", "force_option", "outputs", "to_stdout"]

force_option = click.option("--force", is_flag=True, help="Replace output files that exist.")


def outputs(given: Sequence[str], force: bool, *sources: str | None) -> list[Path]:
    """The files a command is to write, checked and claimed before it starts to work.

    Args:
        given: what `-o` names. `-`, or `-.json` where the ending tells the format, is standard output.
        force: whether existing files are replaced.
        sources: files that the command reads, which it must not replace.

    Raises:
        OutputError: a file exists, is read by the command, is named twice, cannot be written, or is being written.
    """
    paths = [Path(text) for text in given]
    if sum(map(to_stdout, paths)) > 1:
        raise OutputError("only one output can go to standard output; name a file for the others")
    if any(map(to_stdout, paths)):
        if click.get_current_context().params.get("as_json"):
            raise OutputError("--json prints to standard output, where -o - writes too; leave one out, or name a file")
        to_stderr()
    seen: set[str] = set()
    for path in paths:
        if to_stdout(path):
            continue
        check_writable(path)
        real = os.path.realpath(path)
        if real in seen:
            raise OutputError(f"{path} is named twice as an output; name two files")
        seen.add(real)
        check_not_read(path, [s for s in sources if s is not None])
        if path.exists() and not path.is_file():  # a pipe or a device
            continue
        click.get_current_context().with_resource(claimed(Path(real)))
        if path.exists() and not force:
            raise OutputError(f"{path} exists; give --force to replace it, or name another file")
    return paths


def to_stdout(path: Path) -> bool:
    """Whether an output stands for standard output."""
    return path.parent == Path() and path.stem == "-"


def deliver(path: Path, write: Callable[[Path], Path], *, quiet: bool = False) -> None:
    """Write an output, to a file or to standard output, and say so.

    Args:
        path: one of `outputs`.
        write: writes the file that it is given.
        quiet: whether to say nothing.
    """
    if not to_stdout(path):
        made = write(path)
        if not quiet:
            wrote(made)
        return
    with tempfile.TemporaryDirectory(prefix="onnxplain-") as folder:
        made = write(Path(folder) / f"stdout{path.suffix}")
        if len(os.listdir(folder)) > 1:
            raise OutputError("the result has external data beside it, which standard output cannot carry; name a file")
        with open(made, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
