# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of a raster that a run maps: an extent, an area of interest, or all of it."""

from __future__ import annotations

from .errors import InputError
from .geometry import PixelWindow
from .rasters.polygons import AreaOfInterest
from .rasters.source import RasterSource
from .vector import read_polygons

Extent = tuple[float, float, float, float]


def wanted_region(source: RasterSource, extent: Extent | None) -> PixelWindow:
    """Pixels of an extent (xmin, ymin, xmax, ymax in the raster's CRS); all for None.

    Raises
    ------
    InputError
        If it does not touch the raster.
    """
    if extent is None:
        return PixelWindow.of_shape(source.grid.shape)
    within = source.grid.window_of(extent)
    if within is None:
        raise InputError(
            f"The extent {_numbers(extent)} does not touch {source.path}, which covers "
            f"{_numbers(source.grid.bounds())} (xmin, ymin, xmax, ymax). Choose one there."
        )
    return within


def wanted_area(
    path: str | None, source: RasterSource, region: PixelWindow
) -> AreaOfInterest | None:
    """Polygons of a layer, which say what is wanted of the region; None for no layer.

    Raises
    ------
    InputError
        If they do not touch the region.
    """
    if path is None:
        return None
    aoi = AreaOfInterest(*read_polygons(path), source.grid)
    window = aoi.window()
    if window is None or window.intersect(region) is None:
        raise InputError(
            f"The area of interest {path} does not touch the part of {source.path} that is "
            "to be mapped. Check that both have the right CRS."
        )
    return aoi


def _numbers(values: Extent) -> str:
    return ", ".join(f"{value:.10g}" for value in values)
