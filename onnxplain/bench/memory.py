"""The memory of this process: resident bytes now, and their peak."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["forget_peak", "peak", "resident"]

_STATUS = Path("/proc/self/status")


def resident() -> int:
    """Resident bytes now, after freed memory was returned to the system; 0 if the system does not report it."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return _field("VmRSS")


def forget_peak() -> None:
    """Reset the peak to the resident bytes now. On systems other than Linux the peak counts from the start of the process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """The peak of resident bytes; 0 if the system does not report it."""
    return _field("VmHWM")


def _field(name: str) -> int:
    """A field of the process status in bytes."""
    with suppress(OSError, StopIteration):
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name + ":"))
        return int(line.split()[1]) * 1024
    if name == "VmHWM" and sys.platform != "win32":
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return 0
