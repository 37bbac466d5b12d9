"""Metadata that lies: verify finds every lie, and inspect shows no metadata that breaks the contract."""

from __future__ import annotations

import json
import random
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

import onnxplain
from onnxplain.cli.main import main
from onnxplain.io.contract import metadata_problems, metadata_schema
from onnxplain.io.json_schema import problems_of
from onnxplain.io.metadata import METADATA_KEY, read_metadata
from tests.fuzz.metadata import _mutate
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits/model.onnx"


@lru_cache(maxsize=4)
def explained(method: str = "gradient") -> bytes:
    options: dict[str, Any] = {"baseline": 0, "steps": 8} if method == "integrated-gradients" else {}
    return onnxplain.rewrite(DIGITS, method, target="input", **options).SerializeToString()


def lying(changes: dict[str, Any], method: str = "gradient") -> onnx.ModelProto:
    made = onnx.ModelProto.FromString(explained(method))
    (entry,) = [p for p in made.metadata_props if p.key == METADATA_KEY]
    entry.value = json.dumps({**json.loads(entry.value), **changes})
    return made


LIES: dict[str, dict[str, Any]] = {
    "output": {"output": "nope"},
    "tensor": {"attributions": {"image_attribution": {"explains": "image", "tensor": "nope", "kind": "input"}}},
    "explains": {"attributions": {"image_attribution": {"explains": "logits", "tensor": "image", "kind": "input"}}},
    "kind": {"attributions": {"image_attribution": {"explains": "image", "tensor": "logits", "kind": "input"}}},
    "attribution": {"attributions": {"logits2": {"explains": "image", "tensor": "image", "kind": "input"}}},
    "axioms": {"axioms": ["completeness"]},
    "method": {"method": "lrp-epsilon"},
    "no such method": {"method": "nope"},
    "forward only": {"method": "lime"},
    "reports": {"reports": {"zzz": "logits"}},
    "report": {"reports": {"delta": "nope"}},
    "score": {"score": {"tensor": "nope", "kind": "output", "activation": "", "shape": None}},
    "shape": {"score": {"tensor": "logits", "kind": "output", "activation": "", "shape": ["batch", 11]}},
    "activation": {"score": {"tensor": "logits", "kind": "output", "activation": "Softmax", "shape": ["batch", 10]}},
    "run-time input": {"run_time_inputs": {"target": "nope"}},
    "hash": {"source_sha256": "0" * 64},
    "left out": {"left_out": {"image": "it is a secret"}},
    "sample axis": {"sample_axes": {"image": 0, "logits": 7}},
    "fractional axis": {"sample_axes": {"image": 0.0, "logits": 0}},
    "no sample axis": {"sample_axes": {"logits": None}},
    "embedding": {"attributions": {"image_attribution": {"explains": "image", "tensor": "image", "kind": "embedding"}}},
    "input of no use": {"run_time_inputs": {"target": "target", "position": {"image": "image"}}},
    "not batched": {"batched": False},
    "endless steps of none": {"options": {"steps": 10**400}},
    "inner": {"method": "integrated-gradients", "options": {"inner": {"a": 1}}},
    "no inner": {"method": "integrated-gradients", "options": {"inner": "nope"}},
    "element": {"target": "99", "run_time_inputs": {}},
    "no digits": {"target": "³", "run_time_inputs": {}},
    "endless digits": {"target": "9" * 30, "run_time_inputs": {}},
    "target without its input": {"run_time_inputs": {}},
    "input without its target": {"target": "3"},
    "seed": {"target": "seed"},
    "baseline without its input": {"baseline": "input"},
    "baseline beyond floats": {"baseline": 10**400},
    "no option": {"options": {"nope": 1}},
    "report of the output": {"reports": {"delta": "logits"}},
}


@pytest.mark.parametrize("lie", LIES)
def test_every_lie_is_found(lie: str) -> None:
    report = onnxplain.verify(lying(LIES[lie]), DIGITS, providers="cpu")
    assert not report.ok
    assert any(f.ok is False for f in report.findings)


def test_another_method_is_found_by_making_it_again() -> None:
    truth = onnxplain.verify(lying({}), DIGITS, providers="cpu")
    assert truth.ok
    assert {f.name: f.ok for f in truth.findings}["method"] is True
    found = {f.name: f for f in onnxplain.verify(lying({"method": "saliency", "axioms": []}), DIGITS, providers="cpu").findings}
    assert found["claims"].ok
    assert found["method"].ok is False
    assert "'saliency' makes another 'image_attribution'" in found["method"].detail
    steps = {"options": {**read_metadata(lying({}, "integrated-gradients"))["options"], "steps": 3}}  # type: ignore[index]
    other = {f.name: f for f in onnxplain.verify(lying(steps, "integrated-gradients"), DIGITS, providers="cpu").findings}
    assert other["method"].ok is False


@pytest.mark.parametrize("options", [{"steps": "a"}, {"steps": 0}, {"quadrature": "none"}])
def test_options_that_the_method_refuses(options: dict[str, Any]) -> None:
    given = {**read_metadata(lying({}, "integrated-gradients"))["options"], **options}  # type: ignore[index]
    report = onnxplain.verify(lying({"options": given}, "integrated-gradients"), DIGITS, providers="cpu")
    found = {f.name: f for f in report.findings}["method"]
    assert found.ok is False
    assert found.detail.startswith("'integrated-gradients' cannot make them: ")


