"""Layers in every spelling: one function, written in the ways in which exporters, converters and optimizers write it."""
