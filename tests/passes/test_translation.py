"""Translation validation, a quick part: no pass changes what a model predicts, and no pass is left out. The long part is
test_translation_sweep."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import onnxplain.passes
from tests.support import translation_graphs as graphs
from tests.support.own_cases import CASES
from tests.support.translation import PASSES, Untestable, validate
from tests.support.translation_corpus import Case, fixtures, runtime_cases
from tests.support.translation_forms import FORMS
from tests.support.translation_triggers import TRIGGERS

PARTS = {"unique_names": "a part of tidy"}
"""Functions from a model to whether it changed that others run."""

ELSEWHERE = {
    "lowering": "test_translation_lowering",
    "microbatch": "test_translation_lowering",
    "channel_steps": "a part of fold-batch-norm",
    "linear_map": "a part of fold-batch-norm",
    "derived_score": "test_derived_score",
    "conversion": "a part of normalize-opset",
    "loop_shapes": "a part of infer-shapes",
    "named_extents": "a part of infer-shapes",
    "ranks": "a part of infer-shapes",
    "stand_ins": "a part of infer-shapes",
    "view": "reads a graph",
    "weights": "sets weights aside and puts them back",
}
"""Modules of passes with no function from a model to whether it changed, and where what they do is validated."""


def passes_in(name: str) -> Iterator[str]:
    """The names of a module's functions from a model to whether it changed."""
    module = import_module(f"onnxplain.passes.{name}")
    for function in module.__all__:
        found = getattr(module, function)
        if inspect.isfunction(found):
            signature = inspect.signature(found)
            needed = [p.annotation for p in signature.parameters.values() if p.default is p.empty]
            if signature.return_annotation == "bool" and needed == ["onnx.ModelProto"]:
                yield function


def test_every_pass_is_validated() -> None:
    validated = {each.run.__name__ for each in PASSES.values()} | set(PARTS)
    for module in pkgutil.iter_modules(onnxplain.passes.__path__):
        found = set(passes_in(module.name))
        assert found <= validated, f"{module.name}: {found - validated} are not in tests/support/translation.py"
        assert bool(found) != (module.name in ELSEWHERE), f"{module.name}: say where it is validated"


def assert_kept(case: Case, level: str = "plain") -> list[str]:
    try:
        changed, difference = validate(case.model, case.feeds, level=level, tolerance=case.tolerance)
    except Untestable:
        return []
    assert difference is None, f"{case.name}: {difference}"
    return changed


@pytest.mark.parametrize("name", PASSES)
def test_each_pass_on_a_model_of_its_own(name: str) -> None:
    assert name in assert_kept(TRIGGERS[name]())


STRATEGIES: dict[str, Callable[[], st.SearchStrategy[Case]]] = {name: getattr(graphs, name) for name in graphs.__all__}


@pytest.mark.parametrize("kind", STRATEGIES)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_made_graphs(kind: str, data: Any) -> None:
    assert_kept(data.draw(STRATEGIES[kind]()))


SMALL = ("digits/", "iris_sklearn/", "cancer_sklearn/", "gru/", "llama/", "unet/", "wine_keras/")


@pytest.mark.parametrize(
    "case", [c for c in fixtures() if c.name.removeprefix("fixture ").startswith(SMALL)], ids=lambda c: c.name
)
def test_fixtures(case: Case) -> None:
    assert_kept(case)


def own_cases() -> Iterator[Case]:
    for own in CASES:
        if own.name == "split_unused":  # ONNX Runtime crashes where an output of Split is left out
            continue
        model = own.model()
        names = [v.name for v in model.graph.input]
        yield Case(own.name, model, dict(zip(names, own.arrays(), strict=True)))


def test_operators_as_they_are() -> None:
    changed = {name for case in (*runtime_cases(), *own_cases()) for name in assert_kept(case)}
    assert {"expand-contrib", "expand-operators", "fold-constants"} <= changed


@pytest.mark.parametrize("form", FORMS)
def test_operators_in_other_forms(form: str) -> None:
    """Every fifth case within a branch, a loop, a function, or in another precision."""
    every = [*runtime_cases(), *own_cases()]
    tried = 0
    for case in every[:: 5 if form in ("in a branch", "in a loop") else 3]:
        made = FORMS[form](case)
        if made is not None:
            tried += bool(assert_kept(made))
    assert tried > 10
