"""A model's inputs are recognised by name and type, and what nobody can know is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxplain.errors import InputError
from onnxplain.io.text.inputs import TextInputs
from onnxplain.ir.tensor import Tensor
from tests.support.made_tokenizers import made


def tensor(name: str, dtype: Any = np.int64, shape: Any = ("batch", "tokens")) -> Tensor:
    return Tensor(name, np.dtype(dtype), shape)


@pytest.mark.parametrize(("names", "roles"), [
    (["input_ids", "attention_mask", "token_type_ids"], {"tokens": "input_ids", "mask": "attention_mask", "types": "token_type_ids"}),
    (["input_ids", "position_ids", "attention_mask"], {"tokens": "input_ids", "positions": "position_ids", "mask": "attention_mask"}),
    (["input_word_ids", "input_mask", "input_type_ids"], {"tokens": "input_word_ids", "mask": "input_mask", "types": "input_type_ids"}),
    (["unique_ids_raw_output___9:0", "segment_ids:0", "input_mask:0", "input_ids:0"][1:], {"tokens": "input_ids:0", "mask": "input_mask:0", "types": "segment_ids:0"}),
    (["tokens"], {"tokens": "tokens"}),
    (["x"], {"tokens": "x"}),
    (["text", "attention_mask"], {"tokens": "text", "mask": "attention_mask"}),
    (["input_ids", "decoder_input_ids", "attention_mask"], {"tokens": "input_ids", "mask": "attention_mask"}),
])  # fmt: skip
def test_roles(names: list[str], roles: dict[str, str]) -> None:
    found = TextInputs.of([tensor(name) for name in names])
    assert {r: t.name for r in ("tokens", "mask", "types", "positions") if (t := getattr(found, r)) is not None} == roles
    assert [t.name for t in found.others] == [n for n in names if n not in roles.values()]


def test_other_inputs_are_asked_for() -> None:
    inputs = TextInputs.of([tensor("input_ids"), tensor("pixel_values", np.float32, ("batch", 3, 8, 8))])
    with pytest.raises(
        InputError, match=r"a text does not say what 'pixel_values' \[batch, 3, 8, 8\] of float32 is: give a dict"
    ):
        inputs.with_others({}, {})
    assert set(inputs.with_others({"input_ids": np.zeros(1)}, {"pixel_values": 1})) == {"input_ids", "pixel_values"}


@pytest.mark.parametrize("name", ["padding_mask", "src_key_padding_mask", "pad_mask", "head_mask", "mask", "src_mask"])
def test_masks_of_another_sense_are_asked_for(name: str) -> None:
    """Ones at padding, or at heads: only attention masks are known to be 1 at tokens."""
    inputs = TextInputs.of([tensor("ids"), tensor(name)])
    assert inputs.tokens.name == "ids"
    assert inputs.mask is None
    with pytest.raises(InputError, match=rf"does not say what '{name}' .* is: give a dict.*only an attention mask, 1 at tokens"):
        inputs.with_others({}, {})


@pytest.mark.parametrize(
    "name", ["attention_mask", "attn_mask", "input_mask:0", "token_mask", "Input_Mask", "encoder_attention_mask"]
)
def test_attention_masks_are_known(name: str) -> None:
    assert TextInputs.of([tensor("ids"), tensor(name)]).filled == {"ids", name}


@pytest.mark.parametrize(("inputs", "says"), [
    ([tensor("image", np.float32, ("batch", 3, 8, 8))], "none of the model's inputs takes the tokens of a text"),
    ([tensor("a"), tensor("b")], "several of the model's inputs may take the tokens of a text: 'a'"),
])  # fmt: skip
def test_unknown_roles(inputs: list[Tensor], says: str) -> None:
    with pytest.raises(InputError, match=says):
        TextInputs.of(inputs)


def test_the_user_says_which() -> None:
    assert TextInputs.of([tensor("a"), tensor("b")], "b").tokens.name == "b"
    with pytest.raises(InputError, match="input 'c' takes no tokens"):
        TextInputs.of([tensor("a")], "c")


def test_feeds() -> None:
    tokenizer = made("WordPiece")
    inputs = TextInputs.of(
        [tensor("input_ids", np.int32), tensor("attention_mask", np.float32), tensor("token_type_ids"), tensor("position_ids")]
    )
    encoded = tokenizer.padded(tokenizer.encode(["a film", ("a film", "good")]))
    feeds = inputs.feeds(encoded)
    assert {n: (a.dtype, a.shape) for n, a in feeds.items()} == {
        "input_ids": (np.int32, (2, 6)), "attention_mask": (np.float32, (2, 6)), "token_type_ids": (np.int64, (2, 6)), "position_ids": (np.int64, (2, 6)),
    }  # fmt: skip
    assert feeds["attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0], [1] * 6]
    assert feeds["token_type_ids"][1].tolist() == [0, 0, 0, 0, 1, 1]
    assert feeds["position_ids"][1].tolist() == [0, 1, 2, 3, 4, 5]
    later = inputs.feeds(encoded, samples=1)
    assert all((later[n] == feeds[n].T).all() for n in feeds)


def test_positions_begin_where_the_text_does() -> None:
    tokenizer = made("WordPiece")
    tokenizer._padding = {"pad_id": 0, "direction": "left"}
    feeds = TextInputs.of([tensor("input_ids"), tensor("position_ids")]).feeds(tokenizer.padded(tokenizer.encode(["a film"]), 6))
    assert feeds["position_ids"].tolist() == [[0, 0, 0, 1, 2, 3]]


def test_one_text_at_a_time() -> None:
    tokenizer = made("WordPiece")
    inputs = TextInputs.of([tensor("input_ids", shape=("tokens",))])
    assert inputs.feeds(tokenizer.encode(["a film"]))["input_ids"].shape == (4,)
    with pytest.raises(InputError, match=r"takes one text at a time: 'input_ids' is \[tokens\], got 2 texts"):
        inputs.feeds(tokenizer.encode(["a film", "a film"]))
    assert TextInputs.of([tensor("input_ids", shape=("batch", 8))]).length == 8
