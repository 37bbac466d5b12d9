"""Tokenizers of every kind: what is encoded is what the library encodes, and every token is found again by its text."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer as Library

from onnxplain.errors import InputError, TargetError
from onnxplain.io.text.encoded import EncodedText
from onnxplain.io.text.tokenizer import Tokenizer, tokenizer_beside
from tests.support.made_tokenizers import KINDS, made, trained

TEXTS = ["A fine film.", "Don't watch this bad café film! 😀 火", "", "  good  "]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_ids_are_the_librarys(kind: str, text: str) -> None:
    (found,) = made(kind).encode([text])
    expected = trained(kind).encode(text)
    assert list(found.ids) == expected.ids
    assert list(found.tokens) == expected.tokens
    for (start, end), part, added in zip(found.offsets, found.parts, found.added, strict=True):
        assert (part == -1) == added
        assert 0 <= start <= end <= len(text)


@pytest.mark.parametrize("kind", KINDS)
def test_pairs(kind: str) -> None:
    first, second = "A fine film.", "Is it good?"
    (found,) = made(kind).encode([(first, second)])
    assert list(found.ids) == trained(kind).encode(first, second).ids
    assert found.texts == (first, second)
    assert {p for p, added in zip(found.parts, found.added, strict=True) if not added} == {0, 1}
    good = next(i for i, piece in enumerate(found.pieces) if "good" in piece)
    assert found.texts[found.parts[good]][slice(*found.offsets[good])].strip() == found.pieces[good].strip()


@pytest.mark.parametrize("kind", KINDS)
def test_a_person_reads_the_text(kind: str) -> None:
    """Pieces one after the other are the text, but for what a tokenizer loses (case) and puts in front (a space)."""
    text = "a fine film is really good"
    tokenizer = made(kind)
    (found,) = tokenizer.encode([text])
    read = [p for p, added in zip(found.pieces, found.added, strict=True) if not added]
    assert "".join(read).replace(" ", "") == text.replace(" ", "")
    assert tokenizer.decode(found.ids).strip() == text


@pytest.mark.parametrize(("kind", "spelled", "read"), [
    ("WordPiece", "good", " good"), ("BPE", "▁good", " good"), ("Unigram", "▁good", " good"), ("byte-level", "Ġgood", " good"),
])  # fmt: skip
def test_a_token_is_found_by_its_text(kind: str, spelled: str, read: str) -> None:
    tokenizer = made(kind)
    index = trained(kind).token_to_id(spelled)
    assert index is not None
    assert tokenizer.index(spelled) == tokenizer.index(read) == index
    assert tokenizer.piece(index).strip() == "good"
    if kind != "WordPiece":
        assert tokenizer.piece(index) == " good"
    with pytest.raises(TargetError, match=r"no token ' goodness' in tokenizer.json; it consists of .*'.*good'"):
        tokenizer.index(" goodness")


def test_bytes_of_a_character() -> None:
    """Parts of a character stay visible, and whole ones are read."""
    tokenizer = made("byte-level")
    (found,) = tokenizer.encode(["é😀"])
    assert "".join(tokenizer.spelling.read(t) for t in found.tokens if tokenizer.spelling.read(t) == "é") == "é"
    assert any(p.startswith("\\x") for p in found.pieces)
    assert tokenizer.decode(found.ids) == "é😀"


def test_padding_is_laid_on_the_side_that_the_file_names() -> None:
    library = Library.from_str(trained("WordPiece").to_str())
    for side in ("right", "left"):
        library.enable_padding(direction=side, pad_id=0, pad_token="[PAD]")
        tokenizer = Tokenizer(library.to_str())
        texts = ["a film", "a fine film is good"]
        padded = tokenizer.padded(tokenizer.encode(texts))
        assert [list(e.ids) for e in padded] == [e.ids for e in library.encode_batch(texts)]
        assert [[int(a) for a in e.attended] for e in padded] == [e.attention_mask for e in library.encode_batch(texts)]
        short = padded[0]
        assert short.last == max(i for i, a in enumerate(short.attended) if a)
        assert all(short.added[i] for i in range(len(short)) if not short.attended[i])


def test_padding_that_the_file_does_not_describe() -> None:
    tokenizer = made("WordPiece")
    padded = tokenizer.padded(tokenizer.encode(["a film"]), 9)
    assert padded[0].tokens[-1] == "[PAD]"
    with pytest.raises(InputError, match=r"text 0 has 4 tokens, and the model takes 3: shorten it, or cut"):
        tokenizer.padded(tokenizer.encode(["a film"]), 3)
    without = made("byte-level")
    with pytest.raises(InputError, match=r"has to be padded to \d+, and tokenizer.json names no padding token"):
        without.padded(without.encode(["a film", "a fine film"]))


def test_cut_texts_are_said() -> None:
    library = Library.from_str(trained("WordPiece").to_str())
    library.enable_truncation(4)
    with pytest.warns(UserWarning, match="1 of 2 texts were cut to 4 tokens, as tokenizer.json says"):
        long, short = Tokenizer(library.to_str()).encode(["a fine film is good", "a film"])
    assert len(long) == 4
    assert long.cut
    assert not short.cut
    with pytest.warns(UserWarning, match="the text was cut to 3 tokens, as asked"):
        Tokenizer(trained("WordPiece").to_str(), max_length=3).encode(["a film"])


def test_a_limit_keeps_how_the_file_cuts() -> None:
    library = Library.from_str(trained("WordPiece").to_str())
    library.enable_truncation(9, direction="left", strategy="only_second")
    with pytest.warns(UserWarning, match="cut to 6 tokens, as asked"):
        (found,) = Tokenizer(library.to_str(), max_length=6).encode([("good", "a bad film and really good")])
    assert found.tokens == ("[CLS]", "good", "[SEP]", "really", "good", "[SEP]")
    with pytest.raises(InputError, match="does not encode 'a good film and really good film': "):
        Tokenizer(library.to_str(), max_length=3).encode(["a good film and really good film"])


@pytest.mark.parametrize(
    ("limit", "text", "least"), [(1, "a film", 3), (2, "a film", 3), (2, ("a", "film"), 4), (3, ("a", "film"), 4)]
)
def test_a_limit_without_room_for_text_is_refused(limit: int, text: str, least: int) -> None:
    with pytest.raises(InputError, match=rf"a limit of {limit} leaves no room for text: .* cut to {least} tokens at least"):
        Tokenizer(trained("WordPiece").to_str(), max_length=limit).encode([text])
    with pytest.warns(UserWarning, match="cut to"):
        assert (
            len(
                Tokenizer(trained("WordPiece").to_str(), max_length=least).encode(
                    [("a fine film", "good")][:1] if least > 3 else ["a fine film"]
                )[0]
            )
            == least
        )


@pytest.mark.parametrize("text", ["a \ud800 b", ("a", "\udce9"), "caf\udce9"])
def test_half_a_character_is_no_text(text: str) -> None:
    with pytest.raises(InputError, match=r"a text holds '\\ud.*' at \d+, which is no character: give it in UTF-8"):
        made("byte-level").encode([text])


def test_a_number_that_no_token_has() -> None:
    about = json.loads(trained("byte-level").to_str())
    vocabulary = about["model"]["vocab"]
    last = max(vocabulary, key=vocabulary.get)
    vocabulary[last] += 3
    tokenizer = Tokenizer(json.dumps(about))
    hole = tokenizer.size - 2
    assert hole not in tokenizer.spelled
    assert tokenizer.piece(hole) == str(hole)
    assert tokenizer.piece(tokenizer.size + 5) == str(tokenizer.size + 5)


def test_padding_ends_where_the_model_does() -> None:
    library = Library.from_str(trained("WordPiece").to_str())
    library.enable_padding(pad_id=0, pad_token="[PAD]", length=512)
    tokenizer = Tokenizer(library.to_str())
    encoded = tokenizer.encode(["a film"])
    assert [len(tokenizer.padded(encoded, most=most)[0]) for most in (None, 128, 3)] == [512, 128, 4]


def test_another_vocabulary() -> None:
    tokenizer = made("WordPiece")
    tokenizer.check_rows(tokenizer.size, "input_ids")
    tokenizer.check_rows(None, "input_ids")
    with pytest.raises(
        InputError, match=r"tokenizer.json has \d+ tokens, and the table that 'input_ids' is looked up in has 50 rows"
    ):
        tokenizer.check_rows(50, "input_ids")
    with pytest.warns(UserWarning, match="make sure that it is this model's"):
        tokenizer.check_rows(1000, "input_ids")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no tokenizer at"):
        Tokenizer.read(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": 3}))
    with pytest.raises(InputError, match=r"tokenizer\.json is no tokenizer that the tokenizers library reads"):
        Tokenizer.read(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no text in UTF-8"):
        Tokenizer.read(tmp_path)
    assert tokenizer_beside(tmp_path) == tmp_path / "tokenizer.json"
    assert tokenizer_beside(tmp_path / "elsewhere") is None
    assert tokenizer_beside(None) is None


def test_what_is_no_text() -> None:
    for wrong in (3, ("a", "b", "c"), ("a", 3), None):
        with pytest.raises(InputError, match="expected a text or a pair of texts"):
            made("WordPiece").encode([wrong])  # type: ignore[list-item]


def test_it_goes_through_a_pickle_and_json() -> None:
    tokenizer = made("Unigram")
    again = pickle.loads(pickle.dumps(tokenizer))
    (found,) = again.encode(["a fine film"])
    assert found == tokenizer.encode(["a fine film"])[0]
    assert EncodedText.of_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert np.asarray(found.ids).dtype.kind == "i"
