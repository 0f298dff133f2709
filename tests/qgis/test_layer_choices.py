# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user set for a layer in QGIS reaches the job, or is refused with a command that works."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest
from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsProject,
    QgsRasterLayer,
    QgsRasterRange,
    QgsVectorLayer,
)

from tests.qgis.samples import write_raster


@pytest.fixture
def layer(qgis_app, tmp_path):
    """A raster layer of the project; its file has a CRS, and 7 for nodata."""
    path = tmp_path / "image.tif"
    write_raster(path)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    for band in (1, 2, 3):
        dataset.GetRasterBand(band).SetNoDataValue(7)
    dataset = None
    layer = QgsRasterLayer(str(path), "image")
    QgsProject.instance().addMapLayer(layer)
    yield layer
    QgsProject.instance().removeMapLayer(layer)


def parameters(name, layer, raster, folder):
    given = {
        "segment": {"INPUT": layer.id(), "MODEL": "toy"},
        "landcover": {"INPUT": layer.id(), "MODELS": "toy"},
        "refine": {"INPUT": layer.id(), "PROBABILITY": raster},
    }[name]
    return {**given, "OUTPUT": str(folder / "out.tif")}


def remedy(message):
    """The command at a message's end, run as it stands."""
    words = shlex.split(message[re.search("gdal_edit.py ", message).start() :])
    if shutil.which(words[0]) is None:
        pytest.skip(f"there is no {words[0]} here")
    subprocess.run(words, check=True, capture_output=True)


@pytest.mark.parametrize("name", ["segment", "landcover", "refine"])
def test_additional_nodata_values_and_a_crs_reach_the_job(
    name, run, stub_engine, feedback, layer, raster, tmp_path
):
    for band in (1, 2, 3):
        layer.dataProvider().setUserNoDataValue(band, [QgsRasterRange(0, 0)])
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32650"))
    assert run(name, **parameters(name, layer, raster, tmp_path), NODATA="255") is not None
    job = feedback.job()
    assert job["nodata"] == [0, 255]
    assert job["crs"] == "EPSG:32650"


@pytest.mark.parametrize(
    ("name", "image", "labels"),
    [("preparedataset", "RASTER", "LABELS"), ("trainmodel", "IMAGE", "POLYGONS")],
)
def test_they_reach_the_jobs_that_learn_from_an_image(
    name, image, labels, run, stub_engine, feedback, layer, polygons, tmp_path
):
    for band in (1, 2, 3):
        layer.dataProvider().setUserNoDataValue(band, [QgsRasterRange(0, 0)])
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32650"))
    given = {image: layer.id(), labels: polygons, "FIELD": "kind", "NODATA": "255"}
    assert run(name, **given, OUTPUT=str(tmp_path / "out")) is not None
    assert (feedback.job()["nodata"], feedback.job()["crs"]) == ([0, 255], "EPSG:32650")


@pytest.mark.parametrize("name", ["segment", "landcover", "refine"])
def test_a_layer_that_nobody_touched_says_nothing(
    name, run, stub_engine, feedback, layer, raster, tmp_path
):
    assert run(name, **parameters(name, layer, raster, tmp_path)) is not None
    assert (feedback.job()["nodata"], feedback.job()["crs"]) == ([], None)


def test_a_switched_off_nodata_value_is_refused_until_the_file_has_none(
    refusal, run, stub_engine, layer, raster, tmp_path
):
    for band in (1, 2, 3):
        layer.dataProvider().setUseSourceNoDataValue(band, False)
    message = refusal("segment", **parameters("segment", layer, raster, tmp_path))
    assert "switched off" in message
    remedy(message)
    assert gdal.Open(layer.source()).GetRasterBand(1).GetNoDataValue() is None
    layer.reload()
    again = QgsRasterLayer(layer.source(), "again")
    QgsProject.instance().addMapLayer(again)
    assert run("segment", **parameters("segment", again, raster, tmp_path)) is not None
    QgsProject.instance().removeMapLayer(again)


def test_a_range_of_nodata_values_is_refused(refusal, layer, raster, tmp_path):
    layer.dataProvider().setUserNoDataValue(1, [QgsRasterRange(0, 3)])
    message = refusal("segment", **parameters("segment", layer, raster, tmp_path))
    assert "a range of additional no data values, 0 to 3" in message


@pytest.mark.parametrize("name", ["majorityfilter", "vectorize", "evaluate", "fuse", "refine"])
def test_settings_of_other_layers_are_refused_with_a_command_that_works(
    name, refusal, layer, raster, tmp_path
):
    given = {
        "majorityfilter": {"INPUT": layer.id()},
        "vectorize": {"INPUT": layer.id()},
        "evaluate": {"INPUT": raster, "REFERENCE": layer.id()},
        "fuse": {"INPUTS": [layer.id()]},
        "refine": {"INPUT": raster, "PROBABILITY": layer.id()},
    }[name]
    given["OUTPUT"] = str(tmp_path / "out.tif")
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32650"))
    message = refusal(name, **given)
    assert "another CRS in QGIS" in message
    remedy(message)
    again = QgsRasterLayer(layer.source())
    assert again.crs().authid() == "EPSG:32650"


def test_nodata_as_text_list_or_number_is_read(run, stub_engine, feedback, layer, tmp_path):
    for given, expected in (("0, -9999", [-9999, 0]), ([0, 255], [0, 255]), (0, [0])):
        feedback.told.clear()
        assert run("segment", **parameters("segment", layer, "", tmp_path), NODATA=given)
        assert feedback.job()["nodata"] == expected


def test_a_subset_of_a_layer_of_polygons_counts(
    run, stub_engine, feedback, layer, polygons, tmp_path
):
    area = QgsVectorLayer(polygons, "area")
    area.setSubsetString("kind = 'tree'")
    QgsProject.instance().addMapLayer(area)
    given = parameters("segment", layer, "", tmp_path)
    assert run("segment", **given, AOI=area.id()) is not None
    written = QgsVectorLayer(feedback.job()["aoi"])
    assert written.featureCount() == 1
    (tree,) = area.getFeatures()
    west = tree.geometry().boundingBox().xMinimum()
    assert written.extent().xMinimum() == pytest.approx(west, abs=1e-7)
    QgsProject.instance().removeMapLayer(area)
