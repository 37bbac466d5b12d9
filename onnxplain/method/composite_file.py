"""Composites written in TOML:

name = "mine"
base = "lrp-epsilon-plus"        # what serves every node that no rule below matches

[[rule]]
rule = "gamma"
gamma = 0.1
operators = ["Conv"]
depth = [1, 5]                   # the first five linear layers

[[rule]]
rule = "flat"
first = true
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from onnxplain.errors import MethodError, nearest
from onnxplain.io.plain import from_toml
from onnxplain.ir.registry import Rule
from onnxplain.method.own_composite import own_composite
from onnxplain.method.registry import find_method
from onnxplain.propagation.composite import Composite, NodePattern
from onnxplain.propagation.lrp import linear_rules as lrp
from onnxplain.propagation.lrp import role_rules as lrp_roles
from onnxplain.propagation.lrp.input_bounds import box_between
from onnxplain.propagation.lrp.settings import unfit

__all__ = ["RULES", "read_composite", "rule_settings"]


RULES: dict[str, Callable[..., Rule]] = {
    "zero": partial(lrp.epsilon, lrp.STABILIZER),
    "epsilon": lrp.epsilon,
    "gamma": lrp.gamma,
    "z-plus": lrp.z_plus,
    "alpha-beta": lrp.alpha_beta,
    "box": box_between,
    "w-square": lrp.w_square,
    "flat": lrp.flat,
    "pass": lambda: lrp_roles.pass_on,
    "norm": lrp_roles.share,
    "half": lrp_roles.half,
    "signal": lrp_roles.signal,
    "softmax": lambda: lrp_roles.softmax,
    "normalize": lrp_roles.normalize,
    "winner": lambda: lrp_roles.move,
    "proportional": lrp_roles.proportional,
    "gradient": lambda: lrp_roles.move,
    "guided": lambda: lrp_roles.guided,
    "deconvnet": lambda: lrp_roles.deconvnet,
    "stop": lambda: lrp_roles.stop,
}
"""The rules that a file can name, with their settings as parameters."""

CONDITIONS = tuple(f.name for f in fields(NodePattern))


def read_composite(path: str | Path) -> Composite:
    """Read a composite from a TOML file.

    Raises:
        MethodError: the file is missing or no TOML, or it names an unknown rule, condition, setting or base; all problems at
            once.
    """
    try:
        given = from_toml(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise MethodError(f"cannot read the composite {path}: {error.strerror}") from None
    except ValueError as error:
        raise MethodError(f"the composite {path} is no TOML: {error}") from None
    problems = [f"unknown key '{key}'; known: name, base, rule" for key in given if key not in ("name", "base", "rule")]
    problems += [
        f"'{key}' is a text, found {given[key]!r}" for key in ("name", "base") if not isinstance(given.get(key, ""), str)
    ]
    base: Composite | None = None
    if isinstance(wanted := given.get("base", "lrp-epsilon"), str):
        try:
            base = find_method(wanted).rules()
        except MethodError as error:
            problems.append(f"base: {error}")
    entries: list[tuple[NodePattern, Rule]] = []
    tables = given.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(t, Mapping) for t in tables) or not tables:
        problems.append("expected one [[rule]] table per rule, found none")
        tables = []
    for number, table in enumerate(tables, start=1):
        entry, wrong = _entry(table)
        entries += entry
        problems += [f"rule {number}: {p}" for p in wrong]
    if problems or base is None:
        raise MethodError("\n".join(f"the composite {path}: {p}" for p in problems))
    return own_composite(given.get("name", Path(path).stem), entries, base=base)


def _entry(table: Mapping[str, Any]) -> tuple[list[tuple[NodePattern, Rule]], list[str]]:
    """The entry that a table describes, and what is wrong with it."""
    problems, conditions = [], {}
    for key in (k for k in CONDITIONS if k in table):
        try:
            conditions[key] = _condition(key, table[key])
            NodePattern(**{key: conditions[key]})
        except MethodError as error:  # noqa: PERF203
            problems.append(str(error))
    name = table.get("rule")
    if not isinstance(name, str) or name not in RULES:
        found = "none" if name is None else repr(name)
        return [], [f"expected a rule's name, found {found}; {nearest(str(name or ''), RULES)}", *problems]
    make = RULES[name]
    takes = rule_settings(name)
    given = {key: value for key, value in table.items() if key not in (*CONDITIONS, "rule")}
    problems += [
        f"'{key}' is neither a condition ({', '.join(CONDITIONS)}) nor a setting of '{name}'"
        f" ({', '.join(takes) or 'it has none'})"
        for key in given
        if key not in takes
    ]
    settings = {takes[key]: value for key, value in given.items() if key in takes}
    problems += unfit(make, settings, CALLED)
    if problems:
        return [], problems
    try:
        return [(NodePattern(**conditions), make(**settings))], []
    except MethodError as error:
        return [], [str(error)]


CALLED = {"value": "epsilon", "factor": "gamma"}
"""What rules' parameters are called in a file."""


def rule_settings(name: str) -> dict[str, str]:
    """The settings of a rule as a file names them, and the parameters they are."""
    return {CALLED.get(p, p): p for p in inspect.signature(RULES[name]).parameters}


def _condition(key: str, value: Any) -> Any:
    if key in ("first", "last"):
        if not isinstance(value, bool):
            raise MethodError(f"'{key}' is true or false, found {value!r}")
        return value
    if key == "depth":
        if not (isinstance(value, list) and len(value) == 2 and all(type(v) is int for v in value)):
            raise MethodError(f"'depth' is two numbers of linear layers, [from, to], found {value!r}")
        return tuple(value)
    values = [value] if isinstance(value, str) else value
    if not (isinstance(values, list) and values and all(isinstance(v, str) for v in values)):
        raise MethodError(f"'{key}' is a list of names, found {value!r}")
    return tuple(values)
