"""What a model's structure means for its explanations, in plain statements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from onnxplain.evaluation.advice.structure import Structure

__all__ = ["STATEMENTS", "Statement", "Verdict", "statements"]

Verdict = Literal["good", "change", "know", "unseen"]
"""Helps explanations as it is; could be changed in another training; to be known when explanations are read; not in the file."""

FEW_DENSE_LAYERS = 2
"""Dense layers up to which there are few. The tutorial gives no number; this one is ours."""

TUTORIAL = "Montavon, Samek, Müller 2017, section 6"


@dataclass(frozen=True)
class Statement:
    """One thing about the model: what was found, what follows, and why. `found` holds the numbers it rests on."""

    topic: str
    verdict: Verdict
    text: str
    reason: str
    source: str = TUTORIAL
    found: dict[str, Any] = field(default_factory=dict)


Look = Callable[[Structure], "Statement | None"]

STATEMENTS: list[Look] = []
"""What is looked at, in this order; each says something, or nothing where there is nothing to say."""


def looks(function: Look) -> Look:
    STATEMENTS.append(function)
    return function


def statements(s: Structure) -> tuple[Statement, ...]:
    """All that can be said of a structure."""
    return tuple(found for look in STATEMENTS if (found := look(s)) is not None)


def counted(count: int, one: str, many: str = "") -> str:
    """`1 layer`, `2 layers`, `no layers`."""
    return f"{count or 'no'} {one if count == 1 else many or one + 's'}"


def named(addresses: tuple[str, ...] | list[str], most: int = 4) -> str:
    """The first few addresses."""
    rest = len(addresses) - most
    return ", ".join(addresses[:most]) + (f" and {rest} more" if rest > 0 else "")


@looks
def depth(s: Structure) -> Statement | None:
    if not s.layers:
        return None
    reason = "every layer is one more step in which relevance spreads and cancels; use as many as the task needs and no more"
    found = {"linear_layers": len(s.layers), "depth": s.depth, "merging": [list(pair) for pair in s.merging]}
    text = counted(len(s.layers), "linear layer")
    if s.depth < len(s.layers):
        text += f", {s.depth} of them on the longest way from input to score"
    if not s.merging:
        return Statement("depth", "know", text + "; how many the task needs the file does not say", reason, found=found)
    pairs = named([" → ".join(pair) for pair in s.merging])
    text += f"; nothing bends between {pairs}: the two can be one layer, with the same function where it is not narrower"
    return Statement("depth", "change", text, reason, found=found)


@looks
def dense_layers(s: Structure) -> Statement | None:
    dense, total = s.of_kind("dense"), sum(layer.weights for layer in s.layers)
    if not s.layers:
        return None
    held = sum(layer.weights for layer in dense)
    found = {
        "dense_layers": len(dense),
        "weights": held,
        "share_of_weights": held / total if total else 0.0,
        "few": FEW_DENSE_LAYERS,
    }
    text = counted(len(dense), "dense layer")
    if dense and total:
        text += f" with {held / total:.0%} of {total:,} weights"
    reason = (
        "a dense layer connects everything to everything, so relevance spreads over inputs that have little to do with the "
        "score; use as few as are needed for the accuracy, and train them with dropout"
    )
    if len(dense) <= FEW_DENSE_LAYERS:
        return Statement("dense layers", "good", text, reason, found=found)
    return Statement(
        "dense layers", "change", f"{text} ({named([layer.address for layer in dense])}): try fewer", reason, found=found
    )


@looks
def sharing(s: Structure) -> Statement | None:
    shared = [layer for layer in s.layers if layer.kind != "dense"]
    total = sum(layer.weights for layer in s.layers)
    places = any(kind in ("image", "series", "tokens") for kind in s.inputs.values())
    if not places or not total:
        return None
    share = sum(layer.weights for layer in shared) / total
    found = {"layers_with_shared_weights": len(shared), "share_of_weights": share}
    reason = "weights shared by all places see the same pattern alike wherever it is, so that its explanation moves with it"
    first = [layer for layer in s.layers if layer.first]
    if first and all(layer.kind == "dense" for layer in first) and not s.recurrent:
        text = f"the first layer ({first[0].address}) is dense over {', '.join(s.inputs.values())} input: try convolutions"
        return Statement("weight sharing", "change", text, reason, found=found)
    return Statement(
        "weight sharing", "good", f"{counted(len(shared), 'layer')} with weights shared by places", reason, found=found
    )


@looks
def pooling(s: Structure) -> Statement | None:
    most, sums = s.pools.get("max", ()), s.pools.get("sum", ())
    if not most and not sums:
        return None
    found = {"max": list(most), "sum": list(sums)}
    reason = "a maximum sends all relevance to one winner, which another may become at the next pixel; sums and averages share it"
    text = f"{counted(len(most), 'max pooling')}, {counted(len(sums), 'sum or average pooling')}"
    if not most:
        return Statement("pooling", "good", text, reason, found=found)
    return Statement("pooling", "change", f"{text}: replace {named(list(most))} by averages", reason, found=found)


@looks
def biases(s: Structure) -> Statement | None:
    read = [layer for layer in s.layers if layer.biases is not None]
    total = sum(layer.biases or 0 for layer in read)
    unread = len(s.layers) - len(read)
    if not s.layers:
        return None
    positive = sum(layer.positive or 0 for layer in read)
    largest = max(read, key=lambda layer: layer.largest, default=None)
    found: dict[str, Any] = {
        "biases": total,
        "positive": positive,
        "share_positive": positive / total if total else 0.0,
        "layers_unread": unread,
    }
    reason = (
        "a positive bias can activate a neuron without any input, and the relevance it takes reaches no input; keep biases at "
        "zero or below, or see with the option bias=distribute or bias=ignore how much they hold"
    )
    missed = f"; {counted(unread, 'layer has', 'layers have')} biases that are no plain numbers in the file" if unread else ""
    if not positive:
        text = "no bias is positive" if total else "there are no biases"
        return Statement("biases", "unseen" if unread and not total else "good", text + missed, reason, found=found)
    assert largest is not None
    found |= {"largest": largest.largest, "largest_at": largest.address}
    share = f"{positive:,} of {total:,} biases are positive ({positive / total:.0%})"
    text = f"{share}, the largest {largest.largest:.3g} at {largest.address}"
    return Statement("biases", "change", text + missed, reason, found=found)


@looks
def activations(s: Structure) -> Statement | None:
    rectifying, smooth, squashing = s.bending("rectifier"), s.bending("smooth"), s.squashing
    if not rectifying + smooth + squashing:
        return None
    found = {"rectifying": rectifying, "smooth": smooth, "saturating": squashing}
    parts = [(rectifying, "like ReLU"), (smooth, "smooth (GELU, SiLU and kin)"), (squashing, "saturating (tanh, sigmoid)")]
    text = ", ".join(f"{n} {words}" for n, words in parts if n)
    if squashing:
        reason = (
            "where an activation saturates its slope vanishes and gradients say nothing of what drove it there; relevance rules "
            "are derived for activations like ReLU"
        )
        return Statement("activations", "change", text, reason, found=found)
    if smooth:
        reason = "smooth activations pass small negative values on, which rules derived for ReLU treat as if they were none"
        return Statement("activations", "know", text, reason, found=found)
    reason = "the network is linear piece by piece, which relevance rules are derived for"
    return Statement("activations", "good", text, reason, found=found)


@looks
def attention(s: Structure) -> Statement | None:
    if not s.attention + s.gates + s.products:
        return None
    found = {"attention": s.attention, "gates": s.gates, "products": s.products}
    parts = [(s.attention, "with attention weights"), (s.gates, "with gates"), (s.products, "other products of computed tensors")]
    text = ", ".join(f"{n} {words}" for n, words in parts if n)
    reason = (
        "who of two factors gets the relevance of their product is a convention, on which methods differ; do without where the "
        "task does not need them"
    )
    source = f"{TUTORIAL} (no needless nonlinearity); Achtibat et al. 2024 and Ali et al. 2022 on attention"
    return Statement("attention and products", "know", text, reason, source, found)


@looks
def norms(s: Structure) -> Statement | None:
    if not s.norms:
        return None
    text = f"{counted(s.norms, 'normalization')} by statistics of the sample, or that no linear layer could take in"
    reason = "relevance takes the statistics for constants: what moves them gets none"
    return Statement("normalization", "know", text, reason, "Achtibat et al. 2024, section 3.3", {"normalizations": s.norms})


@looks
def recurrence(s: Structure) -> Statement | None:
    if not s.recurrent:
        return None
    reason = "relevance goes to the signals and none to the gates, step by step; over many steps it thins out"
    text = counted(s.recurrent, "recurrent layer")
    return Statement("recurrence", "know", text, reason, "Arras et al. 2017", {"recurrent": s.recurrent})


@looks
def strides(s: Structure) -> Statement | None:
    first = next((layer for layer in s.layers if layer.first and layer.stride > 1), None)
    if first is None:
        return None
    text = f"the first layer ({first.address}) takes steps of {first.stride}: heat maps may show its grid"
    reason = "elements are read by more or fewer windows by their place alone; `translated` averages over shifted copies"
    return Statement("stride", "know", text, reason, found={"stride": first.stride, "layer": first.address})


@looks
def dropout(s: Structure) -> Statement | None:
    reason = "dropout makes neurons work without each other, so that relevance is spread over all that carry the evidence"
    if s.dropout:
        text = f"{counted(s.dropout, 'dropout node')} left in the file: the model was trained with dropout"
        return Statement("dropout", "good", text, reason, found={"dropout": s.dropout})
    if not s.layers:
        return None
    text = "no dropout in the file; exporters leave it out, so that the file does not say whether training used it"
    return Statement("dropout", "unseen", text, reason, found={"dropout": 0})
