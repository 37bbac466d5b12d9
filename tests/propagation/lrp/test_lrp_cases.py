"""The table of reference relevance fits what lies in the fixtures."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.support.lrp_cases import BIAS, FIXTURES, TABLE, about, arrays, cases


def test_every_fixture_with_relevance_is_in_the_table() -> None:
    assert {path.parent.name for path in FIXTURES.glob("lrp_*/relevance.npz")} == set(TABLE)


@pytest.mark.parametrize("fixture", TABLE)
def test_arrays_and_inner_tensors_exist(fixture: str) -> None:
    relevance, shapes = arrays(fixture, "relevance"), {x.shape for x in arrays(fixture, "data").values()}
    assert set(relevance) == set(about(fixture)["relevance"]["arrays"])
    for case in cases({fixture: TABLE[fixture]}):
        assert case.key in relevance
        assert np.isfinite(relevance[case.key]).all()
        if case.layer is None:
            assert relevance[case.key].shape in shapes
        else:
            graph = onnx.load(FIXTURES / fixture / f"{case.file}.onnx").graph
            assert case.layer in {output for node in graph.node for output in node.output}


def test_arrays_that_ignore_the_bias_exist() -> None:
    for fixture in ("lrp_mlp", "lrp_vgg", "lrp_resnet", "lrp_cnn1d"):
        assert set(BIAS) <= set(arrays(fixture, "relevance"))


def test_what_others_get_wrong_differs_and_what_they_get_right_agrees() -> None:
    """`same_meaning` in about.json, measured again on the stored arrays."""
    judged = 0
    for fixture in TABLE:
        relevance = arrays(fixture, "relevance")
        for key, how in about(fixture)["relevance"]["arrays"].items():
            if "same_meaning" in how:
                (other,) = how["difference"]
                apart = np.abs(relevance[key] - relevance[other]).max() / np.abs(relevance[other]).max()
                assert (apart < 1e-5) == how["same_meaning"], f"{fixture}: {key} and {other}"
                judged += 1
    assert judged > 30
