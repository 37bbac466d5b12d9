"""The contract of explained models: metadata, inspect, verify, pipelines, the same bytes every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.compose
import onnxruntime as ort
import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from onnxplain import rewrite, verify
from onnxplain.cli.main import main
from onnxplain.errors import ModelError
from onnxplain.io.contract import metadata_problems, metadata_schema
from onnxplain.io.metadata import METADATA_KEY, added_inputs, read_metadata
from onnxplain.method.registry import all_methods
from tests.support import host_cases
from tests.support.host_cases import FIXTURES, Case
from tests.support.models import model, node, run
from tests.support.paths import ROOT

DIGITS = FIXTURES / "digits" / "model.onnx"


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


def changed(made: onnx.ModelProto, **members: Any) -> onnx.ModelProto:
    """A copy with other metadata; a member of None is taken out."""
    copy = onnx.ModelProto()
    copy.CopyFrom(made)
    about = {**(read_metadata(made) or {}), **members}
    entry = next(p for p in copy.metadata_props if p.key == METADATA_KEY)
    entry.value = json.dumps({k: v for k, v in about.items() if v is not None or k == "baseline"})
    return copy


def verdict(report: Any, name: str) -> bool | None:
    return next(f.ok for f in report.findings if f.name == name)


# -- metadata ------------------------------------------------------------------------------------------------------------


def test_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(metadata_schema())


def members(about: Any, schema: Any, place: str = "") -> list[str]:
    """Members that the schema does not describe."""
    if "$ref" in schema:
        schema = metadata_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
    if not isinstance(about, dict) or ("properties" not in schema and "additionalProperties" not in schema):
        return []
    found = []
    for name, value in about.items():
        entry = schema.get("properties", {}).get(
            name, None if place == "run_time_inputs." else schema.get("additionalProperties")
        )
        found += [f"{place}{name}"] if entry is None else members(value, entry, f"{place}{name}.")
    return found


@pytest.mark.parametrize("case", host_cases.cases(), ids=str)
def test_every_file_is_as_the_contract_says(case: Case) -> None:
    made, feeds, results = host_cases.made(case)
    about = read_metadata(made)
    assert about is not None
    assert metadata_problems(about) == []
    assert members(about, metadata_schema()) == [], "describe it in contract.schema.json"
    original = host_cases.source(case.source)
    names = [i.name for i in made.graph.input]
    own = [i.name for i in original.graph.input]
    assert names == own + list(added_inputs(about))
    outputs = [] if "only" in case.note else [o.name for o in original.graph.output]
    assert list(results) == outputs + list(about["attributions"]) + list(about["reports"].values())
    report = verify(made, original, feeds)
    assert report.ok, [f for f in report.findings if f.ok is False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contract": 2}, "contract: 2 is not 1"),
        ({"method": None}, "the object: 'method' is missing"),
        ({"target": 3}, "target: 3 is not of type string"),
        ({"source_sha256": "abc"}, "source_sha256: 'abc' does not match"),
        ({"attributions": {}}, "attributions: "),
        (
            {"attributions": {"a": {"explains": "x", "tensor": "x", "kind": "output"}}},
            "attributions.a.kind: 'output' is not one of",
        ),
        ({"baseline": "zero"}, "baseline: 'zero' is none of what is allowed"),
        ({"run_time_inputs": {"target": 1}}, "run_time_inputs.target: 1 is not of type string"),
    ],
    ids=str,
)
def test_metadata_beside_the_schema_is_named(change: dict[str, Any], message: str) -> None:
    report = verify(changed(rewrite(DIGITS), **change))
    assert verdict(report, "metadata") is False
    assert message in report.findings[0].detail
    assert not report.ok


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_damaged_metadata_is_one_clear_line(text: str, tmp_path: Path) -> None:
    made = rewrite(DIGITS)
    next(p for p in made.metadata_props if p.key == METADATA_KEY).value = text
    with pytest.raises(ModelError, match="metadata 'onnxplain' is damaged"):
        verify(made)
    onnx.save(made, tmp_path / "e.onnx")
    result = invoke("inspect", tmp_path / "e.onnx")
    assert result.exit_code == 2
    assert "damaged" in result.output


@pytest.mark.parametrize(
    "case", [c for c in host_cases.cases() if c.method in (*host_cases.families(), *host_cases.SOME)], ids=str
)
def test_a_host_that_logs_warnings_sees_none(case: Case, capfd: pytest.CaptureFixture[str]) -> None:
    made = host_cases.rewritten(case)
    capfd.readouterr()
    ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    assert capfd.readouterr().err == ""


# -- verify --------------------------------------------------------------------------------------------------------------


def test_names_that_are_not_in_the_graph_are_found() -> None:
    made = rewrite(DIGITS, target="input")
    wrong: dict[str, Any] = {
        "run_time_inputs": {"target": "goal"},
        "attributions": {"gone": {"explains": "image", "tensor": "image", "kind": "input"}},
    }
    for member, value in wrong.items():
        assert verdict(verify(changed(made, **{member: value})), "names") is False
    other = {"image_attribution": {"explains": "logits", "tensor": "logits", "kind": "layer"}}
    assert verdict(verify(changed(made, attributions=other)), "names") is False, "of another shape"


def test_another_model_is_found(tmp_path: Path) -> None:
    made = rewrite(DIGITS, target="input")
    assert verify(made, DIGITS).ok
    other = onnx.load(DIGITS)
    bias = next(t for t in other.graph.initializer if list(t.dims) == [10])
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.01), bias.name))
    report = verify(made, other)
    assert verdict(report, "source") is False
    assert verdict(report, "prediction") is False
    report = verify(made, FIXTURES / "cancer" / "model.onnx")
    assert verdict(report, "source") is False
    assert verdict(report, "prediction") is False


def test_a_broken_graph_is_found() -> None:
    made = rewrite(DIGITS, target="input")
    made.graph.node[0].op_type = "Convolution"
    assert verdict(verify(made), "standard") is False


def test_results_that_are_no_numbers_are_found() -> None:
    made = rewrite(model([node("Log", "x", "y")], {"x": ["n", 2]}, {"y": ["n", 2]}), target=0)
    assert verdict(verify(made, x=np.array([[-1, 1]], np.float32)), "run") is False
    assert verify(made, x=np.array([[2, 1]], np.float32)).ok


def test_a_target_beyond_the_last_that_gives_numbers_is_found() -> None:
    """A file whose graph answers with another element's attribution."""
    made = rewrite(DIGITS, target="input")
    for n in made.graph.node:
        n.input[:] = ["clipped" if name == "target" else name for name in n.input]
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.array(9), "nine"))
    made.graph.node.insert(0, node("Min", "target nine", "clipped"))
    assert verdict(verify(made), "target") is False


