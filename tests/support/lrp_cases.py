"""Reference relevance in fixtures/lrp_*: which array belongs to which method and options. Plain data, nothing is run here."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tests.support.paths import FIXTURES

EXPORTERS = ("model", "model_legacy")


class Case(NamedTuple):
    """One array of relevance and what should reproduce it."""

    fixture: str
    file: str
    """File of the model without .onnx: "model" by torch's dynamo exporter, "model_legacy" by its TorchScript one."""
    key: str
    """Name of the array in relevance.npz; after an @ the inner tensor, as about.json calls it."""
    method: str
    options: dict[str, Any]
    layer: str | None
    """Name, in that file, of the inner tensor that the array belongs to; None for the input."""


Choice = tuple[str, dict[str, Any]]

BOX = {"low": -6.0, "high": 6.0}
CHANNEL_BOX = {"low": [-6.0, -7.0, -6.5], "high": [6.5, 6.0, 7.0]}
EPSILON = {"epsilon": 1e-6}

RULES: dict[str, Choice] = {
    "epsilon": ("lrp-epsilon", EPSILON),
    "gamma": ("lrp-gamma", {"gamma": 0.25}),
    "zplus": ("lrp-zplus", {}),
    "alpha2-beta1": ("lrp-alpha2-beta1", {}),
    "epsilon-plus": ("lrp-epsilon-plus", EPSILON),
    "epsilon-alpha2-beta1": ("lrp-epsilon-alpha2-beta1", EPSILON),
    "guided-backprop": ("guided-backprop", {}),
    "deconvnet": ("deconvnet", {}),
}
"""What the dense oracle knows; Zennit knows these too."""

ZENNIT: dict[str, Choice] = RULES | {
    "epsilon.epsilon-0.1": ("lrp-epsilon", {"epsilon": 0.1}),
    "gamma.gamma-1": ("lrp-gamma", {"gamma": 1.0}),
    "epsilon-plus.epsilon-0.1": ("lrp-epsilon-plus", {"epsilon": 0.1}),
    "epsilon-plus-flat": ("lrp-epsilon-plus-flat", EPSILON),
    "epsilon-alpha2-beta1-flat": ("lrp-epsilon-alpha2-beta1-flat", EPSILON),
    "epsilon-gamma-box": ("lrp-epsilon-gamma-box", BOX | EPSILON | {"gamma": 0.25}),
    "deep-taylor.w2": ("deep-taylor", {"bias": "absorb"}),
    "deep-taylor.box": ("deep-taylor", BOX | {"bias": "absorb"}),
    "excitation-backprop": ("excitation-backprop", {"bias": "absorb"}),
}
"""Zennit's composites. A larger epsilon is that of linear layers; its sums and averages keep 1e-6."""

CAPTUM: dict[str, Choice] = {"captum.epsilon": RULES["epsilon"]}
CHANNELS: dict[str, Choice] = {"epsilon-gamma-box.channels": ("lrp-epsilon-gamma-box", CHANNEL_BOX | EPSILON | {"gamma": 0.25})}
INNER: dict[str, Choice] = {f"{key}@": RULES[key] for key in ("epsilon-plus", "gamma", "alpha2-beta1")}
TRANSFORMER: dict[str, Choice] = {"attnlrp": ("attnlrp", {}), "cp-lrp": ("cp-lrp", {})}
EMBEDDED: dict[str, Choice] = {f"{key}@embedding": choice for key, choice in TRANSFORMER.items()}
POSITIVE: dict[str, Choice] = {"epsilon-plus.sum-zplus": ("lrp-epsilon-plus", EPSILON | {"sums": "positive"})}
RECURRENT: dict[str, Choice] = {
    "epsilon": ("lrp-epsilon", EPSILON),
    "epsilon.epsilon-0.001": ("lrp-epsilon", {"epsilon": 0.001, "stabilizer": 0.001}),
}

