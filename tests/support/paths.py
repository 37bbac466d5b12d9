"""Where things lie in the repository."""

from __future__ import annotations

from pathlib import Path

__all__ = ["FIXTURES", "ROOT"]

ROOT = Path(__file__).resolve().parent.parent.parent
FIXTURES = ROOT / "fixtures"
