"""What several files of evaluations share."""

from __future__ import annotations

import pytest

from tests.support.judged_models import Array, data_of


@pytest.fixture(scope="module")
def digits() -> Array:
    """Twenty digits, [20, 1, 8, 8]."""
    return data_of("digits")["image"]
