"""Relevance agrees with Zennit, Captum, LXT and independent oracles, from the files of two exporters."""

from __future__ import annotations

import numpy as np
import pytest

from onnxplain import Explainer
from tests.support.lrp_cases import BIAS, FIXTURES, Case, about, arrays, cases, name, tolerance

NOT_MEANT = {("lrp_mlp", "epsilon-gamma-box"): "Zennit gives box and gamma to convolutions alone, we to the first linear layer"}
CASES = [c for c in cases() if (c.fixture, c.key) not in NOT_MEANT]
BARE = cases(dict.fromkeys(("lrp_mlp", "lrp_vgg", "lrp_resnet", "lrp_cnn1d"), BIAS))


def relevance(case: Case) -> np.ndarray:
    """What onnxplain gives."""
    path = FIXTURES / case.fixture / f"{case.file}.onnx"
    explainer = Explainer(path, case.method, layer=case.layer, output=about(case.fixture)["output"], **case.options)
    target = arrays(case.fixture, "reference")["target"]
    return explainer(arrays(case.fixture, "data"), target=target).attribution


@pytest.mark.parametrize("case", CASES + BARE, ids=name)
def test_relevance_is_the_reference(case: Case) -> None:
    expected = arrays(case.fixture, "relevance")[case.key]
    assert np.abs(relevance(case) - expected).max() <= tolerance(case) * np.abs(expected).max()
