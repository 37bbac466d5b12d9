"""Names: each public one is defined once, none is hidden by a package, and those of the last version still work, with a warning."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import onnxplain
from onnxplain import Explainer, check, rewrite

PACKAGE = Path(onnxplain.__file__).parent
MODEL = "fixtures/digits/model.onnx"


def public_definitions() -> dict[str, list[str]]:
    """The functions and classes that modules list in `__all__`, with the modules that define them."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        listed = {
            name
            for node in tree.body
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
            for name in ast.literal_eval(node.value)
        }
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in listed:
                found[node.name].append(path.relative_to(PACKAGE).as_posix())
    return found


def test_no_function_or_class_is_public_in_two_modules() -> None:
    definitions = public_definitions()
    assert len(definitions) > 400
    assert {name: where for name, where in definitions.items() if len(where) > 1} == {}


def test_no_package_hides_a_public_name() -> None:
    import onnxplain.explain.explainer

    assert [name for name in onnxplain.__all__ if inspect.ismodule(getattr(onnxplain, name))] == []


@pytest.mark.parametrize(("old", "new"), [("Call", "Node"), ("Where", "NodePattern")])
def test_names_of_the_last_version_warn(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"onnxplain.{new}"):
        assert getattr(onnxplain, old) is getattr(onnxplain, new)


def test_cotangents_were_called_seeds() -> None:
    images = np.load("fixtures/digits/data.npz")["image"][:2]
    cotangent = np.random.default_rng(0).normal(size=(2, 10)).astype(np.float32)
    explainer = Explainer(MODEL)
    expected = explainer(images, cotangent=cotangent).attribution
    with pytest.warns(DeprecationWarning, match="cotangent="):
        found = explainer(images, seed=cotangent).attribution
    assert np.abs(expected).max() > 0
    np.testing.assert_array_equal(found, expected)


def test_the_target_cotangent_was_called_seed() -> None:
    expected = rewrite(MODEL, target="cotangent")
    assert [i.name for i in expected.graph.input] == ["image", "seed"]  # the contract's name, which hosts feed
    with pytest.warns(DeprecationWarning, match="target='cotangent'"):
        found = rewrite(MODEL, target="seed")
    assert found.SerializeToString() == expected.SerializeToString()


def test_checks_of_every_node_were_asked_for_with_calls() -> None:
    with pytest.warns(DeprecationWarning, match="nodes="):
        report = check(MODEL, calls=True, progress=False)
    assert "gradient of each node" in [f.name for f in report.findings]
