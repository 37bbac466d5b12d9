"""The command `onnxplain metrics`."""

from __future__ import annotations

import click

from onnxplain.cli.show_evaluation import show_metric, show_metrics

__all__ = ["metrics_command"]


@click.command("metrics")
@click.argument("name", required=False)
def metrics_command(name: str | None) -> None:
    """List the metrics of `onnxplain evaluate`, or show one metric in detail."""
    show_metrics() if name is None else show_metric(name)
