"""`Explanation`: attributions of a batch of samples with their tables, figures and pages, which are loaded when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxplain.results.explanation_data import ExplanationData

if TYPE_CHECKING:
    import os

    import matplotlib.figure
    import pandas as pd
    import shap
    import xarray

    from onnxplain.results.importance import GlobalImportance

__all__ = ["Explanation"]


@dataclass(frozen=True, repr=False)
class Explanation(ExplanationData):
    """The attributions of a batch of samples. `explanation[2:5]` is the explanation of some of them.

    Attributes:
        attributions: one array per explained tensor, by name, in the tensor's shape [n, …]; with target="all" [n, targets, …].
        inputs: the explained inputs, by name.
        outputs: the model's outputs, by name.
        target: the explained output element of each sample, int64 [n]; an index into the flattened output if that has several
            axes. None for contrasts, sums, arbitrary vectors and all targets; `about["target"]` describes these.
        about: the metadata of the explained model.
        labels: names of the classes.
        features: names of a sample's elements, such as a table's columns; tables, pictures and pages use them.
        sample_names: names of the samples, such as those of their files.
        delta: the convergence delta of methods that integrate: by how much the attributions exceed the difference between the
            scores at input and baseline. [n], with target="all" [n, targets]; None for other methods.
        facts: what else the method knows, by name, [n, …]. `r2`: the quality of a fit. `standard_error`: of what was sampled.
            `base_value`: the score at the baseline. `groups`: the group of each element, with `group_values`. `interactions`
            [n, features, features]: single features on the diagonal, half of every pair on either side of it; larger sets in
            `set_values`, with the members in `sets` (−1 for none). `curves` over a `grid`. `detections` [n, most, 8] of a
            detector: left, top, right, bottom, score, class, number and whether it is explained, NaN where there are fewer;
            `picture` says which picture an explanation is of. What holds for all samples, like the
            `filters` and `leaves` of a soft tree, is [1, …].
        texts: where texts were explained, the tokens of each with their places in it; `text_units("word")` has their words.
        target_names: what was explained of each sample, where it has a name of its own, such as a token of a language model.

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

    def to_pandas(
        self, features: Sequence[str] | None = None, name: str | None = None, *, interactions: bool = False, by: str | None = None
    ) -> pd.DataFrame:
        """A long table: a row per sample and element, or per sample and set of elements; of texts, a row per word.

        Args:
            features: the names of a sample's elements; None numbers them.
            name: which attribution; None for the first.
            interactions: whether to list sets of features instead, single ones among them.
            by: of texts what a row is: "token", "word" (as where none is said) or "sentence".

        Returns:
            A frame with the columns sample, target, element (or feature), input value and attribution; of sets sample, target,
            order (how many members), features and interaction, and standard_error where it was estimated; of texts sample,
            target, text, part, start, end, tokens, added and attribution.

        Raises:
            MethodError: interactions are asked of a method that leaves none.
            MissingDependencyError: pandas is not installed.
        """
        from onnxplain.results.tables import long_table, set_table

        return set_table(self, features) if interactions else long_table(self, features, name, by)

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

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Explanation:
        """Read an explanation that `save` wrote to a .npz file.

        Args:
            path: the file.

        Returns:
            The explanation. Options that cannot be written as JSON come back as text, and so do the classes of a ZipMap.

        Raises:
            InputError: the file cannot be read, or holds no explanation that can be read back.

        Example:
            >>> import numpy as np
            >>> from onnxplain import Explainer, Explanation
            >>> image = np.load("fixtures/digits/digit_3.npy")
            >>> path = Explainer("fixtures/digits/model.onnx")(image).save("/tmp/three.npz")
            >>> Explanation.load(path).target
            array([3])
        """
        from onnxplain.results.load import load_fields

        return cls(**load_fields(Path(path)))

    def to_xarray(self) -> xarray.Dataset:
        """An `xarray.Dataset` with named axes: the attributions as `<name>_attribution`, inputs and outputs by name, `target`.

        The axis of the samples is called `sample` and has the names of the samples, if they have any; other axes are called after
        the tensor, with a number. What is known of the method is in `attrs`.

        Returns:
            The data set.

        Raises:
            MissingDependencyError: xarray is not installed.
        """
        from onnxplain.results.xarray_object import to_xarray_object

        return to_xarray_object(self)

    def save(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write to a file. Its ending determines the format: .npz, .json, .csv, .parquet, .html, .png, .jpg, .webp, .svg or .pdf.

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

    def _repr_html_(self) -> str:
        """What a notebook shows: the page of the first samples."""
        from onnxplain.results.notebook import explanation_html

        return explanation_html(self)

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
