# SPDX-License-Identifier: GPL-2.0-or-later
"""Names and colours of the classes of a class raster, as the raster tells them."""

from __future__ import annotations

from collections.abc import Iterable

from .legend import ClassLook
from .model_card import UNKNOWN_VALUE
from .raster import RasterSource
from .reference import PALETTE

_UNKNOWN = ClassLook(UNKNOWN_VALUE, "unknown", "#f2f2f2")


def looks_of(source: RasterSource, band: int, values: Iterable[int]) -> tuple[ClassLook, ...]:
    """Looks of the classes that a raster names or holds, in order of value.

    Parameters
    ----------
    source : RasterSource
        The class raster.
    band : int
        Its band, from 1.
    values : iterable of int
        Values that occur. One without a name is called "class" and its value, 0 "unknown"; one
        without a colour gets one of a palette.
    """
    names, colors = source.class_names(band), source.class_colors(band)
    found = []
    for value in sorted({*names, *values}):
        unnamed = _UNKNOWN.name if value == UNKNOWN_VALUE else f"class {value}"
        spare = _UNKNOWN.color if value == UNKNOWN_VALUE else PALETTE[value % len(PALETTE)]
        found.append(ClassLook(value, names.get(value, unnamed), colors.get(value, spare)))
    return tuple(found)
