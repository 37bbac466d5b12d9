"""Tables as data sets: no row is lost, shifted or changed in silence, and no more of a file is held than is asked for."""

from __future__ import annotations

import csv
import datetime
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from onnxplain.errors import InputError
from onnxplain.io.datasets import arrow_table, csv_table
from onnxplain.io.datasets.arrow_table import ArrowTable
from onnxplain.io.datasets.dataset import Block, Choice, Problem
from onnxplain.io.datasets.opening import open_data
from onnxplain.io.datasets.tables import TableData
from onnxplain.io.images import Look
from onnxplain.io.samples import read_rows
from onnxplain.ir.tensor import Tensor

FLOATS = Tensor("features", np.dtype(np.float32), ("n", 3))
WHOLE = Tensor("features", np.dtype(np.int64), ("n", 3))


def table(path: Path, content: str | bytes | dict[str, Any], tensor: Tensor = FLOATS, **choice: Any) -> TableData:
    """A table of this content."""
    if isinstance(content, dict):
        (pq.write_table if path.suffix == ".parquet" else pyarrow.feather.write_feather)(pa.table(content), path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return TableData(path, (tensor,), Choice(**choice))


def taken(data: TableData, step: int = 7) -> tuple[dict[int, list[Any]], dict[int, str], list[str]]:
    """The rows by number, the reasons of those that are none, and all keys in order."""
    rows: dict[int, list[Any]] = {}
    wrong: dict[int, str] = {}
    keys: dict[int, str] = {}
    for start in range(0, data.count, step):
        for item in data.read(start, start + step):
            if isinstance(item, Problem):
                wrong[item.index], keys[item.index] = item.reason, item.key
            else:
                assert isinstance(item, Block)
                rows |= dict(zip(item.index.tolist(), next(iter(item.arrays.values())).tolist(), strict=True))
                keys |= {int(i): item.key(place) for place, i in enumerate(item.index)}
    return rows, wrong, [keys[i] for i in sorted(keys)]


# -- .csv ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('id,a,b,c\n5" nail,1,0,0\nx,2,0,0\ny,3,0,0\n', ['5" nail', "x", "y"]),
        ('id,a,b,c\n"two\nlines",1,0,0\r\nx,2,0,0\r\n"a ""b"" c",3,0,0', ["two\nlines", "x", 'a "b" c']),
        ("id,a,b,c\nx\u2028y,1,0,0\n\x0bz\x1c,2,0,0\ny,3,0,0\n", ["x\u2028y", "z", "y"]),
        ("\ufeffid,a,b,c\n\n x ,1,0,0\n,,,\ny,2,0,0\n \n\n z,3,0,0\n\n", ["x", "y", "z"]),
        ("id;a;b;c\nx;1;0;0\ny;2;0;0\nz;3;0;0\n", ["x", "y", "z"]),
    ],
)
def test_rows_are_counted_as_they_are_parsed(tmp_path: Path, text: str, keys: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for rows in (1, 2, 4096):
        monkeypatch.setattr(csv_table, "ROWS", rows)
        found, wrong, names = taken(table(tmp_path / "x.csv", text, key="id"), step=2)
        assert names == keys
        assert found == {i: [i + 1.0, 0.0, 0.0] for i in range(3)}
        assert not wrong


def test_any_text_in_cells_as_the_standard_library_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies in a column of text, rows keep their numbers, however the file is cut into chunks."""
    chance = random.Random(0)
    for trial in range(30):
        cells = ["".join(chance.choices('a"\n\r,; \u2028é', k=chance.randrange(9))) for _ in range(40)]
        with open(tmp_path / "x.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["id", "a", "b", "c"], *([c, i, 0, 1] for i, c in enumerate(cells))])
        monkeypatch.setattr(csv_table, "ROWS", chance.randrange(1, 9))
        monkeypatch.setattr(csv_table, "BYTES", chance.choice([20, 100, 1 << 20]))
        rows, wrong, keys = taken(TableData(tmp_path / "x.csv", (FLOATS,), Choice(key="id")))
        assert rows == {i: [i, 0, 1] for i in range(40)}, trial
        assert not wrong
        assert keys == [c.strip() for c in cells]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1,2,3\r4,5,6\r", "carriage returns alone"),
        (b"a,b,c\n1,2,3\n\xff\xfe,2,3\n", "line 3: it is no text in UTF-8"),
        (b'a,b,c\n1,2,3\n"4,5,6\n7,8,9\n', "line 3, is no row of a table: unexpected end of data"),
        (b"a,a,c\n1,2,3\n", "2 columns called 'a'"),
        (b"a,b,c\n", "a header and no rows"),
        (b"\n\n", "is empty"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        table(tmp_path / "x.csv", content)


def test_columns_of_one_name_that_nobody_reads_do_no_harm(tmp_path: Path) -> None:
    found = taken(table(tmp_path / "x.csv", "a,b,c,d,d\n1,2,3,4,5\n", features=("a", "b", "c")))
    assert found[0] == {0: [1.0, 2.0, 3.0]}


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("2.7", "'2.7' is no whole number"),
        ("inf", "'inf' is no whole number"),
        ("1e30", "more than 64 bits"),
        ("99999999999999999999", "more than 64 bits"),
        ("10000000000000000000", "more than 64 bits"),
        ("1_0", "'1_0' is no number"),
        ("", "the cell is empty"),
        ("2.0", ""),
        (" +2 ", ""),
    ],
)
def test_whole_numbers(tmp_path: Path, cell: str, reason: str) -> None:
    rows, wrong, _ = taken(table(tmp_path / "x.csv", f"a,b,c\n1,{cell},0\n0,0,1\n", WHOLE))
    assert rows[1] == [0, 0, 1]
    if reason:
        assert "line 2, column 'b'" in wrong[0]
        assert reason in wrong[0]
    else:
        assert rows[0] == [1, 2, 0]


def test_underscores_are_no_part_of_a_number(tmp_path: Path) -> None:
    rows, wrong, keys = taken(table(tmp_path / "x.csv", "id,a,b,c\nr_1,1,2,3\nr_2,1_0,2,3\n", key="id"))
    assert (rows, keys) == ({0: [1, 2, 3]}, ["r_1", "r_2"])
    assert "'1_0' is no number" in wrong[1]


@pytest.mark.parametrize(
    ("tensor", "columns", "chosen"),
    [
        (Tensor("a", np.dtype(np.float32), ("n", 3)), "a,b,c", ["a", "b", "c"]),
        (Tensor("a", np.dtype(np.float32), ("n", "k")), "a,b,c", ["a", "b", "c"]),
        (Tensor("a", np.dtype(np.float32), ("n", 1)), "a,b,c", ["a"]),
    ],
)
def test_an_input_called_like_a_column(tmp_path: Path, tensor: Tensor, columns: str, chosen: list[str]) -> None:
    assert table(tmp_path / "x.csv", f"{columns}\n1,2,3\n4,5,6\n", tensor).features == chosen


def test_a_long_cell_takes_no_room_in_other_rows(tmp_path: Path) -> None:
    """NumPy would pad all cells of a chunk to the longest."""
    import tracemalloc

    rows = [f"{'x' * (40_000 if i == 7 else 3)},1,2,3" for i in range(2000)]
    data = table(tmp_path / "x.csv", "\n".join(["note,a,b,c", *rows]), key="note")
    tracemalloc.start()
    assert len(list(data.read(0, 2000))) == 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # 1,280 MB, padded


def test_explain_reads_rows_as_map_does(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("note,b\nx\u2028y,2\n", encoding="utf-8")
    assert read_rows(tmp_path / "x.csv", None, Tensor("t", np.dtype(np.str_), ("n", 2)))[1][1:] == [["x\u2028y", "2"]]


# -- .parquet and .arrow ---------------------------------------------------------------------------------------------

HALF: Any = [0.5, 1.5]


@pytest.mark.parametrize(
    ("column", "row"),
    [
        (pa.array([True, False]), 1.0),
        (pa.array([True, None]), 1.0),
        (pa.array([3, None]), 3.0),
        (pa.array([Decimal("2.5"), Decimal("1.5")]), 2.5),
        (pa.array([4, 5]).dictionary_encode(), 4.0),
        (pa.array([None, None]), np.nan),
    ],
)
def test_columns_of_numbers(tmp_path: Path, column: Any, row: float) -> None:
    rows, wrong, _ = taken(table(tmp_path / "x.parquet", {"a": HALF, "b": column, "c": [1, 2]}))
    np.testing.assert_array_equal(rows[0], [0.5, row, 1])
    assert len(rows) == 2
    assert not wrong


@pytest.mark.parametrize("column", [pa.array([datetime.datetime(2020, 1, 1)] * 2), pa.array(["u", "v"])])
def test_columns_of_something_else(tmp_path: Path, column: Any) -> None:
    with pytest.raises(InputError, match=r"column 'b' holds (timestamp\[us\]|string) where numbers are expected; choose"):
        taken(table(tmp_path / "x.parquet", {"a": HALF, "b": column, "c": [1, 2]}))


def test_missing_whole_numbers_are_problems_of_their_rows(tmp_path: Path) -> None:
    rows, wrong, _ = taken(table(tmp_path / "x.parquet", {"a": pa.array([1, None]), "b": [1, 2], "c": [True, False]}, WHOLE))
    assert rows == {0: [1, 1, 1]}
    assert wrong[1].endswith("row 1, column 'a': a number is missing, and the input takes whole numbers only")


@pytest.mark.parametrize("name", ["features", "v"])
@pytest.mark.parametrize("fixed", [False, True])
def test_lists(tmp_path: Path, name: str, fixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_table, "ROWS", 2)
    values = [[1, 2, 3], None, [4, 5, 6], [7, 8, 9]] if fixed else [[1, 2, 3], None, [4, 5], [7, 8, 9], [None, 1, 1]]
    column = pa.array(values, pa.list_(pa.int64(), 3 if fixed else -1))
    data = table(tmp_path / "x.arrow", {name: column, "other": ["x"] * len(values)}, WHOLE, features=(name,))
    rows, wrong, _ = taken(data)
    assert rows == {i: v for i, v in enumerate(values) if v and len(v) == 3 and None not in v}
    assert "no list where 3 are expected" in wrong[1]
    if not fixed:
        assert "row 2, column" in wrong[2]
        assert "a list of 2 numbers where 3 are expected" in wrong[2]
        assert "a number is missing" in wrong[4]


def test_lists_of_several_lengths_where_the_model_does_not_say_which(tmp_path: Path) -> None:
    free = Tensor("v", np.dtype(np.float32), ("n", "k"))
    with pytest.raises(InputError, match="column 'v' holds lists of several lengths"):
        taken(table(tmp_path / "x.parquet", {"v": [[1.0, 2.0], [1.0]]}, free))
    with pytest.raises(InputError, match=r"lists in 'v' \[2\] do not fit input 'features'"):
        taken(table(tmp_path / "x.parquet", {"v": [[1.0, 2.0]], "a": [1.0], "b": [1.0]}))


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_wide_rows_are_decoded_a_few_at_a_time(tmp_path: Path, kind: str) -> None:
    """A list that repeats is stored once; what counts is what it takes when it is decoded."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(4000 * 1000, np.float32)), 1000)
    data = table(tmp_path / f"x.{kind}", {"features": column.cast(pa.list_(pa.float32()))}, Tensor("features", None, ("n", 1000)))
    assert len(data._table.starts) > 4
    assert sum(len(b) for start in range(0, 4000, 64) for b in data.read(start, start + 64) if isinstance(b, Block)) == 4000
    narrow = ArrowTable(tmp_path / f"x.{kind}")
    assert max(np.diff(narrow.starts)) * 4000 <= arrow_table.BYTES


def test_several_tables_are_not_one_data_set(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("1,2,3\n", encoding="utf-8")
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "x.npy", np.zeros(3, np.float32))
    for names in (("a.csv", "b.csv"), ("a", "b"), ("a/x.npy", "b/x.npy"), ("a.csv", "a")):
        with pytest.raises(InputError, match="are several data sets"):
            open_data([str(tmp_path / n) for n in names], (FLOATS,), Look(None, None, None, None), Choice())
