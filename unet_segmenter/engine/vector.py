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


def layer_fields(path: str) -> tuple[str, ...] | None:
    """Names of the fields of a file's first vector layer; None if it holds none."""
    import pyogrio
    import pyogrio.errors

    try:
        return tuple(pyogrio.read_info(path)["fields"])
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError):
        return None


def _read(
    path: str, what: str, field: str | None = None
) -> tuple[list[dict[str, Any]], str | None, list[str]]:
    """Polygons, CRS, and the field's values as text; no texts without a field."""
    import pyogrio.errors
    import pyogrio.raw
    import shapely

    if not Path(path).exists():
        raise InputError(f"There is no {what} {path}; check the path.")
    fields = layer_fields(path)
    if field is not None and fields is not None and field not in fields:
        raise InputError(
            f"The {what} {path} has no field {field!r}; it has {', '.join(fields) or 'none'}."
        )
    try:
        columns = [] if field is None else [field]
        meta, _, geometries, values = pyogrio.raw.read(path, columns=columns, force_2d=True)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError) as error:
        raise InputError(f"The {what} {path} is not a polygon layer: {error}.") from error
    shapes = [] if geometries is None else shapely.from_wkb(geometries)
    texts = [""] * len(shapes) if field is None else [_text(value) for value in values[0]]
    found = [
        (shapely.geometry.mapping(shape), text)
        for shape, text in zip(shapes, texts, strict=True)
        if shape is not None and not shape.is_empty and "Polygon" in shape.geom_type
    ]
    if not found:
        raise InputError(f"The {what} {path} holds no polygon; draw one, or leave it out.")
    return [polygon for polygon, _ in found], meta["crs"], [text for _, text in found]


def _text(value: Any) -> str:
    """A field's value as text, whole numbers without a point; "" for an empty one."""
    plain = value.item() if hasattr(value, "item") else value
    if plain is None or plain != plain:
        return ""
    whole = isinstance(plain, float) and plain.is_integer()
    return str(int(plain) if whole else plain).strip()
