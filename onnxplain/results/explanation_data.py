"""What an explanation holds, and what is read off it: all that tables, figures and pages need to know."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from onnxplain.errors import InputError, LayerError, nearest
from onnxplain.io.metadata import sample_axis_in
from onnxplain.io.text.encoded import EncodedText
from onnxplain.io.text.units import TextUnit, units_of
from onnxplain.results.width import one_per_token

__all__ = ["ExplanationData"]

Self = TypeVar("Self", bound="ExplanationData")


@dataclass(frozen=True)
class ExplanationData:
    """The attributions of a batch of samples. `onnxplain.Explanation` says what the fields are."""

    attributions: Mapping[str, np.ndarray[Any, Any]]
    inputs: Mapping[str, np.ndarray[Any, Any]]
    outputs: Mapping[str, Any]
    target: np.ndarray[Any, Any] | None
    about: Mapping[str, Any]
    labels: Sequence[str] = field(default=())
    delta: np.ndarray[Any, Any] | None = None
    facts: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    features: Sequence[str] = ()
    sample_names: Sequence[str] = ()
    texts: Sequence[EncodedText] = ()
    target_names: Sequence[str] = ()

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
    def elements(self) -> np.ndarray[Any, Any] | None:
        """The explained elements, one index for each axis of a sample's output, [n, axes]: (position, token) of a language model.

        None where no single element per sample was explained, or the explained tensor is not among the outputs.
        """
        scores = self.outputs.get(str(self.about.get("output")))
        if self.target is None or not isinstance(scores, np.ndarray):
            return None
        axis = sample_axis_in(self.about, str(self.about["output"]))
        extents = scores.shape if axis is None else (*scores.shape[:axis], *scores.shape[axis + 1 :])
        return np.stack(np.unravel_index(self.target, extents), axis=-1) if extents else np.zeros((len(self.target), 0), np.int64)

    @property
    def left_out(self) -> Mapping[str, str]:
        """The model's inputs that got no attribution, with the reason, by name."""
        return dict(self.about.get("left_out", {}))

    @property
    def shared(self) -> list[str]:
        """The explained tensors that all samples share, so that their attributions are of all samples together."""
        return [n for n in self.attributions if len(self) > 1 and self.sample_axis(n) is None]

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
            The array, [n, …]; n is 1 where nothing counts samples. What is attributed to an input that all samples share is of
            all together, and stands there for each.

        Raises:
            LayerError: no tensor of this name was explained.
        """
        axis = self.sample_axis(name)
        _, values = self.of(name)
        return np.broadcast_to(values, (len(self), *values.shape)) if axis is None else np.moveaxis(values, axis, 0)

    def __len__(self) -> int:
        for name, values in self.attributions.items():
            axis = self.sample_axis(name)
            if axis is not None:
                return int(values.shape[axis])
        axes = ((fed, sample_axis_in(self.about, name)) for name, fed in self.inputs.items())
        return next((np.shape(fed)[axis] for fed, axis in axes if axis is not None), 1)

    def __iter__(self: Self) -> Iterator[Self]:
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

    def __getitem__(self: Self, samples: int | slice | Sequence[int] | np.ndarray[Any, Any]) -> Self:
        """The explanation of some of the samples: one by its number, a slice, several numbers, or where an array [n] is true.

        Raises:
            IndexError: there is no such sample.
        """
        chosen = self._chosen(samples)
        count = len(self)

        def part(value: Any, axis: int | None) -> Any:
            if not hasattr(value, "__getitem__") or axis is None or np.ndim(value) <= axis or np.shape(value)[axis] != count:
                return value
            if isinstance(value, list) and not isinstance(chosen, slice):
                return [value[int(i)] for i in chosen]
            return value[(slice(None),) * axis + (chosen,)] if axis else value[chosen]

        def cut(arrays: Mapping[str, Any]) -> dict[str, Any]:
            return {k: part(v, sample_axis_in(self.about, k)) for k, v in arrays.items()}

        target = self.target[chosen] if self.target is not None and len(self.target) == count else self.target
        delta = None if self.delta is None else self.delta[chosen]
        return replace(
            self,
            attributions={k: part(v, self.sample_axis(k)) for k, v in self.attributions.items()},
            inputs=cut(self.inputs),
            outputs=cut(self.outputs),
            target=target,
            delta=delta,
            facts={k: part(v, 0) for k, v in self.facts.items()},
            sample_names=_some(self.sample_names, chosen, count),
            texts=_some(self.texts, chosen, count),
            target_names=_some(self.target_names, chosen, count),
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
        """Name what was explained about a sample.

        Args:
            sample: the index of the sample.

        Returns:
            The name of the class if names are known, else its index; without a class, the description of the target.
        """
        if self.target_names:
            return self.target_names[sample]
        if self.target is None:
            return str(self.about["target"])
        return self.class_name(int(self.target[sample]))

    def sample_name(self, sample: int) -> str:
        """Name a sample.

        Args:
            sample: the index of the sample.

        Returns:
            The name, such as its file's; its number where it has none.
        """
        return str(self.sample_names[sample]) if sample < len(self.sample_names) else str(sample)

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

    # -- texts ---------------------------------------------------------------------------------------------------

    @property
    def text_input(self) -> str | None:
        """The input that took the tokens of the texts; None where no texts were explained."""
        return str(self.about["text"]["input"]) if self.texts else None

    def is_of_text(self, name: str) -> bool:
        """Whether an attribution is one of the tokens of texts: at the table that they are looked up in, or at further ones.

        Args:
            name: the attribution.

        Returns:
            Whether it is; False where no texts were explained.
        """
        own = self.text_input
        return own is not None and re.fullmatch(rf"{re.escape(own)}(_\d+)?", name) is not None

    @property
    def is_per_unit(self) -> bool:
        """Whether attributions are slopes, per unit of what is explained, rather than shares of the score."""
        return bool(self.about.get("method_info", {}).get("per_unit", False))

    def token_values(self) -> np.ndarray[Any, Any]:
        """The attribution of every token: the sum over the width of its embedding; of slopes, as gradients are, their norm.

        Returns:
            float64 [n, tokens]; with target="all" [n, targets, tokens].

        Raises:
            InputError: no texts were explained.
            LayerError: the tokens' input was not explained, but inner tensors were.
        """
        name = self.text_input
        if name is None:
            raise InputError("what was explained is no text: hand the Explainer texts, with tokenizer='tokenizer.json'")
        every = int(self.target is None and self.about.get("target") == "all")
        found = [self.samples_first(n) for n in self.attributions if self.is_of_text(n)]
        if not found:
            raise LayerError(f"the tokens of '{name}' have no attribution; explained: {', '.join(self.attributions)}")
        return one_per_token(found, 2 + every, self.is_per_unit)

    def text_units(self, by: str = "word", *, special: bool = False) -> list[list[TextUnit]]:
        """The words (or tokens, or sentences) of every text, with the sum of the attributions of their tokens.

        Args:
            by: "token", "word" or "sentence".
            special: whether tokens that the tokenizer added, padding among them, are listed too.

        Returns:
            For each sample its parts, in order.

        Raises:
            InputError: no texts were explained, there is no such unit, or all targets were explained together.
            LayerError: the tokens' input was not explained.
        """
        values = self.token_values()
        if values.ndim != 2:
            raise InputError("all targets were explained together; explain one to list its words")
        return [units_of(text, row, by, special=special) for text, row in zip(self.texts, values, strict=True)]

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

    def to_dict(self) -> dict[str, Any]:
        """Convert to lists and numbers, ready for JSON.

        Returns:
            A dict with the keys about, target, labels, delta, facts, attributions and outputs; of texts, texts too.
        """
        return {
            "about": dict(self.about),
            "target": None if self.target is None else self.target.tolist(),
            "labels": [self.label(i) for i in range(len(self))] if self.target is not None or self.target_names else None,
            "delta": None if self.delta is None else self.delta.tolist(),
            "facts": {k: v.tolist() for k, v in self.facts.items()},
            "attributions": {k: v.tolist() for k, v in self.attributions.items()},
            "outputs": {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in self.outputs.items()},
            **({"texts": [text.to_dict() for text in self.texts]} if self.texts else {}),
        }

    def __repr__(self) -> str:
        shapes = ", ".join(f"{k} {list(v.shape)}" for k, v in self.attributions.items())
        return f"Explanation({self.method}, {len(self)} sample{'s' if len(self) != 1 else ''}, {shapes})"


def _some(values: Sequence[Any], chosen: slice | np.ndarray[Any, Any], count: int) -> Sequence[Any]:
    """Those that belong to the chosen samples, of one per sample."""
    if len(values) != count:
        return values
    return values[chosen] if isinstance(chosen, slice) else [values[int(i)] for i in chosen]
