# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads, shapes and writes polygons: the only module that imports pyogrio and shapely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, OutputError

Polygons = NDArray[np.object_]
"""Polygons of shapely, shape (N,)."""

LARGEST_COORDINATE = 1e12
"""No coordinate system of the Earth has larger ones, whatever its unit."""


def read_polygons(
    path: str, what: str = "area of interest"
) -> tuple[list[dict[str, Any]], str | None]:
    """Read all polygons of a layer.

    Parameters
    ----------
    path : str
        A vector file that GDAL opens; its first layer is read.
    what : str
        What errors call it.

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
    return _read(path, what)[:2]


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
    import warnings

    import pyogrio.errors
    import pyogrio.raw
    import shapely

    if not Path(path).exists():
        raise InputError(f"There is no {what} {path}; check the path.")
    if not _has_layers(path):
        raise InputError(f"The {what} {path} holds no layer; save the polygons to it again.")
    fields = layer_fields(path)
    if field is not None and fields is not None and field not in fields:
        raise InputError(
            f"The {what} {path} has no field {field!r}; it has {', '.join(fields) or 'none'}."
        )
    try:
        columns = [] if field is None else [field]
        with warnings.catch_warnings():  # that a ring is not closed: it is closed below
            warnings.simplefilter("ignore", RuntimeWarning)
            meta, _, geometries, values = pyogrio.raw.read(path, columns=columns, force_2d=True)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError) as error:
        reason = str(error).split(";")[0].rstrip(".")  # what follows is for programmers
        raise InputError(f"The {what} {path} is not a polygon layer: {reason}.") from error
    empty: Polygons = np.zeros(0, object)
    shapes = empty if geometries is None else _shapes(geometries, f"{what} {path}")
    texts = [""] * len(shapes) if field is None else [_text(value) for value in values[0]]
    found = [
        (shapely.geometry.mapping(shape), text)
        for shape, text in zip(shapes, texts, strict=True)
        if shape is not None and "Polygon" in shape.geom_type and _has_area(shape)
    ]
    if not found:
        raise InputError(f"The {what} {path} holds no polygon; draw one, or leave it out.")
    return [polygon for polygon, _ in found], meta["crs"], [text for _, text in found]


def _has_layers(path: str) -> bool:
    """Whether a file that opens has a layer; True for one that does not open."""
    import pyogrio
    import pyogrio.errors

    try:
        return len(pyogrio.list_layers(path)) > 0
    except (pyogrio.errors.DataSourceError, ValueError):
        return True


def _shapes(geometries: NDArray[np.object_], name: str) -> Polygons:
    """Shapes of what was read; a ring that is not closed is closed.

    Raises
    ------
    InputError
        If one cannot be a shape, or has coordinates that no CRS has.
    """
    import warnings

    import shapely

    with warnings.catch_warnings():  # told below
        warnings.simplefilter("ignore")
        shapes: Polygons = shapely.from_wkb(geometries, on_invalid="fix")
    bounds = np.abs(shapely.bounds(shapes))
    broken = (shapes == None) & (geometries != None)  # noqa: E711 - element by element
    broken |= (bounds > LARGEST_COORDINATE).any(axis=-1) | np.isinf(bounds).any(axis=-1)
    if broken.any():
        first = int(np.flatnonzero(broken)[0])
        others = int(broken.sum()) - 1
        more = f" and {others} others" if others else ""
        raise InputError(
            f"The {name} has a broken shape, that of feature {first + 1}{more}: a ring of one "
            f"point, or coordinates beyond {LARGEST_COORDINATE:g}. Delete it, or draw it anew."
        )
    return shapes


def _has_area(shape: Any) -> bool:
    import shapely

    # The two wings of a bow tie add up to nothing before it is made valid.
    return bool(shape.area > 0 or shapely.make_valid(shape).area > 0)


def clipped(
    shape: dict[str, Any], bounds: tuple[float, float, float, float]
) -> dict[str, Any] | None:
    """The part of a polygon in a rectangle (xmin, ymin, xmax, ymax); None where there is none."""
    import shapely

    polygon = shapely.geometry.shape(shape)
    if not polygon.is_valid:
        polygon = shapely.make_valid(polygon)
    part = shapely.clip_by_rect(polygon, *bounds)
    found: dict[str, Any] | None = None if part.is_empty else shapely.geometry.mapping(part)
    return found


def _text(value: Any) -> str:
    """A field's value as text, whole numbers without a point; "" for an empty one."""
    plain = value.item() if hasattr(value, "item") else value
    if plain is None or plain != plain:
        return ""
    whole = isinstance(plain, float) and plain.is_integer()
    return str(int(plain) if whole else plain).strip()


def polygons_of_rings(
    points: NDArray[np.float64], rings: NDArray[np.int64], polygons: NDArray[np.int64]
) -> Polygons:
    """Polygons of the points, and the starts of rings and polygons, that `trace_pieces` gives."""
    import shapely

    if len(polygons) < 2:
        return np.zeros(0, object)
    made: Polygons = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, points, (rings, polygons)
    )
    return made


def points_of(polygons: Polygons) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """All points of polygons, shape (N, 2), and where each ring begins in them, and N."""
    import shapely

    if not len(polygons):
        return np.zeros((0, 2)), np.zeros(1, np.int64)
    _, points, (rings, _) = shapely.to_ragged_array(polygons)
    return points, rings.astype(np.int64)


