"""What is judged: one of our methods, which can explain again, or attributions made elsewhere."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from onnxplain.errors import InputError, MetricError
from onnxplain.evaluation.data import Data
from onnxplain.evaluation.metrics._scoring import Scoring
from onnxplain.explain.explainer import Explainer
from onnxplain.io.reader import ModelLike, read
from onnxplain.method.blackbox.players import player_axes
from onnxplain.method.registry import Method, find_method
from onnxplain.runtime.scorer import Array
from onnxplain.runtime.session import Arrays

__all__ = ["Explains", "Subject", "fitted_to_input", "shared_out"]

SETTINGS = ("layer", "mask", "baseline")
"""What may be given with a method's options and is a setting of `Explainer`."""

KEPT = 48
"""Changed models whose sessions are kept, at most."""

KEPT_BYTES = 2 * 10**9
"""Bytes of changed models that are kept, at most; each is there about three times, once as a message and twice in sessions."""


class Explains:
    """One model with one method: explains samples and scores them.

    Args:
        model: the model.
        method: the method's name; `options` its options, or settings of `Explainer` (layer, mask).
        data: the samples, for their shapes and settings.
        scoring: the model as a function; None for a model that a metric changed.
    """

    def __init__(self, model: ModelLike, method: str, options: Mapping[str, Any], data: Data, scoring: Scoring | None) -> None:
        found = find_method(method)
        own = {k: v for k, v in options.items() if k not in SETTINGS}
        settings = {k: v for k, v in options.items() if k in SETTINGS}
        known = {o.name for o in found.options}
        if "upsample" in known:  # maps at the size of the input
            own.setdefault("upsample", True)
        if "background" in known and not found.needs_baseline:  # else the samples of a batch would be each other's background
            own.setdefault("background", np.moveaxis(data.x, 0, data.axis))
        self._run_time = False
        if "baseline" not in settings and found.takes_baseline(found.checked(own)):
            given = data.baseline
            if data.x.dtype.kind != "f" and not found.forward_only:  # the baseline of an embedding
                settings["baseline"] = 0.0
            elif (given == given.flat[0]).all():
                settings["baseline"] = given.flat[0].item()
            else:
                self._run_time = True
        self._data, self._model = data, model
        request = data.request.for_method(found, own, inputs=[data.name], **settings)
        # A changed model goes through the passes that the model itself has gone through.
        running = data.running if scoring is not None else replace(data.running, trust=True)
        self._explainer = Explainer.of(model, request, running)
        self._scoring = scoring
        if found.overall or own.get("overall"):
            raise MetricError(
                f"method '{method}' speaks of all samples together here, and evaluations are of single explanations"
            )
        attributes_to, _ = found.attribution_site(found.checked(own))
        if attributes_to == "layer" or (settings.get("layer") and attributes_to == "explained"):
            raise MetricError(f"method '{method}' explains a layer here, and evaluations are of attributions of the input")

    def explain(self, feeds: Arrays, target: Array, baseline: Array | None = None) -> Array:
        """Attributions of the explained input, float64 in its shape [m, …].

        Raises:
            InputError: attributions are not finite.
        """
        if not self._data.batched:
            rows = [{k: v[i] for k, v in feeds.items()} for i in range(len(target))]
            made = [self._attribution(self._explainer(row, int(t))) for row, t in zip(rows, target, strict=True)]
            return fitted_to_input(np.stack(made), feeds[self._data.name])
        as_fed, name = self._data.scoring.forward.as_fed, self._data.name
        given = {"baseline": as_fed({name: baseline})[name]} if self._run_time and baseline is not None else {}
        return fitted_to_input(self._attribution(self._explainer(as_fed(feeds), target, **given)), feeds[self._data.name])

    def _attribution(self, explanation: Any) -> Array:
        name, facts = self._data.name, explanation.facts
        found = np.asarray(explanation.of(name)[1] if name in explanation.attributions else explanation.attribution)
        found = self._data.samples_first(found)
        groups = facts.get("groups", facts.get(f"groups.{name}"))
        return found if groups is None else shared_out(found, np.asarray(groups))

    @property
    def scoring(self) -> Scoring:
        """The model as a function."""
        if self._scoring is None:
            self._scoring = Scoring(self._data.forward(read(self._model)), self._data.batch_size)
        return self._scoring


