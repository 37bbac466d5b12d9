"""An Explainer in a pickle, a deep copy, and another process: the same explanations and the same explained file."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import Explainer, plan
from onnxplain.io.reader import read
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits" / "model.onnx"
METHODS: dict[str, dict[str, Any]] = {
    "gradient": {},
    "integrated-gradients": {"steps": 5},
    "lrp-epsilon-plus": {"labels": list("abcdefghij")},
    "occlusion": {"baseline": 0.0},
}


def image() -> np.ndarray:
    return np.load(FIXTURES / "digits" / "digit_3.npy").reshape(1, 1, 8, 8)


@pytest.mark.parametrize("method", METHODS)
def test_a_pickle_explains_the_same(method: str) -> None:
    first = Explainer(DIGITS, method, progress=False, **METHODS[method])
    given = {"baseline": 0.5} if method == "integrated-gradients" else {}
    expected = first(image(), **given)
    for other in (pickle.loads(pickle.dumps(first)), copy.deepcopy(first)):
        found = other(image(), **given)
        np.testing.assert_array_equal(found.attribution, expected.attribution)
        assert found.label(0) == expected.label(0)
        assert other.about == first.about
        if method != "occlusion":
            assert other.model.SerializeToString(deterministic=True) == first.model.SerializeToString(deterministic=True)


def test_a_copy_is_one_of_its_own() -> None:
    first = Explainer(DIGITS, "gradient")
    other = copy.deepcopy(first)
    other.labels.append("zero")
    assert not first.labels
    assert other.model is not first.model


def test_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "explainer.pickle"
    path.write_bytes(pickle.dumps(Explainer(DIGITS, "gradient")))
    np.save(tmp_path / "x.npy", image())
    program = (
        "import pickle, sys, numpy; e = pickle.load(open(sys.argv[1], 'rb')); numpy.save(sys.argv[3], e(numpy.load(sys.argv[2])))"
    )
    subprocess.run([sys.executable, "-c", program, str(path), str(tmp_path / "x.npy"), str(tmp_path / "a.npy")], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), Explainer(DIGITS, "gradient")(image()).attribution)


def test_rules_of_ones_own_come_along(tmp_path: Path) -> None:
    """A pickle names their folders."""
    (tmp_path / "bend.py").write_text(
        "from onnxplain import rule\n\n\n@rule('Bend', domain='my.domain', role='function')\ndef bend(b, node, dy):\n    return dy\n"
    )
    first = Explainer(DIGITS, "gradient", rules=tmp_path)
    other = pickle.loads(pickle.dumps(first))
    assert other._request.registry is first._request.registry
    bent = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18, "my.domain" : 1]> g (float[n,3] x) => (float[n,3] y) { y = my.domain.Bend(x) }'
    )
    assert not plan(bent, rules=tmp_path).missing


def test_weights_left_in_a_large_file_come_along(tmp_path: Path) -> None:
    w = np.random.default_rng(0).standard_normal((3000, 3000)).astype(np.float32)
    made = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[n,3000] x) => (float[n,3000] y) { y = MatMul(x, w) }'
    )
    made.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
    onnx.save(made, tmp_path / "m.onnx")
    held = read(tmp_path / "m.onnx", hold=True)
    assert held.lazy_weights is not None
    other = pickle.loads(pickle.dumps(held))
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(other.model.graph.initializer[0]), w)
    assert other.sha256 == held.sha256


def test_no_weight_is_held_twice() -> None:
    """Neither before its first run, when the original is still to be compared with, nor after."""
    weight = np.random.default_rng(0).standard_normal((400, 400)).astype(np.float32)
    made = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[n,400] x) => (float[n,400] y) { y = MatMul(x, w) }'
    )
    made.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    explainer = Explainer(made, "gradient")
    x = np.ones((1, 400), np.float32)
    for _ in range(2):
        stored = pickle.dumps(explainer)
        assert stored.count(weight[0].tobytes()) == 1
        np.testing.assert_array_equal(pickle.loads(stored)(x).attribution, explainer(x).attribution)


def test_explanations_and_joblib(tmp_path: Path) -> None:
    import joblib

    explainer = Explainer(DIGITS, "lrp-epsilon", labels=list("abcdefghij"))
    joblib.dump({"explainer": explainer, "explanation": explainer(image())}, tmp_path / "both")
    found = joblib.load(tmp_path / "both")
    np.testing.assert_array_equal(found["explainer"](image()).attribution, found["explanation"].attribution)
    assert found["explanation"].label(0) == "d"


@pytest.mark.slow
def test_in_processes_of_joblib() -> None:
    import joblib

    explainer = Explainer(DIGITS, "lrp-epsilon")
    parts = joblib.Parallel(n_jobs=2)(joblib.delayed(explainer)(image() * scale) for scale in (1, 2))
    for part, scale in zip(parts, (1, 2), strict=True):
        np.testing.assert_array_equal(part.attribution, explainer(image() * scale).attribution)