TABLE: dict[str, dict[str, Choice]] = {
    "lrp_mlp": ZENNIT | CAPTUM | {"epsilon-plus@1": RULES["epsilon-plus"], "gamma@1": RULES["gamma"]},
    "lrp_vgg": ZENNIT | CAPTUM | CHANNELS | {f"{key}6": choice for key, choice in INNER.items()},
    "lrp_resnet": ZENNIT | CHANNELS | {f"{key}4.relu": choice for key, choice in INNER.items()},
    "lrp_cnn1d": ZENNIT | CHANNELS | {f"{key}6": choice for key, choice in INNER.items()},
    "lrp_residual": RULES | POSITIVE,
    "lrp_residual_cancelling": RULES | POSITIVE,
    "lrp_reused": RULES,
    "lrp_relu_forms": RULES,
    "lrp_bn_first": RULES,
    "lrp_sum_inside": RULES,
    "lrp_densenet": RULES,
    "lrp_lstm": RECURRENT,
    "lrp_gru": RECURRENT,
    "lrp_bilstm": RECURRENT,
    "lrp_vit": TRANSFORMER | {"attnlrp.explicit": TRANSFORMER["attnlrp"]},
    "lrp_bert": EMBEDDED,
    "lrp_gpt2": EMBEDDED,
    "lrp_llama": EMBEDDED,
}
"""By fixture, which arrays are to be reproduced. Others in relevance.npz are variants and what other tools get wrong.

In lrp_mlp epsilon-gamma-box has neither box nor gamma: Zennit gives both to convolutions alone.
In lrp_bn_first the arrays take a norm and the layer after it as one map; .lone-norm has them apart.
In lrp_residual_cancelling epsilon-plus and others explode by their definition, sums sharing by contribution.
"""

BIAS: dict[str, Choice] = {
    "epsilon-plus.ignore-bias": ("lrp-epsilon-plus", EPSILON | {"bias": "ignore"}),
    "zplus.ignore-bias": ("lrp-zplus", {"bias": "ignore"}),
    "excitation-backprop.ignore-bias": ("excitation-backprop", {"bias": "ignore"}),
    "epsilon.epsilon-0.1-ignore-bias": ("lrp-epsilon", {"epsilon": 0.1, "bias": "ignore"}),
}
"""For lrp_mlp, lrp_vgg, lrp_resnet and lrp_cnn1d: biases left out of denominators."""


def cases(table: dict[str, dict[str, Choice]] = TABLE) -> list[Case]:
    """Every array, in both files of its fixture."""
    return [
        Case(fixture, file, key, method, options, inner_tensor(fixture, file, key))
        for fixture, keys in table.items()
        for key, (method, options) in keys.items()
        for file in EXPORTERS
    ]


def name(case: Case) -> str:
    """Name of a test."""
    return f"{case.fixture}-{case.file}-{case.key}"


@cache
def about(fixture: str) -> dict[str, Any]:
    """about.json."""
    found: dict[str, Any] = json.loads((FIXTURES / fixture / "about.json").read_text())
    return found


def inner_tensor(fixture: str, file: str, key: str) -> str | None:
    """Name in that file of the tensor after the @ of a key."""
    if "@" not in key:
        return None
    tensor: str = about(fixture)["relevance"]["layers"][key.split("@")[1]][f"{file}.onnx"]
    return tensor


def arrays(fixture: str, file: str) -> dict[str, np.ndarray]:
    """An .npz of the fixture: data (inputs by name), reference (target, output, gradients), relevance."""
    with np.load(FIXTURES / fixture / f"{file}.npz") as found:
        return dict(found)


def rounding(case: Case) -> float:
    """How far the reference itself, computed in float32, is from float64, relative to the largest |relevance|."""
    return float(about(case.fixture)["relevance"]["arrays"][case.key].get("float32_error", 0.0))


def tolerance(case: Case) -> float:
    """Largest |difference| relative to the largest |relevance|: 1e-5; 1e-4 for LXT, whose two ways are 4e-5 apart."""
    by = about(case.fixture)["relevance"]["arrays"][case.key]["by"]
    return max(1e-4 if by == "lxt" else 1e-5, 2 * rounding(case))
