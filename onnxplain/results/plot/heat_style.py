"""How heat maps are coloured, where the usual way is not wanted."""

from __future__ import annotations

from dataclasses import dataclass

from onnxplain.errors import OutputError, nearest

__all__ = ["OVERLAYS", "HeatStyle"]

OVERLAYS = ("edges", "picture", "none")
"""What of the picture lies under a heat map."""


@dataclass(frozen=True)
class HeatStyle:
    """The colours of heat maps.

    Attributes:
        cmap: a colour map of matplotlib, from against to for, or from zero to strong where there are no signs; None for ours.
        alpha: how opaque the colours lie on the picture, 0..1.
        clip: the percentile of sizes that has the strongest colour.
        overlay: "edges" of the picture, the "picture" itself in grey, or "none".

    Raises:
        OutputError: a value is out of range, or there is no such colour map.
    """

    cmap: str | None = None
    alpha: float = 0.65
    clip: float = 99.5
    overlay: str = "edges"

    def __post_init__(self) -> None:
        if self.overlay not in OVERLAYS:
            raise OutputError(f"unknown overlay '{self.overlay}'; known: {', '.join(OVERLAYS)}")
        if not 0 < self.clip <= 100:
            raise OutputError(f"clip is a percentile above 0 and up to 100, not {self.clip:g}")
        if not 0 <= self.alpha <= 1:
            raise OutputError(f"alpha is from 0 to 1, not {self.alpha:g}")
        if self.cmap is not None:
            from matplotlib import colormaps

            if self.cmap not in colormaps:
                raise OutputError(f"matplotlib has no colour map '{self.cmap}'; {nearest(self.cmap, colormaps)}")

    @classmethod
    def of(cls, cmap: str | None, alpha: float | None, clip: float | None, overlay: str | None) -> HeatStyle:
        """With what was given; `alpha` alone asks for the picture under the colours."""
        usual = cls.clip if clip is None else clip
        if alpha is None:
            return cls(cmap, cls.alpha, usual, overlay or cls.overlay)
        if overlay not in (None, "picture"):
            raise OutputError(f"alpha is of overlay='picture', not of '{overlay}'")
        return cls(cmap, alpha, usual, "picture")