def linear(power: bool) -> onnx.ModelProto:
    nodes = [node("Mul", "x x", "q") if power else node("Identity", "x", "q"), node("MatMul", "q w", "y")]
    return model(nodes, {"x": ["n", 4]}, {"y": ["n", 3]}, {"w": np.arange(12, dtype=np.float32).reshape(4, 3)})


@pytest.mark.parametrize("target", ["input", None, 2])
@pytest.mark.parametrize("baseline", [0, 0.5, "input"])
def test_completeness_is_checked_where_it_is_promised(target: Any, baseline: Any) -> None:
    """Simple Taylor is complete for a linear model, and only there; a file that promises it otherwise is found out."""
    for power in (False, True):
        made = rewrite(linear(power), "taylor", target=target, baseline=baseline)
        assert not any(f.name == "completeness" for f in verify(made).findings)
        assert verdict(verify(changed(made, axioms=["completeness"])), "completeness") is not power


@pytest.mark.parametrize("target", [2, {0: 1, 1: -1}, "all"], ids=str)
def test_completeness_that_cannot_be_checked_is_not_judged(target: Any) -> None:
    """A baseline that is baked in as an array, and targets that are no single element."""
    made = rewrite(linear(False), "taylor", target=target, baseline=np.ones((1, 4)) if target == 2 else 0)
    finding = verify(changed(made, axioms=["completeness"])).findings[-1]
    assert finding.name == "completeness"
    assert finding.ok is None
    assert "not checked" in finding.detail


def test_a_reported_gap_is_compared_with_the_one_there_is() -> None:
    made = rewrite(DIGITS, "integrated-gradients", target="input", baseline=0, steps=20)
    assert verdict(verify(made), "completeness") is not False
    for n in made.graph.node:
        if "delta" in n.output:
            n.output[:] = ["gap"]
    made.graph.node.append(node("Add", "gap two", "delta"))
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(2), "two"))
    assert verdict(verify(made), "completeness") is False


def test_conservation_is_shown_and_judged_where_nothing_absorbs() -> None:
    nodes = [node("MatMul", "x w", "h"), node("Relu", "h", "r"), node("MatMul", "r v", "y")]
    random = np.random.default_rng(0)
    weights = {"w": random.normal(size=(4, 5)).astype(np.float32), "v": random.normal(size=(5, 3)).astype(np.float32)}
    made = rewrite(model(nodes, {"x": ["n", 4]}, {"y": ["n", 3]}, weights), "lrp-epsilon", target="input")
    assert verdict(verify(made), "conservation") is True
    biased = verify(rewrite(DIGITS, "lrp-epsilon", target="input"))
    assert verdict(biased, "conservation") is None
    assert "of the score" in biased.findings[-1].detail


def test_verify_from_the_shell(tmp_path: Path) -> None:
    out = tmp_path / "e.onnx"
    onnx.save(rewrite(DIGITS, "taylor", target="input", baseline="input"), out)
    done = invoke("verify", out, FIXTURES / "digits" / "digit_3.npy", "--model", DIGITS)
    assert done.exit_code == 0, done.output
    found = json.loads(invoke("verify", out, "--json").output)
    assert found["ok"]
    assert {f["name"] for f in found["findings"]} >= {"metadata", "names", "standard", "source", "run", "target"}
    wrong = invoke("verify", out, "--model", FIXTURES / "cancer" / "model.onnx")
    assert wrong.exit_code == 1
    plain = invoke("verify", DIGITS)
    assert plain.exit_code == 2
    assert "is no explained model" in plain.output


