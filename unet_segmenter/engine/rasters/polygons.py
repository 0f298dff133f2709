# SPDX-License-Identifier: GPL-2.0-or-later
"""Polygons on the grid of a raster: areas of interest, labels, and those around pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import rasterio
import rasterio.errors
import rasterio.features
import rasterio.warp
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError

from ..errors import InputError
from ..geometry import PixelWindow
from ..vector import clipped
from .gdal import crs_name, reason_of
from .grid import RasterGrid


class AreaOfInterest:
    """Polygons that say which pixels are wanted.

    Parameters
    ----------
    polygons : iterable of dict
        GeoJSON geometries.
    crs : str or None
        Their CRS, as WKT or "EPSG:n"; None means the grid's.
    grid : RasterGrid
        Grid of the raster.
    """

    def __init__(
        self, polygons: Iterable[dict[str, Any]], crs: str | None, grid: RasterGrid
    ) -> None:
        shapes = [shape for _, shape in _in_crs_of(grid, polygons, crs)]
        self._grid = grid
        self._shapes = [(shape, rasterio.features.bounds(shape)) for shape in shapes]

    def fingerprint(self) -> str:
        """Hash of the polygons, wherever they came from."""
        shapes = json.dumps([shape for shape, _ in self._shapes])
        return hashlib.sha256(shapes.encode()).hexdigest()

    def window(self) -> PixelWindow | None:
        """The smallest window that holds all polygons, or None if they lie outside."""
        if not self._shapes:
            return None
        xmin, ymin, xmax, ymax = zip(*(bounds for _, bounds in self._shapes), strict=True)
        return self._grid.window_of((min(xmin), min(ymin), max(xmax), max(ymax)))

    def may_meet(self, window: PixelWindow) -> bool:
        """Whether a window meets the bounds of a polygon: cheap, and False is certain."""
        return bool(self._near(self._grid.crop(window)))

    def meets(self, window: PixelWindow) -> bool:
        """Whether any pixel of a window has its centre in a polygon."""
        return self.may_meet(window) and bool(self.mask(window).any())

    def mask(self, window: PixelWindow) -> NDArray[np.bool_]:
        """True at pixels of the window whose centre lies in a polygon; shape (H, W)."""
        part = self._grid.crop(window)
        near = self._near(part)
        if not near:
            return np.zeros(window.shape, bool)
        inside: NDArray[np.bool_] = rasterio.features.geometry_mask(
            near, window.shape, rasterio.Affine(*part.transform), invert=True
        )
        return inside

    def _near(self, part: RasterGrid) -> list[dict[str, Any]]:
        """The polygons whose bounds meet those of a part of the raster."""
        xmin, ymin, xmax, ymax = part.bounds()
        return [
            shape
            for shape, (left, bottom, right, top) in self._shapes
            if left <= xmax and right >= xmin and bottom <= ymax and top >= ymin
        ]


class LabelledPolygons:
    """Polygons that say of which class a pixel is.

    Parameters
    ----------
    polygons : iterable of dict
        GeoJSON geometries.
    labels : iterable of int
        The class of each. Where polygons overlap, the later one counts.
    crs : str or None
        Their CRS, as WKT or "EPSG:n"; None means the grid's.
    grid : RasterGrid
        Grid of the raster.
    """

    def __init__(
        self,
        polygons: Iterable[dict[str, Any]],
        labels: Iterable[int],
        crs: str | None,
        grid: RasterGrid,
    ) -> None:
        values = list(labels)
        self._grid = grid
        self._shapes = [
            (shape, int(values[place])) for place, shape in _in_crs_of(grid, polygons, crs)
        ]
        bounds = [rasterio.features.bounds(shape) for shape, _ in self._shapes]
        self._bounds = np.array(bounds, np.float64).reshape(-1, 4)

    @property
    def touch_grid(self) -> bool:
        """Whether the bounds of a polygon touch the grid."""
        xmin, ymin, xmax, ymax = self._grid.bounds()
        left, bottom, right, top = self._bounds.T
        meets = (left <= xmax) & (right >= xmin) & (bottom <= ymax) & (top >= ymin)
        return bool(meets.any())

    def burn(self, window: PixelWindow, fill: int) -> NDArray[np.int32]:
        """Labels of the pixels whose centre lies in a polygon, `fill` elsewhere; shape (H, W)."""
        part = self._grid.crop(window)
        xmin, ymin, xmax, ymax = part.bounds()
        left, bottom, right, top = self._bounds.T
        meets = (left <= xmax) & (right >= xmin) & (bottom <= ymax) & (top >= ymin)
        near = [self._shapes[place] for place in np.flatnonzero(meets).tolist()]
        if not near:
            return np.full(window.shape, fill, np.int32)
        labels: NDArray[np.int32] = rasterio.features.rasterize(
            near,
            window.shape,
            fill=fill,
            transform=rasterio.Affine(*part.transform),
            dtype="int32",
        )
        return labels


def trace_pieces(
    pieces: NDArray[np.int32],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Polygons around pixels of one value that are connected over their edges.

    Parameters
    ----------
    pieces : ndarray of int32, shape (H, W)
        Values.

    Returns
    -------
    points : ndarray of float64, shape (N, 2)
        Columns and rows, in px from the array's corner; whole numbers.
    rings : ndarray of int64
        Where each ring begins in `points`, and N.
    polygons : ndarray of int64
        Where each polygon begins in `rings`, its outer ring first, and the number of rings.
    values : ndarray of int64
        The value of each polygon.
    """
    points: list[tuple[float, float]] = []
    rings, polygons, values = [0], [0], []
    moved = rasterio.Affine.translation(1, 1)  # rasterio warns of the identity
    for shape, value in rasterio.features.shapes(pieces, connectivity=4, transform=moved):
        for ring in shape["coordinates"]:
            points += ring
            rings.append(len(points))
        polygons.append(len(rings) - 1)
        values.append(int(value))
    return (
        np.array(points, np.float64).reshape(-1, 2) - 1,
        np.array(rings, np.int64),
        np.array(polygons, np.int64),
        np.array(values, np.int64),
    )


