"""How the tests share a machine: threads that have nothing to do wait, and what shares a fixture runs in one process."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping

import pytest
from xdist.scheduler import LoadScopeScheduling

# Before NumPy is imported: its threads spin while they wait, and the processes of `pytest -n` take the cores from each other.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import onnxruntime

FIRST: tuple[tuple[str, ...], ...] = (
    ("tests/hosts/test_host_web.py", "tests/passes/test_batching.py"),
    ("tests/hosts/test_contract.py", "tests/hosts/test_host_cpp.py"),
    ("tests/docs/test_packaging.py",),
    ("tests/rules/test_fixtures.py", "tests/rules/test_contrib.py"),
    ("tests/runtime/test_cuda_placement.py",),
    ("tests/rules/test_quantized_optimized.py",),
    ("tests/explain/test_size.py",),
)
"""Long files, begun before all others: one that is begun last keeps a single process busy while the rest have nothing to do.
Those in one row explain the same models, and run in one process that rewrites each of them once."""

PARTS: Mapping[str, int] = {
    "tests/passes/test_translation_sweep.py": 6,
    "tests/rules/test_gradients.py": 24,
    "tests/propagation/deeplift/test_deeplift_cases.py": 4,
}
"""Files that are too long for one process, and in how many parts they are dealt out. The tests of one case stay together."""


class WaitingSessionOptions(onnxruntime.SessionOptions):  # type: ignore[misc]
    """As ONNX Runtime's own, with threads that sleep between runs instead of spinning."""

    def __init__(self) -> None:
        super().__init__()
        for threads in ("intra_op", "inter_op"):
            self.add_session_config_entry(f"session.{threads}.allow_spinning", "0")


onnxruntime.SessionOptions = WaitingSessionOptions


class ByFile(LoadScopeScheduling):
    """Deals out files, in the order in which they were collected, and the longest in parts."""

    def _split_scope(self, nodeid: str) -> str:
        path, _, test = nodeid.partition("::")
        if path in PARTS:
            return f"{path}:{zlib.crc32(test.partition('[')[2].encode()) % PARTS[path]}"
        return next((row[0] for row in FIRST if path in row), path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {path: i for i, path in enumerate(path for row in FIRST for path in row)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))
