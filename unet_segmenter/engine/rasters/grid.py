# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the pixels of a raster lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
import rasterio.errors
import rasterio.warp
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError

from ..geometry import PixelWindow, Shape2D
from .gdal import crs_name, crs_of

METRES_PER_DEGREE = 111_320.0


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

    def pixel_size(self) -> tuple[float, float] | None:
        """Width and height of the middle pixel in metres; None without a CRS."""
        if self.crs is None:
            return None
        a, b, _, d, e, _ = self.transform
        x_scale = y_scale = 1.0
        crs = rasterio.CRS.from_wkt(self.crs)
        if crs.is_geographic:
            latitude = self._point(self.shape.height // 2, self.shape.width // 2)[1]
            y_scale = METRES_PER_DEGREE
            x_scale = METRES_PER_DEGREE * max(math.cos(math.radians(latitude)), 1e-6)
        elif crs.is_projected:
            x_scale = y_scale = crs.linear_units_factor[1]
        return math.hypot(a * x_scale, d * y_scale), math.hypot(b * x_scale, e * y_scale)

    def pixel_area(self) -> float | None:
        """Area of the middle pixel in square metres; None without a CRS."""
        areas = self.row_areas()
        return None if areas is None else float(areas[self.shape.height // 2])

    def row_areas(self) -> NDArray[np.float64] | None:
        """Area of the middle pixel of each row in square metres, (H,); None without a CRS.

        In degrees it is that on a sphere, and becomes smaller towards the poles.
        """
        crs = crs_of(self.crs)
        if crs is None:
            return None
        height, width = self.shape
        area = self.pixel_area_in_units()
        if crs.is_projected:
            area *= crs.linear_units_factor[1] ** 2
        if not crs.is_geographic:
            return np.full(height, area)
        _, _, _, d, e, f = self.transform
        latitudes = np.radians(d * width / 2 + e * (np.arange(height) + 0.5) + f)
        # The zone between two parallels is exact: the second factor is that of its curvature.
        zone = np.maximum(np.cos(latitudes), 0) * np.sinc(math.radians(e) / (2 * math.pi))
        areas: NDArray[np.float64] = area * METRES_PER_DEGREE**2 * zone
        return areas

    def unit(self) -> str | None:
        """Name of the CRS's unit of length, such as "metre"; None without one or for degrees."""
        crs = crs_of(self.crs)
        return str(crs.linear_units) if crs is not None and crs.is_projected else None

    def pixel_area_in_units(self) -> float:
        """Area of a pixel in the square of the CRS's unit."""
        a, b, _, d, e, _ = self.transform
        return abs(a * e - b * d)

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

    def metres_per_unit(self) -> float | None:
        """Metres of a unit of the CRS; None without a CRS, NaN where units are degrees."""
        if self.crs is None:
            return None
        crs = rasterio.CRS.from_wkt(self.crs)
        if crs.is_geographic:
            return math.nan
        return float(crs.linear_units_factor[1]) if crs.is_projected else 1.0

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
