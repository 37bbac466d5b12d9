"""The command `onnxplain example`."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

import onnxplain
from onnxplain.errors import OutputError

__all__ = ["example_command", "example_folder"]

FILES = ("model.onnx", "labels.txt", "digit_3.npy", "digit_8.png", "data.npz")


def example_folder() -> Path:
    """The folder of the example: inside the package when installed, among the fixtures in a checkout.

    Raises:
        OutputError: it is missing.
    """
    package = Path(onnxplain.__file__).parent
    for folder in (package / "example", package.parent / "fixtures" / "digits"):
        if (folder / FILES[0]).is_file():
            return folder
    raise OutputError(f"the example is missing beside {package}; reinstall onnxplain")


@click.command("example")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False))
def example_command(folder: str) -> None:
    """Write a small model that reads handwritten digits, with a few digits, to try the other commands on.

    DIR is created if it does not exist; files that exist are not replaced.
    """
    source, made = example_folder(), Path(folder)
    there = [name for name in FILES if (made / name).exists()]
    if there:
        raise OutputError(f"{made / there[0]} exists; name another folder")
    try:
        made.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copyfile(source / name, made / name)
    except OSError as error:
        raise OutputError(f"cannot write to {made}: {error.strerror or error}") from error
    click.echo(f"wrote {', '.join(FILES)} to {made}; try:")
    click.echo(f"  onnxplain explain {made / 'model.onnx'} {made / 'digit_8.png'} --scale 1/255 --labels {made / 'labels.txt'}")
