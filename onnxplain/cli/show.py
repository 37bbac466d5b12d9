"""Prints the results of the commands as tables, with rich."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
from rich import box
from rich.console import Console
from rich.table import Table

from onnxplain.cli.show_text import print_texts
from onnxplain.cli.text import escape
from onnxplain.explain.catalog import HOW, Coverage
from onnxplain.explain.plan import Plan
from onnxplain.method.options import OPTIONS, TYPES
from onnxplain.method.registry import Method
from onnxplain.results.explanation import Explanation
from onnxplain.results.found import found_boxes
from onnxplain.results.interactions import player_names, set_name, strongest_sets
from onnxplain.results.left_out import left_out_in_words
from onnxplain.results.plot.style import percent
from onnxplain.results.prediction import predictions, target_name
from onnxplain.runtime.cuda_placement import kernels_of, left_to_processor
from onnxplain.runtime.run_time_inputs import MEANING
from onnxplain.verification.findings import CheckReport

__all__ = [
    "show_check", "show_contract", "show_explanation", "show_method", "show_methods", "show_operators", "show_plain_model",
    "show_plan", "to_stderr", "wrote",
]  # fmt: skip

LAYER = {
    ("explained", False): "explains the layers named instead of the inputs",
    ("layer", False): "needed: explains the layers named while the inputs vary",
    ("input", False): "needed: explains the inputs by way of one layer",
    ("input", True): "one, the last with height and width where none is named",
    ("map", True): "one, the last with height and width where none is named; a map of its places over the input",
    ("column", False): "means nothing: explains the columns that go in",
    ("token", False): "means nothing: explains the tokens that go in",
}
"""What `--layer` means for each kind of method."""


def _of_pairs(errors: np.ndarray[Any, Any]) -> float:
    """The largest off the diagonals; either side has half."""
    return float(2 * np.nanmax(errors * (1 - np.eye(errors.shape[-1]))))


FACTS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "r2": ("fit of the linear model, the lowest R²", np.min),
    "fidelity": ("fidelity of the surrogate on rows held out, share of the variance", np.min),
    "agreement": ("how often its greatest class is the model's", np.min),
    "standard_error": ("standard error of an attribution, the largest", np.max),
    "interaction_error": ("standard error of an interaction, the largest", _of_pairs),
}
"""Facts of black-box methods that are printed below tables: a description, and how the samples' values are summarized."""

REPORTS = {
    "delta": "completeness gap: sum of the attributions less the score's change from the baseline",
    "base_value": "the mean score over the rows of data, which the attributions start from",
    "interactions": "what two columns do together, half on either side of the diagonal",
}
"""Outputs beside the attributions, and what they are."""


CANDIDATES = {
    "detection_boxes": "left, top, right and bottom of every candidate, in the model's own units",
    "detection_scores": "what targets are elements of: candidate · classes + class",
}
"""Outputs that --detect adds, and what they are."""


