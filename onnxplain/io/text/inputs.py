"""Which inputs of a model take a text, recognised by name and type, and what they are given for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.errors import InputError
from onnxplain.io.text.encoded import EncodedText
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Tensor

__all__ = ["TextInputs"]

Array = np.ndarray[Any, Any]

MASK = re.compile(
    r"(^|[^a-z])((input|attention|attn|token|text|word|sequence|seq|sentence|ids)s?_?)+mask([^a-z]|$)", re.IGNORECASE
)
"""Masks that are 1 at tokens. Others have ones at padding (padding_mask), are of heads, or say nothing of their sense (mask)."""
ANY_MASK = re.compile(r"mask", re.IGNORECASE)
TYPES = re.compile(r"token_?type|segment|type_?ids", re.IGNORECASE)
POSITIONS = re.compile(r"position", re.IGNORECASE)
TOKENS = re.compile(r"(^|[^a-z])((input|token|word|source|text|prompt)_?)*(ids|tokens?|text)([^a-z]|$)", re.IGNORECASE)
OF_DECODERS = re.compile(r"decoder|past|cache|target", re.IGNORECASE)


@dataclass(frozen=True)
class TextInputs:
    """The inputs of a model by the role that they have for a text.

    Attributes:
        tokens: takes the ids of tokens, [samples, tokens] or [tokens].
        mask: takes ones at tokens and zeros at padding; None where there is none.
        types: takes segment numbers, 0 for the first text and 1 for the second.
        positions: takes the places of tokens, from 0.
        others: inputs that a text says nothing about.
    """

    tokens: Tensor
    mask: Tensor | None = None
    types: Tensor | None = None
    positions: Tensor | None = None
    others: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, inputs: Sequence[Tensor], tokens: str | None = None) -> TextInputs:
        """The roles of a model's inputs.

        Args:
            inputs: the model's inputs.
            tokens: the one that takes ids; None finds it by its name, or as the only one of integers.

        Returns:
            The roles.

        Raises:
            InputError: none, or more than one, may take the tokens of a text.
        """
        flat = [t for t in inputs if _takes_a_row(t)]
        roles: dict[str, Tensor] = {}
        free = []
        for tensor in flat:
            role = None if tensor.name == tokens else _role(tensor.name)
            if role is not None and role not in roles:
                roles[role] = tensor
            elif tensor.name == tokens or not ANY_MASK.search(tensor.name):
                free.append(tensor)
        found = _tokens(inputs, free, tokens)
        used = {found.name, *(t.name for t in roles.values())}
        return cls(found, **roles, others=tuple(t for t in inputs if t.name not in used))

    @property
    def length(self) -> int | None:
        """How many tokens the model takes, where that is fixed."""
        shape = self.tokens.shape or ()
        return shape[-1] if shape and isinstance(shape[-1], int) else None

    @property
    def filled(self) -> frozenset[str]:
        """The inputs that texts fill."""
        given = (self.tokens, self.mask, self.types, self.positions)
        return frozenset(t.name for t in given if t is not None)

    def feeds(self, encoded: Sequence[EncodedText], samples: int | None = 0) -> dict[str, Array]:
        """What the inputs are given for texts of one length.

        Args:
            encoded: the texts, as `Tokenizer.padded` gives them.
            samples: the axis of the tokens' input that counts samples; None where none does.

        Returns:
            Arrays by the name of the input, in the types that they take: ids, mask, types and positions [samples, tokens].

        Raises:
            InputError: several texts for a model that takes one.
        """
        attended = np.array([e.attended for e in encoded], np.int64).reshape(len(encoded), -1)
        rows = {
            "tokens": np.array([e.ids for e in encoded], np.int64).reshape(attended.shape),
            "mask": attended,
            "types": np.array([e.types for e in encoded], np.int64).reshape(attended.shape),
            "positions": np.maximum(np.cumsum(attended, axis=1) - 1, 0),  # padding before a text moves no token
        }
        made = {}
        for role, values in rows.items():
            tensor: Tensor | None = getattr(self, role)
            if tensor is not None:
                made[tensor.name] = _placed(values, tensor, samples).astype(tensor.dtype or np.int64)
        return made

    def with_others(self, feeds: Mapping[str, Array], given: Mapping[str, Any]) -> dict[str, Any]:
        """All inputs: those made of the texts, in their place those that were given.

        Raises:
            InputError: an input that a text says nothing about is missing.
        """
        missing = [t for t in self.others if t.name not in given]
        if missing:
            names = ", ".join(f"'{t.name}' {named_dims(t)} of {t.dtype}" for t in missing)
            masked = any(ANY_MASK.search(t.name) for t in missing)
            raise InputError(
                f"a text does not say what {names} {'is' if len(missing) == 1 else 'are'}: "
                f"give a dict, {{'{self.tokens.name}': text, '{missing[0].name}': array}}"
                + ("; only an attention mask, 1 at tokens and 0 at padding, is known by its name" if masked else "")
            )
        return {**feeds, **given}


def _takes_a_row(tensor: Tensor) -> bool:
    """Whether an input may hold one number per token of every sample."""
    kind = None if tensor.dtype is None else tensor.dtype.kind
    return kind not in ("O", "U", "S") and (tensor.shape is None or tensor.rank in (1, 2))


def _role(name: str) -> str | None:
    """What an input's name says of its role beside the tokens."""
    if OF_DECODERS.search(name):
        return None
    found = (("types", TYPES), ("mask", MASK), ("positions", POSITIONS))
    return next((role for role, pattern in found if pattern.search(name)), None)


def _tokens(inputs: Sequence[Tensor], free: Sequence[Tensor], named: str | None) -> Tensor:
    if named is not None:
        found = next((t for t in free if t.name == named), None)
        if found is None:
            raise InputError(f"input '{named}' takes no tokens: expected integers [samples, tokens]")
        return found
    called = [t for t in free if TOKENS.search(t.name) and not OF_DECODERS.search(t.name)]
    integers = [t for t in free if t.dtype is not None and t.dtype.kind in "iu" and not OF_DECODERS.search(t.name)]
    for candidates in (called, integers, free if len(inputs) == 1 else []):
        if len(candidates) == 1:
            return candidates[0]
    names = ", ".join(f"'{t.name}' {named_dims(t)} of {t.dtype}" for t in inputs)
    what = "none of the model's inputs takes" if not called and not integers else "several of the model's inputs may take"
    raise InputError(f"{what} the tokens of a text: {names}; give arrays by the name of the input")


def _placed(values: Array, tensor: Tensor, samples: int | None) -> Array:
    """Rows [samples, tokens] in the order of the input's axes."""
    if tensor.shape is not None and tensor.rank == 1:
        if len(values) != 1:
            raise InputError(
                f"the model takes one text at a time: '{tensor.name}' is {named_dims(tensor)}, got {len(values)} texts"
            )
        return np.asarray(values[0])
    return values.T if samples == 1 else values
