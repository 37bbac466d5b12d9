"""Texts as the command line takes them: words in place of a file, or files with a text on every line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxplain.errors import InputError
from onnxplain.io.pictures.walking import is_pattern
from onnxplain.io.samples import ENDINGS, is_of_numbers, read_lines
from onnxplain.io.text.tokenizer import FILE_NAME, tokenizer_beside

__all__ = ["check_options", "check_unnamed", "read_texts", "tokenizer_of"]


def tokenizer_of(path: str | None, max_length: int | None, model: str) -> Path | None:
    """The tokenizer that --tokenizer names, or the one beside the model, which is read once texts are given; None where there is
    neither.

    Raises:
        InputError: --max-length is given and there is no tokenizer.
    """
    place = Path(path) if path is not None else tokenizer_beside(Path(model).parent)
    if place is None and max_length is not None:
        raise InputError(f"--max-length cuts texts to tokens: give --tokenizer {FILE_NAME} too, or put it beside the model")
    return place


def read_texts(inputs: Sequence[str], known: bool, asked: bool) -> list[Any] | None:
    """The texts among what was given in place of files; None where only files with arrays were.

    A .txt file holds a text on every line; where no tokenizer was asked for, one that holds nothing but numbers is an array, as
    ever. A tab separates the two texts of a pair.

    Args:
        inputs: texts and files.
        known: whether there is a tokenizer.
        asked: whether it was named, not found beside the model.

    Returns:
        Texts and pairs.

    Raises:
        InputError: a text was given and there is no tokenizer, texts and arrays were given, or a file holds no text.
    """
    texts: list[Any] = []
    arrays = []
    for given in inputs:
        if known and not given.strip():
            raise InputError("a text is empty: give one with words, or a file with one on every line")
        if _names_an_array(given, known, asked):
            arrays.append(given)
            continue
        if not known:
            raise InputError(f"no file at {given}; to explain a text, give --tokenizer {FILE_NAME} or put it beside the model")
        path = Path(given)
        lines = [line for line in read_lines(path) if line.strip()] if _is_file(given) else [given]
        if not lines:
            raise InputError(f"{given} holds no text: expected one on every line")
        texts += [_pair(line) for line in lines]
    if texts and arrays:
        raise InputError(f"texts and arrays do not go together: {arrays[0]} is an array; give one or the other")
    return texts or None


def _names_an_array(given: str, known: bool, asked: bool) -> bool:
    """Whether an argument is a file with an array, or would be if it existed."""
    name, equals, rest = given.partition("=")
    if equals and not any(c.isspace() for c in name) and (_exists(rest) or _has_ending(rest)):
        return True
    if not _is_file(given):
        if is_pattern(given) or is_pattern(rest):
            return True
        return _has_ending(given) or _exists(given)
    return not (given.lower().endswith(".txt") and known and (asked or not is_of_numbers(Path(given))))


def check_options(texts: Sequence[Any] | None, of_texts: Mapping[str, Any], of_arrays: Mapping[str, Any]) -> None:
    """Refuse options that say nothing of what is explained.

    Args:
        texts: the texts; None where arrays are explained.
        of_texts: the values of options for texts, by their names in the shell.
        of_arrays: the values of options for arrays.

    Raises:
        InputError: an option has a value that it does nothing with.
    """
    idle = next((name for name, value in (of_texts if texts is None else of_arrays).items() if value), None)
    if idle is not None and texts is None:
        raise InputError(f"{idle} is for texts, and arrays were given: give a text in place of a file, or leave {idle} out")
    if idle is not None:
        raise InputError(f"{idle} is for arrays, and texts were given: leave it out")


def check_unnamed(texts: Sequence[Any], inputs: Sequence[str]) -> None:
    """Refuse texts that are given for an input, as files are.

    Raises:
        InputError: a text begins with the name of an input and "=".
    """
    for text in texts:
        name, equals, rest = (text if isinstance(text, str) else text[0]).partition("=")
        if equals and name in inputs:
            raise InputError(f"'{name}=' names the input of a file: give the text alone, {rest[:40]!r}; its input is found")


def _is_file(given: str) -> bool:
    return _exists(given) and Path(given).is_file()


def _exists(given: str) -> bool:
    try:
        return Path(given).exists()
    except (OSError, ValueError):  # too long for the name of a file
        return False


def _has_ending(given: str) -> bool:
    """Whether it reads like the name of a file."""
    return given.lower().endswith(ENDINGS) and not any(c.isspace() for c in given)


def _pair(line: str) -> Any:
    first, tab, second = line.strip("\n").partition("\t")
    return (first, second) if tab else first
