# SPDX-License-Identifier: GPL-2.0-or-later
"""`vectorize` inside QGIS with the real engine: files, temporary outputs, style."""

from __future__ import annotations

import os

import pytest
from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsDistanceArea,
    QgsFillSymbol,
    QgsProcessingContext,
    QgsSingleSymbolRenderer,
    QgsVectorLayer,
)

from tests.qgis.samples import write_class_raster


@pytest.fixture
def classes(tmp_path):
    if not os.environ.get("UNET_SEGMENTER_PYTHON"):
        pytest.skip("UNET_SEGMENTER_PYTHON names no engine")
    return str(write_class_raster(tmp_path / "classes.tif"))


def test_polygons_have_fields_and_the_colours_of_their_classes(run, classes, tmp_path, context):
    output = str(tmp_path / "polygons.gpkg")
    details = QgsProcessingContext.LayerDetails("Polygons", context.project(), "OUTPUT")
    context.addLayerToLoadOnCompletion(output, details)
    results = run(
        "vectorize", INPUT=classes, CONFIDENCE=classes, CLASSES="grass, road", OUTPUT=output
    )
    assert (results["POLYGONS"], results["LEFT_OUT"]) == (2, 0)
    layer = QgsVectorLayer(results["OUTPUT"], "polygons", "ogr")
    assert layer.crs().authid() == "EPSG:32617"
    assert [field.name() for field in layer.fields()] == [
        *("fid", "class", "name", "area", "perimeter", "confidence"),
    ]
    found = {feature["name"]: feature for feature in layer.getFeatures()}
    measure = QgsDistanceArea()
    measure.setSourceCrs(layer.crs(), context.transformContext())
    measure.setEllipsoid("EPSG:7030")
    for feature in found.values():
        shape = feature.geometry()
        assert feature["area"] == pytest.approx(measure.measureArea(shape), rel=1e-4)
        assert feature["perimeter"] == pytest.approx(measure.measurePerimeter(shape), rel=1e-4)
    assert found["road"]["area"] == pytest.approx(30 * 40 / 100, rel=2e-3)
    assert found["road"]["confidence"] == 2
    processor = context.layerToLoadOnCompletionDetails(output).postProcessor()
    beside = colours(layer)
    layer.setRenderer(QgsSingleSymbolRenderer(QgsFillSymbol()))
    processor.postProcessLayer(layer, context, None)
    assert colours(layer) == beside == {1: ("grass", "#228b22"), 2: ("road", "#808080")}


def colours(layer):
    """Name and colour of each class, as the layer is drawn."""
    assert isinstance(layer.renderer(), QgsCategorizedSymbolRenderer)
    assert layer.renderer().classAttribute() == "class"
    return {
        int(category.value()): (category.label(), category.symbol().color().name())
        for category in layer.renderer().categories()
    }


def test_a_temporary_output_is_a_geopackage(run, classes):
    results = run("vectorize", INPUT=classes, SIMPLIFY=1, MIN_AREA=0.05, OUTPUT="TEMPORARY_OUTPUT")
    assert results["OUTPUT"].endswith(".gpkg")
    layer = QgsVectorLayer(results["OUTPUT"], "polygons", "ogr")
    assert layer.isValid()
    assert layer.featureCount() == results["POLYGONS"] == 2
    assert results["LEFT_OUT"] == 1


def test_other_formats_are_refused_before_the_work(refusal, classes, tmp_path):
    message = refusal("vectorize", INPUT=classes, OUTPUT=str(tmp_path / "polygons.kml"))
    assert "kml" in message
