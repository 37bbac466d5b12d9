"""Composites: which rule serves which node, from Python or a TOML file, and how `plan` says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from onnxplain import plan, rewrite
from onnxplain.cli.main import main
from onnxplain.errors import MethodError
from onnxplain.io.metadata import read_metadata
from onnxplain.method.composite_file import RULES, read_composite
from onnxplain.method.own_composite import own_composite
from onnxplain.propagation.composite import Composite, NodePattern
from onnxplain.propagation.lrp import linear_rules as lrp
from onnxplain.propagation.lrp import role_rules as lrp_roles
from onnxplain.propagation.rule import named
from tests.support.linear_cases import random
from tests.support.models import model, node, run
from tests.support.paths import FIXTURES


def network() -> onnx.ModelProto:
    """Five linear layers in two modules, a residual around the third and the fourth, a batch norm that cannot be folded."""
    f = np.float32
    weights = {
        "w1": random(4, 2, 3, 3).astype(f), "w2": random(4, 4, 3, 3).astype(f), "w3": random(4, 4, 3, 3).astype(f),
        "w4": random(4, 4, 1, 1).astype(f), "b4": random(4).astype(f), "w5": random(4, 3).astype(f), "b5": random(3).astype(f),
    }  # fmt: skip
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", "x w1", "c1", "/stem/Conv", **pads),
        node("Relu", "c1", "r1", "/stem/Relu"),
        node("Conv", "r1 w2", "c2", "/body/one/Conv", **pads),
        node("Tanh", "c2", "t2", "/body/one/Tanh"),
        node("Conv", "t2 w3", "c3", "/body/two/Conv", **pads),
        node("Conv", "r1 w4 b4", "c4", "/body/shortcut/Conv"),
        node("Add", "c3 c4", "s", "/body/Add"),
        node("Relu", "s", "r2", "/body/Relu"),
        node("GlobalAveragePool", "r2", "g", "/head/Pool"),
        node("Flatten", "g", "f", "/head/Flatten"),
        node("MatMul", "f w5", "p", "/head/dense/MatMul"),
        node("Add", "p b5", "y", "/head/dense/Add"),
    ]
    return model(nodes, {"x": ("batch", 2, 5, 5)}, {"y": ("batch", 3)}, weights)


def served(composite: Composite, rule: str) -> list[str]:
    """The nodes that a rule serves."""
    return [row.node for row in plan(network(), "lrp", composite=composite).rows if row.rule == rule]


MARK = named("mark", "R_x = R_x", "a mark for tests")(lambda b, node, *relevance: tuple(b.gradient(node, *relevance)))


def marked(**where: Any) -> list[str]:
    """The nodes that meet a condition."""
    return served(own_composite("own", [(NodePattern(**where), MARK)]), "mark")


# -- conditions ----------------------------------------------------------------------------------------------------------

STEM, ONE, TWO, SHORTCUT, DENSE = "/stem/Conv", "/body/one/Conv", "/body/two/Conv", "/body/shortcut/Conv", "/head/dense/Add"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"operators": ("Tanh", "Flatten")}, ["/body/one/Tanh", "/head/Flatten"]),
        ({"operators": ("MatMul",)}, [DENSE]),  # the operator that a compound is built around
        ({"operators": ("onnxplain.Linear",)}, [DENSE]),
        ({"roles": ("linear",)}, [STEM, ONE, TWO, SHORTCUT, DENSE]),
        ({"roles": ("sum",)}, ["/body/Add", "/head/Pool"]),
        ({"roles": ("elementwise",), "scopes": ("body*",)}, ["/body/one/Tanh", "/body/Relu"]),
        ({"names": ("/body/*/Conv",)}, [ONE, TWO, SHORTCUT]),
        ({"names": ("*Pool", STEM)}, [STEM, "/head/Pool"]),
        ({"scopes": ("*one",)}, [ONE, "/body/one/Tanh"]),
        ({"first": True}, [STEM]),
        ({"last": True}, [DENSE]),
        ({"roles": ("linear",), "depth": (2, 2)}, [ONE, SHORTCUT]),
        ({"roles": ("linear",), "depth": (2, 3)}, [ONE, TWO, SHORTCUT]),
        ({"roles": ("linear",), "depth": (-1, -1)}, [DENSE]),
        ({"roles": ("linear",), "depth": (2, -2)}, [ONE, TWO, SHORTCUT]),
        ({"depth": (3, 3)}, [TWO, "/body/Add", "/body/Relu", "/head/Pool", "/head/Flatten"]),
        ({"depth": (9, 12)}, []),
        ({"roles": ("linear",), "first": True, "last": True}, []),
        ({"operators": ("Conv",), "names": ("*two*", "*one*"), "depth": (1, 2)}, [ONE]),
        ({"operators": ("conv",)}, []),  # names of operators are exact
    ],
)
def test_conditions(where: dict[str, Any], expected: list[str]) -> None:
    assert marked(**where) == expected


def test_places_count_from_the_models_inputs_to_the_target() -> None:
    """Explaining an inner tensor, the first layer is still that at the input; the last is the one before what is explained."""
    own = own_composite("own", [(NodePattern(first=True), lrp.flat()), (NodePattern(last=True), lrp.w_square())])
    rows = plan(network(), "lrp", composite=own, layer="t2").rows
    assert not [r.node for r in rows if r.rule == "flat"]
    assert [r.node for r in rows if r.rule == "w-square"] == [DENSE]
    rows = plan(network(), "lrp", composite=own, output="c3").rows
    assert [r.node for r in rows if r.rule == "w-square"] == [TWO]
    assert [r.node for r in rows if r.rule == "flat"] == [STEM]


def test_the_first_entry_that_matches_wins() -> None:
    own = own_composite(
        "own", [(NodePattern(names=("*one*",), roles=("linear",)), lrp.flat()), (NodePattern(operators=("Conv",)), lrp.gamma())]
    )
    assert served(own, "flat") == [ONE]
    assert served(own, "gamma") == [STEM, TWO, SHORTCUT]
    assert served(own, "epsilon") == [DENSE]


def test_a_rule_for_linear_maps_means_linear_layers() -> None:
    """Without operators or roles it serves no activation and no sum, wherever they are."""
    assert served(own_composite("own", [(NodePattern(), lrp.z_plus())]), "z-plus") == [STEM, ONE, TWO, SHORTCUT, DENSE]
    assert served(own_composite("own", [(NodePattern(depth=(2, 3)), lrp.z_plus())]), "z-plus") == [ONE, TWO, SHORTCUT]
    assert served(own_composite("own", [(NodePattern(scopes=("body*",)), lrp.z_plus())]), "z-plus") == [ONE, TWO, SHORTCUT]


def test_weightless_maps_are_passed_by() -> None:
    """A spectrogram in front: nothing to take apart, no layer; the first layer is behind it."""
    path = FIXTURES / "stft" / "model.onnx"
    rows = plan(path, "lrp-epsilon-gamma-box").rows
    (spectrum,) = (r for r in rows if r.operator == "STFT")
    assert (spectrum.rule, spectrum.reason) == ("epsilon", "trait weightless")
    assert [r.operator for r in rows if r.rule == "box"] == ["Conv"]
    everywhere = own_composite("own", [(NodePattern(), lrp.z_plus())])
    assert next(r for r in plan(path, "lrp", composite=everywhere).rows if r.operator == "STFT").rule == "epsilon"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"roles": ("linaer",)}, "no role 'linaer'; did you mean 'linear'"),
        ({"depth": (3, 1)}, r"from the lower to the higher, found \[3, 1\]"),
        ({"depth": (-1, -3)}, r"found \[-1, -3\]"),
    ],
)
def test_impossible_conditions(where: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        NodePattern(**where)


# -- plan ----------------------------------------------------------------------------------------------------------------


def test_plan_gives_every_rule_and_reason() -> None:
    rows = {r.node: r for r in plan(network(), "lrp-epsilon-plus-flat").rows}
    assert (rows[STEM].rule, rows[STEM].reason) == ("flat", "first linear layer")
    assert (rows[ONE].rule, rows[ONE].reason) == ("z-plus", "operator Conv or ConvTranspose, role linear")
    assert (rows[DENSE].rule, rows[DENSE].reason, rows[DENSE].operator) == ("epsilon", "role linear", "Add (Linear)")
    part = rows["/head/dense/MatMul"]
    assert (part.status, part.rule, part.reason) == ("part", "", f"in {DENSE}")
    assert rows["/body/one/Tanh"].rule == "pass"
    assert rows["/body/Relu"].role == "elementwise"
    assert rows["/head/Flatten"].rule == "move"
    assert all(r.rule and r.reason for r in rows.values() if r.status == "rule")


def test_rules_that_serve_no_call_are_named_each() -> None:
    """Also where two entries have the same condition and the first takes all."""
    entries = [
        (NodePattern(first=True), lrp.flat()),
        (NodePattern(first=True), lrp.w_square()),
        (NodePattern(operators=("Gelu",)), lrp_roles.stop),
        (NodePattern(names=("nowhere*",)), lrp.gamma()),
    ]
    made = plan(network(), "lrp", composite=own_composite("own", entries))
    assert made.unused == ("first linear layer", "operator Gelu", "name nowhere*")


def test_plan_on_the_command_line(tmp_path: Path) -> None:
    path, file = tmp_path / "m.onnx", tmp_path / "own.toml"
    onnx.save(network(), path)
    file.write_text('[[rule]]\nrule = "gamma"\nnames = ["/body/*"]\n[[rule]]\nrule = "stop"\noperators = ["Gelu"]\n')
    shown = CliRunner().invoke(main, ["plan", str(path), "-m", "lrp", "--option", f"composite={file}"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert "no node met the condition of your rule for: operator Gelu" in shown.output
    assert "gamma" in shown.output
    assert "name /body/*" in shown.output
    made = CliRunner().invoke(main, ["plan", str(path), "-m", "lrp", "--option", f"composite={file}", "--json"])
    about = json.loads(made.output)
    assert about["unused"] == ["operator Gelu"]
    assert {r["node"] for r in about["rows"] if r["rule"] == "gamma"} == {ONE, TWO, SHORTCUT}


# -- files ---------------------------------------------------------------------------------------------------------------


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_the_composite_it_describes(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        base = "lrp-epsilon-plus"
        [[rule]]
        rule = "box"
        first = true
        low = [-1.0, -2.0]
        high = 3
        [[rule]]
        rule = "gamma"
        gamma = 0.1
        epsilon = 1e-4
        bias = "ignore"
        operators = "Conv"
        depth = [2, -2]
        [[rule]]
        rule = "pass"
        roles = ["softmax"]
        """,
    )
    made = read_composite(path)
    assert (made.name, made.own) == ("mine", 3)
    (first, second, third), rules = [w for w, _ in made.entries[:3]], [r for _, r in made.entries[:3]]
    assert (first, second) == (NodePattern(first=True), NodePattern(operators=("Conv",), depth=(2, -2)))
    assert third == NodePattern(roles=("softmax",))
    assert (rules[1].formula, rules[1].epsilon, rules[1].bias) == (lrp.gamma(0.1).formula, 1e-4, "ignore")
    by_file = rewrite(network(), "lrp", target=1, composite=str(path))
    in_python = own_composite(
        "python",
        [
            (
                NodePattern(first=True),
                lrp.box(lambda b, x: b.expand(b.const(np.array([[[-1]], [[-2]]]), x.dtype), x), lambda b, x: b.full_like(x, 3)),
            ),
            (NodePattern(operators=("Conv",), depth=(2, -2)), lrp.gamma(0.1, 1e-4, "ignore")),
        ],
        base="lrp-epsilon-plus",
    )
    x = random(2, 2, 5, 5).astype(np.float32)
    results = [run(m, {"x": x})["x_attribution"] for m in (by_file, rewrite(network(), "lrp", target=1, composite=in_python))]
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6)
    assert read_metadata(by_file)["options"]["composite"] == str(path)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_can_be_named(rule: str, tmp_path: Path) -> None:
    made = read_composite(write(tmp_path, f'name = "all"\n[[rule]]\nrule = "{rule}"\nnames = ["none"]'))
    assert made.name == "all"
    assert plan(network(), "lrp", composite=made).unused == ("name none",)


