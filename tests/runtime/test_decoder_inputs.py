"""What decoders take beside token ids."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxplain.errors import InputError
from onnxplain.ir.tensor import Tensor
from onnxplain.runtime.decoder_inputs import decoder_inputs, head_sizes

IDS = np.array([[3, 1, 4], [1, 5, 9]])
INT, FLOAT = np.dtype(np.int64), np.dtype(np.float32)
TOKENS = Tensor("input_ids", INT, ("batch", "sequence"))
PAST = Tensor("past_key_values.0.key", FLOAT, ("batch", 2, "past", "size"))


def test_an_empty_past_has_the_size_of_heads_and_no_positions() -> None:
    made = decoder_inputs([TOKENS, PAST], IDS, {PAST.name: 8})
    assert made[PAST.name].shape == (2, 2, 0, 8)
    assert made[PAST.name].dtype == np.float32


def test_lengths_and_positions() -> None:
    wanted = [
        TOKENS,
        Tensor("position_ids", INT, ("batch", "sequence")),
        Tensor("seqlens_k", np.dtype(np.int32), ("batch", 1)),
        Tensor("total_sequence_length", np.dtype(np.int32), ()),
    ]
    made = decoder_inputs(wanted, IDS)
    assert made["position_ids"].tolist() == [[0, 1, 2], [0, 1, 2]]
    assert made["seqlens_k"].tolist() == [[2], [2]]
    assert made["total_sequence_length"].shape == ()
    assert made["total_sequence_length"] == 3


def test_a_step_with_a_past_is_given_what_follows_it() -> None:
    names = ("position_ids", "attention_mask", "past_sequence_length", "use_cache_branch")
    wanted = [TOKENS, *(Tensor(name, INT, ("batch", "sequence") if "_ids" in name or "mask" in name else (1,)) for name in names)]
    made = decoder_inputs(wanted, IDS, past=2)
    assert made["input_ids"].tolist() == [[4], [9]]
    assert made["position_ids"].tolist() == [[2], [2]]
    assert made["attention_mask"].tolist() == [[1, 1, 1]] * 2
    assert made["past_sequence_length"].tolist() == [2]
    assert made["use_cache_branch"].tolist() == [1]


@pytest.mark.parametrize(
    ("tensor", "said"),
    [(PAST, "size of a head"), (Tensor("pixel_values", FLOAT, ("batch", 3)), "does not follow from token ids")],
)
def test_what_does_not_follow_is_asked_for(tensor: Tensor, said: str) -> None:
    with pytest.raises(InputError, match=said):
        decoder_inputs([TOKENS, tensor], IDS)


@pytest.mark.parametrize("packed", [False, True])
def test_head_sizes_are_read_from_the_weights(packed: bool) -> None:
    """8 numbers per head; 4 heads of queries, 2 of keys."""
    wide = (4 + 2 * 2) * 8 if packed else 2 * 8
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["k"]),
        onnx.helper.make_node(
            "GroupQueryAttention", ["k", "", "", "pk", "pv"] if packed else ["q", "k", "v", "pk", "pv"], ["y"],
            domain="com.microsoft", num_heads=4, kv_num_heads=2,
        ),
    ]  # fmt: skip
    weight = onnx.numpy_helper.from_array(np.zeros((5, wide), np.float32), "w")
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [], [weight]))
    assert head_sizes(model) == {"pk": 8, "pv": 8}
