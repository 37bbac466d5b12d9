"""Facts that a rule file declares of its own operators: analyses use them as they use those of standard operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from onnxplain import NodePattern, OpTraits, rewrite, rule
from onnxplain.analysis.nonnegative import nonnegative_tensors
from onnxplain.errors import MethodError, RuleError
from onnxplain.ir.graph import Graph
from onnxplain.ir.registry import load_registry

MODEL = """<ir_version: 10, opset_import: ["" : 21, "my.domain" : 1]>
net (float[2, 4] x) => (float[2, 3] y) <float[4, 5] w, float[5, 3] v, float[2, 5] bent> {
  hidden = MatMul (x, w)
  bent = BEND (hidden)
  y = MatMul (bent, v)
}"""

RULE = """
from onnxplain import OpTraits, rule

@rule("Bend", domain="my.domain", role="elementwise"TRAITS)
def bend(b, node, dy):
    return b.Where(b.Greater(node.x, 0), dy, 0)
"""

RECTIFIER = ', traits=OpTraits(elementwise="first", activation="rectifier", nonnegative=True, zero_at_zero=True)'


class Bend(OpRun):  # type: ignore[misc]
    """What the operator computes: max(x, 0)."""

    op_domain = "my.domain"

    def _run(self, x: Any) -> tuple[Any]:
        return (np.maximum(x, 0),)


def net(bend: str) -> onnx.ModelProto:
    """A network with one activation."""
    random = np.random.default_rng(0)
    model = onnx.parser.parse_model(MODEL.replace("BEND", bend))
    weights = {"w": random.standard_normal((4, 5)), "v": random.standard_normal((5, 3))}
    del model.graph.initializer[:]
    model.graph.initializer.extend(onnx.numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items())
    return model


def folder(path: Path, traits: str) -> Path:
    """A folder with the rule of the operator."""
    path.mkdir(exist_ok=True)
    (path / "bend.py").write_text(RULE.replace("TRAITS", traits), encoding="utf-8")
    return path


def attribution(model: onnx.ModelProto) -> Any:
    x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    made: Any = ReferenceEvaluator(model, new_ops=[Bend]).run(None, {"x": x})
    return made[1]


def test_a_declared_rectifier_is_one_for_guided_backpropagation(tmp_path: Path) -> None:
    known = attribution(rewrite(net("Relu"), "guided-backprop", target=1))
    plain = attribution(rewrite(net("Relu"), "gradient", target=1))
    mine = rewrite(net("my.domain.Bend"), "guided-backprop", target=1, rules=folder(tmp_path / "declared", RECTIFIER))
    np.testing.assert_allclose(attribution(mine), known, rtol=1e-6)
    silent = rewrite(net("my.domain.Bend"), "guided-backprop", target=1, rules=folder(tmp_path / "silent", ""))
    np.testing.assert_allclose(attribution(silent), plain, rtol=1e-6)
    assert np.abs(known - plain).max() > 0.1


@pytest.mark.parametrize(("traits", "proven"), [(RECTIFIER, {"bent"}), ("", set())])
def test_a_declared_sign_is_proven(tmp_path: Path, traits: str, proven: set[str]) -> None:
    registry = load_registry(folder(tmp_path / "rules", traits))
    graph = Graph(net("my.domain.Bend"))
    assert nonnegative_tensors(graph.nodes, graph.value, registry.traits) == proven


def test_versions_that_disagree_claim_what_they_share(tmp_path: Path) -> None:
    text = RULE.replace("TRAITS", RECTIFIER) + RULE.replace("TRAITS", ", since=2, traits=OpTraits(nonnegative=True)")
    (tmp_path / "two.py").write_text(text, encoding="utf-8")
    bend = next(c for c in Graph(net("my.domain.Bend")).nodes if c.op == "Bend")
    assert load_registry(tmp_path).traits(bend) == OpTraits(nonnegative=True)


@pytest.mark.parametrize("traits", [OpTraits(), OpTraits(nonnegative=True)])
def test_the_facts_about_standard_operators_are_the_standards(traits: OpTraits) -> None:
    with pytest.raises(RuleError, match="Relu"):
        rule("Relu", role="elementwise", traits=traits)
    assert load_registry().traits(Graph(net("Relu")).nodes[1]).zero_below_zero


def test_conditions_name_facts_there_are() -> None:
    assert str(NodePattern(traits=("weightless",))) == "trait weightless"
    with pytest.raises(MethodError, match="weightless"):
        NodePattern(traits=("weightles",))
