"""Explanation: attributions of a batch of samples with what they explain."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain.errors import InputError, LayerError, nearest

if TYPE_CHECKING:
    import os

    import matplotlib.figure
    import pandas as pd

__all__ = ["Explanation"]


@dataclass(frozen=True)
class Explanation:
    """What a method says about the predictions of a batch. The explanation of some of the samples is `explanation[2:5]`.

    Attributes:
        attributions: one array per explained tensor, by its name, in the tensor's shape [n, …]; with target="all"
            [n, targets, …].
        inputs: the arrays that were explained, by input name.
        outputs: what the model returned for them, by output name.
        target: the explained element of each sample, int64 [n], counted row by row where the output has several axes. None for
            contrasts, arbitrary vectors, sums and all targets, which `about["target"]` describes.
        about: the metadata of the explained model.
        labels: names of the classes.
        delta: the convergence delta of methods that integrate: by how much the attributions exceed the difference between the
            scores at input and baseline. [n], with target="all" [n, targets]; None for other methods.
        facts: what else the method knows, by name, [n, …]. `r2`: the quality of a fit. `standard_error`: of what was sampled.
            `base_value`: the score at the baseline. `groups`: the group of each element, with `group_values`. `curves` over a
            `grid`. What holds for all samples, such as the `filters` and `leaves` of a soft tree, is [1, …].

    Example:
        >>> import numpy as np
        >>> from onnxplain import Explainer
        >>> images = np.load("fixtures/digits/data.npz")["image"]
        >>> explanation = Explainer("fixtures/digits/model.onnx", "lrp-epsilon")(images)
        >>> explanation
        Explanation(lrp-epsilon, 20 samples, image [20, 1, 8, 8])
        >>> explanation[3].target
        array([3])
        >>> [(index, round(value, 2)) for index, value in explanation[3].top(2)[0]]
        [((0, 4, 5), 3.07), ((0, 4, 4), 1.65)]
    """

    attributions: Mapping[str, np.ndarray[Any, Any]]
    inputs: Mapping[str, np.ndarray[Any, Any]]
    outputs: Mapping[str, Any]
    target: np.ndarray[Any, Any] | None
    about: Mapping[str, Any]
    labels: Sequence[str] = field(default=())
    delta: np.ndarray[Any, Any] | None = None
    facts: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """The method's name."""
        return str(self.about["method"])

    @property
    def attribution(self) -> np.ndarray[Any, Any]:
        """The attribution, where only one tensor was explained.

        Raises:
            LayerError: several tensors were explained.
        """
        if len(self.attributions) != 1:
            raise LayerError(f"several tensors were explained; choose one of .attributions: {', '.join(self.attributions)}")
        return next(iter(self.attributions.values()))

    @property
    def left_out(self) -> Mapping[str, str]:
        """The model's inputs that got no attribution, with the reason, by name."""
        return dict(self.about.get("left_out", {}))

    def of(self, name: str | None = None) -> tuple[str, np.ndarray[Any, Any]]:
        """An attribution by the name of what it explains.

        Args:
            name: the explained tensor; None for the first.

        Returns:
            The name and the array, [n, …].

        Raises:
            LayerError: no tensor of this name was explained.
        """
        if name is None:
            return next(iter(self.attributions.items()))
        if name not in self.attributions:
            raise LayerError(f"nothing explained is called '{name}'; {nearest(name, self.attributions)}")
        return name, self.attributions[name]

    def __len__(self) -> int:
        return int(next(iter(self.attributions.values())).shape[0])

    def __iter__(self) -> Iterator[Explanation]:
        """The explanation of each sample."""
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """The attribution, as NumPy takes it.

        Raises:
            LayerError: several tensors were explained.
            ValueError: it is wanted in another type, and not as a copy.
        """
        values = self.attribution
        kind = values.dtype if dtype is None else np.dtype(dtype)
        if copy is False and kind != values.dtype:
            raise ValueError(f"the attribution is {values.dtype}; as {kind} it has to be copied")
        return values.astype(kind, copy=bool(copy))

    def __getitem__(self, samples: int | slice | Sequence[int] | np.ndarray[Any, Any]) -> Explanation:
        """The explanation of some of the samples: one by its number, a slice, several numbers, or where an array [n] is true.

        Raises:
            IndexError: there is no such sample.
        """
        chosen = self._chosen(samples)
        count = len(self)

        def cut(arrays: Mapping[str, Any]) -> dict[str, Any]:
            return {k: part(v) if hasattr(v, "__getitem__") and len(v) == count else v for k, v in arrays.items()}

        def part(values: Any) -> Any:
            if isinstance(values, np.ndarray) or isinstance(chosen, slice):
                return values[chosen]
            return [values[int(i)] for i in chosen]

        target = self.target[chosen] if self.target is not None and len(self.target) == count else self.target
        delta = None if self.delta is None else self.delta[chosen]
        return Explanation(
            cut(self.attributions), cut(self.inputs), cut(self.outputs), target, self.about, self.labels, delta, cut(self.facts)
        )

    def _chosen(self, samples: Any) -> slice | np.ndarray[Any, Any]:
        """What cuts samples out of an array and keeps their axis."""
        if isinstance(samples, slice):
            return samples
        count, numbers = len(self), np.asarray(samples)
        if numbers.ndim > 1 or numbers.dtype.kind not in ("iub" if numbers.size else "iubf"):
            raise TypeError(f"samples are chosen by a number, a slice, several numbers or truths, not by {samples!r}")
        if not numbers.ndim and numbers.dtype.kind != "b":
            at = operator.index(samples)
            if not -count <= at < count:
                raise IndexError(f"there is no sample {at}; the explanation has {count}")
            return slice(at % count, at % count + 1)
        return np.arange(count)[numbers if numbers.size else []]

    def label(self, sample: int) -> str:
        """What is explained of a sample, in words.

        Args:
            sample: the number of the sample.

        Returns:
            The name of the class where labels are known, else its number, or a description of the target.
        """
        if self.target is None:
            return str(self.about["target"])
        return self.class_name(int(self.target[sample]))

    def class_name(self, index: int) -> str:
        """The name of a class.

        Args:
            index: its number, as targets count.

        Returns:
            The name among `labels`, else the key of a map output (ZipMap), else the number as text.
        """
        found = self.outputs.get(str(self.about.get("output")))
        keys = list(found[0]) if isinstance(found, list) and found and isinstance(found[0], Mapping) else ()
        names = self.labels or keys
        return str(names[index]) if 0 <= index < len(names) else str(index)

    # -- reading -------------------------------------------------------------------------------------------------

    def pool(self, by: int | Sequence[int] | np.ndarray[Any, Any], name: str | None = None) -> np.ndarray[Any, Any]:
        """Sum attributions, which keeps their total.

        Args:
            by: an axis or axes to sum over (the channels of an image: 1; the width of an embedding: -1), or an integer array of
                group numbers in the shape of one sample (or one that broadcasts to it).
            name: which attribution; None for the first.

        Returns:
            The sums: without the axes, or [n, groups].

        Raises:
            LayerError: no tensor of this name was explained.
            InputError: the groups are not whole numbers from 0 on.
        """
        _, values = self.of(name)
        if isinstance(by, np.ndarray):
            groups = np.broadcast_to(by, values.shape[1:]).ravel()
            if groups.dtype.kind not in "iu" or groups.min() < 0:
                raise InputError("groups must be numbers from 0 on, one per element of a sample")
            flat = values.reshape(len(values), -1)
            return np.stack([np.bincount(groups, weights=row, minlength=int(groups.max()) + 1) for row in flat])
        axes = (by,) if isinstance(by, int) else tuple(by)
        return np.asarray(values.sum(axis=axes))

    def negative_share(self, name: str | None = None) -> np.ndarray[Any, Any]:
        """The share of negative attributions in the sum of absolute attributions.

        Args:
            name: which attribution; None for the first.

        Returns:
            One number from 0 to 1 per sample, float64 [n]; 0 where all attributions are zero.

        Raises:
            LayerError: no tensor of this name was explained.
        """
        _, values = self.of(name)
        flat = np.asarray(values, np.float64).reshape(len(values), -1)
        sizes = np.abs(flat).sum(axis=1)
        return np.asarray(np.abs(flat.clip(max=0)).sum(axis=1) / np.where(sizes > 0, sizes, 1.0))

    def top(self, k: int = 5, name: str | None = None) -> list[list[tuple[tuple[int, ...], float]]]:
        """The elements with the largest attributions, by absolute value.

        Args:
            k: how many per sample.
            name: which attribution; None for the first.

        Returns:
            For each sample a list of (indices, value), the largest first.

        Raises:
            LayerError: no tensor of this name was explained.
        """
        _, values = self.of(name)
        result = []
        for row in values:
            order = np.argsort(-np.abs(row), axis=None, kind="stable")[:k]
            places = [tuple(int(i) for i in np.unravel_index(o, row.shape)) for o in order]
            result.append([(place, float(row[place])) for place in places])
        return result

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain lists and numbers, ready for JSON.

        Returns:
            A dict with the keys about, target, labels, delta, facts, attributions and outputs.
        """
        return {
            "about": dict(self.about),
            "target": None if self.target is None else self.target.tolist(),
            "labels": [self.label(i) for i in range(len(self))] if self.target is not None else None,
            "delta": None if self.delta is None else self.delta.tolist(),
            "facts": {k: v.tolist() for k, v in self.facts.items()},
            "attributions": {k: v.tolist() for k, v in self.attributions.items()},
            "outputs": {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in self.outputs.items()},
        }

    def to_pandas(self, features: Sequence[str] | None = None, name: str | None = None) -> pd.DataFrame:
        """A long table: a row per sample and element.

        Args:
            features: names of the elements of a table's row; None numbers them.
            name: which attribution; None for the first.

        Returns:
            A frame with the columns sample, target, element (or feature), input value and attribution.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        from onnxplain.results.tables import long_table

        return long_table(self, features, name)

    def save(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write to a file whose ending says the form: .npz .json .csv .parquet .png .html.

        Args:
            path: the file to write.
            **options: of the form, such as those of `plot` for a picture.

        Returns:
            The path.

        Raises:
            OutputError: the folder does not exist or the ending is unknown.
            MissingDependencyError: the form needs a package that is not installed.
        """
        from onnxplain.results.save import save_explanation

        return save_explanation(self, Path(path), **options)

    def plot(self, **options: Any) -> matplotlib.figure.Figure:
        """A figure of input and attribution side by side, in the form that fits the data.

        Args:
            **options: as in `onnxplain.results.plot.plot.plot`.

        Returns:
            A matplotlib figure.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        from onnxplain.results.plot.plot import plot

        return plot([self], **options)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{k} {list(v.shape)}" for k, v in self.attributions.items())
        return f"Explanation({self.method}, {len(self)} samples, {shapes})"
