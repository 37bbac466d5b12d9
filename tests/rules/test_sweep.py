"""Three entries of the architecture sweep, benchmarks/sweep.py, through the same functions."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

MISSING = [name for name in ("torch", "onnxscript", "timm", "transformers") if find_spec(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"the sweep needs {', '.join(MISSING)}, which is not installed here"),
]


@pytest.mark.parametrize("name", ["resnet18", "bert", "llama"])
def test_explains_an_exported_architecture(name: str) -> None:
    """The explanation equals autograd's gradient in float64, to 1e-4 of the largest."""
    from benchmarks import sweep

    row = sweep.measure_apart(name)
    assert not row.problem
    assert row.error is not None
    assert row.error <= sweep.AIM
    assert 0 < row.before < row.after
