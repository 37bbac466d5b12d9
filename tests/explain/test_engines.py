"""Two engines behind one face, the chunks both run in, and the sample axes both ask for."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import Explainer
from onnxplain.errors import InputError, MethodError, TargetError
from onnxplain.explain.engine import RunSettings
from onnxplain.explain.request import Request
from onnxplain.runtime.chunks import chunks, joined, run_in_chunks
from onnxplain.runtime.session import Session
from tests.support.models import model, node

W = np.array([[1.0, -2.0], [3.0, 0.5], [-1.0, 4.0]], np.float32)
X = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)

METHODS = {"input-x-gradient": {}, "integrated-gradients": {"baseline": 0}, "exact-shapley": {}, "shapley-sampling": {}}
"""On a linear map from the baseline 0 all of these are x · w: two by a rewritten model, two by forward passes."""


def linear(batch: Any = "n") -> onnx.ModelProto:
    return model([node("MatMul", "x w", "y")], {"x": [batch, 3]}, {"y": [batch, 2]}, {"w": W})


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many samples each run of a session got."""
    seen: list[int] = []
    real = Session.run

    def run(self: Session, feeds: Any, *arguments: Any) -> Any:
        seen.append(len(feeds["x"]))
        return real(self, feeds, *arguments)

    monkeypatch.setattr(Session, "run", run)
    return seen


class TestFace:
    @pytest.mark.parametrize("method", METHODS)
    def test_a_linear_map_whatever_the_engine(self, method: str) -> None:
        found = Explainer(linear(), method, **METHODS[method])(X, [0, 1, 0, 1, 1])
        np.testing.assert_allclose(found.attribution, X * W.T[[0, 1, 0, 1, 1]], rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("method", METHODS)
    def test_a_fixed_batch_is_filled_and_cut_again(self, method: str, batches: list[int]) -> None:
        explainer = Explainer(linear(4), method, **METHODS[method])
        found = explainer(X, 1)
        assert set(batches) == {4}
        np.testing.assert_allclose(found.attribution, X * W[:, 1], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.outputs["y"], X @ W, rtol=1e-5)
        assert found.target is not None
        assert found.target.tolist() == [1] * 5

    @pytest.mark.parametrize("method", METHODS)
    def test_batches_of_any_size_give_the_same(self, method: str, batches: list[int]) -> None:
        whole, parted = (Explainer(linear(), method, batch_size=size, **METHODS[method]) for size in (None, 2))
        expected = whole(X, 0)
        batches.clear()
        found = parted(X, 0)
        assert max(batches) == 2
        np.testing.assert_allclose(found.attribution, expected.attribution, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("method", METHODS)
    def test_the_top_prediction_is_named(self, method: str) -> None:
        found = Explainer(linear(), method, **METHODS[method])(X)
        assert found.target is not None
        np.testing.assert_array_equal(found.target, (X @ W).argmax(axis=1))

    @pytest.mark.parametrize("method", METHODS)
    def test_what_is_refused(self, method: str) -> None:
        explainer = Explainer(linear(), method, **METHODS[method])
        with pytest.raises(InputError, match="there are no samples to explain"):
            explainer(X[:0], 0)
        with pytest.raises(TargetError, match="target 7"):
            explainer(X, 7)
        with pytest.raises(MethodError, match="expects no 'noise'"):
            explainer(X, 0, noise=1.0)

    def test_labels_and_metadata_are_alike(self) -> None:
        first, second = (Explainer(linear(), m, labels=["a", "b"])(X, 1) for m in ("input-x-gradient", "exact-shapley"))
        assert first.label(0) == second.label(0) == "b"
        assert set(first.about) - set(second.about) == {"batch_size"}
        same = ("contract", "version", "output", "score", "batched", "source_sha256", "attributions")
        assert {k: first.about[k] for k in same} == {k: second.about[k] for k in same}

    def test_forward_passes_make_no_model(self) -> None:
        with pytest.raises(MethodError, match="needs many forward passes"):
            _ = Explainer(linear(), "exact-shapley").model
        assert "x_attribution" in [o.name for o in Explainer(linear(), "gradient").model.graph.output]

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"mask": {"x": [0]}}, "to be masked"),
            ({"layer": "y"}, "leave layer out"),
            ({"baseline": 0}, "compares with no baseline"),
        ],
    )
    def test_what_forward_passes_do_not_take(self, given: dict[str, Any], message: str) -> None:
        with pytest.raises(MethodError, match=message):
            Explainer(linear(), "partial-dependence", **given)

    def test_a_request_that_was_checked_before(self) -> None:
        made = Explainer.of(linear(), Request.of("input-x-gradient"), RunSettings(batch_size=2), ["a", "b"])
        np.testing.assert_allclose(made(X, 1).attribution, X * W[:, 1], rtol=1e-5)
        assert made.method == "input-x-gradient"
        assert made(X, 1).label(0) == "b"


class TestChunks:
    def test_no_array_is_cut_where_all_fit(self) -> None:
        ((rows, part),) = chunks({"x": X}, {"x": 0}, 5, 5)
        assert rows == 5
        assert part["x"] is X

    def test_samples_along_their_own_axis(self) -> None:
        draws = np.arange(15).reshape(3, 5)
        parts = list(chunks({"x": X, "d": draws}, {"x": 0, "d": 1}, 5, 2))
        assert [rows for rows, _ in parts] == [2, 2, 1]
        np.testing.assert_array_equal(np.concatenate([p["d"] for _, p in parts], axis=1), draws)
        assert all(p["d"].flags.c_contiguous for _, p in parts)

    def test_what_serves_all_samples_stays_whole(self) -> None:
        feeds = {"x": X, "one": X[:1], "setting": np.arange(5.0), "number": np.array(3.0)}
        for _, part in chunks(feeds, {"x": 0, "one": 0, "setting": None, "number": 0}, 5, 2):
            assert all(part[name] is feeds[name] for name in ("one", "setting", "number"))

    def test_the_last_chunk_is_filled_with_its_last_sample(self) -> None:
        *_, (rows, part) = chunks({"x": X}, {"x": 0}, 5, 4, filled=True)
        assert rows == 1
        np.testing.assert_array_equal(part["x"], np.stack([X[4]] * 4))

    @pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
    @pytest.mark.parametrize("filled", [False, True])
    def test_results_do_not_depend_on_the_chunks(self, size: int, filled: bool) -> None:
        seen: list[int] = []

        def run(feeds: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
            seen.append(len(feeds["x"]))
            return {"y": feeds["x"] @ W, "names": [str(row[0]) for row in feeds["x"]]}

        found = run_in_chunks(run, {"x": X}, {"x": 0, "y": 0}, 5, size, filled=filled)
        np.testing.assert_allclose(found["y"], X @ W, rtol=1e-6)
        assert found["names"] == [str(row[0]) for row in X]
        assert not filled or set(seen) == {size}

    def test_joined_keeps_order_and_kind(self) -> None:
        made = joined([{"a": np.array([1]), "b": [{"x": 1}]}, {"a": np.array([2, 3]), "b": [{"x": 2}, {"x": 3}]}], {"a": 0})
        assert made["a"].tolist() == [1, 2, 3]
        assert made["b"] == [{"x": 1}, {"x": 2}, {"x": 3}]