class PipedConsole(Console):
    """Ends quietly where a reader such as `head` has had enough."""

    def on_broken_pipe(self) -> None:
        """Leave nothing to be flushed at exit, which would fail again."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0)


def to_stderr() -> None:
    """Let this call of the command line print to standard error, because standard output carries a file."""
    click.get_current_context().find_root().meta[to_stderr.__module__] = True


def _console() -> Console:
    # In a pipe or file, rows are not broken at 80 columns: other programs read them.
    context = click.get_current_context(silent=True)
    aside = context is not None and context.find_root().meta.get(to_stderr.__module__, False)
    stream = sys.stderr if aside else sys.stdout
    return PipedConsole(file=stream, width=None if stream.isatty() else 200, highlight=False)


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def wrote(path: Path) -> None:
    """Report that a file was written, with its size."""
    _console().print(f"wrote {escape(str(path))} ({_bytes(path.stat().st_size)})")


def _bytes(count: int) -> str:
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}"


def show_explanation(
    explanation: Explanation, top: int, features: Sequence[str] = (), by: str = "word", special: bool = False
) -> None:
    """Print the largest attributions of each sample; of texts the texts, coloured."""
    console = _console()
    about, gap = explanation.about, explanation.delta
    kind = about["score"]["kind"]
    asked = {"input": "of each sample", "seed": "a cotangent"}.get(str(about["target"]), str(about["target"]))
    console.print(f"[bold]{explanation.method}[/bold] of the {kind} '{escape(str(about['output']))}', target {escape(asked)}")
    if "detections" in explanation.facts:
        console.print(_detections(explanation))
    predicted, how = predictions(explanation)
    told = bool(explanation.texts) and about["target"] != "all"
    if told:
        columns = ("sample", "target", "total", "special tokens", f"largest {by}s")
        table = _table(*columns, right=("sample", "total", "special tokens"))
        print_texts(console, table, explanation, top, by, special)
    for name in explanation.attributions:
        if told and explanation.is_of_text(name):
            continue
        values = explanation.samples_first(name)
        entry = next(e for e in about["attributions"].values() if e["explains"] == name)
        if entry["kind"] == "map":
            console.print(f"a map of '{escape(name)}', made from the layer '{escape(entry['tensor'])}' {list(values.shape[1:])}")
        if entry["kind"] == "embedding":
            console.print(
                f"'{escape(name)}' is an integer input: attributed at the embedding it looks up, '{escape(entry['tensor'])}'"
            )
        said = ("prediction",) if how else ()
        columns = ("sample", *said, "target", "total", "negative", f"largest attributions of '{escape(name)}'")
        table = _table(*columns, right=("sample", "total", "negative"))
        negative = explanation.negative_share(name)
        names = features if len(features) == values[0].size else [name] if values[0].size == 1 else ()
        for i, places in enumerate(explanation.top(top, name)):
            shown = ", ".join(f"{_place(p, names)} {v:+.3g}" for p, v in places)
            total = f"{float(values[i].sum()):+.4g}"
            row = [explanation.sample_name(i), target_name(explanation, i), total, f"{negative[i]:.0%}", shown]
            if how:
                row.insert(1, f"{predicted[i].label} {percent(predicted[i].probability or 0)}")
            table.add_row(*map(escape, row))
        console.print(table)
    if how:
        console.print(f"prediction: probabilities {escape(how)}")
    if about.get("assumed_baseline") is not None:
        console.print(f"no baseline was given: {about['assumed_baseline']} stands for what is absent (--baseline gives another)")
    if "interactions" in explanation.facts and about["target"] != "all":
        console.print(_interactions(explanation, top, features))
    if explanation.shared:
        console.print(f"of all samples together, since they share it: {', '.join(explanation.shared)}", markup=False)
    for line in left_out_in_words(explanation.left_out):
        console.print(f"not explained: {escape(line)}")
    if gap is not None:
        finer = " (more steps make it smaller)" if "steps" in about["options"] else ""
        console.print(f"completeness gap: at most {float(abs(gap).max()):.3g}{finer}")
    if "tree" in about:
        console.print(escape(about["tree"]))
    for name, (meaning, shorten) in FACTS.items():
        if name in explanation.facts:
            console.print(f"{meaning}: {shorten(explanation.facts[name]):.3g}")


def _detections(explanation: Explanation) -> Table:
    """What a detector found in every picture; what is explained is marked."""
    table = _table(
        "sample", "detection", "class", "score", "left, top, right, bottom", "", right=("sample", "detection", "score")
    )
    for i in range(len(explanation)):
        for found in found_boxes(explanation, i):
            corners = ", ".join(f"{v:.1f}" for v in found.corners)
            row = (
                explanation.sample_name(i),
                str(found.number),
                found.name,
                f"{found.score:.3f}",
                corners,
                "explained" if found.explained else "",
            )
            table.add_row(*map(escape, row))
    return table


def _interactions(explanation: Explanation, top: int, features: Sequence[str]) -> Table:
    """The sets of features that do most together, of every sample."""
    names = player_names(explanation, features)
    table = _table("sample", "target", "largest interactions", right=("sample",))
    for i, found in enumerate(strongest_sets(explanation, top)):
        shown = ", ".join(f"{set_name(members, names)} {v:+.3g}" for members, v in found)
        table.add_row(str(i), escape(explanation.label(i)), escape(shown))
    return table


def _place(place: tuple[int, ...], features: Sequence[str]) -> str:
    if len(place) == 1 and place[0] < len(features):
        return features[place[0]]
    return "[" + ",".join(map(str, place)) + "]"


def show_contract(model: onnx.ModelProto, about: Mapping[str, Any]) -> None:
    """Print what an explained model takes and returns, and how it was made."""
    console = _console()
    run_time = about["run_time_inputs"]
    meaning: dict[str, str] = {}
    if "target" in run_time:
        meaning[run_time["target"]] = "index to explain, one per sample or one for all; negative: the top prediction"
    if "seed" in run_time:
        meaning[run_time["seed"]] = "vector the Jacobian is multiplied with"
    for kind, text in MEANING.items():
        meaning.update((tensor, text.format(name=name)) for name, tensor in run_time.get(kind, {}).items())
    for kind, tensor in about.get("reports", {}).items():
        meaning[tensor] = REPORTS.get(kind, kind)
    for name, entry in about["attributions"].items():
        where = "" if entry["kind"] in ("input", "layer") else f" at '{entry['tensor']}' ({entry['kind']})"
        is_map = entry["kind"] == "map"
        meaning[name] = (
            f"map of '{entry['explains']}' from '{entry['tensor']}'" if is_map else f"attribution of '{entry['explains']}'{where}"
        )
    meaning.update(CANDIDATES if CANDIDATES.keys() <= {o.name for o in model.graph.output} else {})
    table = _table("", "name", "type", "shape", "what it is")
    for role, values in (("input", model.graph.input), ("output", model.graph.output)):
        for value in values:
            table.add_row(
                role, escape(value.name), *map(escape, _type(value)), escape(meaning.get(value.name, "the model's own"))
            )
    console.print(table)
    score = about["score"]
    between = "behind" if score["kind"] == "logit" else "of"
    explained = (
        f"'{about['output']}'"
        if score["kind"] == "output"
        else f"'{score['tensor']}', the {score['kind']} {between} '{about['output']}'"
    )
    facts = {
        "method": about["method"],
        "options": ", ".join(f"{k}={v}" for k, v in about["options"].items()) or "none",
        "axioms": ", ".join(about["axioms"]) or "none",
        "explains": explained,
        "target": about["target"],
        "samples": _axes_in_words(about),
        **({"left out": "; ".join(left_out_in_words(about["left_out"]))} if about.get("left_out") else {}),
        **({"runs": f"{about['batch_size']} samples at a time"} if about.get("batch_size") else {}),
        "passes": ", ".join(about["passes"]),
        "source": f"sha256 {about['source_sha256']}",
        "made by": f"onnxplain {about['version']}",
        "opset": ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in model.opset_import) + f", IR {model.ir_version}",
        "on CUDA": _on_cuda(model),
    }
    for key, value in facts.items():
        console.print(f"  {key:9} {escape(str(value))}")


def _axes_in_words(about: Mapping[str, Any]) -> str:
    """Which axes of an explained model count samples."""
    if not about["batched"]:
        return "no axis counts them"
    later = {name: axis for name, axis in about.get("sample_axes", {}).items() if axis}
    return "along the first axis" + "".join(f", along axis {axis} of '{name}'" for name, axis in later.items())


def _on_cuda(model: onnx.ModelProto) -> str:
    """Whether ONNX Runtime's CUDA provider has kernels for the whole model, as text."""
    left = left_to_processor(model)
    named = ", ".join(f"{n.op_type} '{n.name}'" for n in left[:3]) + (" …" if len(left) > 3 else "")
    count = f"no kernel for {len(left)} node{'s' if len(left) > 1 else ''}, which cost copies: {named}" if left else "every node"
    return f"{count} (ONNX Runtime {kernels_of()})"


