"""Run ONNX's own operator cases and write the counts into docs/correctness.md: `python docs/cases.py` (a few minutes)."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
TESTS = {
    "test_gradient": "float64: the gradient graph against finite differences, to 1e-8",
    "test_gradient_in_onnxruntime": "float32 and float16: the same graph in ONNX Runtime against float64",
}
FORMS = {
    "static": "as they are",
    "symbolic": "every extent a symbol",
    "constant": "axes, shapes and indices as constants",
}


def counts() -> Counter[tuple[str, str, str]]:
    """How many cases passed, failed and were left out, by test and form."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        subprocess.run(
            [sys.executable, "-m", "pytest", "tests/rules/test_gradients.py", "-n", "auto", f"--junit-xml={report}"],
            cwd=ROOT,
            check=False,
        )
        found: Counter[tuple[str, str, str]] = Counter()
        for case in ElementTree.parse(report).iter("testcase"):
            name = re.fullmatch(r"(\w+)\[.*-(\w+)\]", case.get("name", ""))
            if name is not None:
                kinds = {child.tag for child in case}
                result = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
                found[name[1], name[2], result] += 1
    return found


def table(found: Counter[tuple[str, str, str]]) -> str:
    """The counts as a table."""
    rows = ["| cases | " + " | ".join(FORMS.values()) + " |", "|---|" + "---|" * len(FORMS)]
    for test, title in TESTS.items():
        cells = []
        for form in FORMS:
            passed, failed, skipped = (found[test, form, result] for result in ("passed", "failed", "skipped"))
            cells.append(f"{passed:,} pass" + (f", {failed:,} fail" if failed else "") + f" ({skipped:,} left out)")
        rows.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    """Write the table between its marks."""
    page = ROOT / "docs" / "correctness.md"
    text = page.read_text(encoding="utf-8")
    made = table(counts())
    text = re.sub(r"(<!-- cases: .*? -->\n).*?(<!-- end -->)", lambda m: f"{m[1]}{made}\n{m[2]}", text, flags=re.DOTALL)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
