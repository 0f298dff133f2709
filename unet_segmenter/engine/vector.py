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
    return _read(path, "area of interest")[:2]


def read_labelled_polygons(
    path: str, field: str
) -> tuple[list[dict[str, Any]], list[str], str | None]:
    """Read all polygons of a layer with an attribute of each.

    Parameters
    ----------
    path : str
        A vector file that GDAL opens; its first layer is read.
    field : str
        The attribute, of text or whole numbers.

    Returns
    -------
    polygons : list of dict
        GeoJSON geometries, in the layer's order.
    labels : list of str
        The attribute of each; "" where it is empty.
    crs : str or None
        Their coordinate reference system.

    Raises
    ------
    InputError
        If the file is absent, is no vector layer, or holds no polygon or no such attribute.
    """
    polygons, crs, labels = _read(path, "polygon layer", field)
    return polygons, labels, crs


def _read(
    path: str, what: str, field: str | None = None
) -> tuple[list[dict[str, Any]], str | None, list[str]]:
    shapes, _, crs = _read(path, "area of interest", ())
    polygons = [_mapping(shape) for shape in shapes if _is_polygon(shape)]
    if not polygons:
        raise InputError(
            f"The area of interest {path} holds no polygon; draw one, or leave it out."
        )
    return polygons, crs


def read_class_polygons(
    path: str, field: str
) -> tuple[list[dict[str, Any]], list[Any], str | None]:
    """Read all polygons of a layer with their class.

    Parameters
    ----------
    path : str
        A vector file that GDAL opens; its first layer is read.
    field : str
        Field of the class.

    Returns
    -------
    polygons : list of dict
        GeoJSON geometries.
    classes : list
        The field's values as Python's own; None where it is empty.
    crs : str or None
        Their coordinate reference system.

    Raises
    ------
    InputError
        If the file is absent, is no vector layer, lacks the field, or holds no polygon.
    """
    shapes, columns, crs = _read(path, "reference", (field,))
    rows = [
        (_mapping(shape), _plain(value))
        for shape, value in zip(shapes, columns[field], strict=True)
        if _is_polygon(shape)
    ]
    if not rows:
        raise InputError(f"The reference {path} holds no polygon.")
    return [polygon for polygon, _ in rows], [value for _, value in rows], crs


def layer_fields(path: str) -> tuple[str, ...] | None:
    """Names of the fields of a file's first vector layer; None if it holds none."""
    import pyogrio
    import pyogrio.errors

    try:
        return tuple(pyogrio.read_info(path)["fields"])
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError):
        return None


def _read(path: str, what: str, fields: tuple[str, ...]) -> tuple[Any, dict[str, Any], str | None]:
    import pyogrio.errors
    import pyogrio.raw
    import shapely

    if not Path(path).exists():
        raise InputError(f"There is no {what} {path}; check the path.")
    known = layer_fields(path)
    if known is not None and (missing := [name for name in fields if name not in known]):
        raise InputError(
            f"The {what} {path} has no field {missing[0]!r}; it has {', '.join(known) or 'none'}."
        )
    try:
        meta, _, geometries, columns = pyogrio.raw.read(path, columns=list(fields), force_2d=True)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError) as error:
        raise InputError(f"The {what} {path} is not a polygon layer: {error}.") from error
    shapes = [] if geometries is None else shapely.from_wkb(geometries)
    return shapes, dict(zip(meta["fields"], columns, strict=True)), meta["crs"]


def _is_polygon(shape: Any) -> bool:
    return shape is not None and not shape.is_empty and "Polygon" in shape.geom_type


def _mapping(shape: Any) -> dict[str, Any]:
    import shapely

    mapped: dict[str, Any] = shapely.geometry.mapping(shape)
    return mapped


def _plain(value: Any) -> Any:
    """A field's value as Python's own; None for an empty one."""
    plain = value.item() if hasattr(value, "item") else value
    return None if plain != plain else plain
