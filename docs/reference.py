"""The reference pages of the site: public names, and the commands' own help."""

from __future__ import annotations

import click

import onnxplain
from onnxplain.cli.main import COMMANDS, main

__all__ = ["commands", "names"]

GROUPS = {
    "Explain": (
        "Explainer",
        "Explanation",
        "rewrite",
        "plan",
        "Plan",
        "generate",
        "Generation",
        "attention_heads",
        "AttentionHeads",
        "map",
        "Mapped",
        "load_image",
        "Detector",
        "Detections",
        "methods",
        "operators",
    ),
    "Judge": ("check", "CheckReport", "verify", "evaluate", "Evaluation", "advise", "Advice"),
    "Concepts": ("tcav", "Tcav", "prototype", "Prototypes", "GaussianRBM"),
    "Errors": ("OnnxplainError", "RuleError"),
}
"""The names that people use; all others are for rules of one's own."""


def names() -> str:
    """A directive per public name, in groups."""
    public = [name for name in onnxplain.__all__ if not name.startswith("_")]
    rest = tuple(name for name in public if not any(name in group for group in GROUPS.values()))
    blocks = []
    for heading, group in {**GROUPS, "Rules and composites of your own": rest}.items():
        blocks.append(f"## {heading}")
        blocks += [f"::: onnxplain.{onnxplain._HOME[name]}.{name}" for name in group]
    return "\n\n".join(blocks)


def commands() -> str:
    """The help of every command, at a fixed width."""
    blocks = []
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        assert command is not None
        context = click.Context(command, info_name=f"onnxplain {name}", terminal_width=100, max_content_width=100)
        blocks.append(f"## {name}\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(blocks)
