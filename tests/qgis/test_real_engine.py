# SPDX-License-Identifier: GPL-2.0-or-later
"""`segment` inside QGIS with the real engine and the bundled model."""

from __future__ import annotations

import os
import shutil
import threading
import time

import numpy as np
import pytest
from osgeo import gdal
from qgis.core import QgsApplication, QgsPalettedRasterRenderer, QgsRasterLayer

from tests.qgis.samples import write_raster


@pytest.fixture
def run(provider, repository, context, feedback):
    python = os.environ.get("UNET_SEGMENTER_PYTHON")
    if not python:
        pytest.skip("UNET_SEGMENTER_PYTHON names no engine")
    if not (repository / "resources/models/aeroscapes/card.json").is_file():
        pytest.skip("no model is bundled in this checkout")

    def run_segment(**parameters):
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(
            "unet_segmenter:segment"
        )
        ok, message = algorithm.checkParameterValues(parameters, context)
        assert ok, message
        results, success = algorithm.run(parameters, context, feedback)
        return results if success else None

    return run_segment


def test_a_real_raster_becomes_a_mask_with_the_bundled_model(run, shared_data, tmp_path, feedback):
    source = shared_data / "georef" / "drone_alpha_utm50s.tif"
    results = run(
        INPUT=str(source),
        MODEL="aeroscapes",
        OUTPUT=str(tmp_path / "mask.tif"),
        PROBABILITY=str(tmp_path / "p.tif"),
        CONFIDENCE=str(tmp_path / "c.tif"),
        SUMMARY=str(tmp_path / "summary.html"),
    )
    assert results, feedback.told
    image, mask = gdal.Open(str(source)), gdal.Open(results["OUTPUT"])
    assert mask.GetGeoTransform() == image.GetGeoTransform()
    assert (mask.RasterXSize, mask.RasterYSize) == (image.RasterXSize, image.RasterYSize)
    values = mask.ReadAsArray()
    alpha = image.GetRasterBand(4).ReadAsArray()
    assert np.array_equal(values == 255, alpha == 0)
    assert results["NODATA_PIXELS"] == int((alpha == 0).sum()) > 0
    assert gdal.Open(results["PROBABILITY"]).RasterCount == 6
    layer = QgsRasterLayer(results["OUTPUT"])
    assert isinstance(layer.renderer(), QgsPalettedRasterRenderer)
    labels = {c.value: c.label for c in layer.renderer().classes()}
    assert labels[1] == "vegetation"
    probability = QgsRasterLayer(results["PROBABILITY"])
    assert probability.bandName(1).endswith("vegetation")
    statistics = probability.dataProvider().bandStatistics(1)
    assert 0 <= statistics.minimumValue < statistics.maximumValue <= 1


def test_an_area_of_interest_and_an_extent_cut_the_mask(run, tmp_path, feedback):
    raster = tmp_path / "image.tif"
    write_raster(raster)
    area = tmp_path / "area.geojson"
    area.write_text(
        '{"type":"FeatureCollection","crs":{"type":"name","properties":{"name":'
        '"urn:ogc:def:crs:EPSG::32617"}},"features":[{"type":"Feature","properties":{},"geometry":'
        '{"type":"Polygon","coordinates":[[[500001,3999997],[500003,3999997],[500003,3999999],'
        "[500001,3999999],[500001,3999997]]]}}]}"
    )
    results = run(
        INPUT=str(raster),
        MODEL="aeroscapes",
        CLASSES="road",
        AOI=str(area),
        EXTENT="500000,500004,3999996,4000000 [EPSG:32617]",
        OUTPUT=str(tmp_path / "mask.tif"),
    )
    assert results, feedback.told
    mask = gdal.Open(results["OUTPUT"])
    assert (mask.RasterXSize, mask.RasterYSize) == (40, 40)
    inside = mask.ReadAsArray() != 255
    expected = np.zeros((40, 40), bool)
    expected[10:30, 10:30] = True
    assert np.array_equal(inside, expected)


def test_a_cancel_in_a_real_run_stops_within_two_seconds(run, tmp_path, feedback):
    large = tmp_path / "large.tif"
    dataset = gdal.GetDriverByName("GTiff").Create(
        str(large), 20000, 20000, 3, gdal.GDT_Byte, ["SPARSE_OK=YES", "TILED=YES"]
    )
    dataset.SetGeoTransform((500000, 0.1, 0, 4000000, 0, -0.1))
    dataset = None
    cancelled_at = []

    def cancel_in_the_midst():
        deadline = time.monotonic() + 60
        while feedback.progress() <= 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        cancelled_at.append(time.monotonic())
        feedback.cancel()

    thread = threading.Thread(target=cancel_in_the_midst)
    thread.start()
    results = run(INPUT=str(large), MODEL="aeroscapes", OUTPUT=str(tmp_path / "mask.tif"))
    took = time.monotonic() - cancelled_at[0]
    thread.join()
    assert results is None
    assert took < 2
    assert not (tmp_path / "mask.tif").exists()


def test_a_model_made_for_deepness_is_read_by_the_engine(
    run, repository, context, feedback, tmp_path
):
    bare = tmp_path / "bare.onnx"
    shutil.copy(repository / "resources/models/aeroscapes/model.onnx", bare)
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("unet_segmenter:modelinfo")
    page = tmp_path / "page.html"
    results, done = algorithm.run({"MODEL_FILE": str(bare), "OUTPUT": str(page)}, context, feedback)
    assert done, feedback.told
    assert (results["NAME"], results["CLASS_COUNT"], results["INTACT"]) == ("bare", 6, True)
    assert "vegetation" in results["CLASSES"].split(",")
    assert results["DIVISOR"] == 32
    assert "An ONNX model made for the Deepness plugin" in page.read_text(encoding="utf-8")
