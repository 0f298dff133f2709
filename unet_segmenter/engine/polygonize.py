# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns class values into polygons, strip by strip: each is told when it can grow no more.

Coordinates are columns and rows in px, whole numbers all along. So parts of one polygon meet
exactly where strips meet, and what comes out equals the polygons of the whole raster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .components import Ids, Pieces, Seams, Strip, label_components
from .model_card import NODATA_VALUE
from .rasters.polygons import trace_pieces
from .vector import Polygons, dissolve, polygons_of_rings, simplify_coverage


@dataclass(frozen=True)
class StripClasses:
    """What a strip of the raster holds.

    Parameters
    ----------
    strip : Strip
        Its rows.
    labels : ndarray of uint8, shape (rows + above + below, W)
        Class values, 255 for nodata, with a row of each neighbouring strip.
    above, below : int
        1 where there is such a row, else 0.
    confidence : ndarray of float, shape (rows, W), optional
        A number a pixel, NaN for none.
    """

    strip: Strip
    labels: NDArray[np.uint8]
    above: int
    below: int
    confidence: NDArray[np.float32] | None = None

    @property
    def own(self) -> NDArray[np.uint8]:
        """Class values of the strip's own rows."""
        return self.labels[self.above : len(self.labels) - self.below]


@dataclass(frozen=True)
class Traced:
    """Polygons of one strip; piece k + 1 of `pieces` is at k in the arrays.

    Parameters
    ----------
    labels, pieces
        Of the strip's first and last row alone.
    polygons : ndarray of object
        In px from the raster's corner.
    values : ndarray of int64
        Class of each; 255 for nodata.
    pixels : ndarray of int64
        Number of pixels of each.
    confidence, counted : ndarray of float64
        Sum of the confidences, and number of pixels that have one.
    """

    labels: NDArray[np.uint8]
    pieces: Pieces
    polygons: Polygons
    values: Ids
    pixels: Ids
    confidence: NDArray[np.float64]
    counted: NDArray[np.float64]


@dataclass(frozen=True)
class ClassPolygons:
    """Polygons that are whole, in px from the raster's corner.

    Parameters
    ----------
    polygons : ndarray of object
    values : ndarray of int64
        Class of each.
    pixels : ndarray of int64
        Number of pixels of each.
    confidence : ndarray of float64
        Mean confidence of its pixels; NaN where none has one.
    """

    polygons: Polygons
    values: Ids
    pixels: Ids
    confidence: NDArray[np.float64]

    def chosen(self, which: NDArray[np.bool_] | slice) -> ClassPolygons:
        """Those where `which` is true, or of a slice."""
        return ClassPolygons(
            self.polygons[which], self.values[which], self.pixels[which], self.confidence[which]
        )

    @classmethod
    def joined(cls, parts: Sequence[ClassPolygons]) -> ClassPolygons:
        """All of several."""
        return cls(
            np.concatenate([np.zeros(0, object), *(part.polygons for part in parts)]),
            np.concatenate([np.zeros(0, np.int64), *(part.values for part in parts)]),
            np.concatenate([np.zeros(0, np.int64), *(part.pixels for part in parts)]),
            np.concatenate([np.zeros(0), *(part.confidence for part in parts)]),
        )


def trace(classes: StripClasses, tolerance: float) -> Traced:
    """Polygons of one strip, by itself.

    Parameters
    ----------
    classes : StripClasses
        The strip.
    tolerance : float
        That of `simplify_coverage` in px; 0 leaves every corner of every pixel.
    """
    labels = classes.own
    pieces, count = label_components(labels, np.ones(labels.shape, bool))
    points, rings, starts, piece = trace_pieces(pieces)
    if tolerance > 0:
        points, rings = _with_meetings(points, rings, classes)
    points[:, 1] += classes.strip.start
    polygons = polygons_of_rings(points, rings, starts)
    order = np.argsort(piece)
    polygons = polygons[order]
    if tolerance > 0:
        polygons = simplify_coverage(polygons, tolerance)
    flat, first = np.unique(pieces, return_index=True)
    assert len(polygons) == count == len(flat)
    return Traced(
        labels[[0, -1]],
        pieces[[0, -1]],
        polygons,
        labels.ravel()[first].astype(np.int64),
        np.bincount(pieces.ravel(), minlength=count + 1)[1:].astype(np.int64),
        *_confidences(classes.confidence, pieces, count),
    )


