"""How much memory this process holds and held at most."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["forget_peak", "peak", "resident"]

_STATUS = Path("/proc/self/status")


def resident() -> int:
    """Resident bytes now, after freed ones went back to the system; 0 where it cannot be told."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return _field("VmRSS")


def forget_peak() -> None:
    """Start a new peak at what is resident now; on systems other than Linux the peak is since the start of the process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """The most bytes that were resident at a time; 0 where it cannot be told."""
    return _field("VmHWM")


def _field(name: str) -> int:
    with suppress(OSError, StopIteration):
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name + ":"))
        return int(line.split()[1]) * 1024
    if name == "VmHWM" and sys.platform != "win32":
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return 0
