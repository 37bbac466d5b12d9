"""Missing values (NaN) in models that take them, by every method, and from the shell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from onnxplain import Explainer, check
from onnxplain.cli.main import main
from onnxplain.errors import InputError
from tests.support.models import run

MENDED = {
    "imputer": "m = ai.onnx.ml.Imputer<imputed_value_floats = [0.5, -1.0, 2.0, 1.0]>(x)",
    "where": "n = IsNaN(x) m = Where(n, c, x)",
    "behind functions": "s = Sub(x, c) q = Div(s, d) e = Exp(q) n = IsNaN(e) m = Where(n, c, e)",
    "with an indicator": "n = IsNaN(x) i = Cast<to = 1>(n) k = Mul(i, d) f = Where(n, c, x) m = Add(f, k)",
}
BASELINE = np.array([[0.5, 0.25, -0.5, 1.0]], np.float32)
X = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32) / 2
X[1, 2] = X[2] = X[3, [0, 3]] = np.nan


def network(mending: str) -> onnx.ModelProto:
    """A perceptron behind what mends missing values."""
    made = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 18, "ai.onnx.ml" : 3]>
        g (float[N,4] x) => (float[N,2] y)
        <float[4] c = {{0.5, -1.0, 2.0, 1.0}}, float d = {{1.5}}, float[3,2] v = {{1.0, -1.0, 2.0, 1.0, 0.5, 1.0}},
         float[4,3] w = {{0.1, 0.2, 0.3, 0.4, -0.5, 0.6, -0.7, 0.8, -0.1, 0.2, 0.3, -0.1}}>
        {{ {MENDED[mending]} h = MatMul(m, w) t = Tanh(h) y = MatMul(t, v) }}""")
    for node in made.graph.node:
        if node.op_type == "Imputer":  # the parser knows no NaN
            node.attribute.append(onnx.helper.make_attribute("replaced_value_float", float("nan")))
    return made


def scores(made: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return np.asarray(run(made, {"x": x.astype(np.float32)})["y"][:, 1], np.float64)


GRADIENTS = ("gradient", "saliency", "guided-backprop", "input-x-gradient", "lrp-epsilon", "lrp-epsilon-plus", "attnlrp")
SUMS: dict[str, dict[str, Any]] = {
    "integrated-gradients": {"baseline": BASELINE},
    "path-integrated-gradients": {"path": np.stack([BASELINE, BASELINE + 1])},
    "deeplift": {"baseline": BASELINE},
    "deeplift-shap": {"baseline": BASELINE},
}
OTHERS: dict[str, dict[str, Any]] = {
    "expected-gradients": {"baseline": BASELINE},
    "gradient-shap": {"baseline": BASELINE},
    "smoothgrad": {},
    "vargrad": {},
    "conductance": {"baseline": BASELINE, "layer": "t"},
    "kernel-shap": {"baseline": BASELINE},
    "exact-shapley": {"baseline": BASELINE},
    "occlusion": {"baseline": BASELINE},
    "lime": {"baseline": BASELINE},
    "permutation": {},
}


@pytest.mark.parametrize("mending", MENDED)
@pytest.mark.parametrize("method", ["gradient", "integrated-gradients", "deeplift", "lrp-epsilon", "smoothgrad"])
def test_numbers_are_explained_as_if_nothing_were_missing(mending: str, method: str) -> None:
    """The rows without NaN give what they give alone, and the prediction is the model's."""
    settings = {**SUMS, **OTHERS}.get(method, {})
    made = Explainer(network(mending), method, **settings)
    found, alone = made(X, 1), made(X[:1], 1)
    np.testing.assert_allclose(found.attribution[:1], alone.attribution, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.outputs["y"], run(network(mending), {"x": X})["y"], rtol=1e-6)


@pytest.mark.parametrize("mending", MENDED)
def test_gradient_against_finite_differences(mending: str) -> None:
    """What is missing cannot be changed a little: its derivative is 0."""
    made, step = network(mending), 1e-2
    found = Explainer(made, "gradient")(X, 1).attribution
    for place in range(4):
        moved = np.eye(4)[place] * step
        expected = (scores(made, X + moved) - scores(made, X - moved)) / (2 * step)
        np.testing.assert_allclose(found[:, place], np.where(np.isnan(X[:, place]), 0, expected), atol=1e-3)


@pytest.mark.parametrize("mending", MENDED)
@pytest.mark.parametrize("method", SUMS)
def test_sums_are_the_change_from_a_baseline_with_the_same_values_missing(mending: str, method: str) -> None:
    made = network(mending)
    found = Explainer(made, method, **SUMS[method])(X, 1)
    change = scores(made, X) - scores(made, np.where(np.isnan(X), X, BASELINE))
    np.testing.assert_array_equal(found.attribution[np.isnan(X)], 0)
    np.testing.assert_allclose(found.attribution.sum(1), change, atol=1e-4)
    assert found.delta is not None
    np.testing.assert_allclose(found.delta, 0, atol=1e-4)


@pytest.mark.parametrize("mending", MENDED)
@pytest.mark.parametrize("method", [*GRADIENTS, *OTHERS])
def test_every_method_gives_numbers(mending: str, method: str) -> None:
    found = Explainer(network(mending), method, progress=False, **OTHERS.get(method, {}))(X, 1)
    assert np.isfinite(found.attribution).all()
    assert (found.attribution[0] != 0).any()


def test_a_model_that_takes_none_says_so() -> None:
    made = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]> g (float[N,4] x) => (float[N,4] y) { y = Tanh(x) }')
    with pytest.raises(InputError, match=r"input 'x' holds nan at \[1, 2\], and the prediction is NaN too; .*: fill in what is"):
        Explainer(made, "gradient")(X, 1)
    with pytest.raises(InputError, match=r"holds inf at \[0, 0\]"):
        Explainer(network("where"), "gradient")(np.full((1, 4), np.inf, np.float32), 1)


@pytest.mark.parametrize("method", ["gradient", "integrated-gradients", "kernel-shap"])
def test_from_the_shell(method: str, tmp_path: Path) -> None:
    """Empty cells and NA are missing values."""
    onnx.save(network("where"), tmp_path / "m.onnx")
    (tmp_path / "x.csv").write_text("age,income,height,weight\n0.1,0.2,,0.4\nNA,0.1,0.2,0.3\n")
    given = ["--baseline", "0.0"] if method != "gradient" else []
    files = [str(tmp_path / "m.onnx"), str(tmp_path / "x.csv"), "-t", "1", "-o", str(tmp_path / "a.npz")]
    done = CliRunner().invoke(main, ["explain", *files, "-m", method, *given])
    assert done.exit_code == 0, done.output
    x = np.array([[0.1, 0.2, np.nan, 0.4], [np.nan, 0.1, 0.2, 0.3]], np.float32)
    settings = {"baseline": 0.0} if given else {}
    expected = Explainer(network("where"), method, progress=False, **settings)(x, 1).attribution
    with np.load(tmp_path / "a.npz") as saved:
        np.testing.assert_allclose(saved["x_attribution"] if "x_attribution" in saved else saved["x"], expected, rtol=1e-5)


@pytest.mark.parametrize("mending", MENDED)
@pytest.mark.parametrize("method", ["gradient", "integrated-gradients", "deeplift", "lrp-epsilon"])
def test_check_takes_them(mending: str, method: str) -> None:
    """Differences of the original model, completeness and conservation hold with values missing."""
    settings = {} if method in GRADIENTS else {"baseline": BASELINE}
    report = check(network(mending), method, X, **settings)
    assert all(finding.ok is not False for finding in report.findings), report
