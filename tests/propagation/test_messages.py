"""Messages of a user's rule that cannot be right are refused, with the rule, the node, what was expected and what was found."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxplain import Explainer, RuleError, rewrite
from tests.support.models import model, node

HEAD = "from onnxplain import *\nimport numpy as np\n"

REFUSED = {
    "an extent of 1 for 3": (
        "return b.ReduceSum(dy, [1], keepdims=1)",
        "the message for input 0 ('x') has the shape [n, 1], expected [n, 3]",
    ),
    "a wrong rank": (
        "return b.ReduceSum(dy, [1], keepdims=0)",
        "the message for input 0 ('x') has the shape [n], expected [n, 3]",
    ),
    "a rank too many": (
        "return b.Unsqueeze(dy, [0])",
        "the message for input 0 ('x') has the shape [1, n, 3], expected [n, 3]",
    ),
    "too long an axis": (
        "return b.Concat(dy, dy, axis=1)",
        "the message for input 0 ('x') has the shape [n, 6], expected [n, 3]",
    ),
    "a wrong type": ("return b.Greater(dy, 0)", "the message for input 0 ('x') has the type bool, expected float32"),
    "whole numbers": ("return b.Cast(dy, to=7)", "the message for input 0 ('x') has the type int64, expected float32"),
    "too many": ("return dy, dy", "2 messages for a node with 1 input"),
    "no tensor": ("return 0.5", "the message for input 0 ('x') is of the class float, expected a tensor or None"),
    "an unknown operator": ("return b.Mul(dy, b.Coss(call.x))", "there is no operator 'Coss' in opset 18; did you mean 'Cos'"),
    "a misspelt attribute": ("return b.Softmax(dy, axes=1)", "Softmax has no attribute 'axes' in opset 18; did you mean 'axis'?"),
    "a surplus input": ("return b.Mul(dy, b.Cos(call.x, call.x))", "Cos takes 1 input in opset 18, found 2"),
    "axes that are not there": ("return b.Transpose(dy, perm=[0, 2, 1])", "Transpose does not fit inputs of shape [n, 3]"),
}


def sine() -> onnx.ModelProto:
    return model([node("Sin", "x", "y", name="s")], {"x": ["n", 3]}, {"y": ["n", 3]})


def rule(folder: Path, body: str, said: str = "") -> Path:
    (folder / "mine.py").write_text(f'{HEAD}\n@rule("Sin", role="elementwise"{said})\ndef of_sine(b, call, dy):\n    {body}\n')
    return folder


@pytest.mark.parametrize("case", REFUSED)
def test_messages_that_cannot_be_right(case: str, tmp_path: Path) -> None:
    body, said = REFUSED[case]
    with pytest.raises(RuleError, match=re.escape(f"Sin 's', rule 'of_sine': {said}")):
        rewrite(sine(), rules=rule(tmp_path, body), target=1)


@pytest.mark.parametrize("said", ["", ", broadcasts=True"])
def test_a_right_message_passes(tmp_path: Path, said: str) -> None:
    own = rule(tmp_path, "return b.Mul(dy, b.Cos(call.x)), None", said)  # None for an input that this node does not have
    x = np.array([[1, 2, 3], [0, 0.5, 1]], np.float32)
    explanation = Explainer(sine(), rules=own)(x, 1)
    np.testing.assert_allclose(explanation.attribution, np.cos(x) * [0, 1, 0], atol=1e-6)


def test_a_message_that_is_to_be_summed_has_the_output_s_shape(tmp_path: Path) -> None:
    own = tmp_path / "mine.py"
    own.write_text(
        f'{HEAD}\n@rule("Add", role="sum", broadcasts=True)\ndef of_sum(b, call, dy):\n    return b.ReduceSum(dy, [1], keepdims=0), dy\n'
    )
    made = model([node("Add", "x w", "y", name="a")], {"x": ["n", 3]}, {"y": ["n", 3]}, {"w": np.ones((1, 3), np.float32)})
    with pytest.raises(
        RuleError, match=r"Add 'a', rule 'of_sum': the message for input 0 \('x'\) has the shape \[n\], expected \[n, 3\]"
    ):
        rewrite(made, rules=tmp_path, target=1)
