"""What makes relevance negative: the αβ-rules with one part of the set-up changed at a time, and on other networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain import Composite, Explainer
from onnxplain.propagation.lrp.composites import layered, uniform
from onnxplain.propagation.lrp.input_bounds import box_between
from onnxplain.propagation.lrp.linear_rules import alpha_beta, epsilon, w_square

BOX = box_between(0.0, 1.0)
NETWORKS = {
    "maxpool": "max pooling",
    "free": "biases of either sign",
    "deep": "five convolutions",
    "dense": "three dense layers of 100 units, no convolution",
}
"""Networks that differ from the first in one thing."""
RECORDED = {"wide": "three dense layers of 400 units"}
"""Networks that fixtures/studies/digits.py asks for their shares and does not keep: about.json has them."""

Array = np.ndarray[Any, Any]
Shares = tuple[float, float, float]


def lrp(alpha: float, pixels: str = "box") -> Composite:
    """LRP-αβ with β = α − 1 in every layer; at the pixels the box rule, between 0 and 1, or αβ too."""
    return uniform(f"alpha{alpha:g}", alpha_beta(alpha, alpha - 1), first=BOX if pixels == "box" else None)


def parts(alpha: float) -> dict[str, Composite]:
    """The αβ-rule with one part of the set-up changed at a time."""
    rule = alpha_beta(alpha, alpha - 1)
    return {
        "as above": lrp(alpha),
        "biases left out of the shares": uniform("ignore", alpha_beta(alpha, alpha - 1, bias="ignore"), first=BOX),
        "biases' shares spread over the inputs": uniform("spread", alpha_beta(alpha, alpha - 1, bias="distribute"), first=BOX),
        "w² at the pixels": uniform("squares", rule, first=w_square()),
        "αβ at the pixels": lrp(alpha, "αβ"),
        "ε in the dense layer": layered("dense", convolution=rule, dense=epsilon(), first=BOX),
        "α1β0 in the dense layer": layered("top", convolution=rule, dense=alpha_beta(1, 0), first=BOX),
        "α1β0 in the convolutions": layered("below", convolution=alpha_beta(1, 0), dense=rule, first=BOX),
    }


def setups(x: Array, folder: Path) -> dict[str, tuple[float, float]]:
    """Mean shares of negative relevance by α2β1 and α3β2 with one part of the set-up changed at a time."""
    two, three = ({n: _share(folder / "model.onnx", x, "lrp", composite=c) for n, c in parts(alpha).items()} for alpha in (2, 3))
    return {words: (two[words], three[words]) for words in two}


def networks(x: Array, folder: Path) -> dict[str, Shares]:
    """Mean shares of negative relevance in other networks, as `shares`.

    Raises:
        ValueError: about.json says nothing of a network that is not kept.
    """
    path = folder / "about.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    if missing := [name for name in RECORDED if "negative_shares" not in about.get(name, {})]:
        raise ValueError(f"{path} has no negative_shares of {', '.join(missing)}; fixtures/studies/digits.py writes them")
    found = {words: shares(folder / f"{name}.onnx", x) for name, words in NETWORKS.items()}
    for name, words in RECORDED.items():
        taylor, two, three = about[name]["negative_shares"]
        found[words] = (taylor, two, three)
    return found


def shares(model: Path, x: Array) -> Shares:
    """Mean shares of negative relevance in a network: simple Taylor, α2β1, α3β2."""
    two, three = (_share(model, x, "lrp", composite=lrp(alpha)) for alpha in (2, 3))
    return _share(model, x, "input-x-gradient"), two, three


def _share(model: Path, x: Array, method: str, **options: Any) -> float:
    explain = Explainer(model, method, providers="cpu", threads=1, batch_size=100, progress=False, **options)
    return float(explain(x).negative_share().mean())
