# SPDX-License-Identifier: GPL-2.0-or-later
"""Hands a polygon layer of QGIS to the engine, as a file; the engine brings it to its raster."""

from __future__ import annotations

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFeatureRequest,
    QgsField,
    QgsFields,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingFeatureSource,
    QgsProcessingFeedback,
    QgsProcessingUtils,
    QgsVectorFileWriter,
)

from ..engine.errors import InputError
from . import temporary_files
from .compat import MULTI_POLYGON, POLYGON_GEOMETRY, SKIP_VALIDITY_CHECKS


def write_polygons(
    source: QgsProcessingFeatureSource,
    crs: QgsCoordinateReferenceSystem,
    context: QgsProcessingContext,
    feedback: QgsProcessingFeedback,
    *,
    name: str = "AOI",
    field: str | None = None,
) -> str:
    """Write the polygons of `source` to a temporary GeoPackage.

    Parameters
    ----------
    source : QgsProcessingFeatureSource
        Polygons in any CRS; only the selected ones where the user asked for that.
    crs : QgsCoordinateReferenceSystem
        That of the raster, for a layer that has none.
    context, feedback
        Of the running algorithm.
    name : str
        The parameter's name, for messages.
    field : str, optional
        A field to write with them; None writes none.

    Returns
    -------
    str
        Path of the file; Processing removes it when it ends.

    Raises
    ------
    InputError
        If there is no polygon or no such field, or they cannot be written.
    """
    fields, index = _one_field(source, field, name)
    path = QgsProcessingUtils.generateTempFilename(f"{name.lower()}.gpkg")
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = name.lower()
    target = source.sourceCrs() if source.sourceCrs().isValid() else crs
    writer = QgsVectorFileWriter.create(
        path, fields, MULTI_POLYGON, target, context.transformContext(), options
    )
    request = QgsFeatureRequest().setSubsetOfAttributes([] if index is None else [index])
    written = 0
    for feature in source.getFeatures(request, SKIP_VALIDITY_CHECKS):
        if feedback.isCanceled():
            break
        for part in _polygons(feature.geometry()):
            polygon = QgsFeature(fields)
            polygon.setGeometry(part)
            if index is not None:
                polygon.setAttributes([feature.attributes()[index]])
            if not writer.addFeature(polygon):
                raise InputError(f"{name} could not be written to {path}: {writer.errorMessage()}")
            written += 1
    problem = writer.errorMessage()
    del writer  # closes the file
    if not written:
        raise InputError(f"{name} holds no polygon. {problem}".strip())
    temporary_files.name(path, f"{source.sourceName() or name} ({name})")
    return path


def _one_field(
    source: QgsProcessingFeatureSource, field: str | None, name: str
) -> tuple[QgsFields, int | None]:
    """The fields to write, one or none, and its place in the source."""
    fields = QgsFields()
    if not field:
        return fields, None
    index = source.fields().lookupField(field)
    if index < 0:
        raise InputError(
            f"{name} has no field {field!r}; it has {', '.join(source.fields().names()) or 'none'}."
        )
    wanted = source.fields().at(index)
    # A GeoPackage numbers its features in a field of this name.
    if wanted.name().lower() == "fid":
        raise InputError(f"{name}: the field fid numbers the features; name one with the classes.")
    fields.append(QgsField(wanted))
    return fields, index


def _polygons(geometry: QgsGeometry) -> list[QgsGeometry]:
    """Valid multipolygons of a geometry; mending one may leave lines and points, dropped here."""
    if geometry.isEmpty():
        return []
    if not geometry.isGeosValid():
        geometry = geometry.makeValid()
    parts = [p for p in geometry.asGeometryCollection() if p.type() == POLYGON_GEOMETRY]
    for part in parts:
        part.convertToMultiType()
    return parts
