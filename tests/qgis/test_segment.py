# SPDX-License-Identifier: GPL-2.0-or-later
"""`segment`: its parameters become a job, its failures and cancels are QGIS's."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path

import pytest
from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsReferencedRectangle,
    QgsVectorLayer,
)

from tests.qgis.samples import write_model, write_raster
from unet_segmenter.engine.job import ClassArea
from unet_segmenter.processing.style import MaskStyle, ShareStyle


@pytest.fixture
def run(provider, stub_engine, context, feedback, raster, tmp_path):
    """Run `segment` with the stub; gives results and the feedback."""

    def run_segment(**parameters):
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(
            "unet_segmenter:segment"
        )
        given = {"INPUT": raster, "MODEL": "toy", "OUTPUT": str(tmp_path / "mask.tif")}
        given.update(parameters)
        given = {k: v for k, v in given.items() if v is not ...}
        ok, message = algorithm.checkParameterValues(given, context)
        if not ok:
            return None, message
        results, success = algorithm.run(given, context, feedback)
        return (results if success else None), feedback

    return run_segment


def errors(feedback):
    return " ".join(text for level, text in feedback.told if level == "error")


def test_a_run_gives_files_numbers_progress_and_warnings(run, tmp_path, raster, model_folder):
    results, feedback = run(SUMMARY=str(tmp_path / "summary.html"))
    assert results["OUTPUT"] == str(tmp_path / "mask.tif")
    assert results["SUMMARY"] == str(tmp_path / "summary.html")
    assert Path(results["SUMMARY"]).is_file()
    assert (results["PIXELS"], results["NODATA_PIXELS"], results["BLOCKS"]) == (2400, 7, 4)
    assert results["SECONDS"] == pytest.approx(1.234, abs=0.001)
    assert (results["RUNTIME_USED"], results["PRECISION_USED"]) == ("openvino", "f32")
    assert "PROBABILITY" not in results
    layer = QgsRasterLayer(results["OUTPUT"])
    assert (layer.width(), layer.height()) == (60, 40)
    assert feedback.progress() == 100
    assert feedback.stages == ["Predicting"]
    assert ("warning", "The ground sampling distance is a guess.") in feedback.told
    job = feedback.job()
    assert job["input"] == raster
    assert job["model"] == "toy"
    assert job["environ"]["UNET_SEGMENTER_MODELS"] == str(model_folder)


def test_what_is_left_out_takes_the_defaults_of_the_job(run):
    _, feedback = run()
    job = feedback.job()
    for name in ("extent", "aoi", "threshold", "block_size", "batch", "probability", "confidence"):
        assert job[name] is None, name
    assert (job["classes"], job["bands"]) == ([], [])
    assert (job["runtime"], job["precision"], job["tta"]) == ("auto", "auto", False)
    assert job["probability_type"] == "uint8"
    assert job["resume"] is True


def test_every_parameter_reaches_the_job(run, tmp_path):
    _, feedback = run(
        CLASSES=" road ,vegetation",
        BANDS=[3, 2, 1],
        THRESHOLD=0.0,
        RUNTIME="onnxruntime",
        PRECISION="f32",
        TTA=True,
        BLOCK_SIZE=256,
        BATCH=2,
        PROBABILITY_TYPE="float32",
        PROBABILITY=str(tmp_path / "p.tif"),
        CONFIDENCE=str(tmp_path / "c.tif"),
    )
    job = feedback.job()
    assert job["classes"] == ["road", "vegetation"]
    assert job["bands"] == [3, 2, 1]
    assert job["threshold"] == 0.0
    assert (job["runtime"], job["precision"], job["tta"]) == ("onnxruntime", "f32", True)
    assert (job["block_size"], job["batch"]) == (256, 2)
    assert job["probability"] == str(tmp_path / "p.tif")
    assert job["confidence"] == str(tmp_path / "c.tif")
    assert job["probability_type"] == "float32"


def test_classes_may_come_as_a_list(run):
    _, feedback = run(CLASSES=["road", "vegetation"])
    assert feedback.job()["classes"] == ["road", "vegetation"]


def test_bands_may_come_as_text(run):
    _, feedback = run(BANDS="3;2;1")
    assert feedback.job()["bands"] == [3, 2, 1]


@pytest.mark.parametrize("what", ["folder", "card.json", "model.onnx"])
def test_a_model_file_wins_over_the_model_s_name(run, model_folder, what):
    path = model_folder / "toy" if what == "folder" else model_folder / "toy" / what
    _, feedback = run(MODEL="no such model", MODEL_FILE=str(path))
    assert feedback.job()["model"] == str(path)


def test_temporary_outputs_work_and_do_not_wait_to_be_resumed(run):
    results, feedback = run(OUTPUT="TEMPORARY_OUTPUT", SUMMARY="TEMPORARY_OUTPUT")
    assert Path(results["OUTPUT"]).is_file()
    assert Path(results["OUTPUT"]).suffix == ".tif"
    assert Path(results["SUMMARY"]).suffix == ".html"
    assert feedback.job()["resume"] is False


def test_a_layer_of_the_project_is_an_input(run, raster):
    layer = QgsRasterLayer(raster, "my image")
    QgsProject.instance().addMapLayer(layer)
    _, feedback = run(INPUT=layer.id())
    assert feedback.job()["input"] == raster
    _, _ = run(INPUT=layer)
    QgsProject.instance().removeMapLayer(layer.id())


def test_an_extent_is_taken_in_the_raster_s_crs(run):
    _, feedback = run(EXTENT="500001,500002,3999997,3999998 [EPSG:32617]")
    assert feedback.job()["extent"] == pytest.approx([500001, 3999997, 500002, 3999998])


def test_an_extent_in_another_crs_is_transformed(run, context):
    crs = QgsCoordinateReferenceSystem("EPSG:4326")
    box = QgsReferencedRectangle(QgsRectangle(-81.00001, 36.14, -80.99999, 36.15), crs)
    _, feedback = run(EXTENT=box)
    xmin, ymin, xmax, ymax = feedback.job()["extent"]
    assert 499998 < xmin < 500000 < xmax < 500002
    assert ymin == pytest.approx(3999526, abs=50)
    assert ymax == pytest.approx(4000635, abs=50)


def polygons(
    crs="EPSG:32617",
    wkts=("POLYGON((500001 3999997,500002 3999997,500002 3999998,500001 3999997))",),
):
    layer = QgsVectorLayer(f"Polygon?crs={crs}", "area", "memory")
    for wkt in wkts:
        feature = QgsFeature()
        feature.setGeometry(QgsGeometry.fromWkt(wkt))
        layer.dataProvider().addFeatures([feature])
    layer.updateExtents()
    QgsProject.instance().addMapLayer(layer)
    return layer


def read_aoi(feedback):
    layer = QgsVectorLayer(feedback.job()["aoi"], "written", "ogr")
    assert layer.isValid()
    return layer, [f.geometry() for f in layer.getFeatures()]


def test_an_area_of_interest_is_written_in_its_own_crs_which_the_engine_transforms(run):
    wkt = "POLYGON((-81 36.14,-80.999 36.14,-80.999 36.141,-81 36.14))"
    layer = polygons("EPSG:4326", (wkt,))
    _, feedback = run(AOI=layer.id())
    written, (geometry,) = read_aoi(feedback)
    assert written.crs().authid() == "EPSG:4326"
    assert geometry.boundingBox().xMinimum() == -81
    assert geometry.boundingBox().xMaximum() == -80.999
    QgsProject.instance().removeMapLayer(layer.id())


def test_the_whole_world_is_an_area_of_interest(run):
    layer = polygons("EPSG:4326", ("POLYGON((-180 -90,180 -90,180 90,-180 90,-180 -90))",))
    results, feedback = run(AOI=layer.id())
    assert results, errors(feedback)
    _, (geometry,) = read_aoi(feedback)
    assert geometry.area() == 360 * 180
    QgsProject.instance().removeMapLayer(layer.id())


def test_only_the_selected_polygons_count_when_that_is_asked_for(run):
    first = "POLYGON((0 0,1 0,1 1,0 0))"
    second = "POLYGON((5 5,6 5,6 6,5 5))"
    layer = polygons(wkts=(first, second))
    layer.selectByIds([2])
    _, feedback = run(AOI=QgsProcessingFeatureSourceDefinition(layer.id(), True))
    _, geometries = read_aoi(feedback)
    assert [g.boundingBox().xMinimum() for g in geometries] == [5]
    QgsProject.instance().removeMapLayer(layer.id())


def test_a_polygon_that_crosses_itself_is_mended(run):
    layer = polygons(wkts=("POLYGON((0 0,10 10,10 0,0 10,0 0))",))
    _, feedback = run(AOI=layer.id())
    _, geometries = read_aoi(feedback)
    assert sum(g.area() for g in geometries) == pytest.approx(50)
    assert all(g.isGeosValid() for g in geometries)
    QgsProject.instance().removeMapLayer(layer.id())


def test_an_area_of_interest_without_polygons_is_told(run):
    layer = polygons(wkts=())
    results, feedback = run(AOI=layer.id())
    assert results is None
    assert "AOI holds no polygon" in errors(feedback)
    QgsProject.instance().removeMapLayer(layer.id())


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"MODEL": "moon"}, r"no model 'moon' in the library; it has: .*toy"),
        ({"MODEL": None}, "Choose a MODEL of the library, or give a MODEL_FILE"),
        ({"MODEL_FILE": "/no/such/folder"}, "MODEL_FILE: there is no file or folder"),
        ({"MODEL_FILE": "/usr"}, "is no model"),
        ({"CLASSES": "trees"}, "no class 'trees'; it has vegetation, road, slow"),
        ({"CLASSES": "vegetation,trees"}, "no class 'trees'"),
        ({"BANDS": [1, 2]}, "BANDS names 2 bands, but the model toy takes 3: red, green, blue"),
        ({"INPUT": ...}, "INPUT"),
        ({"THRESHOLD": 1.5}, "THRESHOLD"),
        ({"RUNTIME": "abacus"}, "RUNTIME"),
        ({"PROBABILITY_TYPE": "int8"}, "PROBABILITY_TYPE"),
        ({"BLOCK_SIZE": 0}, "BLOCK_SIZE"),
    ],
)
def test_wrong_values_are_refused_before_the_run(run, parameters, words):
    results, message = run(**parameters)
    assert results is None
    assert isinstance(message, str), "it was run"
    assert re.search(words, message)


def test_an_input_that_is_no_raster_is_refused(run, tmp_path):
    text = tmp_path / "note.txt"
    text.write_text("no raster")
    results, said = run(INPUT=str(text))
    assert results is None
    assert "INPUT" in said if isinstance(said, str) else "Could not load" in errors(said)


def test_a_web_service_is_refused_in_one_sentence(run):
    layer = QgsRasterLayer(
        "type=xyz&url=https://example.org/{z}/{x}/{y}.png&zmax=19&zmin=0", "tiles", "wms"
    )
    assert layer.isValid()
    QgsProject.instance().addMapLayer(layer)
    results, message = run(INPUT=layer.id())
    assert results is None
    assert "INPUT (tiles) comes from the source 'wms', not from a file" in message
    QgsProject.instance().removeMapLayer(layer.id())


def test_the_engine_s_error_is_the_algorithm_s(run, model_folder):
    refused = model_folder / "refused"
    if not refused.exists():
        write_model(refused)
    results, feedback = run(MODEL="refused")
    assert results is None
    assert "has no band 7; it has 3." in errors(feedback)


def test_without_an_environment_it_cannot_be_run_and_tells_the_remedy(
    provider, monkeypatch, tmp_path
):
    monkeypatch.delenv("UNET_SEGMENTER_PYTHON", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    can, message = provider.algorithm("segment").canExecute()
    assert can is False
    assert "Set up the environment" in message
    assert provider.algorithm("modelinfo").canExecute()[0]
    assert provider.algorithm("setupenvironment").canExecute()[0]


def test_the_check_before_each_run_is_quick(provider, stub_engine):
    algorithm = provider.algorithm("segment")
    assert algorithm.canExecute()[0] is True
    started = time.monotonic()
    for _ in range(20):
        algorithm.canExecute()
    assert time.monotonic() - started < 1


def test_a_cancel_stops_within_two_seconds_and_leaves_no_output(run, feedback, tmp_path):
    pid_file = tmp_path / "mask.tif.pid"
    cancelled_at = []

    def cancel_when_it_runs():
        while not pid_file.exists():
            time.sleep(0.02)
        cancelled_at.append(time.monotonic())
        feedback.cancel()

    thread = threading.Thread(target=cancel_when_it_runs)
    thread.start()
    results, _ = run(CLASSES="slow")
    took = time.monotonic() - cancelled_at[0]
    thread.join()
    assert results is None
    assert took < 2
    assert not (tmp_path / "mask.tif").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_a_mask_is_loaded_in_the_colours_of_its_classes(raster, context, feedback):
    layer = QgsRasterLayer(raster)
    areas = [
        ClassArea(0, "not road", "#d9d9d9", 1, None),
        ClassArea(5, "road", "#102030", 1, None),
    ]
    MaskStyle(areas).postProcessLayer(layer, context, feedback)
    classes = layer.renderer().classes()
    assert [(c.value, c.label, c.color.name()) for c in classes] == [
        (0, "not road", "#d9d9d9"),
        (5, "road", "#102030"),
    ]
    assert [c.color.alpha() for c in classes] == [0, 255]


@pytest.mark.parametrize("color", ["#228b22", None])
def test_shares_are_shown_from_zero_to_one(raster, context, feedback, color):
    layer = QgsRasterLayer(raster)
    ShareStyle(color).postProcessLayer(layer, context, feedback)
    renderer = layer.renderer()
    assert renderer.type() == "singlebandpseudocolor"
    assert (renderer.classificationMin(), renderer.classificationMax()) == (0.0, 1.0)
    items = renderer.shader().rasterShaderFunction().colorRampItemList()
    assert (items[0].value, items[-1].value) == (0.0, 1.0)
    if color:
        assert items[-1].color.name() == color


def test_results_that_are_loaded_get_a_style(run, context, tmp_path):
    project = QgsProject()
    output = QgsProcessingOutputLayerDefinition(str(tmp_path / "mask.tif"), project)
    probability = QgsProcessingOutputLayerDefinition(str(tmp_path / "p.tif"), project)
    run(OUTPUT=output, PROBABILITY=probability)
    details = context.layersToLoadOnCompletion()
    assert set(details) == {str(tmp_path / "mask.tif"), str(tmp_path / "p.tif")}
    assert isinstance(details[str(tmp_path / "mask.tif")].postProcessor(), MaskStyle)
    assert isinstance(details[str(tmp_path / "p.tif")].postProcessor(), ShareStyle)


def test_a_raster_without_crs_takes_an_extent_as_it_is(run, tmp_path):
    path = tmp_path / "plain.tif"
    write_raster(path, epsg=None)
    _, feedback = run(INPUT=str(path), EXTENT="500001,500002,3999997,3999998")
    assert feedback.job()["extent"] == pytest.approx([500001, 3999997, 500002, 3999998])
