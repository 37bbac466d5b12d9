"""What the benchmark measures, and what it is held against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ALL", "GOALS", "POINTS", "Case", "Goal", "chosen", "goal_of", "key_of", "method_of"]

POINTS = 50
"""Steps of integrated gradients, draws of SmoothGrad."""

SINGLE = f"{POINTS} gradients"
"""A path method is held against so many single gradients, in batches as large as its chunk."""


@dataclass(frozen=True)
class Case:
    """One model, explained by one method at one batch size; `peers` are the tools that are asked for the same."""

    model: str
    method: str
    batch: int
    peers: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    chunk: int = 0

    @property
    def key(self) -> str:
        """Names the case among the results."""
        return key_of(vars(self))

    @property
    def random(self) -> bool:
        """Whether every tool draws random numbers of its own, so that results differ."""
        return self.method == "smoothgrad"


def key_of(record: Mapping[str, Any]) -> str:
    """What names a case, or the record of one, among the results."""
    size = record.get("options", {}).get("batch_size")
    return "/".join([record["model"], record["method"], str(record["batch"]), *([f"by {size}"] if size else [])])


def method_of(record: Mapping[str, Any]) -> str:
    """The method as it stands in the tables, with how many samples the file runs at a time where that is not all."""
    size = record.get("options", {}).get("batch_size")
    return f"`{record['method']}`" + (f", {'one sample' if size == 1 else f'{size} samples'} at a time" if size else "")


@dataclass(frozen=True)
class Goal:
    """A ratio that is wanted: of times against `against`, of `memory` or of file `size`."""

    against: str
    limit: float
    methods: tuple[str, ...]
    models: tuple[str, ...]
    batches: tuple[int, ...] = (1, 8)
    what: str = "time"

    @property
    def text(self) -> str:
        """As it stands in the table."""
        slower = self.against == "forward" or self.against == SINGLE
        return f"≤ {self.limit:g}" if slower else "> 1" if self.limit == 1 else f"≥ {self.limit:g}"

    def met(self, ratio: float) -> bool:
        """Whether a ratio is what was wanted: of our time to the other's for what we build on, the other way round for peers."""
        if self.text.startswith("≤"):
            return ratio <= self.limit
        return ratio > 1 if self.limit == 1 else ratio >= self.limit


IMAGES = ("resnet50", "vgg16", "mobilenetv3", "convnext-tiny", "vit-b16")
NETS = (*IMAGES, "bert-base")
COMPILED = ("resnet50", "bert-base")
"""Networks that torch.compile compiles for batches of 8 too: it takes a minute or more each time."""

RELEVANCE = ("lrp-epsilon", "lrp-epsilon-plus", "lrp-epsilon-gamma-box", "lrp-alpha2-beta1", "lrp-epsilon-alpha2-beta1")
PATHS = {
    "integrated-gradients": {"steps": POINTS},
    "smoothgrad": {"samples": POINTS, "noise_level": 1.0, "noise_unit": "absolute"},
}


def options(method: str, chunk: int) -> dict[str, Any]:
    """Our options of a method, which give what the peers compute."""
    if method in PATHS:
        return {**PATHS[method], "chunk": chunk}
    return {"low": -4.0, "high": 4.0} if method == "lrp-epsilon-gamma-box" else {}


def every() -> Iterable[Case]:
    """All cases, those of a model together."""
    for model in (*NETS, "digits"):
        for batch in (1, 8):
            compiled = ("compile",) if batch == 1 or model in COMPILED else ()
            peers = ("torch", *compiled, "captum") + (() if model == "bert-base" else ("onnx-ad",))
            yield Case(model, "gradient", batch, peers)
        if model in NETS:
            yield Case(model, "gradient", 8, (), {"batch_size": 1})
        if model in ("vgg16", "resnet50"):
            for method in RELEVANCE:
                captum = ("captum",) if (model, method) == ("vgg16", "lrp-epsilon") else ()
                for batch in (1, 8) if method in ("lrp-epsilon", "lrp-epsilon-plus") else (1,):
                    yield Case(model, method, batch, ("zennit", *captum), options(method, 0))
        if model in ("bert-base", "vit-b16"):
            yield from (Case(model, "attnlrp", batch, ("lxt",)) for batch in (1, 8))
        if model == "digits":
            yield Case(model, "lrp-epsilon", 1, ("zennit", "captum"))
            yield Case(model, "lrp-epsilon-plus", 1, ("zennit",))
        if model in ("digits", "resnet50"):
            chunk = POINTS if model == "digits" else 10
            yield from (Case(model, method, 1, ("captum",), options(method, chunk), chunk) for method in PATHS)


ALL = tuple(every())

GOALS = (
    Goal("forward", 2.1, ("gradient",), NETS, (1,)),
    Goal("forward", 2.3, ("gradient",), NETS, (8,)),
    Goal("captum", 2.5, ("gradient",), NETS),
    Goal("compile", 1.0, ("gradient",), NETS),
    Goal("forward", 2.5, ("lrp-epsilon",), ("vgg16", "resnet50")),
    Goal("forward", 3.5, ("lrp-epsilon-plus",), ("vgg16", "resnet50")),
    Goal("forward", 5.5, ("lrp-epsilon-gamma-box", "lrp-alpha2-beta1"), ("vgg16", "resnet50")),
    Goal("zennit", 5.0, RELEVANCE, ("vgg16", "resnet50")),
    Goal("forward", 3.0, ("attnlrp",), ("bert-base", "vit-b16")),
    Goal("lxt", 3.0, ("attnlrp",), ("bert-base", "vit-b16")),
    Goal(SINGLE, 1.0, tuple(PATHS), ("digits", "resnet50")),
    Goal("captum", 10.0, tuple(PATHS), ("digits",)),
    Goal("forward", 2.5, ("gradient",), NETS, what="memory"),
    Goal("forward", 1.05, ("gradient", *RELEVANCE, "attnlrp"), NETS, what="size"),
)
"""What the project set out for."""


def goal_of(model: str, method: str, batch: int, against: str, what: str = "time") -> Goal | None:
    """The goal that a ratio is held against, if there is one."""
    return next(
        (
            g
            for g in GOALS
            if g.against == against and g.what == what and method in g.methods and model in g.models and batch in g.batches
        ),
        None,
    )


def chosen(models: Sequence[str], methods: Sequence[str], batches: Sequence[int], peers: Sequence[str] | None) -> list[Case]:
    """The cases that were asked for; nothing asked for means all. `peers` limits the tools compared with."""
    known = {"models": {c.model for c in ALL}, "methods": {c.method for c in ALL}, "peers": {p for c in ALL for p in c.peers}}
    for kind, given in (("models", models), ("methods", methods), ("peers", peers or ())):
        for name in given:
            if name not in known[kind]:
                raise SystemExit(f"no {kind[:-1]} '{name}'; known: {', '.join(sorted(known[kind]))}")
    return [
        Case(c.model, c.method, c.batch, tuple(p for p in c.peers if peers is None or p in peers), c.options, c.chunk)
        for c in ALL
        if (not models or c.model in models) and (not methods or c.method in methods) and (not batches or c.batch in batches)
    ]
