"""What tests of explained models in JavaScript share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.web import install


@pytest.fixture(scope="session")
def modules() -> Path:
    """The packages that package-lock.json names, installed beside it."""
    return install()
