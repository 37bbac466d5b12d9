"""The methods: named, user-facing ways to explain. A method is passes, a composite, a cotangent and a finish."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, TypeAlias, TypeVar

from onnxplain.errors import MethodError, nearest
from onnxplain.ir.graph import Graph
from onnxplain.ir.ops import Traits
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.composite import GRADIENT, Composite

__all__ = ["AttributionSite", "Method", "Option", "all_methods", "find_method", "graph_method", "method"]

T = TypeVar("T")

FAMILIES = (
    "gradient", "taylor", "path", "blur", "expected", "noise", "translation", "deeplift", "lrp", "attention", "cam",
    "perturbed_cam", "layers", "additive", "tree_shap",
)  # fmt: skip
"""The files of this folder that define methods, in the order users see them."""

BLACK_BOX = (
    "ablation",
    "occlusion",
    "permutation",
    "exact",
    "sampling",
    "kernel",
    "interactions",
    "owen",
    "lime",
    "rise",
    "d_rise",
    "dependence",
    "ale",
    "h_statistic",
    "tree",
    "soft_tree",
    "connections",
)
"""The files of `onnxplain.method.blackbox` that do."""

Serves: TypeAlias = "Callable[[Graph, Tensor, Traits], object]"
"""A model, the score that is explained, and the facts about operators: raises where a method cannot serve it."""

AttributionSite: TypeAlias = Literal["explained", "layer", "input", "map", "column", "token"]
"""Where attributions lie, and so what `layer=` means to a method.

"explained": on the inputs, or on the layers named. "column": on the inputs as they are, of any type; layers mean nothing.
"token": likewise, on the input of tokens.
"layer": on the layers named, while the inputs vary. "input": on the inputs, by way of one layer. "map": on the places of an
input, from one layer.
"""


@dataclass(frozen=True)
class Option:
    """A method's option, read from the signature of its function."""

    name: str
    default: Any
    annotation: str


