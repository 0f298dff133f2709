# SPDX-License-Identifier: GPL-2.0-or-later
"""Names and colours of the classes of a class raster, from the raster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .legend import ClassLook
from .model_card import UNKNOWN_VALUE
from .rasters.source import RasterSource
from .reference import PALETTE

_UNKNOWN = ClassLook(UNKNOWN_VALUE, "unknown", "#f2f2f2")


@dataclass(frozen=True)
class RasterLegend:
    """What a class raster records on its classes.

    Parameters
    ----------
    names, colors : dict
        By value.
    """

    names: dict[int, str]
    colors: dict[int, str]

    @classmethod
    def of(cls, source: RasterSource, band: int) -> RasterLegend:
        """The legend of one band, from 1."""
        return cls(source.class_names(band), source.class_colors(band))

    def look(self, value: int) -> ClassLook:
        """Name and colour of a class.

        One without a name is called "class" and its value, 0 "unknown"; one without a colour
        gets one of a palette.
        """
        unnamed, color = f"class {value}", PALETTE[value % len(PALETTE)]
        if value == UNKNOWN_VALUE:
            unnamed, color = _UNKNOWN.name, _UNKNOWN.color
        return ClassLook(value, self.names.get(value, unnamed), self.colors.get(value, color))

    def looks(self, values: Iterable[int]) -> tuple[ClassLook, ...]:
        """Looks of these classes and of all that have names, in order of value."""
        return tuple(self.look(value) for value in sorted({*self.names, *values}))
