"""Preprocessing: how a picture becomes an input, as data that can be printed, stored and read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import floor
from typing import Any

from onnxplain.errors import InputError, nearest

__all__ = ["INTERPOLATIONS", "LAYOUTS", "RESIZES", "Preprocessing", "told_in_words"]

LAYOUTS = ("NCHW", "NHWC", "NHW", "CHW", "HWC", "HW")
"""Orders of axes: N samples, C channels, H height, W width."""
RESIZES = ("none", "shortest", "stretch", "letterbox")
"""How a picture is brought to a size."""
INTERPOLATIONS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Filters, in the order of their numbers in Pillow: nearest 0, lanczos 1, bilinear 2, bicubic 3, box 4, hamming 5."""
ROUNDINGS = ("half-even", "down")


@dataclass(frozen=True)
class Preprocessing:
    """How pixel values become input values: resized, cropped, then (pixel · scale − mean) / std, in a layout.

    Attributes:
        mean: one number, or one per channel; None subtracts nothing.
        std: one number, or one per channel; None divides by nothing.
        scale: the factor that is applied first; None leaves the pixel values 0..255 as they are.
        layout: one of `LAYOUTS`; None infers it from the input's shape.
        resize: "none"; "shortest", so that the picture just covers the size; "stretch", height and width each to the size; or
            "letterbox", so that the picture just fits into the size, with `fill` around it.
        size: height and width that come out; None takes the model's own. Another size than the model's is an error.
        usual_size: height and width where the model leaves them open and `size` says nothing.
        shorter_side: of "shortest", the length of the shorter side; None follows from the size and `crop_ratio`.
        crop_ratio: what part of the resized picture the crop keeps, along each side.
        crop: whether the middle is cut out at the size.
        interpolation: one of `INTERPOLATIONS`.
        antialias: whether the filter widens where a picture is reduced, as Pillow's do; OpenCV's do not.
        rounding: where the crop begins when half a pixel is left: "half-even" as torchvision rounds, "down" as transformers does.
        fill: the value 0..255 around a letterboxed picture.
        channels: "RGB" or "BGR".
        background: red, green and blue 0..255 under transparent pixels; None refuses them.
        name: the preset or the file it comes from; "" where only single numbers were given.
    """

    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    scale: float | None = None
    layout: str | None = None
    resize: str = "none"
    size: tuple[int, int] | None = None
    usual_size: tuple[int, int] | None = None
    shorter_side: int | None = None
    crop_ratio: float = 1.0
    crop: bool = False
    interpolation: str = "bilinear"
    antialias: bool = True
    rounding: str = "half-even"
    fill: int = 0
    channels: str = "RGB"
    background: tuple[int, int, int] | None = None
    name: str = ""

    @property
    def is_used(self) -> bool:
        """Whether any setting was given. Without one, raw pixel values are used."""
        return self != Preprocessing()

    def with_numbers(
        self, mean: Sequence[float] | None, std: Sequence[float] | None, scale: float | None, layout: str | None
    ) -> Preprocessing:
        """The same, with those of the four that are not None in place of its own."""
        given: dict[str, Any] = {"mean": mean, "std": std, "scale": scale, "layout": layout}
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: what differs from "nothing is done"."""
        usual = Preprocessing()
        found = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != getattr(usual, f.name)}
        return {name: list(value) if isinstance(value, tuple | list) else value for name, value in found.items()}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any], name: str = "") -> Preprocessing:
        """What `to_dict` gave, or what a person wrote.

        Args:
            given: fields by name.
            name: what errors and explanations call it; "" takes the name in it.

        Raises:
            InputError: a field is unknown or has a value that it cannot have.
        """
        where = name or str(given.get("name", "")) or "preprocess"
        for field, value in given.items():
            if field not in FIELDS:
                raise InputError(f"{where}: preprocessing has no '{field}'; {nearest(field, FIELDS)}")
            wanted, fits = FIELDS[field]
            if value is not None and not fits(value):
                raise InputError(f"{where}: '{field}' is {wanted}, not {value!r}")
        if given.get("antialias") is False and given.get("interpolation", "bilinear") not in ("bilinear", "nearest"):
            raise InputError(
                f"{where}: without antialias pictures are resized by bilinear or nearest, not {given['interpolation']}"
            )
        found: dict[str, Any] = {f: tuple(v) if isinstance(v, list) else v for f, v in given.items() if v is not None}
        return cls(**{**found, "name": where})

    def in_words(self) -> str:
        """One line for a person, e.g. `imagenet: shorter side to 256 (bilinear), middle 224×224, RGB, × 1/255, − mean …`."""
        steps = [*self._geometry(), self.channels]
        if self.scale is not None:
            over = 1 / self.scale
            steps.append(f"× 1/{over:.6g}" if abs(over - round(over)) < 1e-6 * over and over > 1 else f"× {self.scale:.6g}")
        steps += [f"− {_listed(self.mean)}"] if self.mean is not None else []
        steps += [f"÷ {_listed(self.std)}"] if self.std is not None else []
        return f"{self.name}: {', '.join(steps)}" if self.name else ", ".join(steps)

    def _geometry(self) -> list[str]:
        size = "the model's size" if self.size is None else f"{self.size[0]}×{self.size[1]}"
        side = self.shorter_side
        if side is None and self.size is not None and self.size[0] == self.size[1]:
            side = floor(self.size[0] / self.crop_ratio)
        how = self.interpolation if self.antialias else f"{self.interpolation}, not antialiased"
        larger = f"{size} / {self.crop_ratio:g}" if self.crop_ratio != 1 else size
        steps = {
            "none": [],
            "shortest": [f"shorter side to {larger if side is None else side} ({how})"],
            "stretch": [f"stretched to {larger} ({how})"],
            "letterbox": [f"fitted into {size} ({how}), {self.fill} around it"],
        }[self.resize]
        return [*steps, f"middle {size}"] if self.crop else steps


def told_in_words(told: Mapping[str, Any]) -> str:
    """One line for what an explanation says of preprocessing, `about["preprocess"][name]`."""
    return Preprocessing.from_dict(told).in_words()


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{v:.4g}" for v in values)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(map(_number, value))


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _size(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_whole(1, MOST), value))


def _one_of(*words: str) -> tuple[str, Callable[[Any], bool]]:
    return "one of " + ", ".join(words), lambda value: value in words


MOST = 1 << 15
"""Pixels along a side that a picture is resized to."""

FIELDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "mean": ("a list of numbers", _numbers),
    "std": ("a list of numbers above zero", lambda value: _numbers(value) and min(value) > 0),
    "scale": ("a number", _number),
    "layout": _one_of(*LAYOUTS),
    "resize": _one_of(*RESIZES),
    "size": ("[height, width]", _size),
    "usual_size": ("[height, width]", _size),
    "shorter_side": (f"a whole number from 1 to {MOST}", _whole(1, MOST)),
    "crop_ratio": ("a number above 0, at most 1", lambda value: _number(value) and 0.01 <= value <= 1),
    "crop": ("true or false", lambda value: isinstance(value, bool)),
    "interpolation": _one_of(*INTERPOLATIONS),
    "antialias": ("true or false", lambda value: isinstance(value, bool)),
    "rounding": _one_of(*ROUNDINGS),
    "fill": ("a whole number from 0 to 255", _whole(0, 255)),
    "channels": _one_of("RGB", "BGR"),
    "background": (
        "[red, green, blue], each from 0 to 255",
        lambda value: isinstance(value, list | tuple) and len(value) == 3 and all(map(_whole(0, 255), value)),
    ),
    "name": ("a name", lambda value: isinstance(value, str)),
}
"""What every field has to be, in words and as a check."""
