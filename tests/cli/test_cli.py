"""The command line: every command, every refusal in one clear line with exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from onnxplain import Explainer
from onnxplain.cli.main import COMMANDS, main
from tests.support.models import model, node
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits"
MODEL = str(DIGITS / "model.onnx")
THREE = str(DIGITS / "digit_3.npy")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def good(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.output.strip().splitlines()
    assert len(lines) == 1, result.output
    assert "Traceback" not in result.output
    return lines[0]


# -- explain -----------------------------------------------------------------------------------------------------------


def test_explain_prints_what_matters() -> None:
    text = good("explain", MODEL, THREE, "--labels", DIGITS / "labels.txt", "--top", 2)
    assert "gradient" in text
    assert "logits" in text
    value = Explainer(MODEL)(np.load(THREE))
    (place, first), *_ = value.top(1)[0]
    assert f"{first:+.3g}" in text
    assert "[" + ",".join(map(str, place)) + "]" in text


@pytest.mark.parametrize("ending", ["npz", "json", "csv", "png", "html", "parquet"])
def test_explain_writes_every_form(ending: str, tmp_path: Path) -> None:
    out = tmp_path / f"e.{ending}"
    text = good("explain", MODEL, THREE, "-o", out, "-m", "input-x-gradient")
    assert str(out) in text.replace("\n", "")
    assert out.stat().st_size > 500
    if ending == "npz":
        with np.load(out) as found:
            np.testing.assert_array_equal(
                found["image_attribution"], Explainer(MODEL, "input-x-gradient")(np.load(THREE)).attribution
            )
    if ending == "json":
        assert json.loads(out.read_text())["about"]["method"] == "input-x-gradient"


def test_several_methods_side_by_side(tmp_path: Path) -> None:
    good("explain", MODEL, THREE, THREE, "-m", "gradient,saliency,taylor", "--baseline", 0, "-o", tmp_path / "e.html")
    page = (tmp_path / "e.html").read_text()
    assert all(name in page for name in ("gradient", "saliency", "taylor"))


def test_picture_and_table_inputs(tmp_path: Path) -> None:
    good("explain", MODEL, DIGITS / "digit_8.png", "--scale", 1 / 255, "-o", tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz") as found:
        assert found["logits"].argmax() == 8
    text = good(
        "explain",
        FIXTURES / "cancer" / "model.onnx",
        FIXTURES / "cancer" / "cancer_samples.csv",
        "-m",
        "input-x-gradient",
    )
    assert "mean" in text, "feature names come from the header"


def test_targets_from_the_shell(tmp_path: Path) -> None:
    explainer, picture = Explainer(MODEL), np.load(THREE)
    for text, target in (("3", 3), ("top", None), ("3-5", {3: 1, 5: -1}), ("all", "all"), ("-1", -1)):
        good("explain", MODEL, THREE, "-t", text, "--force", "-o", tmp_path / "e.npz")
        with np.load(tmp_path / "e.npz") as written:
            np.testing.assert_array_equal(written["image_attribution"], explainer(picture, target).attribution)


def test_explain_with_a_wrong_name_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "e.npz"
    out.write_bytes(b"precious")
    refused("explain", MODEL, THREE, "-t", 11, "--force", "-o", out)
    assert out.read_bytes() == b"precious"


# -- rewrite and inspect -----------------------------------------------------------------------------------------------


def test_rewrite_and_inspect(tmp_path: Path) -> None:
    out = tmp_path / "explained.onnx"
    text = good("rewrite", MODEL, "-o", out, "-m", "saliency", "-t", "input")
    assert "image_attribution" in text
    made = onnx.load(out)
    assert [i.name for i in made.graph.input] == ["image", "target"]
    assert [o.name for o in made.graph.output] == ["logits", "image_attribution"]
    text = good("inspect", out)
    for word in ("saliency", "target", "image_attribution", "sha256", "logits", "on CUDA   every node"):
        assert word in text
    about = json.loads(good("inspect", out, "--json"))
    assert about["method"] == "saliency"
    import hashlib

    assert about["source_sha256"] == hashlib.sha256(Path(MODEL).read_bytes()).hexdigest()
    assert "not an explained model" in good("inspect", MODEL)


def test_same_command_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        good("rewrite", FIXTURES / "gpt2" / "model.onnx", "-o", tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_baseline_at_run_time(tmp_path: Path) -> None:
    out = tmp_path / "explained.onnx"
    text = good("rewrite", MODEL, "-o", out, "-m", "taylor", "--baseline", "input")
    assert "baseline" in text
    assert [i.name for i in onnx.load(out).graph.input] == ["image", "baseline"]


def test_external_weights_follow_the_file(tmp_path: Path) -> None:
    source, elsewhere = tmp_path / "source", tmp_path / "elsewhere"
    source.mkdir()
    elsewhere.mkdir()
    onnx.save_model(onnx.load(MODEL), source / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=1024)
    good("rewrite", source / "m.onnx", "-o", elsewhere / "e.onnx")
    assert (elsewhere / "m.data").stat().st_size == (source / "m.data").stat().st_size
    import onnxruntime as ort

    session = ort.InferenceSession(str(elsewhere / "e.onnx"), providers=["CPUExecutionProvider"])
    got = session.run(["image_attribution"], {"image": np.load(THREE)})[0]
    np.testing.assert_allclose(got, Explainer(source / "m.onnx")(np.load(THREE)).attribution, rtol=1e-5)


# -- plan, check, lists ------------------------------------------------------------------------------------------------


def test_plan() -> None:
    text = good("plan", MODEL)
    assert "max_pool" in text
    assert "0 without a rule" in text
    rows = json.loads(good("plan", MODEL, "--json"))["rows"]
    assert {r["status"] for r in rows} == {"rule"}


def test_plan_with_a_missing_rule_exits_with_2(tmp_path: Path) -> None:
    made = model([node("MyOp", "x", "h", domain="mine"), node("Relu", "h", "y")], {"x": ["n", 3]}, {"y": ["n", 3]})
    made.opset_import.append(onnx.helper.make_opsetid("mine", 1))
    onnx.save(made, tmp_path / "m.onnx")
    result = invoke("plan", tmp_path / "m.onnx")
    assert result.exit_code == 2
    assert "mine.MyOp 'h'" in result.output
    result = invoke("explain", tmp_path / "m.onnx", THREE)
    assert result.exit_code == 2
    assert "no rule for 1 operator" in result.output


def test_check_passes_and_fails(tmp_path: Path) -> None:
    assert "✓" in good("check", MODEL)
    assert "✓" in good("check", MODEL, THREE, "-m", "saliency")
    (tmp_path / "broken.py").write_text(
        "from onnxplain import rule\n\n\n@rule('Relu', role='elementwise')\ndef relu(b, node, dy):\n    return dy\n"
    )
    result = invoke("check", MODEL, "--rules", tmp_path)
    assert result.exit_code == 1
    assert "✗" in result.output
    assert "Relu" in result.output


def test_methods_and_operators() -> None:
    text = good("methods")
    for name in ("gradient", "saliency", "sensitivity", "input-x-gradient", "taylor"):
        assert name in text
    assert "root point" in good("methods", "taylor").replace("\n", " ")
    text = good("operators")
    assert "Conv" in text
    assert "linear.py" in text


# -- methods with options ------------------------------------------------------------------------------------------------


def test_each_of_several_methods_gets_its_own_options(tmp_path: Path) -> None:
    """Also arrays from files; a gap is printed where there is one."""
    np.save(tmp_path / "path.npy", np.zeros((2, 1, 1, 8, 8), np.float32))
    text = good("explain", MODEL, THREE, "-m", "gradient,path-integrated-gradients,smoothgrad", "--option", "steps=4",
                "--option", f"path={tmp_path / 'path.npy'}", "--option", "noise-level=0.3")  # fmt: skip
    assert text.count("completeness gap") == 1
    assert "no option 'samplez'" in refused("explain", MODEL, THREE, "-m", "gradient,smoothgrad", "--option", "samplez=4")


def test_methods_are_documented() -> None:
    text = good("methods", "integrated-gradients")
    for word in ("completeness", "--option", "gauss-legendre", "steps", "int", "50", "points per straight piece"):
        assert word in text


def test_noise_of_the_host(tmp_path: Path) -> None:
    out = tmp_path / "e.onnx"
    text = good("rewrite", MODEL, "-o", out, "-m", "smoothgrad", "--option", "noise=input", "--option", "inner=input-x-gradient")
    assert "standard normal numbers for 'image'" in text
    assert "inner=input-x-gradient" in good("inspect", out)


def test_an_input_larger_than_the_model_s(tmp_path: Path) -> None:
    large = np.zeros((1, 1, 12, 10), np.float32)
    large[:, :, 2:10, 1:9] = np.load(THREE)
    np.save(tmp_path / "large.npy", large)
    good("explain", MODEL, tmp_path / "large.npy", "--slide", 2, "-t", 3, "-o", tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz") as made:
        assert made["image_attribution"].shape == large.shape
    assert "every window" in refused("explain", MODEL, tmp_path / "large.npy", "--slide", 2)


def test_check_tests_completeness() -> None:
    text = good("check", MODEL, THREE, "-m", "integrated-gradients", "--baseline", "0", "--option", "steps=3")
    assert "✓ completeness" in text
    assert "with 8 times the steps" in text


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("explain", "nowhere.onnx", THREE), "no file at nowhere.onnx"),
        (("explain", DIGITS / "labels.txt", THREE), "no ONNX model"),
        (("explain", MODEL, "nowhere.npy"), "nowhere.npy"),
        (("explain", MODEL, DIGITS / "about.json"), "about.json"),
        (("explain", MODEL, THREE, "-m", "salency"), "did you mean 'saliency'"),
        (("explain", MODEL, THREE, "-t", "10"), "out of range"),
        (("explain", MODEL, THREE, "-t", "x"), "no target"),
        (("explain", MODEL, THREE, "--output", "logit"), "did you mean 'logits'"),
        (("explain", MODEL, THREE, "--layer", "nothing-like-it"), "no tensor, node or module scope"),
        (("explain", MODEL, THREE, "-o", "/no/such/folder/e.png"), "/no/such/folder"),
        (("explain", MODEL, THREE, "-o", "e.xyz"), ".xyz"),
        (("explain", MODEL, THREE, "--provider", "tpu"), "unknown provider 'tpu'"),
        (("explain", MODEL, THREE, "--option", "steps=3"), "no option 'steps'"),
        (("explain", MODEL, THREE, "--option", "steps"), "NAME=VALUE"),
        (("explain", MODEL, THREE, "-m", "taylor"), "needs a baseline"),
        (("explain", MODEL, THREE, "--rules", "/no/such/rules"), "no rules folder"),
        (("rewrite", MODEL, "-o", "/no/such/folder/e.onnx"), "/no/such/folder"),
        (("rewrite", MODEL, "-o", "e.onnx", "-m", "taylor"), "needs a baseline"),
        (("inspect", DIGITS / "labels.txt"), "no ONNX model"),
        (("methods", "lrp-epsilonn"), "no method 'lrp-epsilonn'"),
        (("plan", MODEL, "-m", "nothing"), "no method"),
        (("check", MODEL, THREE, "--layer", "relu"), "leave --layer out"),
    ],
    ids=lambda v: " ".join(Path(str(a)).name for a in v) if isinstance(v, tuple) else "",
)
def test_refusals_are_one_clear_line(arguments: tuple, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert says in refused(*arguments)
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_truncated_model(tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(Path(MODEL).read_bytes()[:20000])
    assert "cut off" in refused("explain", path, THREE)


def test_nan_in_the_input(tmp_path: Path) -> None:
    x = np.load(THREE)
    x[0, 0, 2, 3] = np.nan
    np.save(tmp_path / "x.npy", x)
    assert "nan at [0, 0, 2, 3]" in refused("explain", MODEL, tmp_path / "x.npy")


def test_wrong_picture_size_is_not_resized(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (28, 28)).save(tmp_path / "large.png")
    line = refused("explain", MODEL, tmp_path / "large.png")
    assert "28" in line
    assert "8" in line


def test_missing_package_says_what_to_install(tmp_path: Path) -> None:
    """Without matplotlib: one line that names the extra."""
    code = (
        "import sys\nsys.modules['matplotlib'] = None\nfrom onnxplain.cli.main import main\n"
        f"main(['explain', {MODEL!r}, {THREE!r}, '-o', {str(tmp_path / 'e.png')!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=FIXTURES.parent)
    assert done.returncode == 2
    assert "onnxplain[plot]" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_traceback() -> None:
    result = invoke("--debug", "explain", "nowhere.onnx", THREE)
    assert result.exception is not None
    assert not isinstance(result.exception, SystemExit)


def test_start_is_quick_and_light() -> None:
    """Neither the package nor --help loads what they do not need."""
    heavy = ("onnx", "onnxruntime", "matplotlib", "pandas", "numpy")
    code = f"import sys; import onnxplain.cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=FIXTURES.parent, check=True)
    assert done.stdout.strip() == "[]"


def test_the_list_of_commands_says_what_each_does() -> None:
    """The group's list needs no command loaded; its lines are the beginnings of the commands' own texts."""
    context = click.Context(main)
    for name, (_, summary) in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert " ".join((command.help or "").split()).startswith(summary.rstrip("."))


def test_each_command_loads_alone() -> None:
    for name in COMMANDS:
        assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0
