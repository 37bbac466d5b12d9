"""A density of the data, to keep prototypes where data is: the restricted Boltzmann machine with Gaussian inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.errors import InputError

__all__ = ["GaussianRBM"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class GaussianRBM:
    """log p(x) = Σⱼ log(1 + exp(wⱼᵀx/σ + bⱼ)) − ‖x − a‖² / 2σ² + constant.

    Hidden units are binary, inputs normal about a + σWh with standard deviation σ. `weights` is W, float64
    [elements, hidden], `hidden` b [hidden], `visible` a [elements], `noise` σ.

    Source: Montavon, Samek, Müller 2017, "Methods for interpreting and understanding deep neural networks", section 3.2;
    Hinton, Salakhutdinov 2006 (the machine).
    """

    weights: Array
    hidden: Array
    visible: Array
    noise: float

    @staticmethod
    def fit(
        x: Array,
        *,
        hidden: int = 128,
        noise: float | None = None,
        epochs: int = 100,
        batch: int = 50,
        rate: float = 0.01,
        seed: int = 0,
    ) -> GaussianRBM:
        """Fit it to data by persistent contrastive divergence (Tieleman 2008).

        Args:
            x: samples [n, …].
            hidden: number of hidden units.
            noise: σ; None takes half the root mean square deviation of the data from its mean.
            epochs, batch, rate: passes over the data, samples per step, and the first step's size, which falls to zero.
            seed: of the order, the start and the sampling.

        Raises:
            InputError: fewer samples than a batch, not finite, or all the same.
        """
        rows = np.asarray(x, np.float64).reshape(len(x), -1)
        if len(rows) < batch:
            raise InputError(f"a density needs at least {batch} samples (batch), found {len(rows)}")
        if not np.isfinite(rows).all():
            raise InputError("the samples for the density are not finite")
        spread = float(np.sqrt(((rows - rows.mean(axis=0)) ** 2).mean()))
        if spread == 0:
            raise InputError("all samples for the density are the same")
        sigma = noise or spread / 2
        rng = np.random.default_rng(seed)
        y = rows / sigma
        w = rng.normal(0, 0.01, (y.shape[1], hidden))
        a, b = y.mean(axis=0), np.zeros(hidden)
        chains = y[rng.choice(len(y), batch, replace=False)]
        steps = epochs * (len(y) // batch)
        for step in range(steps):
            if step % (len(y) // batch) == 0:
                order = rng.permutation(len(y))
            at = step % (len(y) // batch) * batch
            data = y[order[at : at + batch]]
            on = _sigmoid(data @ w + b)
            state = rng.random((batch, hidden)) < _sigmoid(chains @ w + b)
            chains = a + state @ w.T + rng.normal(size=chains.shape)
            dreamt = _sigmoid(chains @ w + b)
            size = rate * (1 - step / steps)
            w += size * (data.T @ on - chains.T @ dreamt) / batch
            a += size * (data - chains).mean(axis=0)
            b += size * (on - dreamt).mean(axis=0)
        return GaussianRBM(w, b, a * sigma, sigma)

    def log_density(self, x: Array) -> tuple[Array, Array]:
        """log p(x) up to a constant, float64 [n], and its gradient in the shape of x.

        Raises:
            InputError: the samples have another number of elements than those it was fitted to.
        """
        rows = np.asarray(x, np.float64).reshape(len(x), -1)
        if rows.shape[1] != len(self.visible):
            raise InputError(f"the density is of {len(self.visible)} elements, the samples have {rows.shape[1]}")
        drive = rows @ self.weights / self.noise + self.hidden
        off = (rows - self.visible) / self.noise
        value = np.logaddexp(0, drive).sum(axis=1) - (off**2).sum(axis=1) / 2
        slope = (_sigmoid(drive) @ self.weights.T - off) / self.noise
        return value, slope.reshape(x.shape)


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))
