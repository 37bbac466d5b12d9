"""Facts about operators stand in one table: elsewhere no collection of operator names goes without a reason.

A collection of two or more names of standard operators is a set, tuple, list or the keys of a dictionary, or a text that is split
into them. A comment `# operators: why` on its statement, or on the line above, says why it is no fact (a pattern that looks for one
spelling, an implementation of each); `# operators of this file: why` says so for a whole file.

Run as a script, it prints how many there are: `python tests/docs/test_operator_names.py [ROOT]`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

ROOT = Path(__file__).resolve().parents[2]
TABLE = "onnxplain/ir/ops.py"
MARKER = "# operators: "
FILE_MARKER = "# operators of this file: "

NAMES = frozenset(schema.name for schema in onnx.defs.get_all_schemas())


@dataclass(frozen=True)
class Found:
    """A collection of operator names: where it is, and whether a comment says why."""

    path: str
    line: int
    names: tuple[str, ...]
    explained: bool

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {', '.join(self.names)}"


def names_in(node: ast.AST) -> tuple[str, ...]:
    """The names of operators that a collection holds."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        words = node.value.split()
        return tuple(words) if len(words) > 1 and NAMES.issuperset(words) else ()
    if isinstance(node, ast.Dict):
        members: list[ast.expr | None] = node.keys
    elif isinstance(node, ast.Set | ast.Tuple | ast.List):
        members = [*node.elts]
    else:
        return ()
    found = [m.value for m in members if isinstance(m, ast.Constant) and isinstance(m.value, str)]
    return tuple(name for name in found if name in NAMES)


def statements(tree: ast.Module) -> Iterator[tuple[ast.stmt, list[ast.AST]]]:
    """Every statement with its own expressions, without those of statements within it."""
    for statement in (n for n in ast.walk(tree) if isinstance(n, ast.stmt)):
        waiting: list[ast.AST] = [n for n in ast.iter_child_nodes(statement) if not isinstance(n, ast.stmt)]
        mine: list[ast.AST] = []
        while waiting:
            node = waiting.pop()
            mine.append(node)
            waiting += [n for n in ast.iter_child_nodes(node) if not isinstance(n, ast.stmt)]
        yield statement, mine


def exports(statement: ast.stmt) -> bool:
    """Whether a statement is `__all__ = …`."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets)


def collections_in(text: str, path: str) -> Iterator[Found]:
    """The collections of operator names in a file."""
    lines = text.splitlines()
    whole = any(line.startswith(FILE_MARKER) for line in lines)
    for statement, expressions in statements(ast.parse(text)):
        if exports(statement):
            continue
        bodies = [n.lineno for n in ast.iter_child_nodes(statement) if isinstance(n, ast.stmt)]
        last = min(bodies) - 1 if bodies else statement.end_lineno or statement.lineno
        explained = whole or any(MARKER in line for line in lines[max(statement.lineno - 2, 0) : last])
        for node in expressions:
            names = names_in(node)
            if len(names) > 1:
                yield Found(path, getattr(node, "lineno", statement.lineno), names, explained)


def collections(root: Path) -> list[Found]:
    """The collections of operator names in a package, its table aside."""
    files = sorted((root / "onnxplain").rglob("*.py"))
    paths = [(p, p.relative_to(root).as_posix()) for p in files]
    return [f for p, name in paths if name != TABLE for f in collections_in(p.read_text(encoding="utf-8"), name)]


def test_no_collection_of_operators_goes_without_a_reason() -> None:
    found = collections(ROOT)
    assert not [str(f) for f in found if not f.explained]


def test_a_new_collection_is_noticed() -> None:
    plain = 'MAPS = frozenset({"Conv", "Gemm"})\n'
    assert [f.names for f in collections_in(plain, "x.py") if not f.explained]
    assert [f.names for f in collections_in('MAPS = "Conv Gemm".split()\n', "x.py") if not f.explained] == [("Conv", "Gemm")]
    inside = f'{MARKER}why\nif op in ("Add", "Sub"):\n    other = {{"Mul": 1, "Div": 2}}\n'
    assert [f.names for f in collections_in(inside, "x.py") if not f.explained] == [("Mul", "Div")]
    assert all(f.explained for f in collections_in(f"{MARKER}why\n{plain}", "x.py"))
    assert not [*collections_in('__all__ = ["Loop", "Scan"]\n', "x.py")]


if __name__ == "__main__":
    every = collections(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
    print(
        f"{len(every)} collections in {len({f.path for f in every})} files; {sum(not f.explained for f in every)} without a reason"
    )
