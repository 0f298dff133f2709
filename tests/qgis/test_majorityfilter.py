# SPDX-License-Identifier: GPL-2.0-or-later
"""`majorityfilter` inside QGIS with the real engine."""

from __future__ import annotations

import os

import numpy as np
import pytest
from osgeo import gdal
from qgis.core import QgsPalettedRasterRenderer, QgsProcessingContext, QgsRasterLayer

from tests.qgis.samples import write_class_raster


@pytest.fixture
def classes(tmp_path):
    """Two classes with a speck of a third, and a corner without data."""
    if not os.environ.get("UNET_SEGMENTER_PYTHON"):
        pytest.skip("UNET_SEGMENTER_PYTHON names no engine")
    return str(write_class_raster(tmp_path / "classes.tif"))


def test_specks_go_and_names_colours_and_numbers_come(run, classes, tmp_path, context):
    output = str(tmp_path / "smooth.tif")
    details = QgsProcessingContext.LayerDetails("Smooth", context.project(), "OUTPUT")
    context.addLayerToLoadOnCompletion(output, details)
    results = run("majorityfilter", INPUT=classes, RADIUS=0, MIN_AREA=5, OUTPUT=output)
    before, after = (gdal.Open(path).ReadAsArray() for path in (classes, results["OUTPUT"]))
    assert (before == 3).sum() == 4
    assert (after == 3).sum() == 0
    assert ((after == 255) == (before == 255)).all()
    assert results["CHANGED_PIXELS"] == int((before != after).sum()) == 4
    assert results["CHANGED_SHARE"] == pytest.approx(4 / (before != 255).sum())
    layer = QgsRasterLayer(output)
    context.layerToLoadOnCompletionDetails(output).postProcessor().postProcessLayer(
        layer, context, None
    )
    assert isinstance(layer.renderer(), QgsPalettedRasterRenderer)
    labels = {c.value: (c.label, c.color.name()) for c in layer.renderer().classes()}
    assert labels[1] == ("grass", "#228b22")
    assert labels[2] == ("road", "#808080")


def test_a_larger_radius_and_the_median_reach_the_engine(run, classes, tmp_path, feedback):
    results = run(
        "majorityfilter",
        INPUT=classes,
        RADIUS=3,
        METHOD="median",
        AREA_UNIT="m2",
        OUTPUT=str(tmp_path / "smooth.tif"),
    )
    assert np.unique(gdal.Open(results["OUTPUT"]).ReadAsArray()).tolist() == [1, 2, 255]
    assert any("median" in text for kind, text in feedback.told if kind == "warning")


def test_what_is_out_of_range_is_refused(refusal, classes, tmp_path):
    message = refusal(
        "majorityfilter", INPUT=classes, RADIUS=101, OUTPUT=str(tmp_path / "smooth.tif")
    )
    assert "RADIUS" in message or "Radius" in message
