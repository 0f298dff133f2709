# SPDX-License-Identifier: GPL-2.0-or-later
"""How large pixels are on the ground, wherever they lie in a raster: pure functions on arrays.

Pixels of one map projection are of different sizes on the ground. So the metric is computed at a
lattice of pixels, from their places on the ellipsoid, and interpolated between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .geometry import Shape2D

FloatArray = NDArray[np.float64]
Locate = Callable[[FloatArray, FloatArray], FloatArray]
"""From rows and columns, in px from the raster's corner, to places in space, (..., 3) metres."""

# The lattice. A metric that changes as that of a whole world in Mercator's projection is right to
# 3e-4 of it between so many rows, those of projected regions far better.
_MOST_ROWS = 257
_MOST_COLUMNS = 65

# Pixels are measured over at least so many metres: projections are inverted by iterations that
# end a fraction of a millimetre from the place.
_BASELINE = 100.0
_SAME = 1e-7

# Gauss and Legendre's two points of an edge, which integrate cubic polynomials exactly.
_GAUSS = (0.5 - 3**-0.5 / 2, 0.5 + 3**-0.5 / 2)


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid of revolution.

    Parameters
    ----------
    semi_major : float
        Equatorial radius in metres.
    flattening : float
        (a - b) / a; 0 for a sphere.
    """

    semi_major: float
    flattening: float

    def place(self, longitude: FloatArray, latitude: FloatArray) -> FloatArray:
        """Geocentric coordinates of points on its surface.

        Parameters
        ----------
        longitude, latitude : ndarray of float64
            Geodetic, in radians.

        Returns
        -------
        ndarray of float64, shape (..., 3)
            X, Y, Z in metres.
        """
        squared = self.flattening * (2 - self.flattening)
        normal = self.semi_major / np.sqrt(1 - squared * np.sin(latitude) ** 2)
        across = normal * np.cos(latitude)
        return np.stack(
            [
                across * np.cos(longitude),
                across * np.sin(longitude),
                normal * (1 - squared) * np.sin(latitude),
            ],
            axis=-1,
        )


@dataclass(frozen=True)
class PixelMetric:
    """The metric tensor of a raster's pixels on the ground.

    Parameters
    ----------
    shape : Shape2D
        Height and width of the raster in px.
    rows, columns : ndarray of float64, shapes (R,) and (C,)
        Centres of the pixels of the lattice, in px from the raster's corner.
    tensor : ndarray of float64, shape (3, R, C)
        Squared length of a step of one column, inner product of both steps, squared length of a
        step of one row, in square metres. C is 1 where pixels of a row are equal.
    """

    shape: Shape2D
    rows: FloatArray
    columns: FloatArray
    tensor: FloatArray

    @classmethod
    def of(cls, shape: Shape2D, locate: Locate, planar: FloatArray) -> PixelMetric:
        """Measure a raster.

        Parameters
        ----------
        shape : Shape2D
            Height and width in px.
        locate : callable
            Where pixels lie in space; it gives NaN where the projection has no place.
        planar : ndarray of float64, shape (3,)
            The tensor in the plane of the projection, for pixels that lie nowhere.
        """
        rows, columns = _spread(shape.height, _MOST_ROWS), _spread(shape.width, _MOST_COLUMNS)
        reach = max(_BASELINE / max(float(planar[[0, 2]].max()) ** 0.5, 1e-9), 1.0)
        grid = np.meshgrid(rows, columns, indexing="ij")
        with np.errstate(invalid="ignore"):
            down = _steps(locate, grid, (reach, 0), shape)
            right = _steps(locate, grid, (0, reach), shape)
            tensor = np.stack([(right**2).sum(-1), (right * down).sum(-1), (down**2).sum(-1)])
        nowhere = ~np.isfinite(tensor).all(axis=0)
        tensor[:, nowhere] = planar[:, np.newaxis]
        spread = np.abs(tensor - tensor[:, :, :1]).max(axis=(0, 2))
        if (spread <= _SAME * tensor.max(axis=(0, 2))).all():
            columns, tensor = columns[:1], tensor[:, :, :1]
        return cls(shape, rows, columns, tensor)

    @property
    def lattice(self) -> FloatArray:
        """Area of the pixels of the lattice in square metres, shape (R, C)."""
        across, mixed, down = self.tensor
        area: FloatArray = np.sqrt(np.maximum(across * down - mixed**2, 0))
        return area

    @property
    def is_uniform(self) -> bool:
        """Whether all pixels have one area, within 0.01 %."""
        areas = self.lattice
        return bool(areas.max() - areas.min() <= 1e-4 * areas.min())

    def pixel_size(self) -> tuple[float, float]:
        """Width and height of the middle pixel in metres."""
        middle = [np.array([side // 2 + 0.5]) for side in self.shape]
        across, _, down = (_interpolated(plane, self, *middle) for plane in self.tensor)
        return float(across[0]) ** 0.5, float(down[0]) ** 0.5

    def pixel_area(self) -> float:
        """Area of the middle pixel in square metres."""
        middle = [np.array([side // 2 + 0.5]) for side in self.shape]
        return float(_interpolated(self.lattice, self, *middle)[0])

    def total(self) -> float:
        """Area of all pixels in square metres."""
        height, width = self.shape
        corners = [(0, 0), (width, 0), (width, height), (0, height), (0, 0)]
        return float(self.ring_areas(np.array(corners, np.float64), np.array([0, 5]))[0])

    def areas(self, start: int, stop: int) -> FloatArray:
        """Area of each pixel of the rows `[start, stop)` in square metres.

        Returns
        -------
        ndarray of float64, shape (stop - start, W) or (stop - start, 1)
            One column where pixels of a row are equal.
        """
        rows = np.arange(start, stop) + 0.5
        at_nodes = np.stack(
            [np.interp(rows, self.rows, column) for column in self.lattice.T], axis=1
        )
        if len(self.columns) == 1:
            return at_nodes
        left, share = _between(self.columns, np.arange(self.shape.width, dtype=np.float64) + 0.5)
        return at_nodes[:, left] * (1 - share) + at_nodes[:, left + 1] * share

    def ring_areas(self, points: FloatArray, rings: NDArray[np.int64]) -> FloatArray:
        """Area that each closed ring encloses in square metres.

        Parameters
        ----------
        points : ndarray of float64, shape (N, 2)
            Columns and rows, in px from the raster's corner.
        rings : ndarray of int64, shape (M + 1,)
            Where each ring begins in them, and N.

        Returns
        -------
        ndarray of float64, shape (M,)
            By Green's theorem, so the area of a polygon along the edges of pixels is the sum of
            theirs.
        """
        totals = _Totals.of(self)
        first, step = points[:-1], np.diff(points, axis=0)
        under = np.zeros(len(step))
        moves = step[:, 0] != 0
        for share in _GAUSS:
            column, row = (first[moves] + share * step[moves]).T
            under[moves] += totals.above(row, column) / 2
        return np.abs(_around(under * step[:, 0], rings))

    def ring_lengths(self, points: FloatArray, rings: NDArray[np.int64]) -> FloatArray:
        """Length of each closed ring in metres; see `ring_areas`."""
        first, step = points[:-1], np.diff(points, axis=0)
        length = np.zeros(len(step))
        for share in _GAUSS:
            column, row = (first + share * step).T
            across, mixed, down = (_interpolated(p, self, row, column) for p in self.tensor)
            squared = across * step[:, 0] ** 2 + down * step[:, 1] ** 2
            squared += 2 * mixed * step[:, 0] * step[:, 1]
            length += np.sqrt(np.maximum(squared, 0)) / 2
        return _around(length, rings)


@dataclass(frozen=True)
class _Totals:
    """Area between the raster's upper edge and a place, for each px of width.

    Parameters
    ----------
    metric : PixelMetric
        Of the raster.
    areas, slopes, totals : ndarray of float64, shape (R, C)
        Area of the pixels of the lattice, its growth from row to row down to the next one, and
        the sum of the areas of all rows above.
    """

    metric: PixelMetric
    areas: FloatArray
    slopes: FloatArray
    totals: FloatArray

    @classmethod
    def of(cls, metric: PixelMetric) -> _Totals:
        areas = metric.lattice
        gaps = np.diff(metric.rows)[:, np.newaxis]
        slopes = np.zeros_like(areas)
        slopes[:-1] = np.diff(areas, axis=0) / gaps
        between = areas[:-1] * gaps + slopes[:-1] * gaps * (gaps - 1) / 2
        above = np.concatenate([np.zeros_like(areas[:1]), np.cumsum(between, axis=0)])
        return cls(metric, areas, slopes, above)

    def above(self, row: FloatArray, column: FloatArray) -> FloatArray:
        """Sum of the areas of the pixels above a row, at a column; exact at edges of pixels."""
        left, share = _between(self.metric.columns, column)
        if len(self.metric.columns) == 1:
            return self._above(row, left)
        return self._above(row, left) * (1 - share) + self._above(row, left + 1) * share

    def _above(self, row: FloatArray, node: NDArray[np.int64]) -> FloatArray:
        edges = self.metric.rows - 0.5
        upper = np.maximum(np.searchsorted(edges, row, side="right") - 1, 0)
        count = row - edges[upper]
        found: FloatArray = (
            self.totals[upper, node]
            + self.areas[upper, node] * count
            + self.slopes[upper, node] * count * (count - 1) / 2
        )
        return found


def _spread(side: int, most: int) -> FloatArray:
    """Centres of at most `most` pixels of a side, the first and the last one among them."""
    chosen = np.unique(np.linspace(0, side - 1, min(side, most)).round())
    return chosen + 0.5


def _steps(
    locate: Locate, grid: Sequence[FloatArray], reach: tuple[float, float], shape: Shape2D
) -> FloatArray:
    """Vectors of one px down or right at each pixel of a lattice, from places around it."""
    ends = []
    for sign in (-0.5, 0.5):
        moved = [centres + sign * step for centres, step in zip(grid, reach, strict=True)]
        ends.append([np.clip(m, 0, side) for m, side in zip(moved, shape, strict=True)])
    (row0, column0), (row1, column1) = ends
    length = (row1 - row0) + (column1 - column0)
    return (locate(row1, column1) - locate(row0, column0)) / length[..., np.newaxis]


def _between(nodes: FloatArray, at: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """The node before each place, and the share of the way to the next one; constant beyond."""
    if len(nodes) == 1:
        return np.zeros(at.shape, np.int64), np.zeros(at.shape)
    left = np.clip(np.searchsorted(nodes, at) - 1, 0, len(nodes) - 2)
    share = (at - nodes[left]) / (nodes[left + 1] - nodes[left])
    return left.astype(np.int64), np.clip(share, 0, 1)


def _interpolated(
    plane: FloatArray, metric: PixelMetric, row: FloatArray, column: FloatArray
) -> FloatArray:
    """Values of a lattice at places, bilinear."""
    upper, down = _between(metric.rows, row)
    left, right = _between(metric.columns, column)
    lower = np.minimum(upper + 1, len(metric.rows) - 1)
    after = np.minimum(left + 1, len(metric.columns) - 1)
    top = plane[upper, left] * (1 - right) + plane[upper, after] * right
    bottom = plane[lower, left] * (1 - right) + plane[lower, after] * right
    found: FloatArray = top * (1 - down) + bottom * down
    return found


def _around(parts: FloatArray, rings: NDArray[np.int64]) -> FloatArray:
    """Sums over the edges of each ring; the edges from ring to ring do not count."""
    parts[rings[1:-1] - 1] = 0
    sums: FloatArray = np.add.reduceat(np.append(parts, 0.0), rings[:-1])
    return sums
