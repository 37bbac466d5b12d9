"""What the code looks like from above: `python docs/house.py [ROOT] [-v]` counts what should be few or none.

Folders and their sentences, import circles and arrows upwards (imports inside functions and under TYPE_CHECKING count too),
imports inside functions, shapes patched by hand, collections of operator names outside the table of facts, names that are public
twice.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import onnx

ROOT = Path(__file__).resolve().parent.parent

FACADES = {"onnxplain.results.explanation", "onnxplain.evaluation.report.evaluation", "onnxplain.concepts.prototype"}
"""Objects whose `plot`, `save` and `to_pandas` load their views when called, as pandas does."""

WHERE_USED = {
    *(
        "onnx",
        "onnxruntime",
        "matplotlib",
        "PIL",
        "pandas",
        "ray",
        "zarr",
        "xarray",
        "pyarrow",
        "sklearn",
        "scipy",
        "skimage",
        "tokenizers",
        "jinja2",
        "jsonschema",
        "shap",
        "rich",
    ),
    *("fcntl", "resource"),
}
"""Packages that are imported where they are used: they load slowly, come with an extra, or are not in Windows."""


class House:
    """The package `onnxplain` of a checkout, parsed."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        paths = sorted((root / "onnxplain").rglob("*.py"))
        self.paths = {".".join(p.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): p for p in paths}
        self.trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in self.paths.items()}
        self.imports = {name: self._imports(name, tree) for name, tree in self.trees.items()}

    def packages(self) -> dict[str, str]:
        """The folders and what their docstrings say, by dotted name without `onnxplain.`."""
        found = {}
        for name, path in self.paths.items():
            if path.name == "__init__.py" and name != "onnxplain":
                first = (ast.get_docstring(self.trees[name]) or "").partition("\n\n")[0]
                found[name.removeprefix("onnxplain.")] = " ".join(first.split())
        return found

    def flat(self) -> list[str]:
        """The files directly in the package."""
        return sorted(p.name for p in self.paths.values() if p.parent == self.root / "onnxplain")

    def circles(self) -> list[list[str]]:
        """Groups of modules that import each other; facades' views count as they stand."""
        return [sorted(c) for c in _components(self.imports) if len(c) > 1]

    def upward(self) -> list[str]:
        """Imports that point to a higher storey than the layers of `.importlinter` allow."""
        level = self._levels()
        arrows = []
        for name, targets in self.imports.items():
            for target in targets:
                mine, theirs = _storey(name), _storey(target)
                if mine != theirs and mine in level and theirs in level and level[theirs] >= level[mine]:
                    arrows.append(f"{name} -> {target}")
        return sorted(arrows)

    def lazy(self) -> list[str]:
        """Imports inside functions, but for heavy packages and the facades."""
        found = []
        for name, tree in self.trees.items():
            for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)):
                for node in ast.walk(function):
                    modules = _modules(node)
                    if any(m.partition(".")[0] not in WHERE_USED for m in modules) and name not in FACADES:
                        found.append(f"{name}:{node.lineno} {', '.join(modules)}")  # type: ignore[attr-defined]
        return sorted(set(found))

    def patches(self) -> list[str]:
        """`replace(b.X(…), shape=…)`: shapes that somebody wrote beside what was emitted."""
        found = []
        for path in [*self.paths.values(), *sorted((self.root / "rules").glob("*.py"))]:
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            found += [f"{path.relative_to(self.root)}:{n.lineno}" for n in nodes if isinstance(n, ast.Call) and _is_patch(n)]
        return found

    def operator_sets(self) -> list[str]:
        """Collections of two or more operator names, outside the table of facts."""
        known = {s.name for s in onnx.defs.get_all_schemas_with_history()}
        found = []
        for name, path in self.paths.items():
            if name == "onnxplain.ir.ops" or name.startswith("onnxplain.ir.ops."):
                continue
            for node in ast.walk(self.trees[name]):
                if isinstance(node, ast.Set | ast.Tuple | ast.List):
                    names = [e.value for e in node.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)]
                elif isinstance(node, ast.Dict):
                    names = [k.value for k in node.keys if isinstance(k, ast.Constant) and isinstance(k.value, str)]
                else:
                    continue
                if len(names) > 1 and all(n.rpartition(".")[2] in known for n in names):
                    found.append(f"{path.relative_to(self.root)}:{node.lineno} {' '.join(names)}")
        return sorted(found)

    def doubles(self) -> dict[str, list[str]]:
        """Names that `__all__` of more than one module holds and that each of these defines, by name."""
        homes: dict[str, list[str]] = defaultdict(list)
        for name, tree in self.trees.items():
            own = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
            for public in _public(tree) & own:
                homes[public].append(name)
        commands = "onnxplain.cli."  # a command has the name of the function it calls
        return {
            public: sorted(where)
            for public, where in sorted(homes.items())
            if len([w for w in where if not w.startswith(commands)]) > 1
        }

    def _imports(self, name: str, tree: ast.Module) -> set[str]:
        found = set()
        for node in ast.walk(tree):
            for module in _modules(node, full=True):
                while module and module not in self.paths:
                    module = module.rpartition(".")[0]
                if module.startswith("onnxplain.") and module != name:
                    found.add(module)
        return found

    def _levels(self) -> dict[str, int]:
        config = ConfigParser()
        config.read(self.root / ".importlinter")
        rows = config["importlinter:contract:storeys"]["layers"].split("\n") if config.sections() else []
        return {name.strip(): -i for i, row in enumerate(rows) for name in row.split("|") if name.strip()}


