"""An Explainer takes texts: what it returns is what the ids give, with names for tokens, words and targets."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import Explainer
from onnxplain.errors import InputError, LayerError, TargetError
from onnxplain.explain.graph_engine import GraphEngine
from onnxplain.io.text.tokenizer import Tokenizer
from onnxplain.method.registry import all_methods
from tests.support.made_tokenizers import KINDS, made
from tests.support.models import run
from tests.support.paths import FIXTURES
from tests.support.text_models import classifier, language_model

REVIEWS = FIXTURES / "reviews"
LABELS = ["negative", "positive"]
TEXTS = ["A fine film is good.", "bad film"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_is_its_ids(kind: str) -> None:
    tokenizer = made(kind)
    (encoded,) = tokenizer.encode(TEXTS[:1])
    found = Explainer(classifier(tokenizer.size), "input-x-gradient", tokenizer=tokenizer)(TEXTS[0], 1)
    ids = np.array([encoded.ids])
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    plain = Explainer(classifier(tokenizer.size), "input-x-gradient")(given, 1)
    assert np.array_equal(found.attributions["input_ids"], plain.attributions["input_ids"])
    scores = run(classifier(tokenizer.size), given)["scores"]
    shares = found.token_values()  # linear: they add up to the score, but for the rounding of each
    assert shares.sum() == pytest.approx(scores[0, 1], abs=1e-6 * np.abs(shares).sum())
    assert found.texts[0] == encoded


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pair", [False, True])
def test_units_add_up(kind: str, pair: bool) -> None:
    tokenizer = made(kind)
    text: Any = ("A fine film.", "Is it good?") if pair else TEXTS[0]
    found = Explainer(classifier(tokenizer.size), "input-x-gradient", tokenizer=tokenizer)(text, 0)
    totals = [sum(u.value for u in found.text_units(by, special=True)[0]) for by in ("token", "word", "sentence")]
    assert totals == pytest.approx([found.token_values().sum()] * 3)
    assert [u.text for u in found.text_units("sentence")[0]] == (["A fine film.", "Is it good?"] if pair else [TEXTS[0]])


def test_padding_changes_nothing() -> None:
    """A text is explained alike alone and beside a longer one, and what was laid on has no relevance."""
    explainer = Explainer(REVIEWS / "model.onnx", "attnlrp", labels=LABELS)
    together, alone = explainer(TEXTS, "positive"), explainer(TEXTS[1], "positive")
    words = [[(u.text, pytest.approx(u.value, abs=1e-5)) for u in e.text_units()[i]] for e, i in ((together, 1), (alone, 0))]
    assert [(t, v.expected) for t, v in words[0]] == words[1]
    assert {t for t, v in zip(together.texts[1].tokens, together.token_values()[1], strict=True) if v == 0} >= {"[PAD]"}


def test_occlusion_covers_one_token_at_a_time() -> None:
    """So that a text has the same numbers beside a longer one."""
    explainer = Explainer(REVIEWS / "model.onnx", "occlusion", baseline="[MASK]")
    long = "It is far too long, and the actors are bad. I do not like it!"
    (alone,), together = explainer("bad film", 0).token_values(), explainer(["bad film", long], [0, 0]).token_values()
    assert together[0][: len(alone)] == pytest.approx(alone, abs=1e-5)
    assert not together[0][len(alone) :].any()
    ids = np.array([explainer("bad film").texts[0].ids])
    mask = explainer("bad film").texts[0].tokens.index("bad")
    feeds, hidden = ({"input_ids": i, "attention_mask": np.ones_like(i)} for i in (ids, ids.copy()))
    hidden["input_ids"][0, mask] = explainer("[MASK]").texts[0].ids[1]
    scores = [run(onnx.load(REVIEWS / "model.onnx"), f)["logits"][0, 0] for f in (feeds, hidden)]
    assert alone[mask] == pytest.approx(scores[0] - scores[1], abs=1e-5)


def test_a_language_model_is_explained_at_the_end() -> None:
    """The default is each text's likeliest next token; every explanation says which, and where."""
    tokenizer = made("WordPiece")
    explainer = Explainer(language_model(tokenizer.size), "input-x-gradient", tokenizer=tokenizer)
    with pytest.warns(UserWarning, match="no attention mask"):
        found = explainer(TEXTS)
    for sample, (text, encoded) in enumerate(zip(TEXTS, tokenizer.encode(TEXTS), strict=True)):
        scores = run(language_model(tokenizer.size), {"input_ids": np.array([encoded.ids])})["logits"][0, -1]
        best = int(scores.argmax())
        assert found.label(sample) == f"{tokenizer.piece(best)!r} after position {len(encoded) - 1}", text
        assert found.token_values()[sample].sum() == pytest.approx(scores[best], rel=1e-4)


