"""Preprocessing that many models share, by name."""

from __future__ import annotations

from collections.abc import Mapping

from onnxplain.io.pictures.preprocessing import Preprocessing

__all__ = ["PRESETS"]

BYTE = 1 / 255

PRESETS: Mapping[str, Preprocessing] = {
    found.name: found
    for found in (
        # He et al. 2015, as torchvision's classification references evaluate: of 224, the middle of a shorter side of 256.
        Preprocessing(
            (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), BYTE, resize="shortest", crop=True, crop_ratio=0.875,
            usual_size=(224, 224), name="imagenet",
        ),
        # Radford et al. 2021: mean and deviation of the pictures that CLIP was trained on.
        Preprocessing(
            (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), BYTE, resize="shortest", crop=True,
            interpolation="bicubic", usual_size=(224, 224), name="clip",
        ),
        # Szegedy et al. 2015 as timm evaluates it: values from −1 to 1, the middle 87.5 percent.
        Preprocessing(
            (0.5,), (0.5,), BYTE, resize="shortest", crop=True, crop_ratio=0.875, interpolation="bicubic", usual_size=(299, 299),
            name="inception",
        ),
        # Ultralytics' exported detectors: letterboxed on grey 114 by OpenCV's bilinear interpolation, values from 0 to 1.
        Preprocessing(
            scale=BYTE, resize="letterbox", fill=114, antialias=False, usual_size=(640, 640), name="yolo",
        ),
        Preprocessing(scale=BYTE, resize="stretch", name="unit"),
    )
}  # fmt: skip
"""imagenet, clip, inception, yolo and unit."""
