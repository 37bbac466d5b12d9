"""What the standard does not have is refused at the line that writes it, with the nearest name or the right number."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from onnxplain import Builder
from onnxplain.errors import RuleError
from onnxplain.ir.graph import Graph
from onnxplain.ir.tensor import Tensor
from tests.support.models import model, node


def builder(opset: int = 18) -> tuple[Builder, Tensor]:
    graph = Graph(model([node("Relu", "x", "y")], {"x": ["n", 3]}, {"y": ["n", 3]}, opset=opset))
    return Builder(graph), graph.inputs[0]


REFUSED: dict[str, tuple[Callable[[Builder, Tensor], object], str]] = {
    "operator": (lambda b, x: b.Coss(x), "there is no operator 'Coss' in opset 18; did you mean 'Cos'"),
    "operator of a later opset": (lambda b, x: b.RMSNormalization(x, x), "there is no operator 'RMSNormalization' in opset 18"),
    "attribute": (lambda b, x: b.Softmax(x, axes=1), "Softmax has no attribute 'axes' in opset 18; did you mean 'axis'?"),
    "attribute where there are none": (
        lambda b, x: b.Mul(x, x, axis=1),
        "Mul has no attribute 'axis' in opset 18; there are none",
    ),
    "attribute that became an input": (lambda b, x: b.ReduceSum(x, axes=[1]), "ReduceSum has no attribute 'axes' in opset 18"),
    "too many inputs": (lambda b, x: b.Cos(x, x), "Cos takes 1 input in opset 18, found 2"),
    "too few inputs": (lambda b, x: b.Mul(x), "Mul takes 2 inputs in opset 18; input 1 is left out"),
    "too few of some": (lambda b, x: b.Gather(x), "Gather takes 2 inputs in opset 18; input 1 is left out"),
    "a hole": (lambda b, x: b.Slice(x, None, [1]), "Slice takes 3 to 5 inputs in opset 18; input 1 is left out"),
    "none of any number": (lambda b, x: b.Concat(axis=0), "Concat takes 1 or more inputs in opset 18; input 0 is left out"),
    "too many outputs": (lambda b, x: b.TopK(x, [1], outputs=3), "TopK has at most 2 outputs in opset 18; 3 are asked for"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_misuse_is_refused(case: str) -> None:
    write, said = REFUSED[case]
    with pytest.raises(RuleError, match=re.escape(said)):
        write(*builder())


def test_what_fits_is_taken() -> None:
    b, x = builder()
    b.Clip(x, None, 1)
    b.Clip(x, 0, None, None)  # what is left out at the end is no input
    b.Concat(*[x] * 40, axis=0)
    assert b.Split(x, num_outputs=3, axis=1, outputs=3)[2].shape == ("n", 1)
    assert builder(23)[0].RMSNormalization(x, b.const([1.0, 1.0, 1.0])).shape == ("n", 3)


def test_other_domains_have_no_schema() -> None:
    b, x = builder()
    made = b.op("Anything", x, None, x, domain="my.own", outputs=2, of="any kind")
    assert [t.shape for t in made] == [None, None]