def test_tokens_are_targets() -> None:
    tokenizer = made("byte-level")
    explainer = Explainer(language_model(tokenizer.size), "input-x-gradient", tokenizer=tokenizer)
    (encoded,) = tokenizer.encode(TEXTS[:1])
    last, good, bad = len(encoded) - 1, tokenizer.index(" good"), tokenizer.index(" bad")
    named = explainer(TEXTS[0], " good")
    assert named.label(0) == f"' good' after position {last}"
    assert np.array_equal(named.attribution, explainer(TEXTS[0], "Ġgood").attribution)
    assert np.array_equal(named.attribution, explainer(TEXTS[0], (last, good)).attribution)
    assert np.array_equal(explainer(TEXTS[0], [(2, " bad")]).attribution, explainer(TEXTS[0], [(2, bad)]).attribution)
    contrast = explainer(TEXTS[0], {" good": 1.0, " bad": -1.0})
    assert contrast.attribution == pytest.approx(named.attribution - explainer(TEXTS[0], " bad").attribution, abs=1e-5)
    assert contrast.label(0) == f"' good' − ' bad' after position {last}"
    with pytest.raises(TargetError, match=r"no token ' goodness' in tokenizer\.json; it consists of"):
        explainer(TEXTS[0], " goodness")


def test_classes_are_targets() -> None:
    explainer = Explainer(REVIEWS / "model.onnx", "input-x-gradient", labels=LABELS)
    assert np.array_equal(explainer("A fine film", "negative").attribution, explainer("A fine film", 0).attribution)
    contrast = explainer("A fine film", "positive-negative")
    assert contrast.label(0) == "positive − negative"
    assert contrast.attribution == pytest.approx(explainer("A fine film", {1: 1, 0: -1}).attribution)
    mixed = explainer(["A fine film", "bad film"], ["negative", "positive"])
    assert [mixed.label(0), mixed.label(1)] == LABELS
    with pytest.raises(TargetError, match="no class 'postive'; did you mean 'positive'"):
        explainer("A fine film", "postive")


def test_baselines_in_words() -> None:
    """A token takes the place of every token of the text but of those that the tokenizer added; another text is taken whole."""
    explainer = Explainer(REVIEWS / "model.onnx", "integrated-gradients", steps=64)
    tokenizer_ids = explainer("A fine film", 1, baseline="A bad film").texts[0].ids
    assert explainer("A fine film", 1, baseline="A bad film").text_units()[0][0].value == pytest.approx(
        0, abs=1e-6
    )  # the same "A"
    masked = explainer("A fine film", 1, baseline="[PAD]")
    ids = np.array([[tokenizer_ids[0], 0, 0, 0, tokenizer_ids[-1]]])
    feeds = {"input_ids": np.array([tokenizer_ids]), "attention_mask": np.ones((1, 5), np.int64)}
    by_hand = explainer(feeds, 1, baseline={"input_ids": ids})
    assert masked.attribution == pytest.approx(by_hand.attribution, abs=1e-6)
    start = run(onnx.load(REVIEWS / "model.onnx"), {**feeds, "input_ids": ids})["logits"][0, 1]
    end = run(onnx.load(REVIEWS / "model.onnx"), feeds)["logits"][0, 1]
    assert masked.token_values().sum() == pytest.approx(end - start, abs=1e-4)  # completeness
    with pytest.raises(
        InputError, match=r"the baseline 'bad film' has 4 tokens, and 'A fine film' has 5: give a text of as many"
    ):
        explainer("A fine film", 1, baseline="bad film")


def test_slopes_are_told_by_their_norm() -> None:
    """Their sum over the width is zero but for rounding, since a layer normalization follows."""
    explainer = Explainer(REVIEWS / "model.onnx", "gradient")
    found = explainer("A fine film", 1)
    assert found.is_per_unit
    values = found.attribution.astype(np.float64)
    assert np.abs(values.sum(-1)).max() < 1e-5 * np.abs(values).sum(-1).max()
    assert found.token_values()[0] == pytest.approx(np.sqrt((values[0] ** 2).sum(-1)))
    assert not Explainer(REVIEWS / "model.onnx", "input-x-gradient")("A fine film").is_per_unit


