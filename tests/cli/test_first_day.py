"""What surprised people on their first day: nothing is taken in silence, told too late, or left out without a word."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxplain import Explainer
from tests.cli.test_cli import DIGITS, MODEL, THREE, good, invoke, refused
from tests.support.models import model, node
from tests.support.paths import FIXTURES, ROOT

EIGHT = DIGITS / "digit_8.png"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("explain", MODEL, THREE, "-t", "-3"), "target -3 is out of range: outputs are counted from 0"),
        (("explain", MODEL, THREE, "-t", "3-3"), "difference of an output from itself"),
        (("rewrite", MODEL, "-o", "e.onnx", "-m", "gradient", "-m", "saliency"), "`rewrite` takes one method, not 2"),
        (("rewrite", MODEL, "-o", "e.txt"), "call it e.onnx"),
        (("explain", MODEL), "no input was given; the model takes 'image' [batch, 1, 8, 8] of float32"),
        (("explain", MODEL, THREE, "-m", "taylor"), "method 'taylor' needs a baseline"),
        (("explain", MODEL, THREE, "-m", "integrated-gradients"), "--baseline 0"),
    ],
)
def test_refused(arguments: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert says in refused(*arguments)
    assert not list(tmp_path.iterdir())


def test_lists_of_names_fit_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("a\nb\n")
    slow = ("-m", "smoothgrad", "--option", "samples=1000000")
    assert "2 labels for the 10 outputs" in refused("explain", MODEL, THREE, *slow, "--labels", tmp_path / "two.txt")
    assert "2 feature names for the 64 elements" in refused("explain", MODEL, THREE, *slow, "--features", tmp_path / "two.txt")


def test_a_missing_extra_is_said_before_the_run(tmp_path: Path) -> None:
    code = "import sys\nsys.modules['jinja2'] = None\nfrom onnxplain.cli.main import main\nmain({arguments!r})\n"
    for arguments in (
        ["explain", MODEL, THREE, "-m", "smoothgrad", "--option", "samples=1000000", "-o", str(tmp_path / "e.html")],
        ["evaluate", MODEL, str(DIGITS / "data.npz"), "-m", "smoothgrad(samples=1000000)", "-o", str(tmp_path / "r.html")],
    ):
        done = subprocess.run([sys.executable, "-c", code.format(arguments=arguments)], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 2
        assert "onnxplain[plot]" in done.stderr


def test_methods_add_up() -> None:
    text = good("explain", MODEL, THREE, "-m", "gradient", "-m", "saliency,sensitivity")
    assert all(f"{name} of the output" in text for name in ("gradient", "saliency", "sensitivity"))


def test_numbers_that_cannot_be() -> None:
    for option in (("--top", "-3"), ("--scale", "1/0"), ("--scale", "x/255")):
        result = invoke("explain", MODEL, EIGHT, *option)
        assert result.exit_code == 2
        assert "Error: Invalid value" in result.output


def test_fractions(tmp_path: Path) -> None:
    good("explain", MODEL, EIGHT, "--scale", "1/255", "-o", tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz") as found:
        assert found["image"].max() == pytest.approx(1)


def test_classes_probabilities_and_files_in_the_terminal() -> None:
    text = good("explain", MODEL, EIGHT, "--scale", "1/255", "--labels", DIGITS / "labels.txt")
    logits = Explainer(MODEL)(np.load(DIGITS / "digit_8.npy")).outputs["logits"][0].astype(np.float64)
    assert "digit_8.png" in text
    assert "8 > 99.9 %" in text or f"8 {100 * np.exp(logits[8]) / np.exp(logits).sum():.1f} %" in text
    assert "softmax of output 'logits'" in text


def test_targets_are_printed_as_they_are_given(tmp_path: Path) -> None:
    data = np.load(FIXTURES / "unet" / "data.npz")
    np.savez(tmp_path / "x.npz", **{name: data[name][:1] for name in data.files})
    start = ("explain", FIXTURES / "unet" / "model.onnx", tmp_path / "x.npz")
    outputs = Explainer(FIXTURES / "unet" / "model.onnx")(dict(data)).outputs
    (output,) = (v for v in outputs.values() if v.ndim == 4)
    place = ",".join(str(i) for i in np.unravel_index(output[0].argmax(), output.shape[1:]))
    assert f" {place} " in good(*start)
    again, first = (json.loads(good(*start, *given, "--json"))["attributions"] for given in (("-t", place), ()))
    assert np.allclose(next(iter(again.values())), next(iter(first.values())), atol=1e-5)


def test_an_assumed_baseline_is_said() -> None:
    start = ("explain", FIXTURES / "blackbox" / "forest.onnx", FIXTURES / "iris_sklearn" / "data.npz", "-m", "kernel-shap")
    assert "no baseline was given: 0 stands for what is absent" in good(*start)
    assert "no baseline was given" not in good(*start, "--baseline", "1.5")


def test_raw_pixels_are_said() -> None:
    warning = "values from 0 to 255 enter 'image', and the model weighs them"
    assert warning in invoke("explain", MODEL, EIGHT).output
    for scale in ("1", "1/255"):
        assert warning not in invoke("explain", MODEL, EIGHT, "--scale", scale).output
    assert "values from -2 to 1273 enter" in invoke("explain", MODEL, EIGHT, "--mean", "0.4", "--std", "0.2").output


def test_a_model_that_scales_its_pixels_is_left_alone(tmp_path: Path) -> None:
    made = onnx.load(MODEL)
    scale = onnx.numpy_helper.from_array(np.array(1 / 255, np.float32), "scale")
    made.graph.initializer.append(scale)
    for n in made.graph.node:
        n.input[:] = ["scaled" if i == "image" else i for i in n.input]
    made.graph.node.insert(0, onnx.helper.make_node("Mul", ["image", "scale"], ["scaled"]))
    onnx.save(made, tmp_path / "m.onnx")
    assert "enter 'image'" not in invoke("explain", tmp_path / "m.onnx", EIGHT).output


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    made = model(
        [node("Mul", "age two", "y"), node("Identity", "city", "town")],
        {"age": ["n", 1], "two": ["n", 1], "unused": ["n", 1], "city": ["n", 1]}, {"y": ["n", 1], "town": ["n", 1]},
    )  # fmt: skip
    for value in (*made.graph.input, *made.graph.output):
        if value.name in ("city", "town"):
            value.type.tensor_type.elem_type = onnx.TensorProto.STRING
    onnx.save(made, tmp_path / "m.onnx")
    (tmp_path / "x.csv").write_text("age,two,unused,city\n1,2,3,Ulm\n")
    good("explain", tmp_path / "m.onnx", tmp_path / "x.csv", "--output", "y", "-o", tmp_path / "e.html")
    text = good("explain", tmp_path / "m.onnx", tmp_path / "x.csv", "--output", "y")
    page = (tmp_path / "e.html").read_text()
    for said in (text, page.replace("&#39;", "'")):
        assert "'city': holds text, which has no derivative; methods that need forward passes only take it, such as" in said
        assert "'unused': 'y' does not depend on it" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", MODEL, THREE),
        ("plan", MODEL),
        ("check", MODEL, THREE),
        ("methods",),
        ("methods", "gradient"),
        ("operators",),
        ("metrics",),
        ("metrics", "deletion"),
        ("advise", MODEL),
        ("bench", MODEL, "--rounds", "1", "--seconds", "0"),
        ("evaluate", MODEL, DIGITS / "digit_3.npy", "-m", "gradient", "-q", "sparseness"),
    ],
)
def test_every_list_is_json_too(arguments: tuple[object, ...]) -> None:
    assert json.loads(good(*arguments, "--json"))


def test_rewrite_tells_json(tmp_path: Path) -> None:
    assert json.loads(good("rewrite", MODEL, "-o", tmp_path / "e.onnx", "--json"))["method"] == "gradient"


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_a_reader_may_leave_early() -> None:
    command = f"set -o pipefail; {sys.executable} -m onnxplain operators | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    assert "_ONNXPLAIN_COMPLETE" in good("completion", shell)


def test_methods_complete() -> None:
    words = f"onnxplain explain {MODEL} -m gradient,lrp-eps"
    env = {**os.environ, "_ONNXPLAIN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "4"}
    done = subprocess.run([sys.executable, "-c", "from onnxplain.cli.main import main; main(prog_name='onnxplain')"],
                          capture_output=True, text=True, env=env, cwd=ROOT)  # fmt: skip
    assert "plain,gradient,lrp-epsilon\n" in done.stdout


def test_the_example_works_at_once(tmp_path: Path) -> None:
    text = good("example", tmp_path / "try")
    command = text.strip().splitlines()[-1].split()
    assert command[0] == "onnxplain"
    assert "digit_8.png" in good(*command[1:])
    assert "exists; name another folder" in refused("example", tmp_path / "try")


def test_what_is_done_can_be_followed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "onnxplain"):
        Explainer(MODEL)(np.load(THREE))
    assert [r.getMessage().split(" ")[0] for r in caplog.records if r.name.startswith("onnxplain")][:3] == [
        "read",
        "prepared",
        "explain",
    ]
    assert "read model.onnx" in invoke("-v", "explain", MODEL, THREE).output


def test_json_and_a_file_do_not_share_standard_output() -> None:
    for words in (["rewrite", MODEL, "-o", "-"], ["explain", MODEL, THREE, "-o", "-.json"]):
        assert "--json prints to standard output" in refused(*words, "--json")


@pytest.mark.parametrize("ending", [".JSON", ".NPZ", ".HTML"])
def test_endings_in_capitals(ending: str, tmp_path: Path) -> None:
    good("explain", MODEL, THREE, "-o", tmp_path / f"a{ending}")
    assert (tmp_path / f"a{ending}").stat().st_size > 500


@pytest.mark.parametrize("channels", ["3-7", "1,,2"])
def test_channels_that_are_none(channels: str) -> None:
    assert f"no file at {channels}" in refused("explain", MODEL, THREE, "--mask", f"Conv:0={channels}")


def test_interactions_go_into_tables(tmp_path: Path) -> None:
    assert "--interactions is of tables" in refused("explain", MODEL, THREE, "--interactions", "-o", tmp_path / "z.json")
