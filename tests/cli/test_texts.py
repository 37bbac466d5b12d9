"""Texts in the shell: words in place of files, files of lines, tables and pictures of words, refusals in one line."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from onnxplain import Explainer
from tests.cli.test_cli import good, refused
from tests.support.paths import FIXTURES

REVIEWS = FIXTURES / "reviews"
MODEL, LABELS, LINES = REVIEWS / "model.onnx", REVIEWS / "labels.txt", REVIEWS / "texts.txt"
TEXT = "A fine film"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_text_is_printed_with_its_words() -> None:
    text = good("explain", MODEL, TEXT, "-m", "attnlrp", "--labels", LABELS, "--top", 2)
    assert "\nA fine film\n" in text
    assert "positive" in text
    (units,) = Explainer(MODEL, "attnlrp")(TEXT).text_units()
    best = max(units, key=lambda u: abs(u.value))
    assert f"{best.text} {best.value:+.3g}" in text
    assert "[CLS] A fine film [SEP]" in good("explain", MODEL, TEXT, "--special")


def test_lines_of_a_file_are_texts(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    good("explain", MODEL, LINES, "-m", "attnlrp", "--labels", LABELS, "-o", out)
    found = rows(out)
    lines = LINES.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        mine = [r for r in found if r["sample"] == str(number) and r["added"] == "False"]
        assert "".join(r["text"] for r in mine).replace(" ", "") == line.replace(" ", "")
        assert all(line[int(r["start"]) : int(r["end"])] == r["text"] for r in mine)


@pytest.mark.parametrize(("by", "count"), [("token", 5), ("word", 5), ("sentence", 3)])
def test_units(by: str, count: int, tmp_path: Path) -> None:
    good("explain", MODEL, TEXT, "-m", "attnlrp", "--by", by, "-o", tmp_path / "out.csv")
    found = rows(tmp_path / "out.csv")
    assert len(found) == count
    total = float(Explainer(MODEL, "attnlrp")(TEXT).token_values().sum())
    assert sum(float(r["attribution"]) for r in found) == pytest.approx(total, rel=1e-5)


def test_pairs_are_parted_by_a_tab(tmp_path: Path) -> None:
    good("explain", MODEL, "A fine film.\tIs it good?", "-o", tmp_path / "out.csv")
    assert {r["part"] for r in rows(tmp_path / "out.csv")} == {"-1", "0", "1"}


@pytest.mark.parametrize("ending", ["npz", "json", "parquet", "png", "html"])
def test_every_form(ending: str, tmp_path: Path) -> None:
    out = tmp_path / f"out.{ending}"
    good("explain", MODEL, TEXT, "bad film", "-m", "attnlrp", "--labels", LABELS, "-o", out)
    assert out.stat().st_size > 500
    if ending == "html":
        page = out.read_text(encoding="utf-8")
        assert 'dir="auto"' in page
        assert ">fine</span>" in page
    if ending == "json":
        made = json.loads(out.read_text(encoding="utf-8"))
        assert [t["texts"] for t in made["texts"]] == [[TEXT], ["bad film"]]
        assert made["about"]["text"]["tokenizer"] == "tokenizer.json"
    if ending == "npz":
        with np.load(out) as file:
            assert json.loads(str(file["texts"]))[1]["pieces"][1:3] == ["bad", "film"]


@pytest.mark.parametrize("file", ["{}", "\x00", '{"version": "2.0"}'])
def test_a_tokenizer_is_read_where_texts_are_given(file: str, tmp_path: Path) -> None:
    """Arrays need none, whatever lies beside the model."""
    shutil.copy(MODEL, tmp_path / "model.onnx")
    (tmp_path / "tokenizer.json").write_text(file)
    np.savez(tmp_path / "x.npz", input_ids=np.array([[2, 10, 11, 3]]), attention_mask=np.ones((1, 4), np.int64))
    assert "logits" in good("explain", tmp_path / "model.onnx", tmp_path / "x.npz")
    assert "is no tokenizer that the tokenizers library reads" in refused("explain", tmp_path / "model.onnx", TEXT)


def test_what_the_shell_hands_over_is_no_text() -> None:
    assert "no character" in refused("explain", MODEL, "caf\udce9")


def test_targets_and_baselines_in_words(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    good("explain", MODEL, TEXT, "-t", "positive-negative", "--labels", LABELS, "-o", out)
    assert {r["target"] for r in rows(out)} == {"positive − negative"}
    good(
        "explain",
        MODEL,
        TEXT,
        "-m",
        "integrated-gradients",
        "--baseline",
        "[MASK]",
        "-t",
        "negative",
        "--labels",
        LABELS,
        "-o",
        out,
        "--force",
    )
    expected = Explainer(MODEL, "integrated-gradients")(TEXT, 0, baseline="[MASK]").token_values()[0]
    assert [float(r["attribution"]) for r in rows(out)] == pytest.approx(expected, abs=1e-6)
    good("explain", MODEL, TEXT, "-t", "all", "--labels", LABELS, "-o", out, "--force")
    assert {r["target"] for r in rows(out)} == {"negative", "positive"}


def test_numbers_stay_arrays(tmp_path: Path) -> None:
    """A .txt of numbers is an array of ids as ever, unless a tokenizer is asked for."""
    path = tmp_path / "ids.txt"
    path.write_text("2 42 1210 198 3\n")
    assert "'input_ids' is an integer input" in good("explain", MODEL, f"input_ids={path}", f"attention_mask={path}")
    assert "42" in good("explain", MODEL, path, "--tokenizer", REVIEWS / "tokenizer.json")


def test_a_tokenizer_elsewhere(tmp_path: Path) -> None:
    alone = tmp_path / "model.onnx"
    shutil.copy(MODEL, alone)
    assert refused("explain", alone, TEXT) == (
        f"onnxplain: no file at {TEXT}; to explain a text, give --tokenizer tokenizer.json or put it beside the model"
    )
    assert TEXT in good("explain", alone, TEXT, "--tokenizer", REVIEWS)


@pytest.mark.parametrize(("arguments", "says"), [
    ([TEXT, "--tokenizer", "nowhere.json"], "no tokenizer at nowhere.json"),
    ([TEXT, "--tokenizer", LABELS], "labels.txt is no tokenizer that the tokenizers library reads"),
    ([TEXT, "-t", "good"], "'good' is no target: expected e.g. top, 3"),
    ([TEXT, "-t", "postive", "--labels", LABELS], "no class 'postive'; did you mean 'positive'"),
    ([TEXT, "-m", "integrated-gradients", "--baseline", "[PADD]"], "the baseline '[PADD]' has 6 tokens, and 'A fine film' has 5"),
    ([TEXT, "--by", "words"], "text is merged by token, word, sentence, not by 'words'"),
    ([TEXT, REVIEWS / "data.npz"], "texts and arrays do not go together"),
    ([REVIEWS / "data.npz", "--special"], "--special is for texts, and arrays were given"),
    ([REVIEWS / "data.npz", "--max-length", 5], "--max-length is for texts, and arrays were given"),
    ([TEXT, "--scale", 2], "--scale is for arrays, and texts were given: leave it out"),
    ([TEXT, "--slide", 2], "--slide is for arrays, and texts were given: leave it out"),
    ([""], "a text is empty: give one with words"),
    (["input_ids=a film"], "'input_ids=' names the input of a file: give the text alone, 'a film'"),
    (["good " * 200], "text 0 has 202 tokens, and the model takes 128: shorten it, or cut all texts with"),
])  # fmt: skip
def test_refusals(arguments: list[object], says: str) -> None:
    assert says in refused("explain", MODEL, *arguments)


def test_a_model_without_tokens() -> None:
    said = refused("explain", FIXTURES / "digits" / "model.onnx", TEXT, "--tokenizer", REVIEWS)
    assert "none of the model's inputs takes the tokens of a text: 'image' [batch, 1, 8, 8] of float32" in said


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n  \n")
    assert "holds no text: expected one on every line" in refused("explain", MODEL, tmp_path / "a.txt")
