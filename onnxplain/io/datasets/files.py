"""A folder with a file for each sample, and WebDataset archives of such files."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
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


class OneByOne:
    """Samples that are a file each. Those in a row that have one shape are a block."""

    tensor: Tensor
    look: Preprocessing

    @property
    def count(self) -> int:
        """The number of samples."""
        raise NotImplementedError

    @property
    def features(self) -> list[str] | None:
        """Files name no features."""
        return None

    @property
    def ragged(self) -> bool:
        """Whether the input leaves the shape of a sample open."""
        return not all(isinstance(d, int) for d in (self.tensor.shape or (None, None))[1:])

    @property
    def mends(self) -> bool:
        """A file can be mended by itself."""
        return True

    def contents(self, numbers: range) -> Iterator[tuple[str, Path, IO[bytes] | None]]:
        """Of some samples the key, the path that messages name, and the content where it lies within another file."""
        raise NotImplementedError

    def read(self, start: int, stop: int) -> Iterator[Block | Problem]:
        """Some samples; a file that cannot be read is a problem."""
        gathered, numbers = Gathered(self.tensor.name), range(start, min(stop, self.count))
        for i, (key, path, content) in zip(numbers, self.contents(numbers), strict=True):
            try:
                yield from gathered.add(i, key, read_sample(path, self.tensor, self.look, content))
            except OnnxplainError as error:  # noqa: PERF203 - reading takes longer
                yield Problem(i, key, str(error))
        yield from gathered.rest()


@dataclass(frozen=True)
class FolderData(OneByOne):
    """A folder of pictures, arrays or texts, a sample each, in the order of their names; keys are paths within the folder.

    Args:
        folder: the folder; folders in it are searched too, but for hidden ones.
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

    def state(self) -> dict[str, Any]:
        """The folder, and the names of its files in one number."""
        return {"folder": str(self.folder), "files": self.count, "names": digest(self.paths)}

    def fingerprint(self, start: int, stop: int) -> str:
        """The sizes and times of files in one number."""
        found = [(self.folder / p).stat() for p in self.paths[start:stop]]
        return digest([(s.st_size, s.st_mtime_ns) for s in found])

    def contents(self, numbers: range) -> Iterator[tuple[str, Path, None]]:
        """The files of some samples."""
        return ((self.paths[i], self.folder / self.paths[i], None) for i in numbers)


@dataclass(frozen=True)
class TarData(OneByOne):
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

    def state(self) -> dict[str, Any]:
        """The archives, and the names of their members in one number."""
        names = digest([member[:3] for member in self.members])
        return {"archives": [str(a) for a in self.archives], "members": self.count, "names": names}

    def fingerprint(self, start: int, stop: int) -> str:
        """A checksum of members."""
        found = 0
        for _, _, content in self.contents(range(start, min(stop, self.count))):
            found = zlib.crc32(content.getbuffer(), found)
        return f"{found:08x}"

    def contents(self, numbers: range) -> Iterator[tuple[str, Path, io.BytesIO]]:
        """The members of some samples."""
        with ExitStack() as stack:
            archives: dict[int, IO[bytes]] = {}
            for i in numbers:
                key, number, ending, offset, size = self.members[i]
                if number not in archives:
                    archives[number] = stack.enter_context(open(self.archives[number], "rb"))
                archives[number].seek(offset)
                yield key, Path(f"{self.archives[number]}:{key}{ending}"), io.BytesIO(archives[number].read(size))


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
