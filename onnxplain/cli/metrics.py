"""The command `onnxplain metrics`."""

from __future__ import annotations

import click

from onnxplain.cli.options import json_option
from onnxplain.cli.show_evaluation import show_metric, show_metrics

__all__ = ["metrics_command"]


@click.command("metrics")
@click.argument("name", required=False)
@json_option
def metrics_command(name: str | None, as_json: bool) -> None:
    """List the metrics of `onnxplain evaluate`, or show one metric in detail."""
    show_metrics(as_json) if name is None else show_metric(name, as_json)