# -- pipelines -----------------------------------------------------------------------------------------------------------


def preprocess() -> onnx.ModelProto:
    """Bytes [n, 8, 8] to numbers [n, 1, 8, 8] in 0..1."""
    cast = node("Cast", "bytes", "numbers", to=onnx.TensorProto.FLOAT)
    nodes = [cast, node("Div", "numbers scale", "scaled"), node("Unsqueeze", "scaled one", "pixels")]
    sizes = {"scale": np.float32(255), "one": np.array([1])}
    kinds = {"bytes": onnx.TensorProto.UINT8}
    return model(nodes, {"bytes": ["batch", 8, 8]}, {"pixels": ["batch", 1, 8, 8]}, sizes, kinds=kinds)


def test_an_explained_model_joins_a_pipeline() -> None:
    """As docs/contract.md says: behind a preprocessing graph, and with the whole explained at an inner tensor."""
    with np.load(FIXTURES / "digits" / "data.npz") as data:
        image = data["image"][:3]
    raw = np.round(image[:, 0] * 255).astype(np.uint8)
    pixels = (raw.astype(np.float32) / np.float32(255))[:, None]
    before, explained = preprocess(), rewrite(DIGITS, target="input")
    before.ir_version = explained.ir_version
    joined = onnx.compose.merge_models(before, explained, io_map=[("pixels", "image")])
    target = np.array([3, -1, 5])
    result = run(joined, {"bytes": raw, "target": target})
    expected = run(explained, {"image": pixels, "target": target})
    for name in ("logits", "image_attribution"):
        np.testing.assert_array_equal(result[name], expected[name])
    assert read_metadata(joined) == read_metadata(explained)
    plain = onnx.load(DIGITS)
    before.ir_version = plain.ir_version
    whole = rewrite(onnx.compose.merge_models(before, plain, io_map=[("pixels", "image")]), target="input", layer="pixels")
    inner = run(whole, {"bytes": raw, "target": target})
    np.testing.assert_allclose(inner["pixels_attribution"], expected["image_attribution"], rtol=1e-5, atol=1e-6)


def test_attribution_alone_has_the_same_numbers_in_a_smaller_file() -> None:
    with np.load(FIXTURES / "digits" / "data.npz") as data:
        feeds = {"image": data["image"][:2]}
    fixed = host_cases.source("fixed_of_digits")
    both, alone = rewrite(fixed, target=1), rewrite(fixed, target=1, only_attribution=True)
    assert [o.name for o in alone.graph.output] == ["image_attribution"]
    np.testing.assert_array_equal(run(alone, feeds)["image_attribution"], run(both, feeds)["image_attribution"])
    assert len(alone.graph.initializer) < len(both.graph.initializer), "what only the prediction needs is gone"
    onnx.checker.check_model(alone)


# -- the same bytes ------------------------------------------------------------------------------------------------------

WRITE = """
import hashlib, sys
from tests.support import host_cases
from onnxplain import Explainer
for case in host_cases.cases():
    try:
        model = host_cases.rewritten(case)
    except BaseException as error:
        if type(error).__name__ != "Skipped":
            raise
        continue
    print(case, hashlib.sha256(model.SerializeToString()).hexdigest())
"""


def test_the_same_bytes_in_every_process() -> None:
    """Neither the order of hashes nor what was rewritten before may show in a file."""
    lines = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
        code = WRITE if seed == "1" else WRITE.replace("host_cases.cases()", "reversed(host_cases.cases())")
        done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        lines.append(sorted(done.stdout.splitlines()))
    known = [c for c in host_cases.cases() if c.source == "digits" or not all_methods()[c.method].auto_layer]
    assert len(lines[0]) >= len(known) - 15, "not counting what methods refuse; maps refuse all but images"
    assert lines[0] == lines[1]


def test_the_shell_and_python_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.onnx", "two.onnx"):
        assert invoke("rewrite", DIGITS, "-o", tmp_path / name, "-t", "input", "-m", "saliency").exit_code == 0
    made = rewrite(DIGITS, "saliency", target="input").SerializeToString()
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes() == made


@pytest.mark.parametrize(("opset", "kind", "version"), [(18, "FLOAT", 8), (19, "FLOAT", 9), (21, "FLOAT", 10), (18, "INT4", 10)])
def test_ir_version_is_the_lowest_that_serves(opset: int, kind: str, version: int) -> None:
    """Runtimes refuse files of a newer IR version than they know, whatever is in them."""
    made = model([node("Mul", "x x", "y")], {"x": ["n", 2]}, {"y": ["n", 2]}, opset=opset)
    made.graph.initializer.append(onnx.helper.make_tensor("unread", onnx.TensorProto.DataType.Value(kind), [2], [1, 2]))
    made.ir_version = 11
    explained = rewrite(made)
    assert explained.ir_version == version
    onnx.checker.check_model(explained, full_check=True)