class Subject:
    """What is judged.

    Args:
        label: its name in tables.
        data: the samples.
        method: a method's name, or None for attributions from elsewhere.
        options: of the method; `layer` and `mask` may be among them.
        attribution: from elsewhere, [n, …] in the shape of the explained input, without its channels, or with one channel.
        control: whether it is no explanation but something to compare explanations with.

    Raises:
        InputError: attributions do not fit; MethodError: no such method or option; others as `Explainer`.
    """

    def __init__(
        self, label: str, data: Data, *, method: str | None = None, options: Mapping[str, Any] | None = None,
        attribution: Any = None, control: bool = False,
    ) -> None:  # fmt: skip
        self.label, self.data, self.control = label, data, control
        self.method: Method | None = None if method is None else find_method(method)
        self.options = dict(options or {})
        self._changed: OrderedDict[Any, Explains] = OrderedDict()
        self._made: dict[Any, Any] = {}
        self._given: Array | None = None
        self._explains: Explains | None = None
        if self.method is None:
            try:
                self._given = fitted_to_input(data.samples_first(np.asarray(attribution)), data.x)
            except InputError as error:
                raise InputError(f"attributions '{label}': {error}") from None
        else:
            self._explains = Explains(data.source.copy().model if data.source.folder is None else _path(data), self.method.name,
                                      self.options, data, data.scoring)  # fmt: skip

    def attribution(self, samples: Array) -> Array:
        """Attributions of some of the samples, by their numbers: float64 [m, …]."""
        if self._given is not None:
            return self._given[samples]
        assert self._explains is not None
        return self._explains.explain(self.data.rows_of(samples), self.data.target[samples], self.data.baseline[samples])

    def everything(self) -> Array:
        """The attributions of all samples, made once, float64 [n, …]."""
        if self._given is None:
            step = max(1, self.data.batch_size or 64)
            numbers = np.arange(self.data.count)
            self._given = np.concatenate([self.attribution(numbers[i : i + step]) for i in numbers[::step]])
        return self._given

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """A value that a metric computes once for all samples, by key."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def forget(self) -> None:
        """Drop what was kept for later batches."""
        self._changed.clear()
        self._made.clear()

    @property
    def again(self) -> Explains | None:
        """What can explain other inputs; None for attributions made elsewhere."""
        return self._explains

    def changed(self, key: Any, make: Callable[[], onnx.ModelProto]) -> Explains:
        """The same method on a changed model, made once per key.

        Raises:
            MetricError: attributions from elsewhere cannot be made again.
        """
        if self.method is None:
            raise MetricError(f"attributions '{self.label}' come from a file, and a changed model cannot be explained anew")
        if key not in self._changed:
            model = make()
            most = max(1, min(KEPT, KEPT_BYTES // (3 * max(1, model.ByteSize()))))
            while len(self._changed) >= most:  # first, so that there are never more
                self._changed.popitem(last=False)
            self._changed[key] = Explains(model, self.method.name, self.options, self.data, None)
        self._changed.move_to_end(key)
        return self._changed[key]


def _path(data: Data) -> str:
    assert data.source.folder is not None
    return str(data.source.folder / data.source.name)


def shared_out(attribution: Array, groups: Array) -> Array:
    """Share the attribution of a group evenly among its elements, so that they sum to it.

    Every element of `attribution` holds the value of its whole group.

    Args:
        attribution: [n, …].
        groups: the group of each element, int [n, …]; −1 is none.

    Returns:
        Attributions [n, …].
    """
    made = np.zeros(attribution.shape)
    for row, of, into in zip(
        attribution.reshape(len(made), -1), groups.reshape(len(made), -1), made.reshape(len(made), -1), strict=True
    ):
        inside = of >= 0
        into[inside] = row[inside] / np.bincount(of[inside])[of[inside]]
    return made


def fitted_to_input(attribution: Array, x: Array) -> Array:
    """Attributions in the shape of the explained input, float64 [n, …].

    Axes that an embedding added behind are summed; a map without channels, or with one for all, is shared out among them evenly.

    Raises:
        InputError: another shape, or values that are no finite numbers.
    """
    shape = x.shape
    if attribution.dtype.kind not in "fiub":
        raise InputError(f"attributions are numbers, got {attribution.dtype}")
    values = np.asarray(attribution, np.float64)
    if values.shape == shape:
        pass
    elif values.ndim > len(shape) and values.shape[: len(shape)] == shape:
        values = values.sum(axis=tuple(range(len(shape), values.ndim)))
    else:
        values = _spread(values, shape)
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if bad.any():
        raise InputError(f"attributions of {int(bad.sum())} samples are not finite, first of sample {int(bad.argmax())}")
    return values


def _spread(values: Array, shape: tuple[int, ...]) -> Array:
    space = player_axes(shape, None) if len(shape) > 1 else []
    channels = [a for a in range(1, len(shape)) if a not in space]
    places = tuple(e for a, e in enumerate(shape) if a not in channels)
    if values.shape == (places[0], 1, *places[1:]):  # a map has its one channel first, wherever the input has its own
        values = values[:, 0]
    if values.shape == places:
        values = np.expand_dims(values, channels)
    if values.shape != tuple(1 if a in channels else e for a, e in enumerate(shape)) or not channels:
        raise InputError(f"expected attributions of shape {list(shape)}, got {list(values.shape)}")
    share = int(np.prod([shape[a] for a in channels]))
    return np.array(np.broadcast_to(values / share, shape))
