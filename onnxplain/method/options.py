"""The vocabulary of options: one meaning each, whichever method takes them."""

from __future__ import annotations

__all__ = ["OPTIONS"]

OPTIONS = {
    "axes": "axes of space or time; all after the samples and channels where nothing is said",
    "chunk": "samples × points in one run, or memory as '500MB'; where nothing is said, what fits into 512 MB, at most 64",
    "delta": "whether the file also returns the completeness gap of every sample",
    "fill": "the value of what a shift brings in from outside",
    "inner": "the method that is evaluated at every point; it takes its own options too",
    "multiply": "whether to multiply by the step of the input; where nothing is said, for inner methods that are per unit of it",
    "noise": "'seeded': made in the file, the same in every run and host; 'input': standard normal numbers given at run time",
    "noise_level": "standard deviation of the noise, in units of noise_unit",
    "noise_unit": "'range': of each sample's values, largest less smallest; 'absolute': the input's own unit",
    "path": "points on the way to the input, array [points, samples or 1, …]; 'input': given at run time",
    "quadrature": "gauss-legendre, riemann-left, riemann-right, riemann-middle, or riemann-trapezoid",
    "samples": "how many random draws",
    "seed": "chooses the random numbers",
    "shifts": "how far to shift along every axis, in elements, or a list of shifts, one number per axis",
    "sigma": "standard deviation of the blur where the path starts, in elements; a quarter of the largest extent where not said",
    "steps": "points per straight piece of the path (for the blur path: pieces)",
}
"""What each option means."""
