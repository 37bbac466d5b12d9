"""Every public name, and all that rule files are written with, is documented: arguments, results, errors, an example that runs."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import onnxplain
from onnxplain import Builder, Tensor
from onnxplain.ir.graph import Graph

MODEL = '<ir_version: 10, opset_import: ["" : 21]> example (float[2, 3] x) => (float[2, 3] y) { y = Relu (x) }'
X = np.array([[1, -2, 3], [-4, 5, -6]], np.float32)

RULEKIT = ("loop_history", "quantized", "rnn_activations", "scatter", "windows")
TYPES = frozenset({"Messages"})
"""Public names that are type aliases."""


# -- what is documented ------------------------------------------------------------------------------------------------


def public() -> Iterator[tuple[str, Any]]:
    """The public names of the package and of the rule kit."""
    for name in onnxplain.__all__:
        if name not in TYPES and name != "__version__":
            yield name, getattr(importlib.import_module(f"onnxplain.{onnxplain._HOME[name]}"), name)
    for part in RULEKIT:
        module = importlib.import_module(f"onnxplain.rulekit.{part}")
        for name in module.__all__:
            yield f"rulekit.{part}.{name}", getattr(module, name)


def own_members(owner: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties of a class, those of its base classes in this package included."""
    for cls in owner.__mro__:
        if cls.__module__.startswith("onnxplain."):
            for name, member in vars(cls).items():
                if not name.startswith("_") and (
                    isinstance(member, staticmethod | classmethod | property) or inspect.isfunction(member)
                ):
                    yield name, member


def members() -> Iterator[tuple[str, Any]]:
    for name, value in public():
        if inspect.isclass(value) and not issubclass(value, Exception):
            for own, member in own_members(value):
                yield f"{name}.{own}", member


def function_of(member: Any) -> Any:
    """The plain function behind a method, property or decorated function."""
    if isinstance(member, property):
        return member.fget
    return inspect.unwrap(getattr(member, "__func__", member))


def section(doc: str, title: str) -> str:
    """The text of a section of a docstring, "" where there is none."""
    found = re.search(rf"^{title}:[^\n]*\n((?:[ ]+[^\n]*\n|\n)*)", doc + "\n", re.MULTILINE)
    return found[0] if found else ""


def entries(doc: str, title: str) -> set[str]:
    """The names a section explains, one at the start of a line each."""
    return {name.lstrip("*") for name in re.findall(r"^    (\*{0,2}\w+):", section(doc, title), re.MULTILINE)}


def raises(function: Any) -> bool:
    """Whether a function's own body has a `raise` statement with an error."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return any(isinstance(node, ast.Raise) and node.exc is not None for node in ast.walk(tree))


def problems_of_function(name: str, function: Any, *, is_property: bool = False) -> list[str]:
    doc = inspect.getdoc(function) or ""
    if not doc:
        return [f"{name} has no docstring"]
    signature = inspect.signature(function)
    wanted = [p for p in signature.parameters if p not in ("self", "cls")]
    found = [f"{name}: no line for '{p}' under Args" for p in wanted if p not in entries(doc, "Args")]
    nothing = signature.return_annotation in ("None", None)
    if not is_property and not nothing and not section(doc, "Returns") and not section(doc, "Yields"):
        found.append(f"{name}: no Returns")
    if raises(function) and not section(doc, "Raises"):
        found.append(f"{name}: no Raises")
    return found


def problems_of_class(name: str, cls: type) -> list[str]:
    doc = cls.__doc__ or ""
    if hasattr(cls, "__dataclass_fields__"):
        wanted = [f for f in cls.__dataclass_fields__ if not f.startswith("_")]
    elif "__init__" in vars(cls):
        wanted = list(inspect.signature(cls).parameters)
    else:
        wanted = []
    told = entries(inspect.cleandoc(doc), "Args") | entries(inspect.cleandoc(doc), "Attributes")
    return [f"{name}: no line for '{field}'" for field in wanted if field not in told]


@pytest.mark.parametrize(("name", "value"), [pytest.param(n, v, id=n) for n, v in public()])
def test_public_names_tell_their_arguments_results_and_errors(name: str, value: Any) -> None:
    found = problems_of_class(name, value) if inspect.isclass(value) else problems_of_function(name, function_of(value))
    assert not found, "\n".join(found)


def test_methods_of_public_classes_tell_their_arguments_results_and_errors() -> None:
    found = [
        problem
        for name, member in members()
        for problem in problems_of_function(name, function_of(member), is_property=isinstance(member, property))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("name", "value"), [pytest.param(n, v, id=n) for n, v in public()])
def test_public_names_have_an_example(name: str, value: Any) -> None:
    assert doctest.DocTestParser().get_examples(value.__doc__ or ""), f"{name} has no example"


# -- examples run ------------------------------------------------------------------------------------------------------


def run(b: Builder, *tensors: Tensor) -> Any:
    """The values of tensors, by onnx's reference evaluator, with x = X."""
    names = [b.graph.fresh(f"result_{i}") for i in range(len(tensors))]
    renamed = [b.rename(t, n) for t, n in zip(tensors, names, strict=True)]
    model = b.graph.finish(b.nodes, b.constants, renamed)
    values = ReferenceEvaluator(model).run(names, {"x": X})
    return values[0] if len(values) == 1 else values


def namespace() -> dict[str, Any]:
    """What examples may use: a builder `b` over a small graph with the input `x` and `y = Relu(x)`, and `run`."""
    graph = Graph(onnx.parser.parse_model(MODEL))
    b = Builder(graph)
    return {"b": b, "x": graph.tensor("x"), "y": graph.tensor("y"), "relu": graph.nodes[0], "np": np,
            "run": lambda *tensors: run(b, *tensors)}  # fmt: skip


def documented_modules() -> list[ModuleType]:
    """The modules that define public names, and their neighbours that rule files use."""
    owners = {cls.__module__ for _, value in public() for cls in (value.__mro__ if inspect.isclass(value) else [value])}
    return [importlib.import_module(name) for name in sorted(owners) if name.startswith("onnxplain.")]


def examples() -> Iterator[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in documented_modules():
        yield from (test for test in finder.find(module, module.__name__) if test.examples)


@pytest.mark.parametrize("example", [pytest.param(e, id=e.name) for e in examples()])
def test_examples_run(example: doctest.DocTest) -> None:
    example.globs = namespace()
    failures: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(example, out=failures.append)
    assert result.attempted
    assert not result.failed, "".join(failures)
