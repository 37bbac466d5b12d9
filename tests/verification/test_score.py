"""check finds a logit that is not the one behind the prediction, which no prediction shows."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxplain import check
from onnxplain.ir.markers import LOGITS
from onnxplain.passes import PREPARATION
from tests.support.models import node

HEAD = '<ir_version: 8, opset_import: ["" : 18, "ai.onnx.ml" : 3]>g '
WEIGHTS = "<float[3, 4] w = {1, -2, 0.5, 1, 0.3, 1, 2, -1, 1, 1, -1, 0.2}>"
X = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
BEHIND = {
    "softmax": "p = Softmax (z)  y = Identity (p)",
    "softmax and cast": "p = Softmax (z)  q = Cast <to = 11> (p)  y = Cast <to = 1> (q)",
    "sigmoid and reshape": "p = Sigmoid (z)  q = Reshape (p, last)  y = Reshape (q, last)",
    "log-softmax": "y = LogSoftmax (z)",
}


def model(behind: str) -> onnx.ModelProto:
    weights = WEIGHTS.replace(">", ", int64[2] last = {-1, 4}>")
    return onnx.parser.parse_model(f"{HEAD}(float[n, 3] x) => (float[n, 4] y) {weights} {{ z = MatMul (x, w)  {behind} }}")


@pytest.mark.parametrize("behind", BEHIND)
def test_the_activation_of_the_logit_is_the_prediction(behind: str) -> None:
    found = {f.name: f for f in check(model(BEHIND[behind]), x=X, progress=False).findings}
    assert found["logit of the prediction"].ok, found


def test_another_logit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that takes the logit from elsewhere: the prediction is right, and nothing else would tell."""
    right = PREPARATION["final-logits"]

    def wrong(made: onnx.ModelProto) -> bool:
        changed = right(made)
        nodes = []
        for n in made.graph.node:
            nodes.append(n)
            if n.output[0] == f"y{LOGITS}":
                name, n.output[0] = n.output[0], f"{n.output[0]}_right"
                nodes.append(node("Neg", f"{name}_right", name, f"{name}_wrong"))
        del made.graph.node[:]
        made.graph.node.extend(nodes)
        return changed

    monkeypatch.setitem(PREPARATION, "final-logits", wrong)  # type: ignore[arg-type]
    found = {f.name: f for f in check(model(BEHIND["softmax and cast"]), x=X, progress=False).findings}
    assert found["prediction"].ok
    assert found["logit of the prediction"].ok is False
