# SPDX-License-Identifier: GPL-2.0-or-later
"""Hands a polygon layer of QGIS to the engine, as a file in the raster's CRS."""

from __future__ import annotations

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFeatureRequest,
    QgsFields,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingFeatureSource,
    QgsProcessingFeedback,
    QgsProcessingUtils,
    QgsVectorFileWriter,
)

from ..engine.errors import InputError
from .compat import MULTI_POLYGON, POLYGON_GEOMETRY, SKIP_VALIDITY_CHECKS


def write_polygons(
    source: QgsProcessingFeatureSource,
    crs: QgsCoordinateReferenceSystem,
    context: QgsProcessingContext,
    feedback: QgsProcessingFeedback,
) -> str:
    """Write the polygons of `source` to a temporary GeoPackage.

    Parameters
    ----------
    source : QgsProcessingFeatureSource
        Polygons in any CRS; only the selected ones where the user asked for that.
    crs : QgsCoordinateReferenceSystem
        That of the raster; where it is invalid, the coordinates are taken as they are.
    context, feedback
        Of the running algorithm.

    Returns
    -------
    str
        Path of the file; Processing removes it when it ends.

    Raises
    ------
    InputError
        If there is no polygon, or they cannot be transformed or written.
    """
    path = QgsProcessingUtils.generateTempFilename("area_of_interest.gpkg")
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = "area_of_interest"
    target = crs if crs.isValid() else source.sourceCrs()
    writer = QgsVectorFileWriter.create(
        path, QgsFields(), MULTI_POLYGON, target, context.transformContext(), options
    )
    failed: list[int] = []
    request = QgsFeatureRequest().setNoAttributes()
    if crs.isValid() and source.sourceCrs().isValid():
        request.setDestinationCrs(crs, context.transformContext())
        request.setTransformErrorCallback(lambda feature: failed.append(feature.id()))
    written = 0
    for feature in source.getFeatures(request, SKIP_VALIDITY_CHECKS):
        if feedback.isCanceled():
            break
        for part in _polygons(feature.geometry()):
            polygon = QgsFeature()
            polygon.setGeometry(part)
            if not writer.addFeature(polygon):
                raise InputError(f"AOI could not be written to {path}: {writer.errorMessage()}")
            written += 1
    problem = writer.errorMessage()
    del writer  # closes the file
    if failed:
        raise InputError(
            f"AOI: {len(failed)} of its polygons cannot be transformed to the raster's CRS "
            f"({crs.authid() or 'a CRS of its own'})."
        )
    if not written:
        raise InputError(f"AOI holds no polygon. {problem}".strip())
    return path


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
