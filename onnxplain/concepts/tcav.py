"""TCAV: does a class depend on a concept that the user shows by examples? (Kim et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.analysis.target import TargetLike
from onnxplain.concepts.vectors import ConceptVector, concept_vector
from onnxplain.errors import InputError, LayerError, TargetError
from onnxplain.explain.explainer import Explainer
from onnxplain.io.reader import ModelLike
from onnxplain.runtime.guarded import guarded
from onnxplain.runtime.progress import track

__all__ = ["ConceptScore", "Tcav", "tcav"]

Array = np.ndarray[Any, Any]

RUNS = 10
"""Parts that one array of random examples is dealt out to."""
FEWEST = 3
"""Runs that a test needs at least."""


@dataclass(frozen=True)
class ConceptScore:
    """The result for one concept.

    Attributes:
        concept: its name.
        scores: one TCAV score per run, float64 [runs]: the share of samples whose score rises along the run's concept vector.
        accuracy: the share of held-out examples that the vectors tell from random ones correctly (0.5: chance).
        p: the p-value of a two-sided t-test that the mean score differs from that of random examples.
        significant: whether `p` is below the level divided by the number of concepts.
        vectors: the concept vectors, unit length, float64 [runs, elements of the layer].
    """

    concept: str
    scores: Array
    accuracy: float
    p: float
    significant: bool
    vectors: Array

    @property
    def score(self) -> float:
        """The mean TCAV score, 0 to 1."""
        return float(self.scores.mean())

    @property
    def spread(self) -> float:
        """The standard deviation of the scores over the runs."""
        return float(self.scores.std(ddof=1))


@dataclass(frozen=True)
class Tcav:
    """The scores of all concepts at one layer, for one target. The result of one concept is `tcav["name"]`.

    Attributes:
        concepts: one result per concept.
        random: the scores of random examples against other random examples, float64 [runs], which concepts are compared with.
        layer: the tensor that was looked at.
        target: the target, in words.
        samples: the number of samples.
        level: the level of significance.

    Example:
        >>> import numpy as np
        >>> from onnxplain import Tcav
        >>> from onnxplain.concepts.tcav import ConceptScore
        >>> stripes = ConceptScore("stripes", np.array([0.9, 0.7]), 0.95, 0.01, True, np.eye(2))
        >>> found = Tcav((stripes,), np.array([0.5, 0.4]), "Conv:0", "3", 100, 0.05)
        >>> round(found["stripes"].score, 2)
        0.8
    """

    concepts: tuple[ConceptScore, ...]
    random: Array
    layer: str
    target: str
    samples: int
    level: float

    def __getitem__(self, concept: str) -> ConceptScore:
        for found in self.concepts:
            if found.concept == concept:
                return found
        raise KeyError(concept)

    def table(self) -> list[dict[str, Any]]:
        """A row per concept.

        Returns:
            Dicts with the keys concept, score, spread, accuracy, p and significant, ready for JSON or pandas.DataFrame.
        """
        return [
            {
                "concept": c.concept, "score": c.score, "spread": c.spread, "accuracy": c.accuracy, "p": c.p,
                "significant": c.significant,
            }
            for c in self.concepts
        ]  # fmt: skip


@guarded
def tcav(
    model: ModelLike,
    layer: str,
    concepts: Mapping[str, Any],
    random: Any,
    x: Any,
    target: TargetLike,
    *,
    level: float = 0.05,
    strength: float = 1.0,
    seed: int = 0,
    **settings: Any,
) -> Tcav:
    """Test whether the score of a class depends on concepts.

    A linear classifier on the activations of the layer tells the examples of a concept from random ones. The normal of its
    boundary, towards the concept, is the concept vector v. The TCAV score is the share of the samples x whose score rises along
    it, ∂f/∂a · v > 0. This is done in several runs. Each has random examples *and examples of the concept* of its own, so that
    the runs are independent, as the t-test assumes. (With the same examples of the concept in every run, as in the paper, random
    concepts pass the test far more often than its level says.)

    Args:
        model: a path, bytes or a ModelProto.
        layer: tensor, node or module scope whose activations [n, …] are looked at.
        concepts: examples of every concept by its name: arrays like the model's input [n, …] (or dicts of them). The
            examples are dealt out to the runs.
        random: random examples: a sequence of sets, one per run, or one array, dealt out to ten runs.
        x: samples of the class, [n, …].
        target: whose score: anything that `Explainer` takes except "all".
        level: the level of significance; it is divided by the number of concepts (Bonferroni).
        strength: strength of the classifier's ℓ2 penalty, for activations of unit root mean square.
        seed: the seed of the order in which examples are dealt.
        **settings: as in `onnxplain.Explainer`: output, score, providers, batch_size, rules, threads.

    Returns:
        A result per concept, with the scores of random examples to compare with.

    Raises:
        InputError: too few examples or random sets, or examples that do not fit the model.
        LayerError: the layer has no activations per sample, or the examples look all the same there.
        MissingDependencyError: scikit-learn is not installed.

    Source: Kim, Wattenberg, Gilmer, Cai, Wexler, Viegas, Sayres 2018, "Interpretability Beyond Feature Attribution",
    sections 3.2-3.5.

    Example:
        >>> import numpy as np
        >>> from onnxplain import tcav
        >>> draw = np.random.default_rng(0)
        >>> noise = draw.uniform(0, 1, (60, 1, 8, 8)).astype(np.float32)
        >>> bars = noise * 0.2
        >>> bars[:, :, :, 3:5] += 0.8
        >>> images = np.load("fixtures/digits/data.npz")["image"]
        >>> found = tcav("fixtures/digits/model.onnx", "Conv:1", {"bar": bars}, noise, images, target=1)
        >>> found["bar"].scores.shape, found["bar"].accuracy > 0.9
        ((10,), True)
    """
    with optional("concepts", "concepts"):
        import scipy.stats  # noqa: F401
        import sklearn.linear_model  # noqa: F401
    if not concepts:
        raise InputError("no concepts: hand over examples by name, e.g. concepts={'striped': array}")
    if not 0 < level < 1:
        raise InputError(f"the level of significance lies between 0 and 1, found {level}")
    probe = _Probe(model, layer, settings)
    order = np.random.default_rng(seed)
    sets = _random_sets(probe, random, order)
    shown = {name: _dealt(probe.activations(f"concept '{name}'", e), len(sets), order, name) for name, e in concepts.items()}
    slopes, samples, explained = probe.slopes(x, target)
    jobs = [(None, (sets[i], sets[(i + 1) % len(sets)])) for i in range(len(sets))]
    work = [*jobs, *((name, pair) for name, parts in shown.items() for pair in zip(parts, sets, strict=True))]
    vectors: dict[str | None, list[ConceptVector]] = {}
    for name, (examples, others) in track(work, f"TCAV at {layer}", settings.get("progress")):
        vectors.setdefault(name, []).append(concept_vector(examples, others, strength, probe.tensor))
    scores = {name: np.array([_score(slopes, v.direction) for v in found]) for name, found in vectors.items()}
    null = scores.pop(None)
    found = []
    for name, values in scores.items():
        p = _p_value(values, null)
        accuracy = float(np.mean([v.accuracy for v in vectors[name]]))
        directions = np.stack([v.direction for v in vectors[name]])
        found.append(ConceptScore(str(name), values, accuracy, p, p < level / len(scores), directions))
    return Tcav(tuple(found), null, probe.tensor, explained, samples, level)


class _Probe:
    """Activations and slopes of one layer, from one session."""

    def __init__(self, model: ModelLike, layer: str, settings: Mapping[str, Any]) -> None:
        if not isinstance(layer, str):
            raise LayerError(f"TCAV looks at one layer at a time; expected its name, found {layer!r}")
        self._explainer = Explainer(model, "gradient", layer=layer, expose=["explained"], **settings)
        entries = list(self._explainer.about["attributions"].values())
        if len(entries) != 1:
            names = ", ".join(f"'{e['tensor']}'" for e in entries)
            raise LayerError(f"'{layer}' stands for several tensors: {names}; name one of them")
        self.tensor = str(entries[0]["tensor"])

    def activations(self, what: str, x: Any) -> Array:
        """What the layer makes of samples, float64 [n, elements]."""
        explanation = self._explainer(x)
        values = explanation.outputs[self.tensor]
        return self._rows(np.asarray(values), self._count(explanation.inputs), what)

    def slopes(self, x: Any, target: TargetLike) -> tuple[Array, int, str]:
        """The gradient of the target's score at the layer, float64 [n, elements]; n; the target in words."""
        explanation = self._explainer(x, target)
        gradients, count = explanation.attribution, self._count(explanation.inputs)
        if explanation.about["target"] == "all":
            raise TargetError("TCAV takes one target at a time: an index, or a contrast such as {3: 1, 5: -1}")
        rows = self._rows(gradients, count, "the samples x")
        if not rows.any():
            raise LayerError(f"the score has no slope at '{self.tensor}' for any of the {count} samples; choose another layer")
        chosen = explanation.target
        same = chosen is not None and (chosen == chosen[0]).all()
        words = explanation.about["target"] if chosen is None else str(int(chosen[0])) if same else "one per sample"
        return rows, count, str(words)

    def _count(self, inputs: Mapping[str, Array]) -> int:
        return max((len(a) for a in inputs.values() if a.ndim), default=1)

    def _rows(self, values: Array, count: int, what: str) -> Array:
        if values.ndim == 0 or len(values) != count:
            raise LayerError(
                f"'{self.tensor}' has shape {list(values.shape)} for {count} samples: TCAV needs a layer with an axis for samples"
            )
        rows = values.reshape(count, -1).astype(np.float64)
        if not np.isfinite(rows).all():
            raise LayerError(f"the activations of {what} at '{self.tensor}' are not finite")
        return rows


