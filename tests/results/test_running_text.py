"""Running text: what is shown is the text again, in the order of reading, whichever way it runs."""

from __future__ import annotations

import numpy as np
import pytest

from onnxplain import Explainer
from onnxplain.errors import OutputError
from onnxplain.io.text.units import units_of
from onnxplain.results.html import render_explanations
from onnxplain.results.plot.plot import plot
from onnxplain.results.plot.text import text_width, visual_order, wrapped_lines
from onnxplain.results.running_text import Stretch, hidden_total, is_right_to_left, paragraphs
from tests.support.made_tokenizers import KINDS, made
from tests.support.paths import FIXTURES

MODEL = FIXTURES / "reviews" / "model.onnx"
TEXTS = ["A fine  film, really.\n\nDon't watch it?", "שלום good עולם", "火火 café 😀"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("by", ["token", "word", "sentence"])
def test_pieces_are_the_text(kind: str, text: str, by: str) -> None:
    (encoded,) = made(kind).encode([text])
    units = units_of(encoded, np.arange(len(encoded)), by)
    (shown,) = paragraphs(encoded, units)
    assert "".join(s.text for s in shown) == text
    assert sum(s.value or 0 for s in shown) == pytest.approx(sum(u.value for u in units))


def test_special_tokens_stand_apart() -> None:
    (encoded,) = made("WordPiece").encode([("a film", "good")])
    first, second = paragraphs(encoded, units_of(encoded, np.ones(len(encoded)), special=True))
    assert "".join(s.text for s in first) == "[CLS] a film [SEP] "
    assert "".join(s.text for s in second) == "good [SEP] "
    assert hidden_total(encoded, np.ones(len(encoded)), units_of(encoded, np.ones(len(encoded)))) == 3


def test_lines_are_as_wide_as_said() -> None:
    words = [Stretch(w, 1.0) if w != " " else Stretch(w) for w in " ".join(["wonderful"] * 30).replace(" ", "| |").split("|")]
    lines = wrapped_lines([*words, Stretch(" "), Stretch("x" * 300, 1.0)], 3.0)
    assert all(sum(text_width(s.text.rstrip()) for s, _ in line) <= 3.05 for line in lines)
    assert "".join(s.text for line in lines for s, _ in line if s.value) == "wonderful" * 30 + "x" * 300


def test_right_to_left() -> None:
    assert is_right_to_left("... שלום")
    assert not is_right_to_left("good שלום")
    line = [(Stretch(t), 1.0) for t in ("שלום", " ", "very", " ", "good", " ", "עולם")]
    assert [s.text for s, _ in visual_order(line, True)] == ["עולם", " ", "very", " ", "good", " ", "שלום"]
    mixed = [(Stretch(t), 1.0) for t in ("good", " ", "שלום", " ", "עולם", ".")]
    assert [s.text for s, _ in visual_order(mixed, False)] == ["good", " ", "עולם", " ", "שלום", "."]


def test_pages_and_pictures() -> None:
    found = Explainer(MODEL, "attnlrp", labels=["negative", "positive"])(["A fine <film> & $good$.", "bad film"])
    page = render_explanations([found])
    assert "&lt;" in page
    assert "<film>" not in page
    (units,) = found[1:].text_units()
    assert all(f">{u.text}</span>" in page for u in units)
    figure = plot([found], special=True, by="token")
    drawn = [t.get_text() for t in figure.texts]
    assert {"[CLS]", "fine", "film", "[SEP]", "[PAD]"} <= set(drawn)
    assert "[CLS]" not in [t.get_text() for t in plot([found]).texts]
    with pytest.raises(OutputError, match="different texts do not go side by side"):
        plot([found, Explainer(MODEL, "gradient")(["bad film", "A good film"])])
    ids = np.array([[2, 5, 3]])
    arrays = Explainer(MODEL, "gradient")({"input_ids": ids, "attention_mask": np.ones_like(ids)})
    with pytest.raises(OutputError, match="what was explained is no text"):
        plot([arrays], form="text")
