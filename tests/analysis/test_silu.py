"""SiLU written out is one node for gradients, in either order and with a scale; its gradient is that of its operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxplain import plan, rewrite
from tests.support.models import model, node, run

X = np.linspace(-6, 6, 25, dtype=np.float32).reshape(1, 25)


def operators(made: Any) -> list[str]:
    return [row.operator for row in plan(made, "gradient").rows]


@pytest.mark.parametrize("order", ["x s", "s x"])
@pytest.mark.parametrize("scale", [1.0, 1.702, -0.5])
def test_gradient(order: str, scale: float) -> None:
    inner = [node("Mul", "x a", "m")] if scale != 1.0 else []
    nodes = [*inner, node("Sigmoid", "m" if inner else "x", "s"), node("Mul", order, "y")]
    made = model(nodes, {"x": ["n", 25]}, {"y": ["n", 25]}, {"a": np.float32(scale)} if inner else {})
    found = run(rewrite(made, target="cotangent"), {"x": X, "seed": np.ones_like(X)})["x_attribution"]
    x, h = X.astype(np.float64), 1e-6
    wanted = ((x + h) / (1 + np.exp(-scale * (x + h))) - (x - h) / (1 + np.exp(-scale * (x - h)))) / (2 * h)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    assert operators(made).count("Mul (Silu)") == 1


def test_a_product_with_the_gate_of_another_is_none() -> None:
    made = model([node("Sigmoid", "z", "s"), node("Mul", "x s", "y")], {"x": ["n", 25], "z": ["n", 25]}, {"y": ["n", 25]})
    assert "Mul (Silu)" not in operators(made)
