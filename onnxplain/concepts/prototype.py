"""Activation maximization: the input that a model takes for the best example of a class (Montavon, Samek, Müller 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from onnxplain._optional import optional
from onnxplain.concepts.objective import Objective, make_objective
from onnxplain.concepts.penalties import penalties
from onnxplain.errors import InputError, MethodError, TargetError
from onnxplain.explain.explainer import Explainer
from onnxplain.io.reader import ModelLike
from onnxplain.ir.registry import load_registry
from onnxplain.runtime.guarded import guarded
from onnxplain.runtime.progress import track
from onnxplain.runtime.session import Providers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Expert", "Prototypes", "prototype"]

Array = np.ndarray[Any, Any]

SCORES = ("log-probability", "logit")


class Expert(Protocol):
    """A density of the data, such as `onnxplain.GaussianRBM`."""

    def log_density(self, x: Array) -> tuple[Array, Array]:
        """The log density and its gradient.

        Args:
            x: samples [n, …].

        Returns:
            log p(x) up to a constant, [n], and its gradient, in the shape of `x`.
        """


@dataclass(frozen=True)
class Prototypes:
    """One prototype per target.

    Attributes:
        x: the prototypes, [targets, …] in the shape and type of the model's input.
        targets: the classes.
        scores: the log-probability (or logit) of each class at its prototype, float64 [targets].
        objective: the scores less the penalties, and with the expert's density, float64 [targets].
        kind: what was maximized, "log-probability" or "logit".
        codes: what the decoder made the prototypes from; None without a decoder.

    Example:
        >>> from onnxplain import prototype
        >>> found = prototype("fixtures/digits/model.onnx", [3, 8], bounds=(0, 1), starts=1, steps=20)
        >>> found.x.shape, found.targets
        ((2, 1, 8, 8), (3, 8))
    """

    x: Array
    targets: tuple[int, ...]
    scores: Array
    objective: Array
    kind: str
    codes: Array | None = None

    @property
    def probabilities(self) -> Array:
        """The probability of each class at its prototype, float64 [targets].

        Raises:
            MethodError: logits were maximized.
        """
        if self.kind != "log-probability":
            raise MethodError("logits were maximized; run the model on .x for probabilities, or use score='log-probability'")
        return np.exp(self.scores)

    def nearest(self, data: Array) -> Array:
        """The distance of each prototype to the nearest sample of data.

        Args:
            data: samples [n, …].

        Returns:
            Euclidean distances, float64 [targets].

        Raises:
            InputError: the samples have another shape.
        """
        if data.ndim == 0 or not len(data) or data.shape[1:] != self.x.shape[1:]:
            raise InputError(f"expected data [n, {', '.join(map(str, self.x.shape[1:]))}], got {list(data.shape)}")
        rows = data.reshape(len(data), -1).astype(np.float64)
        return np.array([np.sqrt(((rows - p.ravel()) ** 2).sum(axis=1).min()) for p in self.x])

    def plot(self, labels: Sequence[str] = (), title: str | None = None) -> Figure:
        """A figure of the prototypes in a row, with their probabilities.

        Args:
            labels: names of the classes.
            title: the title of the figure.

        Returns:
            A matplotlib figure.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        from onnxplain.concepts.picture import plot_prototypes

        return plot_prototypes({"": self}, labels=labels, title=title)

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write to .png (a figure) or .npz (arrays x, targets, scores, objective and codes).

        Args:
            path: the file to write.
            **options: of `plot`, for a figure.

        Returns:
            The path.

        Raises:
            OutputError: the folder does not exist or the ending is unknown.
        """
        from onnxplain.concepts.picture import save_prototypes

        return save_prototypes(self, Path(path), **options)


@guarded
def prototype(
    model: ModelLike,
    target: int | str | Sequence[int],
    *,
    penalty: str | Mapping[str, float | None] | None = "l2",
    expert: Expert | None = None,
    weight: float = 0.05,
    decoder: ModelLike | None = None,
    score: str = "log-probability",
    bounds: tuple[float, float] | None = None,
    start: Array | None = None,
    starts: int = 4,
    steps: int = 500,
    seed: int = 0,
    output: str | None = None,
    rules: str | Path | Sequence[str | Path] | None = None,
    providers: Providers = None,
    progress: bool | None = None,
) -> Prototypes:
    """Search the input x that maximizes log p(class | x) − penalties(x) + weight · log p(x): activation maximization.

    The gradient comes from the rewritten model, the search is SciPy's L-BFGS-B. Of several starts the best result counts.

    Args:
        model: a path, bytes or a ModelProto, with one floating-point input.
        target: the class, several of them, or "all".
        penalty: "l2" (‖x‖²), "tv" (total variation), {name: strength} for one or several of your own strength, or None. With
            a decoder it is on the code.
        expert: a density log p(x) to stay close to the data (section 3.2): `GaussianRBM.fit(data)`, or your own.
        weight: of the expert. 1 is the product of both probabilities; a fitted density has steep modes, which at 1 may outweigh
            the class.
        decoder: a model that makes inputs from codes: the search then runs over the codes (section 3.3).
        score: "log-probability", or "logit" for the score itself, which does not depend on other classes and has no maximum.
        bounds: the least and greatest value of an element of x (of the code, with a decoder), e.g. (0, 1) for pixels.
        start: where to start, in the shape of x (or the code) without samples; None for several random starts.
        starts: number of random starts: normal with deviation 1, or uniform between the bounds.
        steps: steps of the optimiser, at most, from each start.
        seed: the seed of the starts.
        output: as in `onnxplain.rewrite`.
        rules: as in `onnxplain.rewrite`.
        providers: as in `onnxplain.Explainer`.
        progress: whether to show a progress bar; None shows it on a terminal.

    Returns:
        One prototype per target.

    Raises:
        InputError: start, bounds, decoder or model do not fit; the message says expected and found.
        TargetError: there is no such class.
        MethodError: there is no such penalty or score.
        MissingDependencyError: scipy is not installed.

    Source: Montavon, Samek, Müller 2017, "Methods for interpreting and understanding deep neural networks", section 3.

    Example:
        >>> from onnxplain import prototype
        >>> found = prototype("fixtures/digits/model.onnx", 3, bounds=(0, 1), starts=1, steps=50)
        >>> bool(found.probabilities[0] > 0.99)
        True
    """
    with optional("concepts", "prototypes"):
        import scipy.optimize  # noqa: F401
    if score not in SCORES:
        raise MethodError(f"score must be one of {', '.join(SCORES)}, not '{score}'")
    if expert is not None and decoder is not None:
        raise MethodError("an expert and a decoder are two ways to stay close to the data; choose one")
    if starts < 1 or steps < 1:
        raise MethodError(f"starts and steps must be at least 1, found {starts} and {steps}")
    if bounds is not None and not (len(bounds) == 2 and bounds[0] < bounds[1]):
        raise MethodError(f"bounds are the least and the greatest value, found {bounds}")
    objective = make_objective(model, decoder, output, score, load_registry(rules))
    search = _Search(objective, penalties(penalty), expert, weight, bounds, steps, Explainer(
        objective.model, "gradient", output=objective.score, score="probability", rules=rules, providers=providers,
        inputs=[objective.free.name], expose=["score", objective.picture.name],
    ))  # fmt: skip
    targets = _targets(target, search.classes)
    begin = search.starts(start, starts, np.random.default_rng(seed))
    found = [search.best(t, begin) for t in track(targets, f"prototypes of {len(targets)} classes", progress)]
    x, scores, values, codes = (np.stack(part) for part in zip(*found, strict=True))
    return Prototypes(x, tuple(targets), scores, values, score, codes if decoder is not None else None)


def _targets(given: int | str | Sequence[int], classes: int | None) -> list[int]:
    if isinstance(given, str):
        if given != "all" or classes is None:
            why = "the number of classes is unknown; name them" if given == "all" else "expected an index, several, or 'all'"
            raise TargetError(f"no prototypes of '{given}': {why}")
        return list(range(classes))
    found = [int(t) for t in np.atleast_1d(np.asarray(given))]
    wrong = [t for t in found if t < 0 or (classes is not None and t >= classes)]
    if wrong or not found:
        which = f"class {wrong[0]}" if wrong else "no class"
        raise TargetError(f"no prototype of {which}: the model has {classes or 'an unknown number of'} classes, counted from 0")
    return found


@dataclass(frozen=True)
class _Search:
    """One session, searched for every target."""

    objective: Objective
    penalties: list[Any]
    expert: Expert | None
    weight: float
    bounds: tuple[float, float] | None
    steps: int
    explainer: Explainer

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample of what is searched."""
        assert self.objective.free.shape is not None
        return tuple(d for d in self.objective.free.shape[1:] if isinstance(d, int))

    @property
    def classes(self) -> int | None:
        """How many scores there are; None where that is unknown."""
        shape = self.explainer.about["score"]["shape"]
        if shape is None or len(shape) != 2:
            raise TargetError(f"a prototype is of one class: expected scores [samples, classes], found {shape}")
        return shape[1] if isinstance(shape[1], int) else None

    def starts(self, given: Array | None, count: int, rng: np.random.Generator) -> list[Array]:
        """Where to begin."""
        if given is not None:
            if np.shape(given) != self.shape:
                raise InputError(f"expected a start {list(self.shape)}, got {list(np.shape(given))}")
            return [np.asarray(given, np.float64)]
        return [
            rng.normal(size=self.shape) if self.bounds is None else rng.uniform(*self.bounds, self.shape) for _ in range(count)
        ]

    def evaluate(self, x: Array, target: int) -> tuple[float, Array, float, Array]:
        """The objective and its gradient at x, the score alone, and the picture."""
        explanation = self.explainer(x[None].astype(self.objective.free.dtype), target)
        score = float(explanation.outputs[self.objective.score][0, target])
        slope = explanation.attribution[0].astype(np.float64)
        value = score
        for penalty, strength in self.penalties:
            size, pull = penalty(x[None])
            value, slope = value - strength * size, slope - strength * pull[0]
        if self.expert is not None:
            density, pull = self.expert.log_density(x[None])
            value, slope = value + self.weight * float(density[0]), slope + self.weight * pull[0]
        picture = explanation.outputs[self.objective.picture.name][0]
        return value, slope, score, picture

    def best(self, target: int, starts: Sequence[Array]) -> tuple[Array, float, float, Array]:
        """The picture, its score, the objective and the free variables of the best start."""
        from scipy.optimize import minimize

        def descent(flat: Array) -> tuple[float, Array]:
            value, slope, _, _ = self.evaluate(flat.reshape(self.shape), target)
            return -value, -slope.ravel()

        limits = None if self.bounds is None else [self.bounds] * int(np.prod(self.shape))
        options = {"maxiter": self.steps, "ftol": 1e-9}
        runs = [minimize(descent, s.ravel(), jac=True, method="L-BFGS-B", bounds=limits, options=options) for s in starts]
        x = min(runs, key=lambda r: float(r.fun)).x.reshape(self.shape)
        value, _, score, picture = self.evaluate(x, target)
        return picture, score, value, x