@pytest.mark.parametrize(("name", "options", "slopes"), [
    ("gradient", {}, True), ("guided-backprop", {}, True), ("smoothgrad", {}, True), ("smoothgrad-squared", {}, False),
    ("smoothgrad", {"inner": "input-x-gradient"}, False), ("integrated-gradients", {}, False),
    ("integrated-gradients", {"multiply": False}, True), ("saliency", {}, False), ("attnlrp", {}, False), ("kernel-shap", {}, False),
])  # fmt: skip
def test_which_methods_give_slopes(name: str, options: dict[str, Any], slopes: bool) -> None:
    assert all_methods()[name].is_per_unit(options) == slopes


def test_other_inputs_and_layers() -> None:
    tokenizer = made("WordPiece")
    explainer = Explainer(classifier(tokenizer.size), "gradient", tokenizer=tokenizer)
    ones = np.ones((1, 7), np.int64)
    text = "A fine film is good"
    assert np.array_equal(explainer({"input_ids": text, "attention_mask": ones}).attribution, explainer(text).attribution)
    inner = Explainer(REVIEWS / "model.onnx", "gradient", layer="MatMul:1")("A fine film")
    assert inner.texts
    with pytest.raises(LayerError, match="the tokens of 'input_ids' have no attribution; explained"):
        inner.token_values()


@pytest.mark.parametrize("method", ["feature-ablation", "kernel-shap", "saliency", "lrp-epsilon"])
def test_what_an_explanation_of_texts_holds(method: str) -> None:
    """Forward-only methods too: they put the baseline's token in place of others."""
    forward = all_methods()[method].forward_only
    found = Explainer(REVIEWS / "model.onnx", method, labels=LABELS, baseline="[PAD]" if forward else None)(TEXTS)
    assert [found.label(i) for i in range(2)] == ["positive", "negative"]
    added = np.array([text.added for text in found.texts])
    assert not forward or np.abs(found.token_values()[added]).max() < 1e-12
    assert sum(u.value for u in found.text_units()[0]) == pytest.approx(found.token_values()[0][~added[0]].sum())
    assert list(found[1:].texts) == [found.texts[1]]
    assert json.loads(json.dumps(found.to_dict()))["texts"][1]["texts"] == ["bad film"]
    assert list(found.to_pandas().columns) == [
        "sample",
        "target",
        "text",
        "part",
        "start",
        "end",
        "tokens",
        "added",
        "attribution",
    ]


def test_names_and_numbers_of_targets() -> None:
    """A number is an index, alone and in a list; a token that reads like a word of targets is named with its space."""
    about = json.loads(made("byte-level").file)
    start = max(about["model"]["vocab"].values()) + 1
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    about["added_tokens"] += [{"id": start + i, "content": token, **flags} for i, token in enumerate(["Ġall", "Ġtop", "Ġ3"])]
    tokenizer = Tokenizer(json.dumps(about))
    explainer = Explainer(language_model(tokenizer.size), "input-x-gradient", tokenizer=tokenizer)
    for name in (" all", " top", " 3", "!", "."):
        found = explainer("A good film", name)
        assert found.elements is not None
        assert found.elements[0].tolist() == [2, tokenizer.index(name)]
    with pytest.raises(TargetError, match="no token ' bottom' in"):
        explainer("A good film", " bottom")
    with pytest.raises(TargetError, match="'top' is no target of one sample among others"):
        explainer(["A good film"] * 2, [" good", "top"])
    assert explainer(["A good film"] * 2, np.array([3, 4])).target == pytest.approx([3, 4])


def test_labels_that_read_like_targets() -> None:
    tokenizer = made("WordPiece")
    with pytest.warns(UserWarning, match="the label '1' is of class 0, and as a target it means index 1"):
        explainer = Explainer(classifier(tokenizer.size), tokenizer=tokenizer, labels=["1", "2", "3"])
    for target in ("1", ["1"], 1, np.array([1])):
        assert explainer(["bad film"], target).target == 1
    with pytest.warns(UserWarning, match="the label 'top' is of class 1"):
        explainer = Explainer(classifier(tokenizer.size), tokenizer=tokenizer, labels=["bottom", "top", "side"])
    top = explainer(["bad film"])
    assert np.array_equal(explainer(["bad film"], "top").target, top.target)
    assert np.array_equal(explainer(["bad film"], ["top"]).target, top.target)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Explainer(classifier(tokenizer.size), tokenizer=tokenizer, labels=["0", "1", "bad"])


