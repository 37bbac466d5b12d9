"""The vocabulary of options: one meaning each, whichever method takes them."""

from __future__ import annotations

__all__ = ["OPTIONS", "TYPES"]

OPTIONS = {
    "alpha": "weight of what speaks for the output, beta + 1",
    "axes": "axes of space or time; all after the samples and channels where nothing is said, for maps those the dataflow tells",
    "beta": "weight of what speaks against the output",
    "bias": "what happens to a bias's share: 'absorb' loses it, 'ignore' leaves the bias out, 'distribute' gives it to inputs",
    "centred": "whether each channel's mean over the places is taken off before, as principal components have it",
    "chunk": "samples × points in one run, or memory as '500MB'; if not said, 64 or what fits into 32 MB; a GPU likes more",
    "composite": "a composite of your own: a TOML file, or an onnxplain.Composite",
    "delta": "whether the file also returns the completeness gap of every sample",
    "epsilon": "stabilizer of the ε rule: what is weak beside it is absorbed",
    "fill": "the value of what a shift brings in from outside",
    "gamma": "how much what speaks for the output is favoured in the γ rule",
    "grid": "height and width of a layer of tokens; what there is more stands before them (a class token)",
    "high": "upper bound of the input: a number, one per channel, an array, or 'input' for run time",
    "inner": "the method that is evaluated at every point; it takes its own options too",
    "low": "lower bound of the input, as high",
    "multiply": "whether to multiply by the step of the input; where nothing is said, for inner methods that are per unit of it",
    "neuron": "an element of the layer, one choice for each axis after the samples: 3, or 3,10,12; ':' takes all along an axis",
    "noise": "'seeded': made in the file, the same in every run and host; 'input': standard normal numbers given at run time",
    "noise_level": "standard deviation of the noise, in units of noise_unit",
    "noise_unit": "'range': of each sample's values, largest less smallest; 'absolute': the input's own unit",
    "path": "points on the way to the input, array [points, samples or 1, …]; 'input': given at run time",
    "quadrature": "gauss-legendre, riemann-left, riemann-right, riemann-middle, or riemann-trapezoid",
    "relu": "whether a map keeps only what is above zero",
    "samples": "how many random draws",
    "seed": "chooses the random numbers",
    "shifts": "how far to shift along every axis, in elements, or a list of shifts, one number per axis",
    "sigma": "standard deviation of the blur where the path starts, in elements; a quarter of the largest extent where not said",
    "stabilizer": "the ε of sums, means and norms, where it is smaller than that of linear layers",
    "sums": "how a sum of live tensors shares: by 'contribution', or among 'positive' summands only",
    "steps": "points per straight piece of the path (for the blur path: pieces; for eigen-cam: how often a matrix is squared)",
    "upsample": "whether the map is enlarged to the input's places, linearly between those of the layer",
}
"""What each option means."""

TYPES = {
    "Bias": "text",
    "Sums": "text",
    "Bound": "number, list, array, text",
    "Bound | None": "number, list, array, text",
    "Neuron": "number, list, text",
    "Sequence[int] | None": "list",
    "str": "text",
    "str | Composite": "text, Composite",
    "Any": "array, text",
}
"""Types in the words of people, where Python's differ."""
