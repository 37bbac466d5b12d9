"""Metrics, one family a file, and what they share (names with an underscore)."""
