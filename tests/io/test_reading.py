"""Files become inputs as they are, or the message says what is wrong and what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxplain.errors import InputError
from onnxplain.io.samples import read_array, read_header, read_inputs, read_labels
from onnxplain.ir.tensor import Tensor
from tests.support.paths import FIXTURES

F32 = np.dtype(np.float32)
ROWS = Tensor("features", F32, ("batch", 3))
GREY = Tensor("image", F32, ("batch", 1, 4, 6))
COLOUR = Tensor("image", F32, ("batch", 3, 4, 6))
LAST = Tensor("image", F32, ("batch", 4, 6, 3))


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def picture(path: Path, array: Any, mode: str | None = None) -> str:
    image_module = pytest.importorskip("PIL.Image")
    made = image_module.fromarray(np.asarray(array, dtype=np.uint8))
    (made.convert(mode) if mode else made).save(path)
    return str(path)


RAMP = np.arange(24).reshape(4, 6) * 10
RAINBOW = np.stack([RAMP, 255 - RAMP, RAMP // 2], axis=-1)


class TestArrays:
    def test_npy_gets_the_axis_for_samples(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", RAMP[None].astype(np.float32))
        assert read_inputs([str(tmp_path / "a.npy")], [GREY])["image"].shape == (1, 1, 4, 6)

    def test_several_files_are_samples(self, tmp_path: Path) -> None:
        for i in range(3):
            np.save(tmp_path / f"{i}.npy", np.full(3, i, np.float32))
        found = read_inputs([str(tmp_path / f"{i}.npy") for i in range(3)], [ROWS])["features"]
        assert found.tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 2]]

    def test_samples_of_different_shapes(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.zeros((1, 3)))
        np.save(tmp_path / "b.npy", np.zeros((1, 4)))
        with pytest.raises(InputError, match=r"different shapes: \[3\], \[4\]"):
            read_inputs([str(tmp_path / "a.npy"), str(tmp_path / "b.npy")], [ROWS])

    def test_npz_by_name(self, tmp_path: Path) -> None:
        ids, mask = Tensor("ids", np.dtype(np.int64), ("n", "t")), Tensor("mask", np.dtype(np.int64), ("n", "t"))
        np.savez(tmp_path / "a.npz", ids=[[1, 2]], mask=[[1, 0]], label=[3])
        found = read_inputs([str(tmp_path / "a.npz")], [ids, mask])
        assert {k: v.tolist() for k, v in found.items()} == {"ids": [[1, 2]], "mask": [[1, 0]]}

    def test_npz_of_one_array_serves_one_input(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", whatever=np.ones((2, 3)))
        assert read_inputs([str(tmp_path / "a.npz")], [ROWS])["features"].shape == (2, 3)
        np.savez(tmp_path / "b.npz", feature=np.ones((2, 3)), more=np.ones(1))
        with pytest.raises(InputError, match=r"holds no array 'features'; did you mean 'feature'"):
            read_inputs([str(tmp_path / "b.npz")], [ROWS])

    def test_pickles_are_not_opened(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
        with pytest.raises(InputError, match=r"cannot read .*astype"):
            read_inputs([str(tmp_path / "a.npy")], [ROWS])

    @pytest.mark.parametrize("ending", ["npy", "npz", "png"])
    def test_rubbish(self, tmp_path: Path, ending: str) -> None:
        with pytest.raises(InputError, match="cannot read"):
            read_inputs([write(tmp_path / f"a.{ending}", "rubbish")], [GREY])

    def test_read_array(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", RAMP)
        np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), RAMP)
        assert read_array(write(tmp_path / "a.csv", "a,b\n1,2\n3,4\n")).tolist() == [[1, 2], [3, 4]]
        assert read_array(write(tmp_path / "a.txt", "1 2\n3\n")).tolist() == [1, 2, 3]


class TestNames:
    def test_named_files(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a=b.npy", np.ones(3))
        two = [ROWS, Tensor("other", F32, ("batch", 3))]
        path = str(tmp_path / "a=b.npy")
        assert set(read_inputs([f"features={path}", f"other={path}"], two)) == {"features", "other"}
        assert set(read_inputs([path], [ROWS])) == {"features"}
        with pytest.raises(InputError, match=r"2 inputs: say which one .* e\.g\. features="):
            read_inputs([path], two)
        with pytest.raises(InputError, match=r"no input 'feature' in the model; did you mean 'features'"):
            read_inputs([f"feature={path}"], two)

    @pytest.mark.parametrize(
        ("name", "says"),
        [("none.npy", "no file at"), ("a.pdf", "unknown ending '.pdf'; known: .npy"), ("", "is a folder")],
    )
    def test_no_such_file(self, tmp_path: Path, name: str, says: str) -> None:
        write(tmp_path / "a.pdf", "")
        with pytest.raises(InputError, match=says):
            read_inputs([str(tmp_path / name)], [ROWS])


class TestTables:
    @pytest.mark.parametrize(
        "text", ["1,2,3\n4,5,6\n", "a,b,c\n1,2,3\n4,5,6\n", "\ufeffa;b;c\n1;2;3\n\n4;5;6", "1\t2\t3\n4\t5\t6"]
    )
    def test_with_and_without_header(self, tmp_path: Path, text: str) -> None:
        path = write(tmp_path / "a.csv", text)
        assert read_inputs([path], [ROWS])["features"].tolist() == [[1, 2, 3], [4, 5, 6]]
        assert read_header(path) == (["a", "b", "c"] if "a" in text else None)

    def test_header_of_numbers_when_told(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "1,2,3\n4,5,6\n")
        assert read_inputs([path], [ROWS], features_header=True)["features"].tolist() == [[4, 5, 6]]

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("a,b,c\n1,x,3\n", "line 2, column 'b': 'x' is no number"),
            ("1,2,3\n1,2\n", "line 2: 2 values where 3 are expected"),
            ("1,2\n", "has rows of 2 values, .* takes 3 per sample"),
            ("a,b,c\n", "a header and no rows"),
            ("", "is empty"),
        ],
    )
    def test_problems(self, tmp_path: Path, text: str, says: str) -> None:
        with pytest.raises(InputError, match=says):
            read_inputs([write(tmp_path / "a.csv", text)], [ROWS])

    @pytest.mark.parametrize("missing", ["", "NA", "n/a", "NaN", "null", " "])
    def test_missing_values(self, tmp_path: Path, missing: str) -> None:
        """NaN where the input takes fractions, in the first row too; an input of whole numbers has none."""
        path = write(tmp_path / "a.csv", f"1,{missing},3\n4,5,6\n")
        np.testing.assert_array_equal(read_inputs([path], [ROWS])["features"], [[1, np.nan, 3], [4, 5, 6]])
        path = write(tmp_path / "b.csv", f"a,b,c\n{missing},2,3\n")
        np.testing.assert_array_equal(read_inputs([path], [ROWS])["features"], [[np.nan, 2, 3]])
        with pytest.raises(InputError, match=r"line 2, column 'a': .* takes whole numbers only"):
            read_inputs([path], [replace(ROWS, dtype=np.dtype(np.int64))])

    def test_rows_in_the_shape_of_images(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", ",".join(map(str, RAMP.ravel())))
        np.testing.assert_array_equal(read_inputs([path], [GREY])["image"][0, 0], RAMP)

    def test_a_column_per_input(self, tmp_path: Path) -> None:
        age, city = Tensor("age", np.dtype(np.int64), ("n", 1)), Tensor("city", np.dtype(object), ("n", 1))
        found = read_inputs([write(tmp_path / "a.csv", "city,age\nBonn,3\n12,4\n")], [age, city])
        assert found["age"].tolist() == [[3], [4]]
        assert found["city"].tolist() == [["Bonn"], ["12"]]
        with pytest.raises(InputError, match="column 'town' is no input of the model"):
            read_inputs([write(tmp_path / "b.csv", "town,age\nBonn,3\n")], [age, city])

    @pytest.mark.parametrize("text", ["1 2 3\n4 5 6\n", "1, 2, 3, 4, 5, 6", "1\n2\n3\n4\n5\n6\n"])
    def test_text(self, tmp_path: Path, text: str) -> None:
        assert read_inputs([write(tmp_path / "a.txt", text)], [ROWS])["features"].tolist() == [[1, 2, 3], [4, 5, 6]]

    def test_text_problems(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"holds 4 values, .* takes 3 per sample"):
            read_inputs([write(tmp_path / "a.txt", "1 2 3 4")], [ROWS])
        with pytest.raises(InputError, match="line 1, value 2: 'b' is no number"):
            read_inputs([write(tmp_path / "a.txt", "1 b 3")], [ROWS])

    def test_labels(self, tmp_path: Path) -> None:
        assert read_labels(write(tmp_path / "a.txt", "cat\ndog \n\n")) == ["cat", "dog"]
        with pytest.raises(InputError, match="is empty"):
            read_labels(write(tmp_path / "b.txt", "\n"))
        with pytest.raises(InputError, match="no file"):
            read_labels(tmp_path / "c.txt")


class TestPictures:
    def test_raw_values(self, tmp_path: Path) -> None:
        found = read_inputs([picture(tmp_path / "a.png", RAMP)], [GREY])["image"]
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, RAMP[None, None])

    def test_layouts(self, tmp_path: Path) -> None:
        path = picture(tmp_path / "a.png", RAINBOW)
        np.testing.assert_array_equal(read_inputs([path], [COLOUR])["image"][0], RAINBOW.transpose(2, 0, 1))
        np.testing.assert_array_equal(read_inputs([path], [LAST])["image"][0], RAINBOW)
        free = Tensor("image", F32, ("n", "a", "b", "c"))
        np.testing.assert_array_equal(read_inputs([path], [free], layout="NHWC")["image"][0], RAINBOW)
        with pytest.raises(InputError, match="say --layout NCHW or NHWC"):
            read_inputs([path], [free])

    def test_flat_rows(self, tmp_path: Path) -> None:
        path = picture(tmp_path / "a.png", RAMP)
        np.testing.assert_array_equal(read_inputs([path], [Tensor("x", F32, ("n", 24))])["x"][0], RAMP.ravel())
        with pytest.raises(InputError, match=r"24 values, input 'x' .* takes 25"):
            read_inputs([path], [Tensor("x", F32, ("n", 25))])

    def test_grey_and_colour(self, tmp_path: Path) -> None:
        grey, colour = picture(tmp_path / "a.png", RAMP), picture(tmp_path / "b.png", RAINBOW)
        np.testing.assert_array_equal(read_inputs([grey], [COLOUR])["image"], np.stack([RAMP] * 3)[None])
        assert read_inputs([colour], [GREY])["image"].shape == (1, 1, 4, 6)

    def test_never_resized(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"is 6×4 pixels \(height × width\), .* takes 4×6; say how pictures are prepared"):
            read_inputs([picture(tmp_path / "a.png", RAMP.T)], [GREY])

    def test_scale_mean_std(self, tmp_path: Path) -> None:
        path = picture(tmp_path / "a.png", RAINBOW)
        mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
        found = read_inputs([path], [COLOUR], scale=1 / 255, mean=mean, std=std)["image"][0]
        np.testing.assert_allclose(found, ((RAINBOW / 255 - mean) / std).transpose(2, 0, 1), rtol=1e-6)
        with pytest.raises(InputError, match="2 numbers as mean for the 3 channels"):
            read_inputs([path], [COLOUR], mean=[1, 2])
        with pytest.raises(InputError, match="std must be positive"):
            read_inputs([path], [COLOUR], std=[0])

    def test_settings_need_pictures(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="are for pictures"):
            read_inputs([write(tmp_path / "a.csv", "1,2,3")], [ROWS], scale=2)

    def test_transparency(self, tmp_path: Path) -> None:
        clear = np.dstack([RAINBOW, RAMP])
        path = picture(tmp_path / "a.png", clear)
        with pytest.raises(InputError, match="transparent pixels"):
            read_inputs([path], [COLOUR])
        assert read_inputs([path], [Tensor("x", F32, ("n", 4, 4, 6))], layout="NCHW")["x"].shape == (1, 4, 4, 6)
        solid = picture(tmp_path / "b.png", np.dstack([RAINBOW, np.full_like(RAMP, 255)]))
        np.testing.assert_array_equal(read_inputs([solid], [LAST])["image"][0], RAINBOW)

    def test_sixteen_bits_are_kept(self, tmp_path: Path) -> None:
        image_module = pytest.importorskip("PIL.Image")
        deep = (RAMP * 250).astype(np.uint16)
        image_module.fromarray(deep).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_inputs([str(tmp_path / "a.png")], [GREY])["image"][0, 0], deep)

    def test_bytes_stay_bytes(self, tmp_path: Path) -> None:
        tensor = Tensor("x", np.dtype(np.uint8), ("n", 4, 6, 3))
        assert read_inputs([picture(tmp_path / "a.png", RAINBOW)], [tensor])["x"].dtype == np.uint8

    def test_fixture(self) -> None:
        folder = FIXTURES / "digits"
        tensor = Tensor("image", F32, ("batch", 1, 8, 8))
        found = read_inputs([str(folder / "digit_8.png")], [tensor], scale=1 / 255)["image"]
        wanted = read_inputs([str(folder / "digit_8.npy")], [tensor])["image"]
        np.testing.assert_allclose(found, wanted, atol=1 / 255)
