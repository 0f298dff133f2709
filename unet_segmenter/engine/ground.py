# SPDX-License-Identifier: GPL-2.0-or-later
"""Where polygons in pixels lie on the ground, and how large they are there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .pixel_metric import PixelMetric
from .rasters.grid import RasterGrid
from .vector import Polygons, moved, points_of, ring_owners


def on_grid(polygons: Polygons, grid: RasterGrid) -> Polygons:
    """Polygons in columns and rows, in the coordinates of the grid's CRS."""
    points, _ = points_of(polygons)
    return moved(polygons, _placed(points, grid))


def measure(
    polygons: Polygons, grid: RasterGrid
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas and perimeters of polygons in columns and rows.

    Parameters
    ----------
    polygons : ndarray of object, shape (N,)
        In px from the corner of the grid.
    grid : RasterGrid
        Where they lie.

    Returns
    -------
    areas, perimeters : ndarray of float64, shape (N,)
        Square metres and metres on the ellipsoid, of outer and inner rings; px without a CRS.
    """
    points, rings = points_of(polygons)
    if not len(points):
        return np.zeros(0), np.zeros(0)
    metric = grid.metric() or _in_pixels(grid)
    owners = ring_owners(polygons)
    is_hole = np.diff(owners, prepend=-1) == 0
    areas = np.zeros(len(polygons))
    perimeters = np.zeros(len(polygons))
    ring_areas = metric.ring_areas(points, rings)
    np.add.at(areas, owners, np.where(is_hole, -ring_areas, ring_areas))
    np.add.at(perimeters, owners, metric.ring_lengths(points, rings))
    return areas, perimeters


def _in_pixels(grid: RasterGrid) -> PixelMetric:
    """The metric of pixels of side 1."""
    one = np.array([1.0, 0.0, 1.0]).reshape(3, 1, 1)
    return PixelMetric(grid.shape, np.full(1, 0.5), np.full(1, 0.5), one)


def _placed(points: NDArray[np.float64], grid: RasterGrid) -> NDArray[np.float64]:
    a, b, c, d, e, f = grid.transform
    cols, rows = points.T
    return np.stack([a * cols + b * rows + c, d * cols + e * rows + f], axis=1)