def _type(value: onnx.ValueInfoProto) -> tuple[str, str]:
    import onnx

    if not value.type.HasField("tensor_type"):
        return str(value.type.WhichOneof("value")).replace("_type", ""), ""
    tensor = value.type.tensor_type
    name = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    if not tensor.HasField("shape"):
        return name, "[…]"
    return name, "[" + ", ".join(
        d.dim_param or (str(d.dim_value) if d.HasField("dim_value") else "?") for d in tensor.shape.dim
    ) + "]"


def show_plain_model(model: onnx.ModelProto) -> None:
    """Print the inputs and outputs of a model that is not an explained one."""
    console = _console()
    table = _table("", "name", "type", "shape")
    weights = {t.name for t in model.graph.initializer}
    for role, values in (("input", model.graph.input), ("output", model.graph.output)):
        for value in values:
            if value.name not in weights:
                table.add_row(role, escape(value.name), *map(escape, _type(value)))
    console.print(table)
    console.print(f"  {len(model.graph.node)} nodes; not an explained model (onnxplain rewrite makes one)")


def _samples(plan: Plan) -> str:
    """Which axes count samples, in words."""
    axes = plan.axes
    if axes is None or axes.axis is None:
        return "no axis counts them" if axes is None else axes.question() if axes.open else f"no axis counts them: {axes.reason}"
    places = {**axes.of_inputs, plan.score.tensor.name: axes.axis}
    return ", ".join(f"axis {axis} of '{name}'" for name, axis in places.items()) + f" ({axes.reason})"