BAD = {
    "": "expected one [[rule]] table per rule, found none",
    "x =": "is no TOML: ",
    "rule = 3": "expected one [[rule]] table per rule, found none",
    '[rule]\nrule = "flat"': "expected one [[rule]] table per rule, found none",
    'rules = 3\n[[rule]]\nrule = "flat"': "unknown key 'rules'; known: name, base, rule",
    'name = 3\n[[rule]]\nrule = "flat"': "'name' is a text, found 3",
    'base = ["a"]\n[[rule]]\nrule = "flat"': "'base' is a text, found ['a']",
    'base = "lrp-epsilom"\n[[rule]]\nrule = "flat"': "base: no method 'lrp-epsilom'; did you mean 'lrp-epsilon'",
    "[[rule]]\nfirst = true": "rule 1: expected a rule's name, found none",
    '[[rule]]\nrule = "gama"': "rule 1: expected a rule's name, found 'gama'; did you mean 'gamma'",
    '[[rule]]\nrule = ["gamma"]': "rule 1: expected a rule's name, found ['gamma']",
    '[[rule]]\nrule = "gamma"\nfactor = 3': "rule 1: 'factor' is neither a condition (operators, ",
    '[[rule]]\nrule = "pass"\nepsilon = 3': "nor a setting of 'pass' (it has none)",
    '[[rule]]\nrule = "gamma"\ngamma = "a"': "rule 1: 'gamma' is a number not below zero, found 'a'",
    '[[rule]]\nrule = "gamma"\ngamma = -1': "'gamma' is a number not below zero, found -1",
    '[[rule]]\nrule = "epsilon"\nepsilon = true': "'epsilon' is a number not below zero, found True",
    '[[rule]]\nrule = "epsilon"\nepsilon = nan': "'epsilon' is a number not below zero, found nan",
    '[[rule]]\nrule = "half"\nepsilon = inf': "'epsilon' is a number not below zero, found inf",
    '[[rule]]\nrule = "z-plus"\nbias = "keep"': "'bias' is one of absorb, ignore, distribute, found 'keep'",
    '[[rule]]\nrule = "alpha-beta"\nalpha = 3': "needs α − β = 1 to conserve relevance, found α = 3, β = 1",
    '[[rule]]\nrule = "box"\nlow = "a"': "a bound is a number, one number per channel, an array, or 'input' for run time; found 'a'",
    '[[rule]]\nrule = "box"\nlow = 2': "the box rule needs low below high, found low = 2, high = 1.0",
    '[[rule]]\nrule = "flat"\nfirst = 1': "'first' is true or false, found 1",
    '[[rule]]\nrule = "flat"\ndepth = [1]': "'depth' is two numbers of linear layers, [from, to], found [1]",
    '[[rule]]\nrule = "flat"\ndepth = [3, 2]': "a depth goes from the lower to the higher, found [3, 2]",
    '[[rule]]\nrule = "flat"\nroles = ["sums"]': "rule 1: no role 'sums'; did you mean 'sum'",
    '[[rule]]\nrule = "flat"\nnames = []': "'names' is a list of names, found []",
    '[[rule]]\nrule = "flat"\noperators = [3]': "'operators' is a list of names, found [3]",
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_wrong_with_a_file(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(MethodError) as caught:
        rewrite(network(), "lrp", composite=str(path))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"the composite {path}")
    assert BAD[text] in line


def test_all_problems_of_a_file_at_once(tmp_path: Path) -> None:
    text = """
        colour = "red"
        base = "nothing"
        [[rule]]
        rule = "gamma"
        gamma = -1
        bias = "keep"
        first = "yes"
        roles = ["sums"]
        colour = 3
        [[rule]]
        rule = "flat"
        [[rule]]
        rule = "epsilom"
        depth = 3
        """
    path = write(tmp_path, text)
    with pytest.raises(MethodError) as caught:
        read_composite(path)
    lines = [line.removeprefix(f"the composite {path}: ") for line in str(caught.value).splitlines()]
    starts = ["unknown key 'colour'", "base: no method", "rule 1: no role", "rule 1: 'first'", "rule 1: 'colour'", "rule 1: 'gamma'",
              "rule 1: 'bias'", "rule 3: expected a rule's name", "rule 3: 'depth'"]  # fmt: skip
    assert sorted(starts) == sorted(next(s for s in starts if line.startswith(s)) for line in lines)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MethodError, match=r"cannot read the composite .*none\.toml: No such file"):
        read_composite(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "caf\xe9"')
    with pytest.raises(MethodError, match=r"the composite .*latin\.toml is no TOML"):
        read_composite(tmp_path / "latin.toml")


# -- options -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("lrp-epsilon", {"eps": 1}, "method 'lrp-epsilon' has no option 'eps'; it takes bias, epsilon"),
        ("lrp-epsilon", {"epsilon": "much"}, "method 'lrp-epsilon': 'epsilon' is a number not below zero, found 'much'"),
        ("lrp-epsilon", {"epsilon": -1}, "'epsilon' is a number not below zero, found -1"),
        ("lrp-epsilon", {"epsilon": float("nan")}, "'epsilon' is a number not below zero, found nan"),
        ("attnlrp", {"bias": "none"}, "method 'attnlrp': 'bias' is one of absorb, ignore, distribute, found 'none'"),
        ("lrp-gamma", {"gamma": None}, "'gamma' is a number not below zero, found None"),
        ("lrp-alpha2-beta1", {"alpha": 2, "beta": 2}, "needs α − β = 1 to conserve relevance, found α = 2, β = 2"),
        ("deep-taylor", {"low": 0}, "takes low and high together"),
        ("lrp-epsilon-gamma-box", {"low": 1, "high": 0}, "needs low below high, found low = 1, high = 0"),
        ("lrp-epsilon-gamma-box", {"high": "much"}, "or 'input' for run time; found 'much'"),
        ("lrp", {}, "method 'lrp' needs the option composite: a TOML file or an onnxplain.Composite"),
        ("lrp", {"composite": 3}, "method 'lrp' needs the option composite"),
    ],
)
def test_options_that_do_not_fit(method: str, options: dict[str, Any], message: str) -> None:
    for call in (rewrite, plan):
        with pytest.raises(MethodError, match=message):
            call(network(), method, **options)


def test_zero_is_as_small_as_the_stabilizer() -> None:
    """LRP-0 divides by z alone where it can, and never by zero."""
    x = random(2, 2, 5, 5).astype(np.float32)
    for method in ("lrp-epsilon", "attnlrp"):
        zero, small = (run(rewrite(network(), method, target=0, epsilon=e), {"x": x})["x_attribution"] for e in (0, 1e-6))
        np.testing.assert_allclose(zero, small, rtol=1e-5, atol=1e-6)
        assert np.isfinite(run(rewrite(network(), method, target=0, epsilon=0), {"x": 0 * x})["x_attribution"]).all()


def test_options_and_composites_are_in_the_metadata() -> None:
    low = np.full((2, 5, 5), -1.5)
    about = read_metadata(rewrite(network(), "lrp-epsilon-gamma-box", low=low, high=2, gamma=np.float32(0.5)))
    assert about["options"]["low"] == "baked in"
    assert (about["options"]["high"], about["options"]["gamma"]) == (2, 0.5)
    own = own_composite("one of mine", [(NodePattern(first=True), lrp.flat())])
    assert read_metadata(rewrite(network(), "lrp", composite=own))["options"]["composite"] == "one of mine"
