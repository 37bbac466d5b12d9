"""Players: which elements of the inputs are present or absent together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import InputError, MethodError
from onnxplain.runtime.scorer import Array
from onnxplain.runtime.session import Arrays

__all__ = ["Groups", "Players", "grouped", "player_axes"]

Groups = "None | str | Sequence[int] | Array | Mapping[str, Any]"
"""A word of `WORDS`, or integer arrays: elements of one number make one group, those of a negative number stay as they are."""

WORDS = ("elements", "pixels", "superpixels", "segments", "inputs")

CHANNELS = (1, 3, 4)
"""Extents of an axis that counts the channels of a picture."""


@dataclass(frozen=True)
class Players:
    """Features or groups of them: `of` has the number of the player of each element of a sample, by input; −1 for none."""

    count: int
    of: Mapping[str, Array]
    plain: bool

    def spread(self, values: Array) -> dict[str, Array]:
        """Values [n, targets, players] at every element of the inputs, [n, targets, …]; 0 where there is no player."""
        wide = np.concatenate([values, np.zeros_like(values[..., :1])], axis=-1)
        return {name: wide[..., numbers] for name, numbers in self.of.items()}


def grouped(x: Arrays, groups: Any, parts: int, axes: Sequence[int] | None) -> list[Players]:
    """The players of samples [n, …] by input: one for all samples, or one per sample where they differ.

    Args:
        x: the explained inputs.
        groups: see `Groups`; "elements" each its own, "pixels" all channels of a place together, "superpixels" about `parts`
            regions of alike colour, "segments" about `parts` equal stretches or boxes, "inputs" each input whole.
        parts: how many superpixels or segments.
        axes: axes of space or time; see `spatial_axes`.
    """
    if parts < 1:
        raise MethodError(f"parts is the number of superpixels or segments, at least 1; got {parts}")
    if groups is None or isinstance(groups, str):
        word = groups or "elements"
        if word not in WORDS:
            raise MethodError(f"groups='{word}' is unknown; give {', '.join(WORDS)}, or an array of group numbers")
        numbers = {name: _by_word(word, name, array, parts, axes) for name, array in x.items()}
        offset = 0
        for name, array in numbers.items():
            numbers[name] = array + offset
            offset += int(array.max()) + 1
    else:
        numbers = _given(x, groups)
    plain = isinstance(groups, str | None) and groups in (None, "elements")
    count = max(len(v) for v in numbers.values())
    return [_players({n: v[min(i, len(v) - 1)] for n, v in numbers.items()}, plain) for i in range(count)]


def _players(numbers: dict[str, Array], plain: bool) -> Players:
    if plain:
        return Players(sum(v.size for v in numbers.values()), numbers, True)
    used = np.unique(np.concatenate([v.ravel() for v in numbers.values()]))
    used = used[used >= 0]
    if not len(used):
        raise InputError("groups leaves nothing to explain: every number is negative")
    return Players(len(used), {n: np.where(v < 0, -1, np.searchsorted(used, v)) for n, v in numbers.items()}, False)


def _given(x: Arrays, groups: Any) -> dict[str, Array]:
    named = groups if isinstance(groups, Mapping) else dict.fromkeys(x, groups)
    if isinstance(groups, Mapping) and set(groups) != set(x):
        raise InputError(f"groups needs an array for each explained input: {', '.join(x)}; got {', '.join(groups)}")
    made = {}
    for name, array in x.items():
        given = np.asarray(named[name])
        if given.dtype.kind not in "iu":
            raise InputError(f"groups of '{name}' must be whole numbers, one per element; got {given.dtype}")
        full = array.shape if given.ndim == array.ndim and len(given) > 1 else (1, *array.shape[1:])
        try:
            made[name] = np.array(np.broadcast_to(given, full), np.int64)
        except ValueError:
            raise InputError(
                f"groups of shape {list(given.shape)} do not fit a sample of '{name}' {list(array.shape[1:])}"
            ) from None
    return made


def _by_word(word: str, name: str, x: Array, parts: int, axes: Sequence[int] | None) -> Array:
    """Group numbers from 0 on, [1 or n, …]."""
    shape = x.shape[1:]
    if word == "elements":
        return np.arange(int(np.prod(shape))).reshape(1, *shape)
    if word == "inputs":
        return np.zeros((1, *shape), np.int64)
    space = player_axes(x.shape, axes)
    if word == "superpixels":
        return np.stack([_superpixels(sample, space, parts, name) for sample in x])
    extents = [x.shape[a] for a in space]
    each = extents if word == "pixels" else _split(extents, parts)
    numbers = np.zeros((), np.int64)
    for extent, pieces in zip(extents, each, strict=True):
        numbers = numbers[..., None] * pieces + np.arange(extent) * pieces // extent
    spread = [x.shape[a] if a in space else 1 for a in range(1, x.ndim)]
    return np.array(np.broadcast_to(numbers.reshape(spread), shape))[None]


def _split(extents: Sequence[int], parts: int) -> list[int]:
    """Pieces along each axis, about as many in all as asked for and about as long along one axis as along another."""
    side = (np.prod(extents, dtype=float) / parts) ** (1 / len(extents))
    return [max(1, min(extent, round(extent / side))) for extent in extents]


def player_axes(shape: Sequence[int], axes: Sequence[int] | None) -> list[int]:
    """The axes of space or time of a batch: those given, or all after samples and channels.

    Channels come first, or last where only the last axis of four has the extent of colours. Of the two axes of a series the
    longer one is time. A batch of rows has one axis.
    """
    rank = len(shape)
    if axes is not None:
        given = [axes] if isinstance(axes, int) else list(axes)
        found = sorted({a % rank for a in given})
        if not found or 0 in found or len(found) != len(given) or any(not -rank <= a < rank for a in given):
            raise MethodError(f"axes={given} does not fit an input of shape {list(shape)}; axis 0 counts samples")
        return found
    if rank == 4 and shape[-1] in CHANNELS and shape[1] not in CHANNELS:
        return [1, 2]
    if rank == 3:
        return [1 if shape[1] > shape[2] else 2]
    return list(range(2 if rank > 2 else 1, rank))


def _superpixels(sample: Array, space: Sequence[int], parts: int, name: str) -> Array:
    """Regions of alike colour (SLIC, Achanta et al. 2012) of one picture, the channels together."""
    if len(space) != 2 or sample.dtype.kind not in "fiu":
        raise MethodError(
            f"'{name}' with samples of shape {list(sample.shape)} is no picture to cut into superpixels; choose "
            "groups='segments', 'elements' or an array of group numbers"
        )
    with optional("blackbox", "superpixels"):
        from skimage.segmentation import slic
    inner = [a - 1 for a in space]
    channels = [a for a in range(sample.ndim) if a not in inner]
    picture = np.transpose(sample, (*inner, *channels)).reshape(*(sample.shape[a] for a in inner), -1).astype(np.float64)
    low, high = picture.min(), picture.max()
    compactness = 10 if picture.shape[-1] == 3 else 0.1  # colours become Lab, 0..100; other channels stay in 0..1
    unit = (picture - low) / max(high - low, 1e-12)
    regions = slic(unit, n_segments=parts, compactness=compactness, start_label=0, channel_axis=-1)
    spread = [sample.shape[a] if a in inner else 1 for a in range(sample.ndim)]
    return np.array(np.broadcast_to(np.asarray(regions, np.int64).reshape(spread), sample.shape))