def _random_sets(probe: _Probe, random: Any, order: np.random.Generator) -> list[Array]:
    if isinstance(random, Mapping | np.ndarray):
        return _dealt(probe.activations("the random examples", random), RUNS, order, "random")
    if not isinstance(random, Sequence) or len(random) < FEWEST:
        count = len(random) if isinstance(random, Sequence) else "none"
        raise InputError(f"the test needs at least {FEWEST} sets of random examples (ten are better), found {count}")
    return [probe.activations(f"random set {i}", e) for i, e in enumerate(random)]


def _dealt(rows: Array, runs: int, order: np.random.Generator, name: str) -> list[Array]:
    """The examples in so many parts of nearly equal size."""
    if len(rows) < 2 * runs:
        raise InputError(
            f"'{name}' has {len(rows)} examples; {runs} runs need at least {2 * runs}, two for each: give more examples or fewer "
            "random sets"
        )
    return [rows[part] for part in np.array_split(order.permutation(len(rows)), runs)]


def _score(slopes: Array, direction: Array) -> float:
    """The share of samples whose score rises along the direction (Kim et al., eq. 2)."""
    return float((slopes @ direction > 0).mean())


def _p_value(scores: Array, null: Array) -> float:
    """Of a two-sided t-test for different means, without assuming equal variances (Welch)."""
    from scipy.stats import ttest_1samp, ttest_ind

    still, varying = sorted((scores, null), key=np.ptp)
    if np.ptp(varying) == 0:  # both means are known exactly
        return 1.0 if still[0] == varying[0] else 0.0
    if np.ptp(still) == 0:  # Welch's test where one variance is zero
        return float(ttest_1samp(varying, still[0]).pvalue)
    return float(ttest_ind(scores, null, equal_var=False).pvalue)
