"""Targets of language models: the next token by default, and every form of target through one session."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from onnxplain import Explainer, rewrite
from onnxplain.explain.graph_engine import GraphEngine

MODEL = "fixtures/gpt2/model.onnx"
IDS = np.array([[5, 9, 2, 30, 7, 11], [8, 1, 44, 3, 0, 0], [17, 60, 2, 2, 9, 0]])
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0]])
FEEDS = {"input_ids": IDS, "attention_mask": MASK}
LAST = np.array([5, 3, 4])


@pytest.fixture(scope="module")
def logits() -> np.ndarray:
    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], FEEDS)[0])


@pytest.fixture(scope="module")
def gradient() -> Explainer:
    return Explainer(MODEL, "gradient", providers="cpu")


def made(explainer: Explainer) -> int:
    assert isinstance(explainer._engine, GraphEngine)
    return len(explainer._engine._made)


@pytest.mark.parametrize("method", ["gradient", "occlusion"])
def test_the_default_is_the_top_token_of_the_last_position(method: str, logits: np.ndarray) -> None:
    options = {"baseline": 0} if method == "occlusion" else {}
    found = Explainer(MODEL, method, providers="cpu", **options)(FEEDS)
    tops = logits[np.arange(3), LAST].argmax(axis=1)
    assert found.elements is not None
    assert found.elements.tolist() == np.stack([LAST, tops], axis=1).tolist()
    assert found.about["positions"] == {"tokens": "input_ids", "mask": "attention_mask"}
    # The greatest number anywhere would be another one, or the test could not fail.
    assert (logits.reshape(3, -1).argmax(axis=1) != found.target).any()


def test_padding_gets_nothing_and_does_not_change_the_rest(gradient: Explainer) -> None:
    padded = gradient(FEEDS).attribution[1]
    alone = gradient({"input_ids": IDS[1:2, :4], "attention_mask": MASK[1:2, :4]}).attribution[0]
    assert padded[:4] == pytest.approx(alone, abs=1e-5)
    assert not padded[4:].any()


@pytest.mark.parametrize("target", [None, "input"])
def test_a_file_for_other_hosts_has_the_same_default(target: str | None, gradient: Explainer) -> None:
    session = onnxruntime.InferenceSession(rewrite(MODEL, "gradient", target=target).SerializeToString())
    chosen = {"target": np.array([-1])} if target else {}
    (name,) = [o.name for o in session.get_outputs() if o.name.endswith("_attribution")]
    assert session.run([name], {**FEEDS, **chosen})[0] == pytest.approx(gradient(FEEDS).attribution, abs=1e-6)


def test_tuples_contrasts_and_sums_need_no_session_of_their_own() -> None:
    explainer = Explainer(MODEL, "gradient", providers="cpu")
    for position, token in ((2, 5), (3, 6), (-1, 7)):
        explainer(FEEDS, (position, token))
    assert made(explainer) == 1
    explainer(FEEDS, [(1, 5), (2, 6), (3, 7)])
    assert made(explainer) == 1
    for token in (4, 5, 6):
        explainer(FEEDS, (":", token))
        explainer(FEEDS, {(3, token): 1, (3, 9): -1})
    assert made(explainer) == 2


@pytest.mark.parametrize("target", [(2, 5), (-2, 7), (":", 7), (3, ":"), {(3, 5): 1, (2, 9): -1}, {(3, ":"): 0.5, (1, 1): 2}])
@pytest.mark.parametrize("method", ["gradient", "integrated-gradients", "attnlrp", "deeplift"])
def test_run_time_targets_are_those_baked_in(method: str, target: object) -> None:
    options = {"baseline": 0.0} if method in ("integrated-gradients", "deeplift") else {}
    options |= {"steps": 3} if method == "integrated-gradients" else {}
    baked = onnxruntime.InferenceSession(rewrite(MODEL, method, target=target, **options).SerializeToString())  # type: ignore[arg-type]
    (name,) = [o.name for o in baked.get_outputs() if o.name.endswith("_attribution")]
    found = Explainer(MODEL, method, providers="cpu", **options)(FEEDS, target)  # type: ignore[arg-type]
    wanted = baked.run([name], FEEDS)[0]
    assert np.abs(wanted).max() > 0
    assert found.attribution == pytest.approx(wanted, abs=1e-5 * float(np.abs(wanted).max()))


def test_a_contrast_is_the_difference(gradient: Explainer) -> None:
    one, other = gradient(FEEDS, (3, 5)).attribution, gradient(FEEDS, (3, 9)).attribution
    found = gradient(FEEDS, {(3, 5): 1, (3, 9): -1})
    assert found.attribution == pytest.approx(one - other, abs=1e-5)
    assert found.about["target"] == "+1·(3,5) -1·(3,9)"
    assert found.elements is None


def test_paths_add_up_to_the_change_of_the_default_target(logits: np.ndarray) -> None:
    explainer = Explainer(MODEL, "integrated-gradients", providers="cpu", baseline=0.0, steps=32, inputs=["input_ids"])
    paths = explainer(FEEDS)
    assert paths.delta is not None
    assert np.abs(paths.delta).max() < 1e-2 * np.abs(logits).max()


def test_token_ids_alone_will_do(gradient: Explainer) -> None:
    found = gradient(IDS)
    whole = gradient({"input_ids": IDS, "attention_mask": np.ones_like(IDS)})
    assert np.array_equal(found.attribution, whole.attribution)
    assert found.about["filled_in"] == ["attention_mask"]
    assert "filled_in" not in whole.about
