"""Suffixes of the names that preparation gives to tensors which a later analysis looks for."""

from __future__ import annotations

__all__ = ["LOGITS", "UNROUNDED"]

LOGITS = "_logits"
"""After a classifier's output: the logits whose softmax the two-class probabilities are."""

UNROUNDED = "_unrounded"
"""After a quantized output: what it was before it was rounded."""