@pytest.mark.parametrize(
    ("steps", "told"), [(10**9, "steps = 1e+09 is more than 10,000"), (10**400, "steps is beyond all numbers")]
)
def test_metadata_asks_for_no_work_without_end(steps: int, told: str) -> None:
    given = {**read_metadata(lying({}, "integrated-gradients"))["options"], "steps": steps}  # type: ignore[index]
    report = onnxplain.verify(lying({"options": given}, "integrated-gradients"), DIGITS, providers="cpu")
    found = {f.name: f for f in report.findings}["method"]
    assert found.ok is None
    assert found.detail == f"not made again: {told}"


def test_metadata_opens_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret.toml"
    secret.write_text("password = 1")
    opened: list[Any] = []
    monkeypatch.setattr("onnxplain.method.lrp.read_composite", opened.append)
    lies = {"method": "lrp", "axioms": [], "options": {"composite": str(secret)}}
    found = {f.name: f for f in onnxplain.verify(lying(lies), DIGITS, providers="cpu").findings}["method"]
    assert found.ok is None
    assert "'composite' may be the name of a file" in found.detail
    assert opened == []


def test_inspect_shows_every_report(tmp_path: Path) -> None:
    path = tmp_path / "e.onnx"
    path.write_bytes(lying({"reports": {"interactions": "logits"}}).SerializeToString())
    done = CliRunner().invoke(main, ["inspect", str(path)])
    assert done.exit_code == 0, done.output
    assert "two columns" in done.output


def test_what_the_metadata_does_not_hold_is_not_made_again() -> None:
    lies = {"method": "lrp", "axioms": [], "options": {"composite": "baked in"}}
    report = onnxplain.verify(lying(lies), DIGITS, providers="cpu")
    assert {f.name: f.ok for f in report.findings}["method"] is None


def test_the_contract_is_checked_as_jsonschema_checks_it() -> None:
    """Whatever jsonschema, which knows all of JSON Schema, finds wrong is found here, and nothing else."""
    validator, rng = Draft202012Validator(metadata_schema()), random.Random(0)
    about = read_metadata(lying({}, "integrated-gradients"))
    wrong = 0
    for _ in range(1000):
        mutant = about
        for _ in range(rng.choice((0, 1, 2, 3))):
            mutant = _mutate(rng, mutant)
        expected = sorted({".".join(map(str, e.absolute_path)) or "the object" for e in validator.iter_errors(mutant)})
        found = sorted({line.partition(": ")[0] for line in metadata_problems(mutant)})  # type: ignore[arg-type]
        assert found == expected, mutant
        wrong += bool(expected)
    assert 300 < wrong < 950


def test_names_that_are_unique_are_compared_once_each() -> None:
    """A list of 20,000 names was compared pair by pair."""
    begun = time.process_time()
    about = {**read_metadata(lying({})), "axioms": [str(i) for i in range(20_000)]}  # type: ignore[dict-item]
    assert metadata_problems(about) == []
    assert time.process_time() - begun < 5
    assert metadata_problems({**about, "axioms": ["a", "b", "a"]}) == ["axioms: ['a', 'b', 'a'] names something twice"]


@pytest.mark.parametrize(
    ("items", "unique"), [([1, 1.0], False), ([1, True], True), ([{"a": 1, "b": 2}, {"b": 2.0, "a": 1}], False), ([[], {}], True)]
)
def test_what_is_equal(items: list[Any], unique: bool) -> None:
    assert (not list(problems_of(items, {"uniqueItems": True}))) is unique
    assert Draft202012Validator({"uniqueItems": True}).is_valid(items) is unique


def test_inspect_shows_nothing_that_breaks_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "e.onnx"
    path.write_bytes(lying({"score": {"tensor": 3}}).SerializeToString())
    for more in ([], ["--json"]):
        done = CliRunner().invoke(main, ["inspect", str(path), *more])
        assert done.exit_code == 2
        assert "breaks the contract: score" in done.output


def test_control_characters_never_reach_a_terminal(tmp_path: Path) -> None:
    made = onnx.load(DIGITS)
    evil = "\x1b]0;owned\x07\x9b2J\u202e"
    for node in made.graph.node:
        node.input[:] = [evil if i == "image" else i for i in node.input]
        node.name = f"{evil}{node.name}"
    made.graph.input[0].name = evil
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    for words in (
        ["plan", "m.onnx"], ["plan", "m.onnx", "--json"], ["inspect", "m.onnx"], ["rewrite", "m.onnx", "-o", "e.onnx"], ["inspect", "e.onnx"],
        ["inspect", "e.onnx", "--json"], ["verify", "e.onnx"], ["verify", "e.onnx", "--json"], ["advise", "m.onnx"], ["check", "m.onnx"],
        ["explain", "m.onnx", str(FIXTURES / "digits/digit_3.npy")], ["plan", "m.onnx", "--layer", evil],
    ):  # fmt: skip
        done = CliRunner().invoke(main, [str(tmp_path / w) if w.endswith(".onnx") else w for w in words])
        assert done.exit_code in (0, 1, 2), (words, done.output)
        assert not set(done.output) & set("\x1b\x07\x9b\u202e"), words