@dataclass(frozen=True)
class Method:
    """A way to explain: `run(context, **options)` returns the attribution of every explained tensor.

    A method with `forward_only` writes nothing into the graph: its `run(context, **options)` takes an
    `onnxplain.method.blackbox.task.Task` and returns a `PerturbationResult`.
    """

    name: str
    run: Callable[..., Any]
    summary: str
    formula: str
    source: str
    axioms: tuple[str, ...]
    needs_baseline: bool
    signed: bool
    composite: Composite | Callable[..., Composite]
    options: tuple[Option, ...]
    multi_point: bool = False
    per_unit: bool = False
    attributes_to: AttributionSite = "explained"
    auto_layer: bool = False
    forward_only: bool = False
    overall: bool = False
    serves: Serves | None = None
    takes_missing: bool = False
    usual_rows: int | None = None

    def __reduce__(self) -> tuple[Callable[[str], Method], tuple[str]]:
        """A pickle holds the name."""
        return find_method, (self.name,)

    @property
    def info(self) -> dict[str, str | bool]:
        """What a reader of its results should know, as the metadata of an explained model holds it."""
        return {"summary": self.summary, "formula": self.formula, "source": self.source, "signed": self.signed}

    def is_per_unit(self, options: Mapping[str, Any]) -> bool:
        """Whether attributions with these options are slopes: signed, per unit of the input, and multiplied by no step of it.

        Averages of another method (smoothgrad) are what that method is; paths are, where they are told not to multiply.
        """
        inner = self.inner(options)
        if inner is None:
            return self.per_unit
        multiplies = any(o.name == "multiply" for o in self.options) and options.get("multiply") is not False
        return self.signed and not multiplies and inner.is_per_unit({k: v for k, v in options.items() if k != "inner"})

    def inner(self, options: Mapping[str, Any]) -> Method | None:
        """The method that this one evaluates at other points; None where it evaluates none."""
        default = next((o.default for o in self.options if o.name == "inner"), None)
        return None if default is None else graph_method(options.get("inner", default))

    def takes_baseline(self, options: Mapping[str, Any]) -> bool:
        """Whether it, or the method within it, compares with a reference input."""
        inner = self.inner(options)
        return self.needs_baseline or (
            inner is not None and inner.takes_baseline({k: v for k, v in options.items() if k != "inner"})
        )

    def axioms_with(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """Its axioms with these options: another method within it, or none of its factors, and completeness is lost."""
        plain = options.get("inner", "gradient") == "gradient" and options.get("multiply") is not False
        return tuple(a for a in self.axioms if plain or not a.startswith("completeness"))

    def attribution_site(self, options: Mapping[str, Any]) -> tuple[AttributionSite, bool]:
        """Where attributions lie, and whether the layer is picked from the dataflow where none is named: as in the method
        within it, if there is one.

        Raises:
            MethodError: the method within it gives no attributions in the shape of its inputs.
        """
        inner = self.inner(options)
        if inner is None or self.attributes_to != "explained":
            return self.attributes_to, self.auto_layer
        attributes_to, auto_layer = inner.attribution_site({k: v for k, v in options.items() if k != "inner"})
        if attributes_to in ("layer", "map"):
            what = "makes a map" if attributes_to == "map" else "explains a layer while the inputs vary"
            raise MethodError(f"'{inner.name}' {what}, so '{self.name}' cannot evaluate it at other inputs; choose another inner")
        return attributes_to, auto_layer

    def rules(self, options: dict[str, Any] | None = None) -> Composite:
        """The composite that serves the method's backward pass, or that of the method within it, for the given options."""
        inner = self.inner(options or {})
        if inner is not None:
            own = {o.name for o in self.options}
            return inner.rules({k: v for k, v in (options or {}).items() if k not in own})
        return self.composite if isinstance(self.composite, Composite) else self.composite(**self.checked(options or {}))

    def expands(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The operators that its backward pass, or that of the method within it, needs written in smaller ones."""
        inner, own = self.inner(options), {o.name for o in self.options}
        if inner is None:
            return self.rules(dict(options)).expands
        return inner.expands({name: value for name, value in options.items() if name not in own})

    def checked(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options with defaults filled in: its own, then those of the method within it, which gets what is not its own.

        Raises:
            MethodError: an option the method does not know; the message names those it does.
        """
        known = {o.name: o.default for o in self.options}
        theirs = {k: v for k, v in self.defaults(options).items() if k not in known}
        for name in options:
            if name not in known and name not in theirs:
                takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
                inner = self.inner(options)
                within = f", and for '{inner.name}' within it {', '.join(sorted(theirs)) or 'none'}" if inner is not None else ""
                raise MethodError(f"method '{self.name}' has no option '{name}'; {takes}{within}")
        return {**known, **theirs, **options}

    def defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options it takes with their defaults: its own, and with the `inner` method of these options that one's."""
        inner = self.inner(options)
        theirs = {} if inner is None else {o.name: o.default for o in inner.options}
        return {**theirs, **{o.name: o.default for o in self.options}}


_METHODS: dict[str, Method] = {}


def method(
    name: str,
    *,
    summary: str,
    formula: str,
    source: str,
    axioms: tuple[str, ...] = (),
    needs_baseline: bool = False,
    signed: bool = True,
    composite: Composite | Callable[..., Composite] = GRADIENT,
    options: Callable[..., Any] | None = None,
    multi_point: bool = False,
    per_unit: bool = False,
    attributes_to: AttributionSite = "explained",
    auto_layer: bool = False,
    forward_only: bool = False,
    overall: bool = False,
    serves: Serves | None = None,
    takes_missing: bool = False,
    usual_rows: int | None = None,
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Enter the decorated function as a method; its keyword-only parameters are the method's options.

    Args:
        name: lower-case, with hyphens, as in the literature.
        summary: one line for tables.
        formula: the attribution in one line of mathematics.
        source: where the method was published.
        axioms: what it promises, of completeness, conservation, sensitivity, implementation-invariance.
        needs_baseline: whether it compares with a reference input.
        signed: whether attributions may be negative.
        composite: which rule serves which node; a function of the options where it depends on them.
        options: the function whose keyword-only parameters are the options, where it is not the decorated one.
        multi_point: whether it evaluates another method at many points, and so runs through targets itself.
        per_unit: whether attributions are per unit of the input, so that a step in it times them is a change of the score.
        attributes_to: where attributions lie.
        auto_layer: whether the layer is found in the dataflow where none is named.
        forward_only: whether it runs the model on many perturbed inputs instead of rewriting it.
        overall: whether it speaks of all samples together, not of each.
        serves: raises a MethodError, with the reason, where the method cannot serve a score; None where rules decide.
        takes_missing: whether inputs may hold NaN for a missing value.
        usual_rows: how many samples an Explainer runs at a time where nothing is said; None for all.
    """

    def register(function: Callable[..., T]) -> Callable[..., T]:
        parameters = [p for p in inspect.signature(options or function).parameters.values() if p.kind is p.KEYWORD_ONLY]
        known = tuple(Option(p.name, p.default, str(p.annotation)) for p in parameters)
        _METHODS[name] = Method(
            name, function, summary, formula, source, axioms, needs_baseline, signed, composite, known, multi_point, per_unit,
            attributes_to, auto_layer, forward_only, overall, serves, takes_missing, usual_rows,
        )  # fmt: skip
        return function

    return register


def all_methods() -> dict[str, Method]:
    """Every method by name."""
    for family in FAMILIES:
        import_module(f"onnxplain.method.{family}")
    for family in BLACK_BOX:
        import_module(f"onnxplain.method.blackbox.{family}")
    return dict(_METHODS)


def find_method(name: str) -> Method:
    """The method of that name, or an error with the nearest names."""
    known = all_methods()
    if name not in known:
        raise MethodError(f"no method '{name}'; {nearest(name, known)}")
    return known[name]


def graph_method(name: str) -> Method:
    """The method of that name, which must be one that a graph can hold.

    Raises:
        MethodError: there is none, or it needs many forward passes.
    """
    found = find_method(name)
    if found.forward_only:
        raise MethodError(
            f"method '{name}' needs many forward passes of the model on perturbed inputs, which no single graph holds; "
            f"run it instead: onnxplain explain MODEL INPUT -m {name}, or Explainer(model, '{name}')"
        )
    return found
