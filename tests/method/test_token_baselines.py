"""Baselines of tokens: integers go through the same look-up as the input, and a number alone says which of two things it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from onnxplain import Explainer, rewrite
from onnxplain.cli.main import main
from onnxplain.errors import InputError
from onnxplain.verification.verify import verify
from tests.support.models import run

RANDOM = np.random.default_rng(0)
TABLE = RANDOM.standard_normal((30, 4)).astype(np.float32)
OTHER = RANDOM.standard_normal((30, 4)).astype(np.float32)
WEIGHT = (RANDOM.standard_normal((12, 3)) / 3).astype(np.float32)
LAYERS = {
    "table": "e = Gather(table, t)",
    "dequantized": "k = Cast<to = 7>(t) e = Gather(table, k)",
    "one-hot": "u = Unsqueeze(t, last) q = Equal(u, range) o = Cast<to = 1>(q) e = MatMul(o, table)",
    "two tables": "a = Gather(table, t) c = Gather(other, t) e = Add(a, c)",
}


def network(layer: str = "table", function: str = "h = Tanh(m)") -> onnx.ModelProto:
    made = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g (int64[n,3] t) => (float[n,3] y) <int64[1] last = {{-1}}> '
        f"{{ {LAYERS[layer]} f = Flatten(e) m = MatMul(f, w) {function} y = Identity(h) }}"
    )
    weights = {"table": TABLE, "other": OTHER, "w": WEIGHT, "range": np.arange(30)}
    read = {name for node in made.graph.node for name in node.input}
    made.graph.initializer.extend(onnx.numpy_helper.from_array(v, k) for k, v in weights.items() if k in read)
    return made


T = np.array([[1, 4, 7], [3, 2, 2]])
PAD = np.array([[0, 0, 5]])
SINGLE: dict[str, dict[str, Any]] = {"integrated-gradients": {}, "deeplift": {}, "taylor": {}}
SEVERAL: dict[str, dict[str, Any]] = {"expected-gradients": {"samples": 6}, "deeplift-shap": {}}


@pytest.mark.parametrize("method", SINGLE)
@pytest.mark.parametrize("when", ["set up", "with the batch"])
@pytest.mark.parametrize("named", [False, True])
def test_tokens_are_their_rows(method: str, when: str, named: bool) -> None:
    """What Captum's LayerIntegratedGradients takes: the same numbers as with the rows of the table in place of the tokens."""
    tokens, rows = ({"t": b} if named else b for b in (PAD, TABLE[PAD]))
    if when == "set up":
        found, expected = (Explainer(network(), method, baseline=b)(T, 1) for b in (tokens, rows))
    else:
        found, expected = (Explainer(network(), method)(T, 1, baseline=b) for b in (tokens, rows))
    assert found.attribution.shape == (2, 3, 4)
    np.testing.assert_allclose(found.attribution, expected.attribution, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("layer", ["table", "one-hot", "two tables"])
def test_of_a_linear_model_the_shares_are_known(layer: str) -> None:
    """(e − e₀) · w for every row of every table, summed over what it consists of."""
    made = Explainer(network(layer, "h = Identity(m)"), "integrated-gradients", baseline=PAD)(T, 1)
    total = sum(a.sum(-1) for a in made.attributions.values())
    table = TABLE + OTHER if layer == "two tables" else TABLE
    expected = ((table[T] - table[PAD]) * WEIGHT[:, 1].reshape(3, 4)).sum(-1)
    np.testing.assert_allclose(total, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(made.delta, 0, atol=1e-5)


@pytest.mark.parametrize("method", SEVERAL)
@pytest.mark.parametrize("when", ["set up", "with the batch"])
def test_several_baselines(method: str, when: str) -> None:
    tokens = RANDOM.integers(0, 30, (5, 3))
    if when == "set up":
        found, expected = (Explainer(network(), method, baseline=b, **SEVERAL[method])(T, 1) for b in (tokens, TABLE[tokens]))
    else:
        found, expected = (Explainer(network(), method, **SEVERAL[method])(T, 1, baseline=b) for b in (tokens, TABLE[tokens]))
    np.testing.assert_allclose(found.attribution, expected.attribution, rtol=1e-5, atol=1e-6)


def test_lines_from_several_baselines() -> None:
    tokens = RANDOM.integers(0, 30, (4, 1, 3))
    found, expected = (Explainer(network(), "integrated-gradients", baseline=b)(T, 1) for b in (tokens, TABLE[tokens]))
    np.testing.assert_allclose(found.attribution, expected.attribution, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", ["e", "h"])
def test_at_a_layer(layer: str) -> None:
    """The layer is what it is for those tokens."""
    found = Explainer(network(), "integrated-gradients", layer=layer, baseline=PAD)(T, 1)
    later = Explainer(network(), "integrated-gradients", layer=layer)(T, 1, baseline=PAD)
    change = found.outputs["y"][:, 1] - run(network(), {"t": PAD})["y"][:, 1]
    np.testing.assert_allclose(found.attribution.reshape(2, -1).sum(1), change, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(later.attribution, found.attribution, rtol=1e-6, atol=1e-7)


def test_a_host_gives_tokens() -> None:
    made = rewrite(network(), "integrated-gradients", baseline="ids", target=1)
    (given,) = [i for i in made.graph.input if i.name != "t"]
    assert given.type.tensor_type.elem_type == onnx.TensorProto.INT64
    found = run(made, {"t": T, given.name: PAD})["t_attribution"]
    expected = Explainer(network(), "integrated-gradients", baseline=PAD)(T, 1).attribution
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    report = verify(made, x=T)
    assert all(finding.ok is not False for finding in report.findings), report


@pytest.mark.parametrize("when", ["set up", "with the batch"])
def test_a_whole_number_alone_says_neither(when: str) -> None:
    """Token 0, or zeros in place of rows: 0.0 says the one, [[0]] the other."""
    says = r"the baseline 0 of 't' may be an integer to look up, .*: give an array of integers, as \[\[0\]\], .* and 0\.0 for the other"

    def explained(given: Any) -> np.ndarray:
        settings, more = ({"baseline": given}, {}) if when == "set up" else ({}, {"baseline": given})
        return Explainer(network(), "integrated-gradients", **settings)(T, 1, **more).attribution

    for given in (0, np.int64(0), np.array(0)):
        with pytest.raises(InputError, match=says):
            explained(given)
    for given, rows in ((0.0, np.zeros(4, np.float32)), ([[7]], TABLE[7])):
        found = explained(given)
        expected = Explainer(network(), "integrated-gradients", baseline=rows)(T, 1).attribution
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(InputError, match=r"the baseline of shape \[4\] does not broadcast to 't' \[n, 3\]"):
        Explainer(network(), "integrated-gradients", baseline=np.zeros(4, int))
    with pytest.raises(InputError, match=r"the baseline of shape \[1, 4\] does not broadcast to 't' \[1, 3\]"):
        Explainer(network(), "integrated-gradients")(T, 1, baseline=np.zeros((1, 4), int))
    floats = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[n,3] x) => (float[n,3] y) { y = Tanh(x) }'
    )
    with pytest.raises(InputError, match="baseline 'ids' is for inputs of integers, and 'x' is none"):
        rewrite(floats, "integrated-gradients", baseline="ids")


def test_from_the_shell(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "m.onnx")
    np.save(tmp_path / "t.npy", T)
    np.save(tmp_path / "pad.npy", PAD)
    files = ["explain", str(tmp_path / "m.onnx"), str(tmp_path / "t.npy"), "-m", "integrated-gradients", "-t", "1"]
    refused = CliRunner().invoke(main, [*files, "--baseline", "0", "-o", str(tmp_path / "a.npz")])
    assert refused.exit_code == 2
    assert "may be an integer to look up" in refused.output
    done = CliRunner().invoke(main, [*files, "--baseline", str(tmp_path / "pad.npy"), "-o", str(tmp_path / "a.npz")])
    assert done.exit_code == 0, done.output
    expected = Explainer(network(), "integrated-gradients", baseline=PAD)(T, 1).attribution
    with np.load(tmp_path / "a.npz") as saved:
        name = next(n for n in saved if saved[n].shape == expected.shape)
        np.testing.assert_allclose(saved[name], expected, rtol=1e-6, atol=1e-7)
