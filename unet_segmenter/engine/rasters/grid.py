# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the pixels of a raster lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import rasterio
import rasterio.errors
import rasterio.warp
from rasterio._err import CPLE_BaseError

from ..geometry import PixelWindow, Shape2D
from ..pixel_metric import PixelMetric
from .gdal import crs_name, crs_of
from .geodetic import metric_of


@dataclass(frozen=True)
class RasterGrid:
    """Where the pixels of a raster lie.

    Parameters
    ----------
    shape : Shape2D
        Height and width in px.
    transform : tuple of float
        The six numbers a, b, c, d, e, f of x = a col + b row + c, y = d col + e row + f.
    crs : str or None
        Coordinate reference system as WKT.
    """

    shape: Shape2D
    transform: tuple[float, float, float, float, float, float]
    crs: str | None

    def crop(self, window: PixelWindow) -> RasterGrid:
        """The grid of a part of the raster."""
        a, b, _, d, e, _ = self.transform
        x, y = self._point(window.row, window.col)
        return RasterGrid(window.shape, (a, b, x, d, e, y), self.crs)

    def window_of(self, bounds: tuple[float, float, float, float]) -> PixelWindow | None:
        """The pixels that a rectangle in the CRS touches, or None if it lies outside.

        On a rotated grid this is the smallest window around the rectangle.
        """
        a, b, c, d, e, f = self.transform
        determinant = a * e - b * d
        xmin, ymin, xmax, ymax = bounds
        corners = [(x - c, y - f) for x in (xmin, xmax) for y in (ymin, ymax)]
        cols = [(e * x - b * y) / determinant for x, y in corners]
        rows = [(a * y - d * x) / determinant for x, y in corners]
        row, col = _floor(min(rows)), _floor(min(cols))
        height, width = _ceil(max(rows)) - row, _ceil(max(cols)) - col
        window = PixelWindow(row, col, max(height, 1), max(width, 1))
        return window.intersect(PixelWindow.of_shape(self.shape))

    def differences(self, other: RasterGrid) -> list[str]:
        """In what the grids differ by more than a hundredth of a pixel, in words; empty if none."""
        found = []
        if crs_of(self.crs) != crs_of(other.crs):
            found.append(f"CRS ({crs_name(self.crs)} and {crs_name(other.crs)})")
        sizes = [math.hypot(g.transform[0], g.transform[3]) for g in (self, other)]
        corners = [(0, 0), (0, self.shape.width), (self.shape.height, 0)]
        ours, theirs = ([g._point(*corner) for corner in corners] for g in (self, other))
        shifts = [math.dist(a, b) for a, b in zip(ours, theirs, strict=True)]
        if abs(sizes[0] - sizes[1]) * max(self.shape) > 0.01 * sizes[0]:
            found.append(f"pixel size ({sizes[0]:g} and {sizes[1]:g})")
        elif max(shifts) > 0.01 * sizes[0] and not found:
            found.append(
                f"origin ({ours[0][0]:.10g}, {ours[0][1]:.10g} and {theirs[0][0]:.10g}, "
                f"{theirs[0][1]:.10g}) or rotation"
            )
        if self.shape != other.shape:
            found.append(
                f"size ({self.shape.width} x {self.shape.height} and {other.shape.width} x "
                f"{other.shape.height} px)"
            )
        return found

    def bounds(self) -> tuple[float, float, float, float]:
        """xmin, ymin, xmax, ymax of all pixels, in the CRS."""
        height, width = self.shape
        corners = [self._point(row, col) for row in (0, height) for col in (0, width)]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def overlaps(self, other: RasterGrid) -> bool:
        """Whether both have a place in common; both need a CRS."""
        try:
            xmin, ymin, xmax, ymax = rasterio.warp.transform_bounds(
                crs_of(self.crs), crs_of(other.crs), *self.bounds()
            )
        except (rasterio.errors.RasterioError, CPLE_BaseError):
            return False
        left, bottom, right, top = other.bounds()
        return bool(xmin < right and left < xmax and ymin < top and bottom < ymax)

    def metric(self) -> PixelMetric | None:
        """How large pixels are on the ground, on the CRS's own ellipsoid; None without a CRS."""
        return None if self.crs is None else metric_of(self)

    def pixel_size(self) -> tuple[float, float] | None:
        """Width and height of the middle pixel on the ground in metres; None without a CRS."""
        metric = self.metric()
        return None if metric is None else metric.pixel_size()

    def pixel_units(self) -> tuple[float, float]:
        """Width and height of a pixel in units of the CRS."""
        a, b, _, d, e, _ = self.transform
        return math.hypot(a, d), math.hypot(b, e)

    def pixel_area(self) -> float | None:
        """Area of the middle pixel on the ground in square metres; None without a CRS."""
        metric = self.metric()
        return None if metric is None else metric.pixel_area()

    def unit(self) -> tuple[str, float] | None:
        """The CRS's unit of length, such as "metre", and its metres; None for degrees."""
        crs = crs_of(self.crs)
        if crs is None or not crs.is_projected:
            return None
        return str(crs.linear_units), float(crs.linear_units_factor[1])

    def crs_text(self) -> str:
        """The CRS as "EPSG:n", PROJ string or WKT, for GDAL's programs; empty without one.

        It is the shortest that means this very CRS: a code is guessed for one that is like it.
        """
        if self.crs is None:
            return ""
        crs = crs_of(self.crs)
        assert crs is not None
        texts = (f"EPSG:{code}" if (code := crs.to_epsg()) else "", crs.to_proj4())
        return next((text for text in texts if text and _means(text, crs)), str(crs.to_wkt()))

    @property
    def is_north_up(self) -> bool:
        """Whether rows go south and columns east, as those of what gdalwarp writes do."""
        a, b, _, d, e, _ = self.transform
        return a > 0 and e < 0 and b == d == 0

    def _point(self, row: float, col: float) -> tuple[float, float]:
        a, b, c, d, e, f = self.transform
        return a * col + b * row + c, d * col + e * row + f


def _means(text: str, crs: rasterio.CRS) -> bool:
    try:
        return bool(rasterio.CRS.from_string(text) == crs)
    except (rasterio.errors.RasterioError, CPLE_BaseError):
        return False


def grid_of(dataset: Any) -> RasterGrid:
    """The grid of an open dataset of rasterio's."""
    transform = tuple(float(v) for v in tuple(dataset.transform)[:6])
    crs = dataset.crs.to_wkt() if dataset.crs else None
    return RasterGrid(Shape2D(dataset.height, dataset.width), transform, crs)  # type: ignore[arg-type]


def _floor(value: float) -> int:
    """Floor that forgives the rounding of a coordinate on a pixel's edge."""
    return math.floor(value + 1e-6)


def _ceil(value: float) -> int:
    return math.ceil(value - 1e-6)
