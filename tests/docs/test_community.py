"""The files that a repository offers to strangers: valid by their schemas, and true of the Makefile and the package."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import onnxplain
from tests.support.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = [p for p in sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) if p.name != "config.yml"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

SCHEMAS = {
    ROOT / "CITATION.cff": "citation-file-format",
    GITHUB / "ISSUE_TEMPLATE" / "config.yml": "github-issue-config",
    **dict.fromkeys(WORKFLOWS, "github-workflows"),
    **dict.fromkeys(FORMS, "github-issue-forms"),
}


def read(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def makefile() -> str:
    return (ROOT / "Makefile").read_text(encoding="utf-8")


def recipe(target: str) -> str:
    """The commands of a target."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile(), re.MULTILINE)
    assert found is not None, target
    return found[1]


@pytest.mark.parametrize(("path", "schema"), [pytest.param(p, s, id=p.name) for p, s in SCHEMAS.items()])
def test_files_are_valid_by_their_schema(path: Path, schema: str) -> None:
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", "--force-filetype", "yaml", path]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_invalid_file_is_told(tmp_path: Path) -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    (tmp_path / "CITATION.cff").write_text(text.replace("authors:", "author:"), encoding="utf-8")
    with pytest.raises(AssertionError, match="'authors' is a required property"):
        test_files_are_valid_by_their_schema(tmp_path / "CITATION.cff", "citation-file-format")


def commands() -> list[str]:
    """The commands of all workflows."""
    return [step["run"] for path in WORKFLOWS for job in read(path)["jobs"].values() for step in job["steps"] if "run" in step]


def test_workflows_hooks_and_pages_call_targets_that_exist() -> None:
    hooks = [hook["entry"] for repo in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")]
    template = (GITHUB / "pull_request_template.md").read_text(encoding="utf-8")
    named = re.findall(
        r"^make (\S+)", "\n".join([*commands(), *hooks, (ROOT / ".ci" / "run").read_text(encoding="utf-8")]), re.MULTILINE
    )
    named += [t for page in pages for t in re.findall(r"(?:`|\$ )make ([\w-]+)", page.read_text(encoding="utf-8"))]
    named += re.findall(r"`make ([\w-]+)", template)
    assert {"lint", "test", "slow"} <= set(named)
    phony = re.search(r"^\.PHONY: (.*)$", makefile(), re.MULTILINE)
    assert phony is not None
    for target in named:
        assert target in phony[1].split(), target
        assert re.search(rf"^{target}:", makefile(), re.MULTILINE), target


def test_the_hook_is_the_linting_of_the_makefile() -> None:
    """One entry and no versions of its own: nothing to drift."""
    (repo,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repo["repo"] == "local"
    assert [hook["entry"] for hook in repo["hooks"]] == ["make lint"]
    for tool in ("ruff check", "ruff format --check", "codespell", "mypy", "lint-imports"):
        assert f"$(BIN)/{tool}" in recipe("lint"), tool


def test_workflows_test_the_oldest_python_that_is_promised() -> None:
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert oldest in read(GITHUB / "workflows" / "test.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]


def test_the_wheel_is_tried_on_three_systems(tmp_path: Path) -> None:
    """And the commands that try it run here."""
    job = read(GITHUB / "workflows" / "wheel.yml")["jobs"]["wheel"]
    assert {name.partition("-")[0] for name in job["strategy"]["matrix"]["os"]} == {"ubuntu", "macos", "windows"}
    (tmp_path / "fixtures").symlink_to(ROOT / "fixtures")
    (last,) = [step["run"] for step in job["steps"] if "onnxplain " in step.get("run", "")]
    lines = last.splitlines()
    assert len(lines) == 2
    for line in lines:
        words = line.split()
        assert words[0] == "onnxplain"
        done = subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_versions_agree() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d\S*)\] - (\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)
    assert newest is not None
    citation = read(ROOT / "CITATION.cff")
    assert onnxplain.__version__ == PROJECT["version"] == str(citation["version"]) == newest[1]
    assert str(citation["date-released"]) == newest[2]
    assert citation["license"] == PROJECT["license"]


def test_the_changelog_keeps_its_form() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", changelog, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    dates = [re.fullmatch(r"\[\d+\.\d+\.\d+\] - (\d{4}-\d\d-\d\d)", h) for h in headings[1:]]
    assert all(dates)
    assert [d[1] for d in dates if d] == sorted((d[1] for d in dates if d), reverse=True)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", changelog, re.MULTILINE)) <= kinds
    for heading in headings:
        name = heading.partition("]")[0] + "]"
        assert f"\n{name}: https://" in changelog, name


def test_issue_forms_ask_for_what_helps() -> None:
    asked = {p.stem: {f["id"]: f for f in read(p)["body"]} for p in FORMS}
    assert set(asked) == {"bug", "operator", "feature"}
    for form in ("bug", "operator"):
        assert "onnxplain plan" in asked[form]["plan"]["attributes"]["label"]
        assert asked[form]["plan"]["validations"]["required"]
    assert "onnxplain check" in asked["bug"]["check"]["attributes"]["label"]
