"""Detectors: what they find, named in words, and explained at the candidates that it came from."""
