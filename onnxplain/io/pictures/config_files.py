"""Preprocessing in the words of other programs: transformers' preprocessor_config.json, timm's pretrained_cfg, metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxplain.errors import InputError
from onnxplain.io.pictures.preprocessing import INTERPOLATIONS, Preprocessing
from onnxplain.io.pictures.presets import BYTE, PRESETS

__all__ = ["from_timm", "from_transformers", "from_ultralytics", "read_preprocessing"]

SQUARES = ("ViT", "DeiT", "Beit")
"""Processors of transformers whose single number as a size is height and width, where it is the shorter side for others."""
SHORTER = ("CLIP", "ConvNext")


def read_preprocessing(path: Path) -> Preprocessing:
    """Read a file: this package's own fields, a preprocessor_config.json, or timm's config.json.

    Raises:
        InputError: it cannot be read, or what it says is unknown, incomplete, or not supported.
    """
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path} as JSON: {str(error).splitlines()[0]}") from None
    if not isinstance(given, dict):
        raise InputError(f"{path} holds no JSON object with preprocessing in it")
    if "pretrained_cfg" in given or ("input_size" in given and "interpolation" in given):
        return from_timm(given.get("pretrained_cfg", given), path.name)
    if any(name in given for name in ("image_mean", "do_resize", "do_normalize", "image_processor_type", "do_rescale")):
        return from_transformers(given, path.name)
    return Preprocessing.from_dict(given, path.name)


def from_transformers(given: Mapping[str, Any], name: str) -> Preprocessing:
    """What an image processor of transformers does.

    Raises:
        InputError: it does something else than to resize, crop, rescale and normalize.
    """
    kind = str(given.get("image_processor_type") or given.get("feature_extractor_type") or "")
    if given.get("do_pad") or given.get("do_split_image") or given.get("do_thumbnail"):
        raise InputError(f"{name}: {kind or 'this processor'} pads or splits pictures, which is not supported; prepare arrays")
    fields: dict[str, Any] = {"rounding": "down", "channels": "BGR" if given.get("do_flip_channel_order") else "RGB"}
    if given.get("do_resize", "size" in given):
        fields |= _transformers_size(given, kind, name)
    if given.get("do_center_crop", "crop_size" in given):
        crop = given.get("crop_size", given.get("size"))
        crop = [crop, crop] if isinstance(crop, int) else crop
        fields |= {"crop": True, "size": [crop["height"], crop["width"]] if isinstance(crop, dict) and "height" in crop else crop}
    if given.get("do_rescale", True):
        fields["scale"] = given.get("rescale_factor", BYTE)
    if given.get("do_normalize", "image_mean" in given):
        fields |= {"mean": given.get("image_mean"), "std": given.get("image_std")}
    return Preprocessing.from_dict(fields, name)


def _transformers_size(given: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    """How a processor resizes."""
    size, resample = given.get("size"), given.get("resample", 3 if kind.startswith("CLIP") else 2)
    if not isinstance(resample, int) or not 0 <= resample < len(INTERPOLATIONS):
        raise InputError(f"{name}: 'resample' is a number from 0 to 5, not {resample!r}")
    how = {"interpolation": INTERPOLATIONS[resample]}
    if isinstance(size, int) and not isinstance(size, bool):
        if not kind.startswith((*SQUARES, *SHORTER)):
            raise InputError(
                f'{name}: size {size} does not say whether both sides are meant; write {{"height": {size}, "width": {size}}} or '
                f'{{"shortest_edge": {size}}}'
            )
        size = {"shortest_edge": size} if kind.startswith(SHORTER) else {"height": size, "width": size}
    if not isinstance(size, Mapping) or set(size) not in ({"height", "width"}, {"shortest_edge"}):
        raise InputError(f"{name}: 'size' is {{height, width}} or {{shortest_edge}}, not {size!r}; other sizes are not supported")
    if "height" in size:
        crops = given.get("do_center_crop", "crop_size" in given)
        if crops and given.get("crop_size") not in (size, size["height"]):
            raise InputError(
                f"{name}: a crop of {given.get('crop_size')} after a resize to {size} is not supported; prepare arrays"
            )
        return {**how, "resize": "stretch", "size": [size["height"], size["width"]]}
    edge = size["shortest_edge"]
    if "crop_pct" not in given:
        return {**how, "resize": "shortest", "shorter_side": edge}
    if isinstance(edge, int) and edge >= 384:  # ConvNeXt: of large pictures nothing is cropped
        return {**how, "resize": "stretch", "size": [edge, edge]}
    ratio = given["crop_pct"] if given["crop_pct"] is not None else 0.875
    if not isinstance(edge, int) or not isinstance(ratio, int | float) or not 0.01 <= ratio <= 1:
        raise InputError(
            f"{name}: 'crop_pct' is a number above 0, at most 1, not {ratio!r}, of a whole 'shortest_edge', not {edge!r}"
        )
    larger = int(edge / ratio)
    return {**how, "resize": "shortest", "shorter_side": larger, "crop": True, "size": [edge, edge]}


def from_timm(given: Any, name: str) -> Preprocessing:
    """What timm's evaluation transform does for a pretrained_cfg.

    Raises:
        InputError: it lacks a field, or crops in a way that is not supported.
    """
    try:
        _, height, width = given["input_size"]
        mean, std, ratio = given["mean"], given["std"], given.get("crop_pct", 0.875)
        mode, interpolation = given.get("crop_mode", "center"), given.get("interpolation", "bicubic")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(f"{name}: timm's pretrained_cfg has 'input_size' [3, height, width], 'mean' and 'std'") from None
    if mode not in ("center", "squash"):
        raise InputError(f"{name}: crop_mode '{mode}' is not supported, center and squash are; prepare arrays")
    fields = {
        "resize": "shortest" if mode == "center" else "stretch", "crop": True, "size": [height, width], "crop_ratio": ratio,
        "interpolation": interpolation, "mean": mean, "std": std, "scale": BYTE,
    }  # fmt: skip
    return Preprocessing.from_dict(fields, name)


def from_ultralytics(metadata: Mapping[str, str]) -> Preprocessing | None:
    """What Ultralytics does for a file that it exported; None of other files."""
    if "Ultralytics" not in metadata.get("author", "") or "imgsz" not in metadata:
        return None
    try:
        height, width = json.loads(metadata["imgsz"])
    except (ValueError, TypeError):
        raise InputError(f"the model's metadata says imgsz {metadata['imgsz']!r}, which is no [height, width]") from None
    if metadata.get("task") == "classify":
        fields = {"resize": "shortest", "crop": True, "size": [height, width], "scale": BYTE}
        return Preprocessing.from_dict(fields, "the model's metadata")
    return Preprocessing.from_dict({**PRESETS["yolo"].to_dict(), "size": [height, width]}, "the model's metadata")
