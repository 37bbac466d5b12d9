"""Photographs as inputs: preprocessing, and the way back."""
