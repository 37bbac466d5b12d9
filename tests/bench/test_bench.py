"""Measuring: the arithmetic of rounds, workers that stand still between requests, and `onnxplain bench`. Nothing asserts a time."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from onnxplain.analysis.sample_axis import SampleAxes
from onnxplain.bench import serving
from onnxplain.bench.benchmark import bench
from onnxplain.bench.feeding import batch_sizes, feeds_of
from onnxplain.bench.memory import forget_peak, peak, resident
from onnxplain.bench.profile import operator_costs
from onnxplain.bench.report import BenchReport, Row
from onnxplain.bench.rounds import Entry, interleaved
from onnxplain.bench.spread import Spread, ratio
from onnxplain.bench.worker import Worker, WorkerError
from onnxplain.cli.main import main
from onnxplain.errors import InputError, MethodError
from onnxplain.ir.graph import Graph
from onnxplain.ir.ops import standard_traits
from onnxplain.runtime.inputs import axes_of
from tests.support.models import model, node
from tests.support.paths import ROOT

DIGITS = ROOT / "fixtures" / "digits" / "model.onnx"
THREE = ROOT / "fixtures" / "digits" / "digit_3.npy"


# -- arithmetic --------------------------------------------------------------------------------------------------------


def test_ratios_are_taken_within_rounds() -> None:
    # The second round ran at half speed throughout: no ratio shows it, the ratio of the medians would.
    found = ratio([2.0, 4.0, 2.2], [1.0, 2.0, 1.0])
    assert (found.median, found.low, found.high) == (2.0, 2.0, pytest.approx(2.1))
    assert str(found) == "2 (2-2.1)"


def test_the_spread_is_the_middle_half() -> None:
    found = Spread.of([9.0, 1.0, 4.0, 2.0, 3.0])
    assert (found.low, found.median, found.high) == (2.0, 3.0, 4.0)


def test_where_one_took_part_in_fewer_rounds_they_are_the_first() -> None:
    assert ratio([6.0], [2.0, 100.0]) == Spread(3.0, 3.0, 3.0)


def test_nothing_measured_is_no_number() -> None:
    with pytest.raises(ValueError, match="no rounds"):
        ratio([], [1.0])


class Clock:
    """A clock that only runs when told, and counts the runs that told it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: list[float]) -> None:
        self.now, self.runs, self.seconds = 0.0, 0, seconds
        monkeypatch.setattr(serving.time, "perf_counter", lambda: self.now)

    def run(self) -> dict[str, Any]:
        self.now += self.seconds[min(self.runs, len(self.seconds) - 1)]
        self.runs += 1
        return {}


def test_a_short_run_warms_up_first_and_fills_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, [0.5, 0.125])
    assert serving.timed(clock.run, 0.3) == [0.125, 0.125, 0.125]
    assert clock.runs == 4


def test_a_long_run_is_counted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, [4.0])
    assert serving.timed(clock.run, 0.3) == [4.0]
    assert clock.runs == 1


def test_a_turn_has_at_least_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert serving.timed(Clock(monkeypatch, [0.25]).run, 0.0) == [0.25]


class Stub:
    """Stands for a worker; answers with given seconds and notes who was asked."""

    def __init__(self, name: str, seconds: list[float], asked: list[str]) -> None:
        self.name, self.seconds, self.asked = name, seconds, asked

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        assert do == "time"
        self.asked.append(self.name)
        return {"seconds": self.seconds}


def stubs(asked: list[str]) -> dict[str, Entry]:
    return {name: Entry(Stub(name, [1.0, 2.0, 9.0], asked), {}) for name in ("a", "b", "c")}  # type: ignore[arg-type]


def test_every_other_round_goes_backwards_and_a_turn_is_its_median() -> None:
    asked: list[str] = []
    taken = interleaved(stubs(asked), 3)
    assert "".join(asked) == "abc" + "cba" + "abc"
    assert taken == {"a": [2.0] * 3, "b": [2.0] * 3, "c": [2.0] * 3}


