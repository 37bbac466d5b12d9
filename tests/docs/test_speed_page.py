"""The published benchmark: its page says what its numbers say, and judges them by its goals."""

from __future__ import annotations

import importlib
import json
import sys
from types import ModuleType
from typing import Any

import pytest

from tests.support.paths import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def scripts() -> Any:
    """The scripts of the benchmark import each other by name."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def plan() -> ModuleType:
    return importlib.import_module("speed_plan")


@pytest.fixture(scope="module")
def page() -> ModuleType:
    return importlib.import_module("speed_page")


def record(**changed: Any) -> dict[str, Any]:
    """A case as it stands in the results: twice the forward run, three times faster than Captum."""
    facts = {
        "model": "resnet50", "method": "gradient", "batch": 1, "date": "2026-01-02", "threads": 2, "versions": {"onnx": "1"},
        "machine": {"processor": "P", "cores": "2"}, "difference": {"captum": 3e-3, "torch": 2e-3}, "failed": {},
        "seconds": {"forward": [0.1, 0.1], "onnxplain": [0.2, 0.2], "captum": [0.6, 0.6], "torch": [0.5, 0.5]},
        "memory": {"forward": 100e6, "onnxplain": 260e6}, "size": {"forward": 1e6, "onnxplain": 1.04e6},
    }  # fmt: skip
    return {**facts, **changed}


def made(page: ModuleType, *records: dict[str, Any]) -> dict[str, str]:
    return page.tables({page.key_of(r): r for r in records})


def test_every_case_has_a_name_of_its_own_and_every_goal_a_case(plan: ModuleType) -> None:
    keys = [c.key for c in plan.ALL]
    assert len(keys) == len(set(keys))
    for goal in plan.GOALS:
        for method in goal.methods:
            if not any(c.method == method and c.model in goal.models for c in plan.ALL):
                pytest.fail(f"nothing measures {method}, for which there is a goal")
        peer = {p for c in plan.ALL if c.method in goal.methods for p in c.peers}
        assert goal.against in {"forward", plan.SINGLE} | peer


def test_goals_judge_in_their_direction(plan: ModuleType) -> None:
    at_most = plan.goal_of("resnet50", "gradient", 1, "forward")
    at_least = plan.goal_of("resnet50", "gradient", 8, "captum")
    faster = plan.goal_of("vgg16", "gradient", 8, "compile")
    assert [at_most.text, at_least.text, faster.text] == ["≤ 2.1", "≥ 2.5", "> 1"]
    assert [at_most.met(v) for v in (2.1, 2.2)] == [True, False]
    assert [at_least.met(v) for v in (2.5, 2.4)] == [True, False]
    assert [faster.met(v) for v in (1.01, 1.0)] == [True, False]
    assert plan.goal_of("resnet50", "gradient", 8, "forward").text == "≤ 2.3"
    assert plan.goal_of("digits", "gradient", 8, "forward") is None


def test_tables_hold_the_ratios_and_verdicts(page: ModuleType) -> None:
    found = made(page, record())
    assert "| resnet50 | `gradient` | 1 | 100 | 200 | 2 (2-2) | ≤ 2.1 | met |" in found["forward"]
    assert "| resnet50 | `gradient` | 1 | Captum Saliency | 600 | 200 | 3 (3-3) | 3e-03 | ≥ 2.5 | met |" in found["peers"]
    assert "| PyTorch autograd | 500 | 200 | 2.5 (2.5-2.5) | 2e-03 |  |  |" in found["peers"]
    assert "| 100 | 260 | 2.60 | ≤ 2.5 | **not met** | 4.0% | met |" in found["memory"]
    assert found["goals"].startswith("3 of 4 ratios with a goal meet it. Not met:")
    assert "- resnet50, `gradient`, batch 1: memory × 2.60, goal ≤ 2.5" in found["goals"]
    assert "onnx 1" in found["conditions"]


def test_samples_that_take_turns_have_a_row_of_their_own(page: ModuleType) -> None:
    """In the same table as all samples at once, and judged by the same goal."""
    turns = record(batch=8, options={"batch_size": 1}, memory={"forward": 100e6, "onnxplain": 180e6})
    found = made(page, record(batch=8), turns)
    assert "| resnet50 | `gradient` | 8 | 100 | 260 | 2.60 | ≤ 2.5 | **not met** |" in found["memory"]
    assert "| resnet50 | `gradient`, one sample at a time | 8 | 100 | 180 | 1.80 | ≤ 2.5 | met |" in found["memory"]


def test_a_path_method_is_held_against_single_gradients(page: ModuleType, plan: ModuleType) -> None:
    seconds = {"forward": [0.1], "onnxplain": [1.0], plan.SINGLE: [1.25], "captum": [4.0]}
    smooth = record(method="smoothgrad", seconds=seconds, difference={"captum": None})
    found = made(page, smooth)["peers"]
    assert f"| {plan.SINGLE} | 1.25e+03 | 1e+03 | 1.25 (1.25-1.25) |  | ≤ 1 | met |" in found
    assert "| Captum NoiseTunnel | 4e+03 | 1e+03 | 4 (4-4) | own random draws |" in found
    slower = record(method="smoothgrad", seconds={**seconds, plan.SINGLE: [0.8]}, difference={"captum": None})
    assert "0.8 (0.8-0.8) |  | ≤ 1 | **not met** |" in made(page, slower)["peers"]


def test_what_a_tool_could_not_do_is_said(page: ModuleType) -> None:
    found = made(page, record(failed={"zennit": "ValueError: a | b <c>"}))["missing"]
    assert "| resnet50 | `gradient` | 1 | Zennit | ValueError: a \\| b &lt;c> |" in found


def test_what_was_not_measured_is_said(page: ModuleType, plan: ModuleType) -> None:
    found = made(page, record())["missing"]
    assert "Not measured yet: torch.compile on resnet50 `gradient` batch 1, onnx-ad on resnet50 `gradient` batch 1." in found
    assert "resnet50 `gradient` batch 8" in found
    whole = [
        record(model=c.model, method=c.method, batch=c.batch, options=c.options, failed=dict.fromkeys(c.peers, "no"))
        for c in plan.ALL
    ]
    assert "Not measured yet" not in made(page, *whole)["missing"]


def test_unknown_names_are_refused(plan: ModuleType) -> None:
    with pytest.raises(SystemExit, match="no model 'alexnet'; known: bert-base"):
        plan.chosen(["alexnet"], [], [], None)
    assert [c.peers for c in plan.chosen(["vgg16"], ["lrp-epsilon"], [1], ["zennit"])] == [("zennit",)]
    assert [c.peers for c in plan.chosen(["vgg16"], ["lrp-epsilon"], [1], [])] == [()]


def test_the_page_is_made_from_the_numbers_beside_it(page: ModuleType) -> None:
    results = json.loads((ROOT / "docs" / "speed.json").read_text(encoding="utf-8"))
    text = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    for name, block in page.tables(results).items():
        start = f"<!-- {name}: made by benchmarks/speed.py -->\n"
        assert text.split(start)[1].split("\n<!-- end -->")[0] == block, f"run python benchmarks/speed.py --page-only ({name})"