def _confidences(
    confidence: NDArray[np.float32] | None, pieces: Pieces, count: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sum of the confidences of each piece, and number of its pixels that have one."""
    if confidence is None:
        return np.zeros(count), np.zeros(count)
    known = ~np.isnan(confidence)
    at = pieces[known] - 1
    sums = np.bincount(at, weights=confidence[known], minlength=count)
    return sums, np.bincount(at, minlength=count).astype(np.float64)


def _with_meetings(
    points: NDArray[np.float64], rings: NDArray[np.int64], classes: StripClasses
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rings with a point wherever classes meet on them, as both sides of a border need the same."""
    steps = np.abs(np.diff(points, axis=0)).sum(axis=1).astype(np.int64)
    steps[rings[1:-1] - 1] = 1  # from ring to ring
    steps = np.append(steps, 1)
    first = np.repeat(np.cumsum(steps) - steps, steps)
    along = np.arange(int(steps.sum())) - first
    direction = np.sign(np.diff(points, axis=0, append=points[-1:]))
    dense = np.repeat(points, steps, axis=0) + np.repeat(direction, steps, axis=0) * along[:, None]
    meeting = _meetings(classes)
    cols, rows = dense.T.astype(np.int64)
    kept = (along == 0) | meeting[rows, cols]
    origin = np.repeat(np.arange(len(points)), steps)[kept]
    return dense[kept], np.searchsorted(origin, rings)


def _meetings(classes: StripClasses) -> NDArray[np.bool_]:
    """Corners of pixels at which the classes around are not parted by one straight line."""
    edge = NODATA_VALUE + 1  # beyond the raster
    missing = ((1 - classes.above, 1 - classes.below), (1, 1))
    around = np.pad(classes.labels.astype(np.int16), missing, constant_values=edge)
    a, b, c, d = around[:-1, :-1], around[:-1, 1:], around[1:, :-1], around[1:, 1:]
    straight = ((a == b) & (c == d)) | ((a == c) & (b == d))
    found: NDArray[np.bool_] = ~straight
    return found


@dataclass
class _Growing:
    """A polygon that later strips may add to."""

    value: int
    parts: list[Any] = field(default_factory=list)
    pixels: int = 0
    confidence: float = 0.0
    counted: float = 0.0

    def take(self, other: _Growing) -> None:
        self.parts += other.parts
        self.pixels += other.pixels
        self.confidence += other.confidence
        self.counted += other.counted


class Joining:
    """Joins polygons of strips; what can grow no more is handed out and forgotten.

    Parameters
    ----------
    strips : int
        Number of strips to come.
    straighten : bool
        Leave out points between two edges of one direction, as strips leave them.
    """

    def __init__(self, strips: int, *, straighten: bool) -> None:
        self._left = strips
        self._straighten = straighten
        self._seams = Seams()
        self._growing: dict[int, _Growing] = {}

    def add(self, traced: Traced) -> ClassPolygons:
        """Take up the next strip, and tell the polygons that are whole with it."""
        self._left -= 1
        base, crossing = self._seams.add(traced.labels, traced.pieces, len(traced.polygons))
        inside = np.ones(len(traced.polygons), bool)
        inside[crossing - 1] = False
        for piece in crossing.tolist():
            k = piece - 1
            value = int(traced.values[k])
            self._growing[base + piece] = _Growing(
                value,
                [] if value == NODATA_VALUE else [traced.polygons[k]],
                int(traced.pixels[k]),
                float(traced.confidence[k]),
                float(traced.counted[k]),
            )
        self._join()
        open_ = self._seams.forget_closed() if self._left else set()
        closed = [self._growing.pop(key) for key in sorted(self._growing.keys() - open_)]
        return _collected([*_of_strip(traced, inside), *self._dissolved(closed)])

    def _join(self) -> None:
        joined: dict[int, _Growing] = {}
        for piece, growing in self._growing.items():
            root = self._seams.component(piece)
            if root in joined:
                joined[root].take(growing)
            else:
                joined[root] = growing
        self._growing = joined

    def _dissolved(self, closed: Iterable[_Growing]) -> Iterator[tuple[Any, int, int, float]]:
        for one in closed:
            if one.value == NODATA_VALUE:
                continue
            whole = one.parts[0]
            if len(one.parts) > 1:
                whole = dissolve(one.parts, straighten=self._straighten)
            mean = one.confidence / one.counted if one.counted else np.nan
            yield whole, one.value, one.pixels, mean


def _of_strip(traced: Traced, inside: NDArray[np.bool_]) -> Iterator[tuple[Any, int, int, float]]:
    chosen = np.flatnonzero(inside & (traced.values != NODATA_VALUE))
    sums, counted = traced.confidence[chosen], traced.counted[chosen]
    mean = np.divide(sums, counted, out=np.full(len(chosen), np.nan), where=counted > 0)
    values, pixels = traced.values[chosen].tolist(), traced.pixels[chosen].tolist()
    return zip(traced.polygons[chosen], values, pixels, mean.tolist(), strict=True)


def _collected(found: list[tuple[Any, int, int, float]]) -> ClassPolygons:
    polygons = np.empty(len(found), object)
    polygons[:] = [polygon for polygon, *_ in found]
    return ClassPolygons(
        polygons,
        np.array([value for _, value, _, _ in found], np.int64),
        np.array([pixels for _, _, pixels, _ in found], np.int64),
        np.array([confidence for *_, confidence in found], np.float64),
    )