def test_a_spent_budget_ends_the_rounds_but_for_the_least() -> None:
    assert {len(v) for v in interleaved(stubs([]), 9, budget=0.0, least=4).values()} == {4}
    assert {len(v) for v in interleaved(stubs([]), 2, budget=0.0, least=4).values()} == {2}


def event(name: str, ts: int, dur: int = 0, op: str | None = None) -> dict[str, Any]:
    return {"name": name, "ts": ts, "dur": dur, **({"cat": "Node", "args": {"op_name": op}} if op else {"cat": "Session"})}


def test_a_profile_is_the_mean_of_its_runs_without_the_first() -> None:
    events = [
        event("model_run", 0), event("c1_kernel_time", 1, 900_000, "Conv"),
        event("model_run", 100), event("c1_kernel_time", 101, 3000, "Conv"), event("c2_kernel_time", 102, 1000, "Conv"),
        event("r_kernel_time", 103, 2000, "Relu"), event("r_fence_before", 103, 77, "Relu"),
        event("l_kernel_time", 104, 50_000, "Loop"),
        event("model_run", 200), event("c1_kernel_time", 201, 1000, "Conv"), event("c2_kernel_time", 202, 3000, "Conv"),
        event("r_kernel_time", 203, 2000, "Relu"),
    ]  # fmt: skip
    found = operator_costs(events, skip=1)
    assert list(found) == ["Conv", "Relu"]
    assert found["Conv"] == {"seconds": pytest.approx(4e-3), "share": pytest.approx(2 / 3), "nodes": 2}
    assert found["Relu"]["seconds"] == pytest.approx(2e-3)
    assert operator_costs(events[:2], skip=1) == {}


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are forgotten on Linux only")
def test_a_peak_is_of_what_came_after_it_was_forgotten() -> None:
    large = 64 << 20
    np.ones(large, np.uint8).sum()
    before = resident()
    forget_peak()
    assert peak() < before + large // 2
    np.ones(large, np.uint8).sum()
    assert peak() > before + large // 2


# -- workers -----------------------------------------------------------------------------------------------------------

SERVER = """
import os, sys
sys.path.insert(0, {root!r})
from onnxplain.bench.serving import serve

def make(case):
    if "fail" in case:
        raise ValueError("no such\\ncase")
    if "die" in case:
        print("the last words", file=sys.stderr)
        os._exit(3)
    if "hang" in case:
        import time
        time.sleep(600)
    print("libraries print what they like")
    return lambda: {{"x": [case["value"]]}}

serve(make, pid=os.getpid())
"""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    script = tmp_path / "server.py"
    script.write_text(SERVER.format(root=str(ROOT)))
    with Worker([sys.executable, str(script)]) as made:
        yield made


