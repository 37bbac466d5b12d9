"""Words and sentences have the sum of their tokens, and no token is split or lost."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from onnxplain.errors import InputError
from onnxplain.io.text.units import UNITS, units_of
from tests.support.made_tokenizers import KINDS, made

TEXTS = [
    "A fine film, really. Don't watch it? Well-known faces!",
    "  café 😀 naïve 火火 \n\n good ",
    "one",
    "",
    "...",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by", UNITS)
@pytest.mark.parametrize("special", [False, True])
def test_all_relevance_is_told_once(kind: str, by: str, special: bool) -> None:
    tokenizer = made(kind)
    for text in [*TEXTS, ("A fine film.", "Is it good?")]:
        (encoded,) = tokenizer.encode([text])
        values = np.random.default_rng(len(encoded)).standard_normal(len(encoded))
        units = units_of(encoded, values, by, special=special)
        told = [i for u in units for i in u.places]
        expected = [i for i in range(len(encoded)) if special or not encoded.added[i]]
        assert sorted(told) == expected
        assert sum(u.value for u in units) == pytest.approx(values[expected].sum(), abs=1e-12)
        for before, after in pairwise(units):
            assert before.part != after.part or before.end <= after.start


@pytest.mark.parametrize("kind", KINDS)
def test_words(kind: str) -> None:
    (encoded,) = made(kind).encode([TEXTS[0]])
    units = units_of(encoded, np.ones(len(encoded)), "word")
    words = [u.text for u in units]
    assert {"A", "fine", "really", "Don't", "it", "Well-known"} <= set(words)
    assert "".join(words).replace(" ", "") == TEXTS[0].replace(" ", "")


@pytest.mark.parametrize("kind", KINDS)
def test_sentences(kind: str) -> None:
    (encoded,) = made(kind).encode([TEXTS[0]])
    found = [u.text for u in units_of(encoded, np.ones(len(encoded)), "sentence")]
    assert found == ["A fine film, really.", "Don't watch it?", "Well-known faces!"]


def test_bytes_of_a_character_are_one_part() -> None:
    (encoded,) = made("byte-level").encode(["a 😀!"])
    units = units_of(encoded, np.ones(len(encoded)), "token")
    face = next(u for u in units if "😀" in u.text)
    assert len(face.places) > 1
    assert face.value == len(face.places)


def test_special_tokens_have_their_names() -> None:
    tokenizer = made("WordPiece")
    encoded = tokenizer.padded(tokenizer.encode([("a film", "good")]), 9)[0]
    shown = [u.text for u in units_of(encoded, range(9), "word", special=True)]
    assert shown == ["[CLS]", "a", "film", "[SEP]", "good", "[SEP]", "[PAD]", "[PAD]", "[PAD]"]
    assert [u.part for u in units_of(encoded, range(9), "word")] == [0, 0, 1]


def test_right_to_left_and_no_spaces() -> None:
    (encoded,) = made("byte-level").encode(["שלום עולם", "这部电影很好。"][:1])
    assert [u.text for u in units_of(encoded, np.ones(len(encoded)), "word")] == ["שלום", "עולם"]
    (chinese,) = made("byte-level").encode(["这部电影很好。"])
    assert [u.text for u in units_of(chinese, np.ones(len(chinese)), "word")] == list("这部电影很好。")


@pytest.mark.parametrize(("text", "words"), [
    ("cafe\u0301 noir", ["cafe\u0301", "noir"]),
    ("हिन्दी फ़िल्म अच्छी है", ["हिन्दी", "फ़िल्म", "अच्छी", "है"]),
    ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
    ("مَرْحَبًا", ["مَرْحَبًا"]),
    ("か\u3099く", ["か\u3099", "く"]),
    ("don\u0301't ❤️!", ["don\u0301't", "❤️!"]),
])  # fmt: skip
def test_marks_are_part_of_their_word(text: str, words: list[str]) -> None:
    """Accents, vowel signs and points that are characters of their own."""
    (encoded,) = made("byte-level").encode([text])
    assert [u.text for u in units_of(encoded, np.ones(len(encoded)), "word")] == words


def test_what_does_not_fit() -> None:
    (encoded,) = made("WordPiece").encode(["a film"])
    with pytest.raises(InputError, match="text is merged by token, word, sentence, not by 'words'; did you mean 'word'"):
        units_of(encoded, np.ones(4), "words")
    with pytest.raises(InputError, match="3 values for 4 tokens"):
        units_of(encoded, np.ones(3))
