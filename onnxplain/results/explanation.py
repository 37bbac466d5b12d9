"""`Explanation`: the attributions of a batch of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain.errors import InputError, LayerError, nearest
from onnxplain.io.metadata import sample_axis_in

if TYPE_CHECKING:
    import os

    import matplotlib.figure
    import pandas as pd
    import shap

    from onnxplain.results.importance import GlobalImportance

__all__ = ["Explanation"]


@dataclass(frozen=True)
class Explanation:
    """The attributions of a batch of samples. `explanation[2:5]` is the explanation of some of them.

    Attributes:
        attributions: one array per explained tensor, by name, in the tensor's shape [n, …]; with target="all" [n, targets, …].
        inputs: the explained inputs, by name.
        outputs: the model's outputs, by name.
        target: the explained output element of each sample, int64 [n]; an index into the flattened output if that has several
            axes. None for contrasts, sums, arbitrary vectors and all targets; `about["target"]` describes these.
        about: the metadata of the explained model.
        labels: names of the classes.
        delta: the convergence delta of methods that integrate: by how much the attributions exceed the difference between the
            scores at input and baseline. [n], with target="all" [n, targets]; None for other methods.
        facts: what else the method knows, by name, [n, …]. `r2`: the quality of a fit. `standard_error`: of what was sampled.
            `base_value`: the score at the baseline. `groups`: the group of each element, with `group_values`. `interactions`
            [n, features, features]: single features on the diagonal, half of every pair on either side of it; larger sets in
            `set_values`, with the members in `sets` (−1 for none). `curves` over a `grid`. What holds for all samples, like the
            `filters` and `leaves` of a soft tree, is [1, …].

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
        """The name of the method."""
        return str(self.about["method"])

    @property
    def attribution(self) -> np.ndarray[Any, Any]:
        """The attribution, if a single tensor was explained.

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
        """Get an attribution by the name of its tensor.

        Args:
            name: the explained tensor; None for the first.

        Returns:
            The name and the array [n, …].

        Raises:
            LayerError: no explained tensor has this name.
        """
        if name is None:
            return next(iter(self.attributions.items()))
        if name not in self.attributions:
            raise LayerError(f"nothing explained is called '{name}'; {nearest(name, self.attributions)}")
        return name, self.attributions[name]

    def sample_axis(self, name: str | None = None) -> int | None:
        """The axis of an attribution that counts samples.

        Args:
            name: which attribution; None for the first.

        Returns:
            The axis, 0 as a rule; None where nothing counts samples.

        Raises:
            LayerError: no tensor of this name was explained.
        """
        name, _ = self.of(name)
        entries = self.about.get("attributions", {})
        made = next((file for file, entry in entries.items() if entry["explains"] == name), name)
        return sample_axis_in(self.about, made)

    def samples_first(self, name: str | None = None) -> np.ndarray[Any, Any]:
        """An attribution with the samples along the first axis.

        Args:
            name: which attribution; None for the first.

        Returns:
            The array, [n, …]; n is 1 where nothing counts samples.

        Raises:
            LayerError: no tensor of this name was explained.
        """
        axis = self.sample_axis(name)
        _, values = self.of(name)
        return values[None] if axis is None else np.moveaxis(values, axis, 0)

    def __len__(self) -> int:
        return len(self.samples_first())

    def __getitem__(self, samples: int | slice) -> Explanation:
        """The explanation of some of the samples."""
        chosen = slice(samples, samples + 1 or None) if isinstance(samples, int) else samples
        count = len(self)

        def part(value: Any, axis: int | None) -> Any:
            if not hasattr(value, "__getitem__") or axis is None or np.ndim(value) <= axis or np.shape(value)[axis] != count:
                return value
            return value[(slice(None),) * axis + (chosen,)] if axis else value[chosen]

        def cut(arrays: Mapping[str, Any]) -> dict[str, Any]:
            return {k: part(v, sample_axis_in(self.about, k)) for k, v in arrays.items()}

        target = self.target[chosen] if self.target is not None and len(self.target) == count else self.target
        delta = None if self.delta is None else self.delta[chosen]
        return Explanation(
            {k: part(v, self.sample_axis(k)) for k, v in self.attributions.items()},
            cut(self.inputs), cut(self.outputs), target, self.about, self.labels, delta,
            {k: part(v, 0) for k, v in self.facts.items()},
        )  # fmt: skip

    def label(self, sample: int) -> str:
        """Name what was explained about a sample.

        Args:
            sample: the index of the sample.

        Returns:
            The name of the class if names are known, else its index; without a class, the description of the target.
        """
        if self.target is None:
            return str(self.about["target"])
        return self.class_name(int(self.target[sample]))

    def class_name(self, index: int) -> str:
        """The name of a class.

        Args:
            index: the index of the class.

        Returns:
            The name from `labels`, else the key of a map output (ZipMap), else the index as text.
        """
        found = self.outputs.get(str(self.about.get("output")))
        keys = list(found[0]) if isinstance(found, list) and found and isinstance(found[0], Mapping) else ()
        names = self.labels or keys
        return str(names[index]) if 0 <= index < len(names) else str(index)

    # -- reading -------------------------------------------------------------------------------------------------

    def pool(self, by: int | Sequence[int] | np.ndarray[Any, Any], name: str | None = None) -> np.ndarray[Any, Any]:
        """Sum attributions over axes or groups. The total is preserved.

        Args:
            by: one or more axes to sum over (1 for the channels of an image, -1 for the width of an embedding), or an
                integer array of group indices in the shape of one sample, or broadcastable to it.
            name: which attribution; None for the first.

        Returns:
            The sums, without the axes or as [n, groups].

        Raises:
            LayerError: no explained tensor has this name.
            InputError: the group indices are not integers from 0 on.
        """
        _, values = self.of(name)
        if isinstance(by, np.ndarray):
            values = self.samples_first(name)
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
            One number from 0 to 1 per sample, float64 [n]; 0 if all attributions are zero.

        Raises:
            LayerError: no explained tensor has this name.
        """
        values = self.samples_first(name)
        flat = np.asarray(values, np.float64).reshape(len(values), -1)
        sizes = np.abs(flat).sum(axis=1)
        return np.asarray(np.abs(flat.clip(max=0)).sum(axis=1) / np.where(sizes > 0, sizes, 1.0))

    def top(self, k: int = 5, name: str | None = None) -> list[list[tuple[tuple[int, ...], float]]]:
        """The elements with the largest absolute attributions.

        Args:
            k: the number of elements per sample.
            name: which attribution; None for the first.

        Returns:
            For each sample, a list of (index, value), the largest first.

        Raises:
            LayerError: no explained tensor has this name.
        """
        result = []
        for row in self.samples_first(name):
            order = np.argsort(-np.abs(row), axis=None, kind="stable")[:k]
            places = [tuple(int(i) for i in np.unravel_index(o, row.shape)) for o in order]
            result.append([(place, float(row[place])) for place in places])
        return result

    def interactions(self, most: int | None = 10, size: int | None = None) -> list[list[tuple[tuple[int, ...], float]]]:
        """The sets of features, or of groups of them, that do most together, by absolute value.

        The matrix [n, features, features] of single features and pairs is `facts["interactions"]`.

        Args:
            most: how many per sample; None takes all.
            size: sets of so many members only; None takes all of two and more.

        Returns:
            For each sample a list of (members, value), the largest first. Elements of inputs are numbered through.

        Raises:
            MethodError: the method leaves no interactions.
            InputError: all targets were explained together.

        Example:
            >>> import numpy as np
            >>> from onnxplain import Explainer
            >>> rows = np.load("fixtures/blackbox/reference.npz")["iris"]
            >>> explanation = Explainer("fixtures/blackbox/forest.onnx", "k-sii", baseline=rows.mean(axis=0))(rows)
            >>> explanation.facts["interactions"].shape
            (6, 4, 4)
            >>> [(members, round(value, 3)) for members, value in explanation.interactions(1)[0]]
            [((0, 3), -0.125)]
        """
        from onnxplain.results.interactions import strongest_sets

        return strongest_sets(self, most, size)

    def to_dict(self) -> dict[str, Any]:
        """Convert to lists and numbers, ready for JSON.

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

    def to_pandas(
        self, features: Sequence[str] | None = None, name: str | None = None, *, interactions: bool = False
    ) -> pd.DataFrame:
        """A long table: a row per sample and element, or per sample and set of elements.

        Args:
            features: the names of a sample's elements; None numbers them.
            name: which attribution; None for the first.
            interactions: whether to list sets of features instead, single ones among them.

        Returns:
            A frame with the columns sample, target, element (or feature), input value and attribution; of sets sample, target,
            order (how many members), features and interaction, and standard_error where it was estimated.

        Raises:
            MethodError: interactions are asked of a method that leaves none.
            MissingDependencyError: pandas is not installed.
        """
        from onnxplain.results.tables import long_table, set_table

        return set_table(self, features) if interactions else long_table(self, features, name)

    def to_shap(
        self, features: Sequence[str] | None = None, name: str | None = None, *, interactions: bool = False
    ) -> shap.Explanation:
        """SHAP's own object, for its plots: `shap.plots.beeswarm(explanation.to_shap(columns))`.

        Args:
            features: names of the elements of a sample.
            name: which attribution; None for the first, or for all inputs of a table together.
            interactions: whether its values are the interactions [n, features, features] instead.

        Returns:
            A `shap.Explanation`: values (targets last where all were explained), base_values - the score where no feature is
            present, as the method says, else what the attributions leave of the score, NaN where neither is known -, data,
            feature_names and output_names.

        Raises:
            MethodError: interactions are asked of a method that leaves none.
            MissingDependencyError: shap is not installed.
        """
        from onnxplain.results.shap_object import to_shap_object

        return to_shap_object(self, features, name, interactions=interactions)

    def importance(self, by: str | Sequence[Any] | None = None, features: Sequence[str] | None = None) -> GlobalImportance:
        """How much features matter over the samples: mean sizes of attributions, by class or cohort.

        Args:
            by: "class" for one cohort per explained class, a label per sample, or None for all samples together. Where all
                targets were explained, every class is a cohort anyway.
            features: names of the elements of a sample.

        Returns:
            Means with standard errors, a row per cohort; `to_pandas()` makes a table of them, and `plot(form="importance")` draws
            them.

        Raises:
            InputError: not one label per sample, or a wrong number of features.
            OutputError: what was explained is no table.

        Example:
            >>> import numpy as np
            >>> from onnxplain import Explainer
            >>> rows = np.load("fixtures/cancer/data.npz")["features"]
            >>> explainer = Explainer("fixtures/cancer/model.onnx", "kernel-shap", baseline=rows.mean(axis=0), samples=200)
            >>> explanation = explainer(rows)
            >>> found = explanation.importance("class")
            >>> found.cohorts, found.sizes.shape
            (('0', '1'), (2, 30))
        """
        from onnxplain.results.importance import global_importance

        return global_importance(self, by, features)

    def save(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write to a file. Its ending determines the format: .npz, .json, .csv, .parquet, .png or .html.

        Args:
            path: the file.
            **options: options of the format, for example those of `plot` for .png.

        Returns:
            The path.

        Raises:
            OutputError: the ending is unknown, or the folder does not exist.
            MissingDependencyError: the format needs a package that is not installed.
        """
        from onnxplain.results.save import save_explanation

        return save_explanation(self, Path(path), **options)

    def plot(self, **options: Any) -> matplotlib.figure.Figure:
        """Draw inputs and attributions side by side, in the form that fits the data.

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
