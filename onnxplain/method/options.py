"""The vocabulary of options: one meaning each, whichever method takes them."""

from __future__ import annotations

__all__ = ["OPTIONS", "TYPES"]

OPTIONS = {
    "alpha": "weight of what speaks for the output, beta + 1",
    "antithetic": "whether every second order is the reverse of the one before",
    "axes": "axes of space or time; all after the samples and channels where not said (black-box methods: the longer of two)",
    "background": "rows of data [m, …] that absent features take their values from; a dict of them for several inputs",
    "beta": "weight of what speaks against the output; of a soft tree: how sharply its nodes decide",
    "bias": "what happens to a bias's share: 'absorb' loses it, 'ignore' leaves the bias out, 'distribute' gives it to inputs",
    "bins": "into how many parts of equal frequency LIME cuts a column of numbers; None: the numbers themselves",
    "categorical": "numbers of the columns that hold categories",
    "cells": "cells of the coarse mask along every axis",
    "chunk": "samples × points in one run, or memory as '500MB'; if not said, 64 or what fits into 32 MB; a GPU likes more",
    "composite": "a composite of your own: a TOML file, or an onnxplain.Composite",
    "delta": "whether the file also returns the completeness gap of every sample",
    "depth": "splits from the root to a leaf",
    "epochs": "how often the training goes through the rows",
    "epsilon": "stabilizer of the ε rule: what is weak beside it is absorbed",
    "fill": "the value of what a shift brings in from outside",
    "gamma": "how much what speaks for the output is favoured in the γ rule",
    "grid": "values of a feature: 'quantiles', as often as in the data, or 'even' steps",
    "groups": "what comes and goes together: 'elements', 'pixels', 'superpixels', 'segments', 'inputs', or group numbers",
    "high": "upper bound of the input: a number, one per channel, an array, or 'input' for run time",
    "holdout": "share of the rows kept apart to see how well the surrogate imitates",
    "inner": "the method that is evaluated at every point; it takes its own options too",
    "keep": "how many features the local model may use; None: all",
    "kernel_width": "how far from the input copies count; where not said, 0.75 √columns for tables, 0.25 (of the cosine) else",
    "loss": "'error', 'cross-entropy' or 'squared'",
    "low": "lower bound of the input, as high",
    "multiply": "whether to multiply by the step of the input; where nothing is said, for inner methods that are per unit of it",
    "noise": "'seeded': made in the file, the same in every run and host; 'input': standard normal numbers given at run time",
    "noise_level": "standard deviation of the noise, in units of noise_unit",
    "noise_unit": "'range': of each sample's values, largest less smallest; 'absolute': the input's own unit",
    "overall": "whether to give one importance for all samples together",
    "parts": "how many superpixels or segments",
    "path": "points on the way to the input, array [points, samples or 1, …]; 'input': given at run time",
    "penalty": "how strongly nodes of a soft tree are kept from sending everything to one side",
    "points": "how many values of a feature are tried",
    "probability": "how likely a cell of the mask is visible",
    "quadrature": "gauss-legendre, riemann-left, riemann-right, riemann-middle, or riemann-trapezoid",
    "ridge": "how strongly the weights of the local model are shrunk",
    "samples": "how many random draws",
    "seed": "chooses the random numbers",
    "shifts": "how far to shift along every axis, in elements, or a list of shifts, one number per axis",
    "sigma": "standard deviation of the blur where the path starts, in elements; a quarter of the largest extent where not said",
    "stabilizer": "the ε of sums, means and norms, where it is smaller than that of linear layers",
    "steps": "points per straight piece of the path (for the blur path: pieces)",
    "stride": "how far the window moves, one number or one per axis of space or time; half a window where not said",
    "sums": "how a sum of live tensors shares: by 'contribution', or among 'positive' summands only",
    "truth": "the true class or value of every sample, for a loss",
    "window": "extent of the window, one number or one per axis of space or time; an eighth of the input where not said",
}
"""What each option means."""

TYPES = {
    "Bias": "text",
    "Sums": "text",
    "Bound": "number, list, array, text",
    "Bound | None": "number, list, array, text",
    "str": "text",
    "str | Composite": "text, Composite",
    "Any": "array, text",
}
"""Types in the words of people, where Python's differ."""
