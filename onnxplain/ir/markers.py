"""Parts of the names that preparation gives to tensors and nodes which a later analysis looks for."""

from __future__ import annotations

__all__ = ["LOGITS", "STAND_IN", "UNROUNDED"]

LOGITS = "_logits"
"""After a classifier's output: the logits whose softmax the two-class probabilities are."""

UNROUNDED = "_unrounded"
"""After a quantized output: what it was before it was rounded."""

STAND_IN = "onnxplain:stands-for"
"""In the name of a node: its values are those of its first input, its messages go to the second."""
