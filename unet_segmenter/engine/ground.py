# SPDX-License-Identifier: GPL-2.0-or-later
"""Where polygons in pixels lie on the ground, and how large they are there."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .rasters.grid import METRES_PER_DEGREE, RasterGrid
from .vector import Polygons, areas_of, moved, points_of, ring_owners

_RADIUS = METRES_PER_DEGREE * 180 / math.pi


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
        Square metres and metres, of outer and inner rings; px without a CRS. In degrees they are
        those on a sphere, exact for edges along meridians and parallels.
    """
    points, rings = points_of(polygons)
    if not len(points):
        return np.zeros(0), np.zeros(0)
    factor = grid.metres_per_unit()
    if factor is None:
        flat = points
        steps = np.diff(points, axis=0)
    elif math.isnan(factor):
        longitude, latitude = np.radians(_placed(points, grid)).T
        # Lambert's cylindrical projection keeps areas, and these edges straight.
        flat = _RADIUS * np.stack([longitude, np.sin(latitude)], axis=1)
        middle = (latitude[1:] + latitude[:-1]) / 2
        steps = _RADIUS * np.stack([np.diff(longitude) * np.cos(middle), np.diff(latitude)], axis=1)
    else:
        flat = factor * _placed(points, grid)
        steps = np.diff(flat, axis=0)
    lengths = np.hypot(*steps.T)
    lengths[rings[1:-1] - 1] = 0  # from ring to ring
    around = np.add.reduceat(np.append(lengths, 0.0), rings[:-1])
    perimeters: NDArray[np.float64] = np.zeros(len(polygons))
    np.add.at(perimeters, ring_owners(polygons), around)
    # Areas of small polygons far from the origin would drown in rounding.
    return areas_of(moved(polygons, flat - flat[0])), perimeters


def _placed(points: NDArray[np.float64], grid: RasterGrid) -> NDArray[np.float64]:
    a, b, c, d, e, f = grid.transform
    cols, rows = points.T
    return np.stack([a * cols + b * rows + c, d * cols + e * rows + f], axis=1)
