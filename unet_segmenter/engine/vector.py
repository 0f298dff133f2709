# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads polygon layers: the only module that imports pyogrio and shapely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import InputError


def read_polygons(path: str) -> tuple[list[dict[str, Any]], str | None]:
    """Read all polygons of a layer.

    Parameters
    ----------
    path : str
        A vector file that GDAL opens; its first layer is read.

    Returns
    -------
    polygons : list of dict
        GeoJSON geometries.
    crs : str or None
        Their coordinate reference system.

    Raises
    ------
    InputError
        If the file is absent, is no vector layer, or holds no polygon.
    """
    import pyogrio.errors
    import pyogrio.raw
    import shapely

    if not Path(path).exists():
        raise InputError(f"There is no area of interest {path}; check the path.")
    try:
        meta, _, geometries, _ = pyogrio.raw.read(path, columns=[], force_2d=True)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError) as error:
        raise InputError(f"The area of interest {path} is not a polygon layer: {error}.") from error
    shapes = [] if geometries is None else shapely.from_wkb(geometries)
    polygons = [
        shapely.geometry.mapping(shape)
        for shape in shapes
        if shape is not None and not shape.is_empty and "Polygon" in shape.geom_type
    ]
    if not polygons:
        raise InputError(
            f"The area of interest {path} holds no polygon; draw one, or leave it out."
        )
    return polygons, meta["crs"]