def show_plan(plan: Plan, everything: bool, as_json: bool) -> None:
    """Print one row per node, with its rule."""
    rows = [r for r in plan.rows if everything or r.status != "off the way"]
    if as_json:
        about = {
            "method": plan.method, "rows": [asdict(r) for r in rows], "problem": plan.problem, "unused": plan.unused,
            "left_out": dict(plan.left_out), "samples": _samples(plan), "lost": plan.lost, "mixes": str(plan.score.mixes or ""),
        }  # fmt: skip
        print(json.dumps(about, indent=2))
        return
    console = _console()
    what = plan.score.kind
    console.print(
        f"[bold]{plan.method}[/bold]: {what} '{escape(plan.score.tensor.name)}' → "
        + ", ".join(
            f"'{escape(e.name)}'" + (f" at {e.kind} '{escape(e.tensor.name)}'" if e.kind in ("embedding", "cast") else "")
            for e in plan.explained
        )
        + "".join(f", layer '{escape(e.name)}'" for e in plan.layers)
    )
    if plan.score.mixes is not None:
        console.print(
            f"{escape(str(plan.score.mixes))} mixes probabilities: the result is explained as it is, for it has no logit"
        )
    table = _table("node", "address", "scope", "makes", "shape", "rule", "why")
    for r in rows:
        style = {"missing": "bold red", "off the way": "dim", "part": "dim"}.get(r.status, "")
        kind = r.operator.partition(" ")[2]  # what a compound stands for
        table.add_row(
            *map(escape, (r.node, f"{r.address} {kind}".strip(), r.scope, r.output, r.shape, r.rule or r.status, r.reason)),
            style=style,
        )
    console.print(table)
    off = sum(r.status == "off the way" for r in plan.rows)
    console.print(f"{len(plan.rows)} nodes: {len(plan.rows) - off} on the way, {off} off it; {len(plan.missing)} without a rule")
    console.print(f"samples: {escape(_samples(plan))}")
    for line in left_out_in_words(plan.left_out):
        console.print(f"not explained: {escape(line)}")
    for line in plan.lost:
        console.print(escape(line), style="yellow")
    for where in plan.unused:
        console.print(f"no node met the condition of your rule for: {escape(where)}", style="yellow")
    if plan.problem:
        console.print(escape(plan.problem), style="red")


