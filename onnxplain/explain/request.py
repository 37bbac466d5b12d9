"""Request: what is asked for, checked once and handed on as one value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from onnxplain.analysis.sample_axis import AUTO, SampleAxisLike
from onnxplain.analysis.target import Target, TargetLike, parse_target
from onnxplain.errors import MethodError
from onnxplain.explain.similarity import SCORE, Similarity
from onnxplain.ir.registry import Registry, load_registry
from onnxplain.method.context import Baseline
from onnxplain.method.masks import Masks
from onnxplain.method.registry import Method, find_method, graph_method

__all__ = ["Request"]


@dataclass(frozen=True)
class Request:
    """What is to be explained, and how. `Request.of` builds one from what users write.

    Attributes:
        method: the method.
        options: its options, with defaults filled in.
        registry: the rules of operators.
        target: what is explained of the output.
        output: the output, or None for the first that carries scores.
        inputs: the inputs to explain, or None for all that the output depends on.
        layer: inner tensors to explain, or to go through.
        baseline: the reference input.
        score: one of `onnxplain.analysis.score.SCORES`.
        sample_axis: what the user says of the axes that count samples, by input or output, or of all inputs; "auto" finds them.
        mask: by layer, what may pass there.
        batch_size: samples per run within the file; None runs them all at once.
        only_attribution: whether the model's own outputs are left out.
        expose: inner tensors that become outputs too. "score" stands for the tensor the backward pass starts from and
            "explained" for those that get an attribution.
        similarity: what an embedding is compared with; the score is then the output that `with_similarity` adds.
    """

    method: Method
    options: dict[str, Any]
    registry: Registry
    target: Target = field(default_factory=Target)
    output: str | None = None
    inputs: Sequence[str] | None = None
    layer: tuple[str, ...] = ()
    baseline: Baseline = None
    score: str = "logit"
    sample_axis: SampleAxisLike = AUTO
    mask: Masks = field(default_factory=dict)
    batch_size: int | None = None
    only_attribution: bool = False
    expose: tuple[str, ...] = ()
    similarity: Similarity | None = None

    @classmethod
    def of(
        cls,
        method: str | Method = "gradient",
        *,
        options: Mapping[str, Any] | None = None,
        registry: Registry | None = None,
        target: TargetLike = None,
        layer: str | Sequence[str] | None = None,
        mask: Masks | None = None,
        expose: Sequence[str] = (),
        **settings: Any,
    ) -> Request:
        """A request from what users write.

        Args:
            method: a name from `onnxplain.methods()`, or the method itself.
            options: its own options.
            registry: the rules of operators; None for those of the package.
            target, layer, mask, expose: as users write them.
            **settings: the other fields, as they are.

        Raises:
            MethodError: no such method or option, or a baseline for a method that compares with none.
            TargetError: the target has no known form.
        """
        found = find_method(method) if isinstance(method, str) else method
        made = cls(
            found,
            found.checked(dict(options or {})),
            registry or load_registry(),
            parse_target(target),
            layer=(layer,) if isinstance(layer, str) else tuple(layer or ()),
            mask=mask or {},
            expose=tuple(expose),
            **settings,
        )
        if made.similarity is not None:
            made = replace(made, output=SCORE)
        if not found.forward_only and made.baseline is not None and not made.compares:
            raise MethodError(f"method '{found.name}' compares with no baseline; leave --baseline out or choose another method")
        return made

    @classmethod
    def for_graph(cls, method: str = "gradient", **settings: Any) -> Request:
        """As `of`, for a method that a graph can hold.

        Raises:
            MethodError: the method needs many forward passes.
        """
        return cls.of(graph_method(method), **settings)

    @property
    def compares(self) -> bool:
        """Whether the method compares with a reference input."""
        return self.method.takes_baseline(self.options)

    def with_options(self, **changes: Any) -> Request:
        """The same request with other options of the method."""
        return replace(self, options=self.method.checked({**self.options, **changes}))

    def for_method(self, method: str | Method, options: Mapping[str, Any] | None = None, **changes: Any) -> Request:
        """The same model, output, inputs, score, sample axes and rules for another method.

        Args:
            method: the method or its name.
            options: its own options.
            **changes: what else is asked for, as in `of`; nothing else is taken over.

        Raises: as `of`.
        """
        same = {
            "registry": self.registry, "output": self.output, "inputs": self.inputs, "score": self.score,
            "sample_axis": self.sample_axis,
        }  # fmt: skip
        return Request.of(method, options=options, **{**same, **changes})
