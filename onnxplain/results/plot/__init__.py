"""Figures of explanations: images, series, bars, curves and trees."""
