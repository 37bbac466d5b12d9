"""Measuring what explanations cost: forward against explained, in processes of their own, one at a time."""

from __future__ import annotations
