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
        shapes = _in_crs_of(grid, polygons, crs)
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
        shapes = _in_crs_of(grid, polygons, crs)
        self._grid = grid
        self._shapes = [(shape, int(label)) for shape, label in zip(shapes, labels)]
        bounds = [rasterio.features.bounds(shape) for shape in shapes]
        self._bounds = np.array(bounds, np.float64).reshape(-1, 4)

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
) -> list[dict[str, Any]]:
    shapes = list(polygons)
    if crs is None or grid.crs is None:
        return shapes
    source, target = rasterio.CRS.from_user_input(crs), rasterio.CRS.from_wkt(grid.crs)
    if source == target:
        return shapes
    try:
        return [rasterio.warp.transform_geom(source, target, shape) for shape in shapes]
    except (rasterio.errors.RasterioError, CPLE_BaseError) as error:
        raise InputError(
            f"The polygons have coordinates that do not fit their CRS, {crs_name(source.to_wkt())}"
            f", or the raster's ({reason_of(error)}). Give the layer the CRS in which it was "
            "drawn; a GeoJSON without one is taken to hold degrees."
        ) from error