def moved(polygons: Polygons, points: NDArray[np.float64]) -> Polygons:
    """The polygons with other points, of the shape that `points_of` gives."""
    import shapely

    return shapely.set_coordinates(polygons.copy(), points)  # type: ignore[no-any-return]


def ring_owners(polygons: Polygons) -> NDArray[np.int64]:
    """The place of the polygon that each ring belongs to."""
    import shapely

    rings = 1 + shapely.get_num_interior_rings(polygons).astype(np.int64)
    return np.repeat(np.arange(len(polygons)), rings)


def simplify_coverage(polygons: Polygons, tolerance: float) -> Polygons:
    """Polygons with fewer points, whose shared borders stay shared.

    Parameters
    ----------
    polygons : ndarray of object
        Polygons that fill an area without gaps and overlaps; where borders are shared, both sides
        have the same points.
    tolerance : float
        About the square root of the area that one point may take or give: the method is that of
        Visvalingam and Whyatt (The Cartographic Journal, 1993).

    Returns
    -------
    ndarray of object
        Their points are points of the input. The border of the whole area stays as it is, and so
        do the points where three polygons meet.
    """
    import shapely

    simple: Polygons = shapely.coverage_simplify(polygons, tolerance, simplify_boundary=False)
    return simple


def dissolve(parts: Sequence[Any], *, straighten: bool) -> Any:
    """One polygon of parts that touch along edges, all points in whole numbers.

    Parameters
    ----------
    parts : sequence
        Polygons of shapely.
    straighten : bool
        Leave out points between two edges of one direction.
    """
    import shapely

    union = shapely.unary_union(parts)
    if not straighten:
        return union
    points, rings = points_of(np.array([union]))
    kept, starts = _corners(points, rings)
    return shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, kept, (starts, np.array([0, len(starts) - 1]))
    )[0]


def _corners(
    points: NDArray[np.float64], rings: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The points of closed rings where they turn, and where each ring begins in them."""
    found, starts = [], [0]
    for start, stop in zip(rings[:-1], rings[1:], strict=True):
        ring = points[start : stop - 1]
        before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
        turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
        corners = ring[turns]
        found += [corners, corners[:1]]
        starts.append(starts[-1] + len(corners) + 1)
    return np.concatenate(found), np.array(starts, np.int64)


STYLES = "layer_styles"
"""The table in which QGIS keeps the styles of a GeoPackage's layers."""
_STYLE_TABLE = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),
    f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256),
    styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT,
    owner TEXT(30), ui TEXT(30), update_time DATETIME DEFAULT CURRENT_TIMESTAMP
)
"""


def table_names(path: Path) -> tuple[str, ...]:
    """Names of a GeoPackage's tables; none where there is no such file."""
    import sqlite3
    from contextlib import closing

    if not path.is_file():
        return ()
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT table_name FROM gpkg_contents").fetchall()
    except sqlite3.Error:
        return ()
    return tuple(str(name) for (name,) in rows)


class PolygonFile:
    """A GeoPackage with one layer of polygons that is written part by part.

    Parameters
    ----------
    path : Path
        File to write; there must be none.
    layer : str
        Name of the layer.
    crs : str or None
        Coordinate reference system as WKT.
    """

    def __init__(self, path: Path, layer: str, crs: str | None) -> None:
        self._path = path
        self._layer = layer
        self._crs = crs

    def append(self, polygons: Polygons, fields: Mapping[str, NDArray[Any]]) -> None:
        """Write polygons with the values of their fields, NaN as empty; the first call all fields.

        Raises
        ------
        OutputError
            If the disk is full or the folder read-only.
        """
        import warnings

        import pyogrio.errors
        import pyogrio.raw
        import shapely

        try:
            with warnings.catch_warnings():  # that there is no CRS is told by others
                warnings.simplefilter("ignore", UserWarning)
                pyogrio.raw.write(
                    str(self._path),
                    shapely.to_wkb(polygons),
                    list(fields.values()),
                    list(fields),
                    layer=self._layer,
                    driver="GPKG",
                    geometry_type="Polygon",
                    crs=self._crs,
                    append=self._path.exists(),
                )
        except (pyogrio.errors.DataSourceError, pyogrio.errors.FeatureError, OSError) as error:
            raise OutputError(f"{self._path.name} could not be written: {error}.") from error

    def set_style(self, qml: str) -> None:
        """Store a style within the file, where QGIS takes it from when the layer is added.

        A .qml beside the file would be that of any raster of its name too.

        Raises
        ------
        OutputError
            If the disk is full.
        """
        import sqlite3
        from contextlib import closing

        try:
            with closing(sqlite3.connect(self._path)) as database, database:
                database.execute(_STYLE_TABLE)
                # The time is fixed: styles of equal runs are equal.
                database.execute(
                    "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, "
                    "last_change) VALUES ('layer_styles', 'attributes', 'layer_styles', '', "
                    "'2000-01-01T00:00:00Z')"
                )
                database.execute(
                    "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, "
                    "f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, "
                    "owner, update_time) VALUES ('', '', ?, 'geom', ?, ?, '', 1, '', '', "
                    "'2000-01-01T00:00:00Z')",
                    (self._layer, self._layer, qml),
                )
        except sqlite3.Error as error:
            raise OutputError(f"{self._path.name} could not be written: {error}.") from error
