"""Arrays as data sets: .npy and .npz files, mapped into memory, and Zarr stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import InputError, nearest
from onnxplain.io.arrays import reading
from onnxplain.io.datasets.dataset import Array, Block, Problem
from onnxplain.io.npz import mapped_npy, mapped_npz
from onnxplain.ir.tensor import Tensor

__all__ = ["ArrayData"]


@dataclass(frozen=True)
class ArrayData:
    """Arrays whose first axes count samples.

    Args:
        paths: by input name, .npy, .npz or .zarr; "" stands for a file that holds all inputs.
        tensors: the model's inputs.

    Raises:
        InputError: a file cannot be read, lacks an input, or the arrays disagree on the number of samples.
    """

    paths: Mapping[str, Path]
    tensors: Sequence[Tensor]

    def __post_init__(self) -> None:
        counts = {name: int(array.shape[0]) if array.ndim else 0 for name, array in self._arrays.items()}
        if len(set(counts.values())) > 1:
            raise InputError(
                f"the arrays disagree on the number of samples: {', '.join(f'{n!r} has {c}' for n, c in counts.items())}"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {"paths": self.paths, "tensors": self.tensors}

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, path in self.paths.items():
            made |= self._taken(name, path, _opened(path))
        return made

    def _taken(self, name: str, path: Path, found: dict[str, Any]) -> dict[str, Any]:
        """The arrays of a file that the model takes."""
        wanted = [name] if name else [t.name for t in self.tensors]
        if len(found) == 1 and len(wanted) == 1:
            return {wanted[0]: next(iter(found.values()))}
        lost = [n for n in wanted if n not in found]
        if lost:
            raise InputError(f"{path} holds no array '{lost[0]}'; {nearest(lost[0], found)}")
        return {n: found[n] for n in wanted}

    @property
    def count(self) -> int:
        """The number of samples."""
        first = next(iter(self._arrays.values()))
        return int(first.shape[0]) if first.ndim else 0

    @property
    def features(self) -> list[str] | None:
        """Arrays name no features."""
        return None

    @property
    def ragged(self) -> bool:
        """Samples have one shape."""
        return False

    @property
    def mends(self) -> bool:
        """Numbers can be written in their places."""
        return True

    def fingerprint(self, start: int, stop: int) -> None:
        """Numbers of other samples in their places are not told apart."""
        return None

    def state(self) -> dict[str, Any]:
        """Names, shapes and types."""
        return {n: [str(self.paths.get(n, self.paths.get(""))), list(a.shape), str(a.dtype)] for n, a in self._arrays.items()}

    def read(self, start: int, stop: int) -> Iterator[Block | Problem]:
        """Some samples."""
        stop = min(stop, self.count)
        if start < stop:
            arrays = {n: np.array(a[start:stop]) for n, a in self._arrays.items()}
            yield Block(np.arange(start, stop, dtype=np.int64), None, arrays)


def _opened(path: Path) -> dict[str, Any]:
    """The arrays of a file by name, none of them read."""
    if path.suffix == ".npy":
        array: Array = reading(path, lambda: mapped_npy(path))
        return {"": array}
    if path.suffix == ".npz":
        found: dict[str, Any] = reading(path, lambda: mapped_npz(path))
        return found
    with optional("zarr", "Zarr stores"):
        import zarr
    store: Any = reading(path, lambda: zarr.open(str(path), mode="r"))
    return {"": store} if isinstance(store, zarr.Array) else dict(store.arrays())
