"""Photographs as inputs: preprocessing as data, and the way back to a picture's own pixels."""
