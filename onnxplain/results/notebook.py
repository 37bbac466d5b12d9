"""What notebooks show of results, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from onnxplain.errors import MissingDependencyError
from onnxplain.results.explanation_data import ExplanationData
from onnxplain.results.html import render_explanations
from onnxplain.results.left_out import left_out_in_words
from onnxplain.results.plot.style import short
from onnxplain.results.prediction import sample_count

__all__ = ["explanation_html", "html_table"]

SAMPLES_SHOWN = 4
ROWS_SHOWN = 200


def html_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], notes: Sequence[str] = ()) -> str:
    """A table under a title, with notes below; of many rows the first."""
    head = "".join(f"<th style='text-align:left'>{escape(c)}</th>" for c in columns)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows[:ROWS_SHOWN]
    )
    more = [f"… {len(rows) - ROWS_SHOWN} more rows"] if len(rows) > ROWS_SHOWN else []
    below = "".join(f"<div>{escape(line)}</div>" for line in (*more, *notes))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if rows else ""
    return f"<div><b>{escape(title)}</b></div>{table}{below}"


def explanation_html(explanation: ExplanationData) -> str:
    """The page of the first samples in a frame of its own, so that its styles leave the notebook alone.

    Without the packages that pages need, a table.
    """
    count = sample_count(explanation)
    shown = min(count, SAMPLES_SHOWN)
    try:
        page = render_explanations([explanation], samples=range(shown), title=f"{explanation!r}")
    except MissingDependencyError:
        return _plain(explanation, shown)
    return (
        f'<iframe srcdoc="{escape(page)}" style="width:100%;height:{260 + 300 * min(shown, 2)}px;border:0" '
        f'title="{escape(repr(explanation))}"></iframe>'
    )


def _plain(explanation: ExplanationData, shown: int) -> str:
    rows = []
    for name in explanation.attributions:
        for i, places in enumerate(explanation.top(5, name)[:shown]):
            strongest = ", ".join(f"{list(place)} {short(value)}" for place, value in places)
            rows.append((explanation.sample_name(i), explanation.label(i), name, strongest))
    notes = [f"not explained: {line}" for line in left_out_in_words(explanation.left_out)]
    return html_table(repr(explanation), ("sample", "target", "input", "largest attributions"), rows, notes)
