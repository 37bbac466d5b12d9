"""Prints the results of the commands on concepts and prototypes."""

from __future__ import annotations

import json
from collections.abc import Sequence

from onnxplain.cli.show import _console, _table
from onnxplain.cli.text import escape
from onnxplain.concepts.prototype import Prototypes
from onnxplain.concepts.tcav import Tcav

__all__ = ["show_prototypes", "show_tcav"]


def show_tcav(found: Tcav, as_json: bool) -> None:
    """Print one row per concept, and the scores of random examples."""
    if as_json:
        about = {"layer": found.layer, "target": found.target, "samples": found.samples, "level": found.level}
        print(json.dumps({**about, "random": found.random.tolist(), "concepts": found.table()}, indent=2))
        return
    out = _console()
    out.print(
        f"[bold]TCAV[/bold] of target {escape(found.target)} at '{escape(found.layer)}': "
        f"{found.samples} samples, {len(found.random)} runs"
    )
    rows = _table("concept", "score", "±", "accuracy", "p", "", right=("score", "±", "accuracy", "p"))
    for c in found.concepts:
        effect = ("raises" if c.score > found.random.mean() else "lowers") + " the score" if c.significant else "no evidence"
        rows.add_row(escape(c.concept), f"{c.score:.2f}", f"{c.spread:.2f}", f"{c.accuracy:.0%}", f"{c.p:.2g}", effect)
    rows.add_row("(random)", f"{found.random.mean():.2f}", f"{found.random.std(ddof=1):.2f}", "", "", "")
    out.print(rows)
    out.print(
        "score: share of the samples whose score rises along the concept · accuracy: of telling held-out examples from random "
        f"ones (50 %: not at all)\np: that random examples score differently by chance; evidence is p < {found.level:g}"
        + (f" / {len(found.concepts)} concepts" if len(found.concepts) > 1 else "")
    )


def show_prototypes(found: Prototypes, labels: Sequence[str], as_json: bool = False) -> None:
    """Print one row per class."""
    certain = found.kind == "log-probability"
    if as_json:
        kind = "probability" if certain else "logit"
        scores = (found.probabilities if certain else found.scores).tolist()
        rows_of = zip(found.targets, scores, found.objective.tolist(), strict=True)
        print(json.dumps([{"class": int(t), kind: s, "objective": v} for t, s, v in rows_of], indent=2))
        return
    rows = _table("class", "probability" if certain else "logit", "objective", right=("probability", "logit", "objective"))
    for target, score, value in zip(
        found.targets, found.probabilities if certain else found.scores, found.objective, strict=True
    ):
        name = labels[target] if target < len(labels) else str(target)
        rows.add_row(escape(name), f"{score:.4f}" if certain else f"{score:.4g}", f"{value:.4g}")
    _console().print(rows)