def test_a_worker_computes_and_times(worker: Worker, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    worker.ask("compute", case={"value": 7}, out=str(out))
    with np.load(out) as data:
        assert data["x"].tolist() == [7]
    assert len(worker.ask("time", case={"value": 7}, seconds=0)["seconds"]) == 1


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the state of a process is read from /proc")
def test_a_worker_stands_still_between_requests(worker: Worker) -> None:
    pid = worker.ask("start")["pid"]
    for _ in range(3):
        deadline = time.monotonic() + 60  # the signal arrives soon, not at once
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        worker.ask("start")


def test_an_error_is_told_and_the_worker_goes_on(worker: Worker) -> None:
    with pytest.raises(WorkerError, match="ValueError: no such case"):
        worker.ask("time", case={"fail": 1}, seconds=0)
    with pytest.raises(WorkerError, match="unknown request 'dance'"):
        worker.ask("dance")
    assert worker.ask("time", case={"value": 1}, seconds=0)["seconds"]


def test_last_words_of_a_worker_that_died(worker: Worker) -> None:
    with pytest.raises(WorkerError, match="ended with 3: the last words"):
        worker.ask("time", case={"die": 1}, seconds=0)


def test_a_worker_that_takes_too_long_is_given_up(worker: Worker) -> None:
    worker.ask("start")
    worker.limit = 0.5
    with pytest.raises(WorkerError, match=r"no answer within 0\.5 s"):
        worker.ask("time", case={"hang": 1}, seconds=0)


# -- batches and inputs ------------------------------------------------------------------------------------------------


def graph(*shape: Any) -> Graph:
    return Graph(model([node("Relu", "x", "y")], {"x": list(shape)}, {"y": list(shape)}))


def axes(made: Graph, sample_axis: Any = "auto") -> SampleAxes:
    return axes_of(made, None, "logit", sample_axis, standard_traits)


def test_batches_are_free_or_the_models_own() -> None:
    free, fixed = axes(graph("n", 3)), axes(graph(4, 3))
    assert batch_sizes(free, []) == [1, 8]
    assert batch_sizes(free, [2, 5]) == [2, 5]
    assert batch_sizes(fixed, []) == [4]
    assert batch_sizes(fixed, [4]) == [4]
    with pytest.raises(InputError, match="exported for batches of 4"):
        batch_sizes(fixed, [8])


def test_given_samples_are_repeated_in_turn() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    made = graph("n", 3)
    np.testing.assert_array_equal(feeds_of(made, axes(made), 5, {"x": x}, {})["x"], x[[0, 1, 0, 1, 0]])


def test_made_up_samples_take_extents_by_name() -> None:
    made = graph("n", "t", 3)
    assert feeds_of(made, axes(made), 4, None, {"t": 6})["x"].shape == (4, 6, 3)
    assert feeds_of(made, axes(made), 4, None, {})["x"].shape == (4, 8, 3)
    with pytest.raises(InputError, match="no axis of an input is called 'k'; free axes: n, t"):
        feeds_of(made, axes(made), 4, None, {"k": 6})


def time_first() -> Graph:
    """Steps, samples, features; the steps are summed up."""
    nodes = [node("Mul", "x x", "xx"), node("ReduceSum", "xx time", "y", keepdims=0)]
    return Graph(model(nodes, {"x": ["t", "n", 3]}, {"y": ["n", 3]}, {"time": np.array([0])}))


def test_samples_that_come_second_are_repeated_there() -> None:
    made, x = time_first(), np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    np.testing.assert_array_equal(feeds_of(made, axes(made), 3, {"x": x}, {})["x"], x[:, [0, 1, 0]])
    assert feeds_of(made, axes(made), 5, None, {"t": 4})["x"].shape == (4, 5, 3)
    assert batch_sizes(axes(made), [2]) == [2]


def test_a_batch_of_what_counts_no_samples_is_refused() -> None:
    """The mean over all rows: none of them is a sample."""
    made = Graph(model([node("Mul", "x x", "xx"), node("ReduceMean", "xx", "y", keepdims=0)], {"x": ["n", 3]}, {"y": []}))
    assert batch_sizes(axes(made), []) == [1]
    with pytest.raises(InputError, match=r"nothing counts samples in this model \('y' is a single number\); leave --batch out"):
        batch_sizes(axes(made), [2])


def test_a_batch_along_an_axis_that_may_count_samples_is_asked_for() -> None:
    made = Graph(model([node("Bend", "x", "y", domain="my.ops")], {"x": ["t", "n", 3]}, {"y": ["k", 5]}))
    with pytest.raises(InputError, match=r"nothing tells which axis of 'x' \[t, n, 3\] counts samples"):
        batch_sizes(axes(made), [2])
    assert batch_sizes(axes(made), []) == [1]
    assert feeds_of(made, axes(made), 1, None, {})["x"].shape == (1, 1, 3)
    said = axes(made, {"x": 1, "y": 0})
    assert feeds_of(made, said, 2, None, {"t": 4})["x"].shape == (4, 2, 3)


# -- the command -------------------------------------------------------------------------------------------------------


def row(**changed: Any) -> Row:
    facts = {"forward": (1.0, 2.0), "explained": (2.0, 5.0), "memory_forward": 100, "memory_explained": 150,
             "size_forward": 1000, "size_explained": 1040}  # fmt: skip
    return Row("gradient", 8, **{**facts, **changed})


def test_a_row_in_numbers() -> None:
    found = row().to_dict()
    assert found["forward_ms"] == 1500
    assert (found["ratio"], found["ratio_low"], found["ratio_high"]) == (2.25, 2.125, 2.375)


def test_memory_that_is_not_known_is_left_empty() -> None:
    about = {"processor": "p", "cores": "2", "threads": None, "versions": {}, "date": "d", "rounds": 2}
    known = BenchReport("m", about, (row(),), {}).markdown()
    assert "| gradient | 8 | 1.5e+03 | 3.5e+03 | 2.25 (2.12-2.38) | 0 | 1.50 | 0.00104 | 4.0% |" in known
    unknown = BenchReport("m", about, (row(memory_forward=0, memory_explained=0),), {}).markdown()
    assert "| 2.25 (2.12-2.38) |  |  | 0.00104 |" in unknown


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


def refused(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    (line,) = result.output.strip().splitlines()
    return line


def test_bench_writes_every_form(tmp_path: Path) -> None:
    paths = [tmp_path / f"b.{ending}" for ending in ("md", "json", "csv")]
    outs = [part for path in paths for part in ("-o", path)]
    quick = ("--rounds", 2, "--seconds", 0, "--threads", 1, "--batch", 3)
    result = invoke(DIGITS, THREE, "-m", "gradient,integrated-gradients", "--option", "steps=4", *quick, "--profile", *outs)
    assert result.exit_code == 0, result.output
    found = json.loads(paths[1].read_text())
    assert [(r["method"], r["batch"], r["rounds"]) for r in found["rows"]] == [("gradient", 3, 2), ("integrated-gradients", 3, 2)]
    assert all(r["ratio_low"] <= r["ratio"] <= r["ratio_high"] for r in found["rows"])
    assert all(r["size_explained_mb"] > r["size_forward_mb"] == DIGITS.stat().st_size / 1e6 for r in found["rows"])
    assert set(found["operators"]) == {"forward", "gradient", "integrated-gradients"}
    assert {"Conv", "MaxPool", "Gemm"} <= set(found["operators"]["forward"])
    assert sum(c["share"] for c in found["operators"]["gradient"].values()) == pytest.approx(1)
    with paths[2].open() as file:
        assert [r["method"] for r in csv.DictReader(file)] == ["gradient", "integrated-gradients"]
    text = paths[0].read_text()
    assert text.startswith("# What explaining model.onnx costs")
    assert "1 thread;" in text
    assert "2 rounds." in text
    assert "Costliest operators of gradient" in text
    assert "costliest in forward" in result.output


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is told on Linux only")
def test_memory_counts_the_weights() -> None:
    rows = 4096
    weight = np.ones((rows, rows), np.float32)
    large = model([node("MatMul", "x w", "y")], {"x": ["n", rows]}, {"y": ["n", rows]}, {"w": weight})
    report = bench(large, ["gradient"], batches=[1], rounds=1, seconds=0, threads=1)
    assert report.rows[0].memory_forward > weight.nbytes
    assert report.rows[0].memory_explained > weight.nbytes


def test_refusals() -> None:
    assert "a benchmark is written as .md, .json, .csv" in refused(DIGITS, "-o", "b.html")
    assert "no folder" in refused(DIGITS, "-o", "nowhere/b.md")
    assert "gradient" in refused(DIGITS, "-m", "gradiant")
    assert "--size takes AXIS=N" in refused(DIGITS, "--size", "t=0")
    assert "no axis of an input is called 't'" in refused(DIGITS, "--size", "t=5")
    assert "provider" in refused(DIGITS, "--provider", "nowhere")
    with pytest.raises(MethodError):
        bench(DIGITS, ["occlusion"])
    with pytest.raises(InputError, match="at least 1 round"):
        bench(DIGITS, rounds=0)
