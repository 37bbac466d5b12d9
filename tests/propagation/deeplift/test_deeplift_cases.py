"""Every DeepLIFT rule, over ONNX's own backend cases and those of own_cases.py: what each node hands on adds up, or it
refuses."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np
import pytest

from onnxplain.errors import RuleError, UnsupportedOperatorError
from tests.rules.test_gradients import LOOSE
from tests.support.multipliers import multipliers
from tests.support.onnx_cases import Case, cases

NO_NUMBER: dict[str, str] = {
    "*_empty_set*": "maxima and logarithms of nothing are infinite",
    "Cast*": "operands that are infinite or no number",
    "Mod-mod_float_edge_cases_*": "operands that are infinite or no number",
    "Imputer-own_imputer_nan-*": "operands that are no number",
    "LogSoftmax-logsoftmax_large_number-*": "the reference evaluator gives −∞ for numbers far below",
    "LogSoftmax-own_logsoftmax_far-*": "the reference evaluator gives −∞ for numbers far below",
    "TreeEnsemble-*_set_membership-*": "operands that are no number",
    "Attention-*_neginf_mask*": "a mask of −∞ is varied",
    "Attention-*_qk_matmul_bias_?d_mask_causal-*": "an output is −∞",
    "*bernoulli*": "drawn at random",
    "*-gradient_of_*": "the reference evaluator has no Gradient",
    "Scan-scan_sum-*": "the reference evaluator cannot run Scan of opset 8",
    "Dropout-training_dropout*": "refused: dropout in training mode",
    "MaxRoiPool-own_max_roi_pool*": "its second operand are regions: rolled they name samples that do not exist",
}
"""Cases without a number to compare with, by pattern, and why."""

STEPS: dict[str, str] = {
    "Binarizer-*": "a step",
    "TreeEnsemble-*": "steps",
    "Ceil-*": "a step",
    "Floor-*": "a step",
    "Round-*": "a step",
    "Sign-*": "a step",
    "Hardmax-*": "a step",
}
"""Cases where steps, which have no multiplier, change the result: by pattern. `delta` reports what they do."""


def rolled(value: np.ndarray) -> np.ndarray:
    """The elements moved on by one: other values from the same range."""
    return np.roll(np.ravel(value), 1).reshape(np.shape(value))


def chosen() -> list[tuple[Case, tuple[str, ...]]]:
    """Cases with symbolic extents, each with its first operand varied and with all of them. Those that the standard writes in
    smaller operators are left out: their bodies are cases of their own, and Attention's are many."""
    found = [
        c for c in cases() if c.form == "symbolic" and "_expanded" not in c.id and not c.id.startswith("Attention-attention_3d")
    ]
    return [(c, varied) for c in found for varied in dict.fromkeys((c.varied[:1], c.varied))]


@pytest.mark.parametrize(("case", "varied"), [pytest.param(c, v, id=f"{c.id}-{len(v)}") for c, v in chosen()])
def test_summation_to_delta(case: Case, varied: tuple[str, ...]) -> None:
    known = next((why for pattern, why in (NO_NUMBER | STEPS).items() if fnmatchcase(case.id, pattern)), None)
    if known is not None:
        pytest.skip(known)
    inputs = {k: np.asarray(v, float) if k in case.varied else v for k, v in case.inputs.items()}
    try:
        made = multipliers(case.model, inputs, {n: rolled(inputs[n]) for n in varied}, case.targets)
    except (RuleError, UnsupportedOperatorError) as error:
        pytest.skip(f"refused: {str(error).splitlines()[0]}")
    assert all(np.isfinite(v).all() for v in made.values.values())
    assert made.gap < next((t for pattern, (t, _) in LOOSE.items() if fnmatchcase(case.id, pattern)), 1e-9)
