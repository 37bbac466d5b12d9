"""The command `onnxplain completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion_command"]

HOW = {
    "bash": 'eval "$(onnxplain completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(onnxplain completion zsh)" in ~/.zshrc',
    "fish": "onnxplain completion fish > ~/.config/fish/completions/onnxplain.fish",
}


@click.command("completion", epilog="\n\n".join(f"{shell}: {how}" for shell, how in HOW.items()))
@click.argument("shell", type=click.Choice(list(HOW)))
def completion_command(shell: str) -> None:
    """Print a script for the shell that completes commands, options, methods and metrics."""
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(click.get_current_context().find_root().command, {}, "onnxplain", "_ONNXPLAIN_COMPLETE").source())
