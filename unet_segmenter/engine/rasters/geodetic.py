# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a grid's pixels lie on the ellipsoid of its CRS, and how large they are there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import rasterio
import rasterio.errors
import rasterio.warp
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError

from ..geometry import Shape2D
from ..pixel_metric import Ellipsoid, PixelMetric
from .gdal import crs_of


class Grid(Protocol):
    """What a `RasterGrid` says of itself."""

    @property
    def shape(self) -> Shape2D: ...  # noqa: D102
    @property
    def transform(self) -> tuple[float, float, float, float, float, float]: ...  # noqa: D102
    @property
    def crs(self) -> str | None: ...  # noqa: D102


@lru_cache(maxsize=16)
def metric_of(grid: Grid) -> PixelMetric:
    """How large the pixels of a grid with a CRS are on the ground."""
    crs = crs_of(grid.crs)
    a, b, c, d, e, f = grid.transform
    unit = 1.0
    if crs.is_geographic:
        unit = crs.units_factor[1] * _EARTH_RADIUS
    elif crs.is_projected:
        unit = crs.linear_units_factor[1]
    planar = unit**2 * np.array([a * a + d * d, a * b + d * e, b * b + e * e])
    ground = _ground_of(crs)

    def locate(rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = a * columns + b * rows + c, d * columns + e * rows + f
        if ground is None:
            return np.stack([unit * x, unit * y, np.zeros_like(x)], axis=-1)
        return ground.ellipsoid.place(*_unprojected(crs, ground, x, y))

    return PixelMetric.of(grid.shape, locate, planar)


_EARTH_RADIUS = 6_371_008.8  # mean radius in metres
_SHORTEST_RUN = 4


@dataclass(frozen=True)
class _Ground:
    """The geographic CRS that a CRS is a projection of, and its ellipsoid."""

    crs: Any
    ellipsoid: Ellipsoid


def _ground_of(crs: Any) -> _Ground | None:
    """What a CRS is a projection of; None of a local one, which lies nowhere."""
    content = crs.to_dict(projjson=True)
    while content["type"] in ("BoundCRS", "CompoundCRS"):
        content = content["source_crs"] if "source_crs" in content else content["components"][0]
    base = content.get("base_crs", content)
    datum = base.get("datum") or base.get("datum_ensemble")
    if datum is None or "ellipsoid" not in datum:
        return None
    return _Ground(
        rasterio.CRS.from_user_input(json.dumps(base)), _ellipsoid_of(datum["ellipsoid"])
    )


def _ellipsoid_of(content: Mapping[str, Any]) -> Ellipsoid:
    """The ellipsoid of PROJJSON, whose lengths may have units."""

    def metres(key: str) -> float:
        value = content[key]
        if not isinstance(value, dict):
            return float(value)
        unit = value["unit"]
        factor = unit["conversion_factor"] if isinstance(unit, dict) else 1.0
        return float(value["value"]) * float(factor)

    if "radius" in content:
        return Ellipsoid(metres("radius"), 0.0)
    major = metres("semi_major_axis")
    if "inverse_flattening" in content:
        inverse = float(content["inverse_flattening"])
        return Ellipsoid(major, 1 / inverse if inverse else 0.0)
    return Ellipsoid(major, 1 - metres("semi_minor_axis") / major)


def _unprojected(
    crs: Any, ground: _Ground, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitudes and latitudes in radians; NaN where the projection has no place."""
    if not crs.is_geographic or ground.crs != crs:
        found = _transformed(crs, ground.crs, np.stack([x.ravel(), y.ravel()]))
        x, y = (values.reshape(x.shape) for values in found)
    radians = ground.crs.units_factor[1]
    lost = ~(np.isfinite(x) & np.isfinite(y))
    return np.where(lost, np.nan, x * radians), np.where(lost, np.nan, y * radians)


def _transformed(source: Any, target: Any, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of shape (2, N) in another CRS.

    One point outside of the domain of a projection makes a call fail for all: the others are
    found by halving, to runs of a few points, which are NaN if one of them fails.
    """
    try:
        found = rasterio.warp.transform(source, target, points[0].tolist(), points[1].tolist())
        return np.array(found, np.float64)
    except (rasterio.errors.RasterioError, CPLE_BaseError):
        half = points.shape[1] // 2
        if half < _SHORTEST_RUN:
            return np.full(points.shape, np.nan)
        parts = [_transformed(source, target, p) for p in (points[:, :half], points[:, half:])]
        return np.concatenate(parts, axis=1)
