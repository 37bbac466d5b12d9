"""A folder with a file for each sample, and WebDataset archives of such files."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np

from onnxplain.errors import InputError, OnnxplainError
from onnxplain.io.datasets.dataset import Array, Block, Problem
from onnxplain.io.images import PICTURES
from onnxplain.io.pictures.preprocessing import Preprocessing
from onnxplain.io.pictures.walking import files_in
from onnxplain.io.samples import read_sample
from onnxplain.ir.tensor import Tensor

__all__ = ["FolderData", "TarData", "digest"]

SAMPLES = (".npy", ".txt", *PICTURES)
"""Endings of files that hold one sample."""


@dataclass(frozen=True)
class FolderData:
    """A folder of pictures, arrays or texts, a sample each, in the order of their names; keys are paths within the folder.

    Args:
        folder: the folder; folders in it are searched too.
        tensor: the input that the files are for.
        look: how pixel values become input values.
        paths: the files; found where None.

    Raises:
        InputError: it holds no such files.
    """

    folder: Path
    tensor: Tensor
    look: Preprocessing
    paths: tuple[str, ...] = ()

    @classmethod
    def of(cls, folder: Path, tensor: Tensor, look: Preprocessing) -> FolderData:
        """The data set of a folder."""
        found = files_in(folder, SAMPLES)
        if not found:
            raise InputError(f"{folder} holds no samples; files of samples end in {', '.join(SAMPLES)}")
        return cls(folder, tensor, look, tuple(found))

    @property
    def count(self) -> int:
        """The number of files."""
        return len(self.paths)

    @property
    def features(self) -> list[str] | None:
        """Files name no features."""
        return None

    @property
    def ragged(self) -> bool:
        """Whether the input leaves the shape of a sample open."""
        return not all(isinstance(d, int) for d in (self.tensor.shape or (None, None))[1:])

    def state(self) -> dict[str, Any]:
        """The folder, and its files with their sizes in one number each."""
        sizes = [(p, (self.folder / p).stat().st_size) for p in self.paths]
        return {"folder": str(self.folder), "files": len(sizes), "names and sizes": digest(sizes)}

    def read(self, start: int, stop: int) -> Iterator[Block | Problem]:
        """Some samples; a file that cannot be read is a problem."""
        gathered = Gathered(self.tensor.name)
        for i in range(start, min(stop, self.count)):
            key = self.paths[i]
            try:
                yield from gathered.add(i, key, read_sample(self.folder / key, self.tensor, self.look))
            except OnnxplainError as error:
                yield Problem(i, key, str(error))
        yield from gathered.rest()


@dataclass(frozen=True)
class TarData:
    """WebDataset archives: files of the same name up to the first dot are a sample. One member of each is the input.

    Args:
        archives: the .tar files.
        tensor: the input that the members are for.
        look: how pixel values become input values.
        members: key, number of the archive, ending, offset and size of each sample.

    Raises:
        InputError: an archive is compressed, damaged, or holds no samples.
    """

    archives: tuple[Path, ...]
    tensor: Tensor
    look: Preprocessing
    members: tuple[tuple[str, int, str, int, int], ...] = field(repr=False, default=())

    @classmethod
    def of(cls, archives: Sequence[Path], tensor: Tensor, look: Preprocessing) -> TarData:
        """The data set of some archives."""
        found = [member for number, path in enumerate(archives) for member in _members(number, path)]
        twice = next((a[0] for a, b in pairwise(found) if a[:2] == b[:2]), None)
        if twice is not None:
            raise InputError(f"sample '{twice}' has several members that could be the input; keep one of {', '.join(SAMPLES)}")
        if not found:
            raise InputError(f"{archives[0]} holds no samples; members of samples end in {', '.join(SAMPLES)}")
        return cls(tuple(archives), tensor, look, tuple(found))

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(self.members)

    @property
    def features(self) -> list[str] | None:
        """Members name no features."""
        return None

    @property
    def ragged(self) -> bool:
        """Whether the input leaves the shape of a sample open."""
        return not all(isinstance(d, int) for d in (self.tensor.shape or (None, None))[1:])

    def state(self) -> dict[str, Any]:
        """The archives, and their members with their sizes in one number."""
        return {"archives": [str(a) for a in self.archives], "members": self.count, "names and sizes": digest(self.members)}

    def read(self, start: int, stop: int) -> Iterator[Block | Problem]:
        """Some samples; a member that cannot be read is a problem."""
        gathered, opened = Gathered(self.tensor.name), dict[int, IO[bytes]]()
        try:
            for i in range(start, min(stop, self.count)):
                key, number, ending, offset, size = self.members[i]
                if number not in opened:
                    opened[number] = open(self.archives[number], "rb")  # noqa: SIM115 - closed below
                opened[number].seek(offset)
                name = Path(f"{self.archives[number]}:{key}{ending}")
                try:
                    sample = read_sample(name, self.tensor, self.look, io.BytesIO(opened[number].read(size)))
                    yield from gathered.add(i, key, sample)
                except OnnxplainError as error:
                    yield Problem(i, key, str(error))
            yield from gathered.rest()
        finally:
            for file in opened.values():
                file.close()


def _members(number: int, path: Path) -> list[tuple[str, int, str, int, int]]:
    """The members of an archive that are samples."""
    found = []
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                place, _, ending = member.name.rpartition("/")[2].partition(".")
                if member.isfile() and place and f".{ending.lower()}".endswith(SAMPLES):
                    last = f".{ending.rpartition('.')[2].lower()}"
                    found.append((member.name[: -len(ending) - 1], number, last, member.offset_data, member.size))
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"cannot read {path}: {error}; an archive must not be compressed: unpack .tar.gz first") from None
    return found


class Gathered:
    """Samples that come one by one, as blocks of equal shape.

    Args:
        name: the input they are for.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._held: list[tuple[int, str, Array]] = []

    def add(self, index: int, key: str, sample: Array) -> Iterator[Block]:
        """Take a sample; gives the block before it, where its shape is another."""
        if self._held and (self._held[-1][2].shape, self._held[-1][2].dtype) != (sample.shape, sample.dtype):
            yield from self.rest()
        self._held.append((index, key, sample))

    def rest(self) -> Iterator[Block]:
        """The samples that no block had yet."""
        if self._held:
            index, keys, samples = zip(*self._held, strict=True)
            self._held = []
            yield Block(np.array(index, np.int64), list(keys), {self._name: np.stack(samples)})


def digest(value: Any) -> str:
    """A short digest of plain values."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