def test_the_last_position_is_the_files_own() -> None:
    """One session for texts of every length: no length is baked in."""
    tokenizer = made("WordPiece")
    explainer = Explainer(language_model(tokenizer.size), "input-x-gradient", tokenizer=tokenizer)
    words = "good bad film is it".split()
    for count in range(1, 6):
        explainer(" ".join(words[:count]))
    engine = explainer._text_reader().engine
    assert isinstance(engine, GraphEngine)
    assert len(engine._made) == 1


def test_padding_that_nothing_masks_is_said() -> None:
    tokenizer = made("WordPiece")
    explainer = Explainer(language_model(tokenizer.size), "input-x-gradient", tokenizer=tokenizer)
    with pytest.warns(UserWarning, match="the model takes no attention mask: unless it looks back only, it reads the padding"):
        explainer(TEXTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explainer([TEXTS[0]] * 2)
        Explainer(classifier(tokenizer.size), "input-x-gradient", tokenizer=tokenizer)(TEXTS)


def test_shared_baselines_belong_to_all_texts() -> None:
    """Expected gradients draws from all baselines for every text: those of another length would be mixed in."""
    explainer = Explainer(REVIEWS / "model.onnx", "expected-gradients", baseline="[MASK]", samples=100)
    alone = explainer("bad film", 0).token_values()[0]
    assert explainer(["bad film", "good film"], [0, 0]).token_values()[0] == pytest.approx(alone, abs=1e-5)
    with pytest.raises(InputError, match="the method compares every text with all baselines"):
        explainer(["bad film", "a really good film"], [0, 0])


def test_pairs_in_arrays() -> None:
    tokenizer = made("WordPiece")
    explainer = Explainer(classifier(tokenizer.size), "input-x-gradient", tokenizer=tokenizer)
    pairs = [("a good", "bad"), ("film", "bad")]
    for given in (np.array(pairs), np.array(pairs, object)):
        assert np.array_equal(explainer(given).attribution, explainer(pairs).attribution)
    assert len(explainer(np.array(["a good", "film bad"])).texts) == 2
    with pytest.raises(InputError, match=r"expected texts \[n\] or pairs of texts \[n, 2\], got an array \[1, 3\]"):
        explainer(np.array([["a", "b", "c"]]))


def test_what_is_refused_before_anything_runs(tmp_path: Path) -> None:
    tokenizer = made("WordPiece")
    small = classifier(tokenizer.size)
    with pytest.raises(InputError, match="a text was given, and no tokenizer: the model was not read from a file"):
        Explainer(small)("a film")
    onnx.save(small, tmp_path / "model.onnx")
    with pytest.raises(InputError, match=r"there is no tokenizer\.json in .*; give tokenizer="):
        Explainer(tmp_path / "model.onnx")("a film")
    with pytest.raises(InputError, match=r"has 110 tokens, and the table that 'input_ids' is looked up in has 40 rows"):
        Explainer(classifier(40), tokenizer=tokenizer)
    explainer = Explainer(small, tokenizer=tokenizer)
    with pytest.raises(InputError, match=r"input 'input_ids' holds 110 at \[0, 1\], and the table .* expected 0 to 109"):
        explainer({"input_ids": np.array([[1, 110]]), "attention_mask": np.ones((1, 2), np.int64)})
    for nothing in ("", "  ", ["a film", ""]):
        with pytest.raises(InputError, match=r"text [01] has no tokens of its own"):
            explainer(nothing)
    with pytest.raises(InputError, match=r"text 0 has 152 tokens, and the model takes 128: shorten it, or cut all texts with"):
        Explainer(REVIEWS / "model.onnx")("good " * 150)
    with pytest.raises(InputError, match="what was explained is no text"):
        explainer({"input_ids": np.array([[1]]), "attention_mask": np.array([[1]])}).text_units()
    with pytest.raises(InputError, match=r"the baseline '\[PAD\]' is in words, and arrays are given"):
        Explainer(small, "integrated-gradients", tokenizer=tokenizer, baseline="[PAD]")(
            {"input_ids": np.array([[1]]), "attention_mask": np.array([[1]])}
        )