def _modules(node: ast.AST, *, full: bool = False) -> list[str]:
    if isinstance(node, ast.Import):
        return [a.name for a in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [f"{node.module}.{a.name}" for a in node.names] if full else [node.module]
    return []


def _is_patch(call: ast.Call) -> bool:
    named = isinstance(call.func, ast.Name) and call.func.id == "replace"
    return named and any(k.arg in ("shape", "dtype") for k in call.keywords)


def _storey(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _public(tree: ast.Module) -> set[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return {e.value for e in ast.walk(node.value) if isinstance(e, ast.Constant) and isinstance(e.value, str)}
    return set()


def _components(edges: dict[str, set[str]]) -> Iterator[set[str]]:
    """Strongly connected components: what reaches each other, by reachability from every module."""
    reach = {name: _reachable(name, edges) for name in edges}
    seen: set[str] = set()
    for name in edges:
        if name not in seen:
            component = {name} | {other for other in reach[name] if name in reach.get(other, ())}
            seen |= component
            yield component


def _reachable(start: str, edges: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    stack = [start]
    while stack:
        for target in edges.get(stack.pop(), ()):
            if target not in found:
                found.add(target)
                stack.append(target)
    return found


def tree_table() -> str:
    """The packages and their sentences, for docs/architecture.md."""
    rows = ["| package | what it is for |", "|---|---|"]
    for name, sentence in House().packages().items():
        depth = name.count(".")
        rows.append(f"| {'&nbsp;' * 4 * depth}`{name.rpartition('.')[2]}/` | {sentence} |")
    return "\n".join(rows)


def layers() -> str:
    """The storeys as the import linter checks them, highest first."""
    text = (ROOT / ".importlinter").read_text(encoding="utf-8")
    block = re.search(r"name = A package.*?layers =\n(.*?)\n\n", text + "\n\n", re.DOTALL)
    assert block is not None
    rows = [" | ".join(p.strip().removeprefix("onnxplain.") for p in line.split("|")) for line in block[1].splitlines()]
    return "\n".join(["```", *rows, "```"])


def main() -> None:
    """Print the counts, with what they count where it is little."""
    roots = [Path(a) for a in sys.argv[1:] if a != "-v"]
    house = House(roots[0] if roots else ROOT)
    top = [name for name in house.packages() if "." not in name]
    print(f"{len(top)} folders: {' '.join(top)}")
    print(f"{len(house.flat())} flat files: {' '.join(house.flat()) if len(house.flat()) < 8 else '…'}")
    print(f"import circles of {sorted((len(c) for c in house.circles()), reverse=True) or 'no'} modules")
    for title, found in (
        ("upward imports", house.upward()),
        ("imports inside functions", house.lazy()),
        ("patches of shapes", house.patches()),
        ("operator sets outside the table", house.operator_sets()),
        ("names public twice", [f"{k}: {', '.join(v)}" for k, v in house.doubles().items()]),
    ):
        print(f"{len(found)} {title}")
        if "-v" in sys.argv[1:]:
            print(*(f"    {line}" for line in found), sep="\n")


if __name__ == "__main__":
    main()