def _in_crs_of(
    grid: RasterGrid, polygons: Iterable[dict[str, Any]], crs: str | None
) -> list[tuple[int, dict[str, Any]]]:
    """Polygons in the grid's CRS, each with its place; those far from the grid are left out.

    Polygons that reach far beyond the grid are cut first: corners of the whole world have no
    place in most coordinate systems.
    """
    target = None if grid.crs is None else rasterio.CRS.from_wkt(grid.crs)
    source = target if crs is None else rasterio.CRS.from_user_input(crs)
    within = _surroundings(grid, target, source)
    polygons = list(polygons)
    if source is not None and source != target and source.is_geographic:
        _check_degrees(polygons, source)
    shapes = [(place, _cut(shape, within)) for place, shape in enumerate(polygons)]
    near = [(place, shape) for place, shape in shapes if shape is not None]
    if source is None or target is None or source == target:
        return near
    try:
        return [
            (place, rasterio.warp.transform_geom(source, target, shape)) for place, shape in near
        ]
    except (rasterio.errors.RasterioError, CPLE_BaseError) as error:
        raise _no_fit(source, reason_of(error)) from error


def _check_degrees(polygons: list[dict[str, Any]], crs: rasterio.CRS) -> None:
    """Refuse polygons in metres, or in pixels, that are taken to be in degrees."""
    for shape in polygons:
        left, bottom, right, top = rasterio.features.bounds(shape)
        if min(left, -right) < -360 or min(bottom, -top) < -90.001:
            furthest = max((left, bottom, right, top), key=abs)
            raise _no_fit(crs, f"{furthest:.10g} is no place in degrees")


def _no_fit(crs: rasterio.CRS, reason: str) -> InputError:
    return InputError(
        f"The polygons have coordinates that do not fit their CRS, {crs_name(crs.to_wkt())}, or "
        f"the raster's ({reason}). Give the layer the CRS in which it was drawn; a GeoJSON "
        "without one is taken to hold degrees."
    )


def _surroundings(
    grid: RasterGrid, target: rasterio.CRS | None, source: rasterio.CRS | None
) -> tuple[float, float, float, float] | None:
    """A rectangle in the polygons' CRS, three times as wide and high as the grid around it.

    None where there is none, as for a grid across the 180th meridian.
    """
    bounds = grid.bounds()
    if source is not None and target is not None and source != target:
        try:
            bounds = rasterio.warp.transform_bounds(target, source, *bounds)
        except (rasterio.errors.RasterioError, CPLE_BaseError):
            return None
    left, bottom, right, top = bounds
    width, height = right - left, top - bottom
    if not (0 < width < np.inf and 0 < height < np.inf):
        return None
    return left - width, bottom - height, right + width, top + height


def _cut(
    shape: dict[str, Any], within: tuple[float, float, float, float] | None
) -> dict[str, Any] | None:
    """A polygon, cut where it reaches beyond a rectangle; None where nothing is left."""
    if within is None:
        return shape
    left, bottom, right, top = rasterio.features.bounds(shape)
    if within[0] <= left and within[1] <= bottom and right <= within[2] and top <= within[3]:
        return shape
    return clipped(shape, within)
