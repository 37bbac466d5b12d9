"""What there is: methods and operators."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx

from onnxplain.analysis.canonize.dataflow import COMPOUND
from onnxplain.ir.registry import OpSpec, Registry, load_registry
from onnxplain.ir.schema import signature
from onnxplain.method.registry import Method, all_methods

__all__ = ["Coverage", "coverage", "methods", "operators"]

HOW = {
    "rule": "a rule of its own",
    "body": "the standard's own body, in operators that have rules",
    "expansion": "written in standard operators, which have rules",
    "zero": "derivative zero wherever there is one",
    "straight-through": "the identity stands in for a derivative that is zero or missing",
}
"""The ways in which an operator is served."""


@dataclass(frozen=True)
class Coverage:
    """How one operator is served, from one version of it on.

    Attributes:
        operator: the operator's name.
        domain: its domain.
        since: the first operator version the entry holds for.
        how: one of `HOW`: by a rule, or by writing the operator in others first.
        role: its role, a key of `onnxplain.ir.registry.ROLES`.
        formula: the first line of its rule's docstring.
        file: the rule file.
    """

    operator: str
    domain: str
    since: int
    how: str
    role: str
    formula: str
    file: str


def methods() -> dict[str, Method]:
    """List the methods.

    Returns:
        Every method by name, with its summary, formula, source (paper and section), axioms and options.

    Example:
        >>> from onnxplain.explain.catalog import methods
        >>> found = methods()["saliency"]
        >>> found.formula, found.source
        ('|∂f/∂x|', 'Simonyan, Vedaldi, Zisserman 2013, Deep Inside Convolutional Networks, section 3')
    """
    return all_methods()


def operators(rules: str | Path | Iterable[str | Path] | None = None) -> list[Coverage]:
    """List the operators that can lie between the target and what is explained.

    Args:
        rules: as in `onnxplain.rewrite`.

    Returns:
        One entry per operator and version from which a rule holds, sorted by domain and name.

    Raises:
        RuleError: a folder of rules does not exist, or a rule file in it fails.

    Example:
        >>> import onnxplain
        >>> found = next(o for o in onnxplain.operators() if o.operator == "Neg")
        >>> found.role, found.formula
        ('elementwise', 'dx = −dy')
    """
    return coverage(load_registry(rules))


def coverage(registry: Registry) -> list[Coverage]:
    """How the operators of a registry are served, sorted by domain and name."""

    def row(spec: OpSpec) -> Coverage:
        how = spec.role if spec.role in HOW else "rule"
        return Coverage(spec.op, spec.domain or "ai.onnx", spec.since, how, spec.role, _first_line(spec.rule), _file(spec.source))

    rows = [row(spec) for spec in registry if spec.domain != COMPOUND]  # compounds are in no file
    rows += [
        Coverage(e.op, e.domain or "ai.onnx", 1, "expansion", "", _first_line(e.write), _file(e.source))
        for e in registry.expansions.values()
    ]
    served = {(r.domain, r.operator) for r in rows}
    newest = onnx.defs.onnx_opset_version()
    for name in sorted({s.name for s in onnx.defs.get_all_schemas() if not s.domain and not s.deprecated}):
        known = signature(name, "", newest)
        if known is not None and known.has_body and ("ai.onnx", name) not in served:
            rows.append(Coverage(name, "ai.onnx", known.since, "body", "", "", ""))
    return sorted(rows, key=lambda r: (r.domain, r.operator, r.since))


def _first_line(function: object) -> str:
    lines = (function.__doc__ or "").strip().splitlines()
    return lines[0] if lines else ""


def _file(source: str) -> str:
    return Path(source).name
