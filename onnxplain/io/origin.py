"""Origin: the model as it was handed over, to be run once more when its prediction is compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onnxplain.errors import ModelError

__all__ = ["Origin"]


@dataclass(frozen=True)
class Origin:
    """What was handed over: the bytes of a model, or a file with the state it had when it was read.

    Attributes:
        given: the bytes, or the path.
        state: of a file, its size and the time of its last change.
    """

    given: bytes | Path
    state: tuple[int, int] | None = None

    @classmethod
    def of_file(cls, path: Path) -> Origin:
        """A file as it is now."""
        return cls(path, _state(path))

    def unchanged(self) -> bytes | Path:
        """The bytes, or the path of a file that is still what was read.

        Raises:
            ModelError: the file changed, or is gone.
        """
        if isinstance(self.given, Path):
            state = _state(self.given) if self.given.is_file() else None
            if state != self.state:
                what = "is gone" if state is None else "changed"
                raise ModelError(
                    f"{self.given} {what} since it was read, and the first explanation compares with its prediction; "
                    "load the model anew, or take it on trust (trust=True, --trust)"
                )
        return self.given


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
