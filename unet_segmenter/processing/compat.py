# SPDX-License-Identifier: GPL-2.0-or-later
"""Names that moved between QGIS 3.22 and QGIS 4."""

from __future__ import annotations

from qgis.core import (
    Qgis,
    QgsColorRampShader,
    QgsProcessing,
    QgsProcessingFeatureSource,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsWkbTypes,
)

if hasattr(Qgis, "ProcessingParameterFlag"):  # QGIS 3.36
    ADVANCED = Qgis.ProcessingParameterFlag.Advanced
    VECTOR_POLYGON = Qgis.ProcessingSourceType.VectorPolygon
    RASTER = Qgis.ProcessingSourceType.Raster
    FILE = Qgis.ProcessingFileParameterBehavior.File
    FOLDER = Qgis.ProcessingFileParameterBehavior.Folder
    DOUBLE = Qgis.ProcessingNumberParameterType.Double
    INTEGER = Qgis.ProcessingNumberParameterType.Integer
    SKIP_VALIDITY_CHECKS = Qgis.ProcessingFeatureSourceFlag.SkipGeometryValidityChecks
else:
    ADVANCED = QgsProcessingParameterDefinition.FlagAdvanced
    VECTOR_POLYGON = QgsProcessing.TypeVectorPolygon
    RASTER = QgsProcessing.TypeRaster
    FILE = QgsProcessingParameterFile.File
    FOLDER = QgsProcessingParameterFile.Folder
    DOUBLE = QgsProcessingParameterNumber.Double
    INTEGER = QgsProcessingParameterNumber.Integer
    SKIP_VALIDITY_CHECKS = QgsProcessingFeatureSource.FlagSkipGeometryValidityChecks

if hasattr(Qgis, "ShaderInterpolationMethod"):  # QGIS 3.38
    INTERPOLATED = Qgis.ShaderInterpolationMethod.Linear
else:
    INTERPOLATED = QgsColorRampShader.Interpolated

if hasattr(Qgis, "WkbType"):  # QGIS 3.30
    MULTI_POLYGON = Qgis.WkbType.MultiPolygon
    POLYGON_GEOMETRY = Qgis.GeometryType.Polygon
else:
    MULTI_POLYGON = QgsWkbTypes.MultiPolygon
    POLYGON_GEOMETRY = QgsWkbTypes.PolygonGeometry
