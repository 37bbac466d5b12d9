"""Prints the result of `onnxplain advise`."""

from __future__ import annotations

import json

from onnxplain.cli.show import _console, _table
from onnxplain.cli.text import escape
from onnxplain.evaluation.advice.advise import Advice

__all__ = ["show_advice"]

VERDICT_WORDS = {
    "good": "[green]helps[/green]",
    "change": "[red]could change[/red]",
    "know": "to know",
    "unseen": "not in the file",
}


def show_advice(advice: Advice, as_json: bool) -> None:
    """Print one row per finding, then the recommended method."""
    if as_json:
        print(json.dumps(advice.to_dict(), indent=2))
        return
    out, structure = _console(), advice.structure
    if structure.inputs:
        inputs = ", ".join(f"'{escape(name)}' ({kind})" for name, kind in structure.inputs.items())
        out.print(f"from {inputs} to the score '{escape(structure.score)}'")
    if advice.statements:
        rows = _table("", "found", "because")
        for s in advice.statements:
            rows.add_row(VERDICT_WORDS[s.verdict], f"[bold]{s.topic}[/bold]: {escape(s.text)}", escape(s.reason))
        out.print(rows)
    suggested = advice.suggestion
    out.print(f"[bold]suggested: {suggested.method}[/bold] ({suggested.needs})")
    out.print(escape(suggested.reason))
    out.print(f"measure it, on data of yours, against {escape(', '.join(suggested.others))}: onnxplain evaluate")
