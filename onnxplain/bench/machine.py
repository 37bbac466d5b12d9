"""Describes the machine and the versions that a measurement was made with."""

from __future__ import annotations

import datetime
import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["machine", "today", "versions"]


def machine() -> dict[str, str]:
    """The processor, the number of cores available to this process, and the operating system."""
    name = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        flags = next(line.partition(":")[2].split() for line in lines if line.startswith("flags"))
        name += next((f", {label}" for flag, label in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"processor": name, "cores": str(cores), "system": f"{platform.system()} {platform.machine()}"}


def versions(*packages: str) -> dict[str, str]:
    """The versions of Python and of installed packages.

    Args:
        *packages: names of distributions. Those not installed are left out.

    Returns:
        Versions by name.
    """
    found = {"python": platform.python_version()}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def today() -> str:
    """Today's date in UTC, such as 2026-05-31."""
    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()
