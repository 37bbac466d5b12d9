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
    """A restricted Boltzmann machine with Gaussian inputs: a density of the data.

    log p(x) = Σⱼ log(1 + exp(wⱼᵀx/σ + bⱼ)) − ‖x − a‖² / 2σ² + constant. Hidden units are binary; given those, h, the inputs are
    normal about a + σWh with standard deviation σ.

    Attributes:
        weights: W, float64 [elements, hidden].
        hidden: b, float64 [hidden].
        visible: a, float64 [elements].
        noise: σ.

    Source: Montavon, Samek, Müller 2017, "Methods for interpreting and understanding deep neural networks", section 3.2;
    Hinton, Salakhutdinov 2006, "Reducing the dimensionality of data with neural networks" (the machine).

    Example:
        >>> import numpy as np
        >>> from onnxplain import GaussianRBM
        >>> data = np.random.default_rng(0).normal(size=(200, 3))
        >>> expert = GaussianRBM.fit(data, hidden=4, epochs=5)
        >>> value, gradient = expert.log_density(data[:2])
        >>> value.shape, gradient.shape
        ((2,), (2, 3))
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
        """Fit the machine to data by persistent contrastive divergence.

        Args:
            x: samples [n, …].
            hidden: number of hidden units.
            noise: σ; None takes half the root mean square deviation of the data from its mean.
            epochs: passes over the data.
            batch: samples per step.
            rate: the size of the first step; it falls to zero.
            seed: the seed of the order, the start and the sampling.

        Returns:
            The fitted machine.

        Raises:
            InputError: there are fewer samples than a batch, or they are not finite, or all the same.

        Source: Tieleman 2008, "Training restricted Boltzmann machines using approximations to the likelihood gradient".
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
        """The log density and its gradient.

        Args:
            x: samples [n, …].

        Returns:
            log p(x) up to a constant, float64 [n], and its gradient in the shape of `x`.

        Raises:
            InputError: the samples have another number of elements than those the machine was fitted to.
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