def show_check(report: CheckReport, as_json: bool = False) -> None:
    """Print one line per check."""
    if as_json:
        print(json.dumps({"ok": report.ok, "findings": [asdict(f) for f in report.findings]}, indent=2))
        return
    console = _console()
    signs = {True: "[green]✓[/green]", False: "[bold red]✗[/bold red]", None: "[yellow]·[/yellow]"}
    for finding in report.findings:
        console.print(f"{signs[finding.ok]} [bold]{finding.name}[/bold]: {escape(finding.detail)}", soft_wrap=True)
    if report.conservation:
        table = _table("node", "operator", "rule", "receives", "sends", "its bias keeps", "lost",
                       right=("receives", "sends", "its bias keeps", "lost"))  # fmt: skip
        for r in report.conservation[:10]:
            table.add_row(*map(escape, (r.node, r.operator, r.rule)), *(f"{v:.4g}" for v in (r.received, r.sent, r.bias, r.lost)))
        console.print(table)
    if not any(f.ok for f in report.findings):
        console.print("nothing could be shown at this input; try another (--seed, or an input file)")


def show_methods(methods: Mapping[str, Method], as_json: bool = False) -> None:
    """Print one row per method."""
    if as_json:
        print(json.dumps([_method_fields(m) for m in methods.values()], indent=2, ensure_ascii=False))
        return
    table = _table("method", "attribution", "what it tells", "source")
    for m in methods.values():
        table.add_row(m.name, escape(m.formula), escape(m.summary), escape(m.source))
    _console().print(table)


def _method_fields(method: Method) -> dict[str, Any]:
    options = [{"name": o.name, "default": str(o.default), "type": o.annotation} for o in method.options]
    about = {"name": method.name, **method.info, "axioms": list(method.axioms), "needs_baseline": method.needs_baseline}
    return {**about, "forward_only": method.forward_only, "options": options}


def show_method(method: Method, as_json: bool = False) -> None:
    """Print a method with its options."""
    if as_json:
        print(json.dumps(_method_fields(method), indent=2, ensure_ascii=False))
        return
    console = _console()
    console.print(f"[bold]{method.name}[/bold]  {escape(method.formula)}")
    console.print(f"  {escape(method.summary)}.")
    console.print(f"  source: {escape(method.source)}")
    console.print(f"  axioms: {', '.join(method.axioms) or 'none'}")
    needed = "0 for numbers where none is given" if method.forward_only else "needed"
    console.print(f"  baseline: {needed if method.needs_baseline else 'none'}")
    console.print(f"  layer: {LAYER[method.attributes_to, method.auto_layer]}")
    if not method.options:
        console.print("  options: none of its own")
        return
    table = _table("--option", "type", "default", "meaning")
    for option in method.options:
        default = "" if option.default is None else str(option.default)
        kind = TYPES.get(option.annotation, option.annotation.replace(" | None", "").replace(" | ", ", "))
        table.add_row(option.name, escape(kind), escape(default), escape(OPTIONS.get(option.name, "")))
    console.print(table)
    if method.inner({}) is not None:
        console.print("  and the options of the inner method: onnxplain methods INNER")


def show_operators(rows: Sequence[Coverage], as_json: bool = False) -> None:
    """Print one row per version of an operator."""
    if as_json:
        print(json.dumps([asdict(r) for r in rows], indent=2, ensure_ascii=False))
        return
    table = _table("operator", "domain", "since", "how", "role", "derivative", "file", right=("since",))
    for r in rows:
        table.add_row(r.operator, r.domain, str(r.since), r.how, r.role, escape(r.formula), r.file)
    console = _console()
    console.print(table)
    served = {(r.domain, r.operator): r.how for r in rows}
    console.print(f"{len(served)} operators:")
    for how, meaning in HOW.items():
        console.print(f"  {sum(h == how for h in served.values()):4} {how}: {meaning}")
