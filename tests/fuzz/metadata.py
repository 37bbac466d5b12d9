"""Mutants of what an explained file says of itself."""

from __future__ import annotations

import json
import random
from functools import lru_cache
from pathlib import Path
from typing import Any

import onnx

from tests.support.paths import FIXTURES

__all__ = ["look"]

VALUES: tuple[Any, ...] = (
    None,
    0,
    -1,
    1 << 70,
    1.5,
    True,
    "",
    "nope",
    "image",
    "logits",
    "\x1b[2J",
    [],
    {},
    [1],
    ["x"],
    {"a": 1},
    {"x": "image"},
    "a" * 10000,
    [[[[]]]],
)


@lru_cache(maxsize=8)
def _explained(method: str) -> bytes:
    import onnxplain

    options = {"baseline": "input"} if method == "integrated-gradients" else {}
    model = FIXTURES / "digits/model.onnx"
    return onnxplain.rewrite(model, method, target="input", **options).SerializeToString()


def _mutate(rng: random.Random, value: Any) -> Any:
    """One place of a JSON value changed."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        kind = rng.randrange(6)
        if kind == 0:
            return {k: v for k, v in value.items() if k != key}
        if kind == 1:
            return {(rng.choice(("nope", "", "image", "logits", "target", key)) if k == key else k): v for k, v in value.items()}
        return {k: _mutate(rng, v) if k == key else v for k, v in value.items()}
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return [_mutate(rng, v) if i == at else v for i, v in enumerate(value)]
    return rng.choice(VALUES)


def look(rng: random.Random, folder: Path) -> None:
    """Inspect, verify and explain a file with mutated metadata."""
    from click.testing import CliRunner

    import onnxplain
    from onnxplain.cli.main import main

    model = onnx.ModelProto.FromString(_explained(rng.choice(("gradient", "saliency", "integrated-gradients", "lrp-epsilon"))))
    (entry,) = [p for p in model.metadata_props if p.key == "onnxplain"]
    about = json.loads(entry.value)
    for _ in range(rng.choice((1, 1, 2))):
        about = _mutate(rng, about)
    entry.value = rng.choice(
        (lambda: json.dumps(about),) * 9
        + (lambda: "[" * 100_000, lambda: entry.value[: rng.randrange(len(entry.value))], lambda: '{"a": ' + "9" * 5000 + "}")
    )()
    path = folder / "mutant.onnx"
    path.write_bytes(model.SerializeToString())
    command = rng.choice(
        (
            ["inspect", str(path)],
            ["inspect", "--json", str(path)],
            ["verify", str(path), "--provider", "cpu"],
            ["verify", str(path), "--provider", "cpu", "--model", str(FIXTURES / "digits/model.onnx")],
            ["plan", str(path)],
        )
    )
    found = CliRunner().invoke(main, ["--debug", *command])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    if "\x1b[2J" in found.output:
        raise AssertionError("control characters reach the terminal")
    assert onnxplain is not None
