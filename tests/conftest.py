"""How the tests are dealt out to processes (`pytest -n 2`): a file stays whole, so that what its fixtures make is made once."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import pytest
from xdist.scheduler import LoadScopeScheduling

FIRST = (
    "tests/hosts/test_host_web.py",
    "tests/hosts/test_host_cpp.py",
    "tests/docs/test_packaging.py",
    "tests/concepts/test_tcav.py",
    "tests/runtime/test_cuda_placement.py",
)
"""Long files, begun before all others: one that is begun last keeps a single process busy while the rest have nothing to do."""

PARTS: Mapping[str, int] = {
    "tests/rules/test_gradients.py": 24,
    "tests/propagation/deeplift/test_deeplift_cases.py": 4,
}
"""Files that are too long for one process, and in how many parts they are dealt out. The tests of one case stay together."""


class ByFile(LoadScopeScheduling):
    """Deals out files, the long ones first and in parts."""

    def _split_scope(self, nodeid: str) -> str:
        path, _, test = nodeid.partition("::")
        parts = PARTS.get(path, 1)
        return path if parts == 1 else f"{path}:{zlib.crc32(test.partition('[')[2].encode()) % parts}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {path: i for i, path in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))
