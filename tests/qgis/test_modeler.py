# SPDX-License-Identifier: GPL-2.0-or-later
"""`segment` in batch, and in a model whose next step takes its mask and its numbers."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from qgis.analysis import QgsNativeAlgorithms
from qgis.core import (
    QgsApplication,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterRasterLayer,
    QgsVectorLayer,
)

from tests.qgis.samples import write_raster

Source = QgsProcessingModelChildParameterSource


@pytest.fixture
def native(qgis_app):
    """QGIS's own algorithms."""
    registry = QgsApplication.processingRegistry()
    if registry.providerById("native") is None:
        registry.addProvider(QgsNativeAlgorithms(registry))


def class_count_model(model_name, classes):
    """A model: segment the image, then count the pixels of each value of the mask."""
    model = QgsProcessingModelAlgorithm("Count classes", "Tests")
    image = QgsProcessingParameterRasterLayer("image", "Image")
    model.addModelParameter(image, QgsProcessingModelParameter("image"))

    segment = QgsProcessingModelChildAlgorithm("unet_segmenter:segment")
    segment.setChildId("segment")
    segment.addParameterSources("INPUT", [Source.fromModelParameter("image")])
    segment.addParameterSources("MODEL", [Source.fromStaticValue(model_name)])
    segment.addParameterSources("CLASSES", [Source.fromStaticValue(classes)])
    mask = QgsProcessingModelOutput("mask", "mask")
    mask.setChildId("segment")
    mask.setChildOutputName("OUTPUT")
    segment.setModelOutputs({"mask": mask})
    model.addChildAlgorithm(segment)

    count = QgsProcessingModelChildAlgorithm("native:rasterlayeruniquevaluesreport")
    count.setChildId("count")
    count.addParameterSources("INPUT", [Source.fromChildOutput("segment", "OUTPUT")])
    count.addParameterSources("BAND", [Source.fromStaticValue(1)])
    table = QgsProcessingModelOutput("table", "table")
    table.setChildId("count")
    table.setChildOutputName("OUTPUT_TABLE")
    count.setModelOutputs({"table": table})
    model.addChildAlgorithm(count)
    assert model.childAlgorithm("segment").algorithm() is not None
    return model


def test_a_model_hands_the_mask_to_the_next_algorithm(
    provider, native, stub_engine, context, feedback, raster, tmp_path
):
    path = tmp_path / "count.model3"
    assert class_count_model("toy", "vegetation").toFile(str(path))
    model = QgsProcessingModelAlgorithm()
    assert model.fromFile(str(path))
    model.initAlgorithm()
    names = {o.name() for o in model.outputDefinitions()}
    assert len(names) == 2
    parameters = {"image": raster}
    for definition in model.destinationParameterDefinitions():
        suffix = "tif" if definition.type() == "rasterDestination" else "gpkg"
        parameters[definition.name()] = str(tmp_path / f"{definition.description()}.{suffix}")
    _, success = model.run(parameters, context, feedback)
    assert success, feedback.told
    assert feedback.job()["classes"] == ["vegetation"]
    table = QgsVectorLayer(str(tmp_path / "table.gpkg"), "table", "ogr")
    assert [(f["value"], f["count"]) for f in table.getFeatures()] == [(1.0, 2400)]


def test_a_model_stops_where_segment_fails(
    provider, native, stub_engine, context, feedback, tmp_path
):
    model = class_count_model("toy", "vegetation")
    parameters = {"image": str(tmp_path / "no.tif")}
    for definition in model.destinationParameterDefinitions():
        parameters[definition.name()] = "TEMPORARY_OUTPUT"
    _, success = model.run(parameters, context, feedback)
    assert not success


def test_one_algorithm_runs_one_raster_after_the_other_as_batch_does(
    provider, stub_engine, context, feedback, tmp_path
):
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("unet_segmenter:segment")
    for name in ("a", "b", "c"):
        write_raster(tmp_path / f"{name}.tif")
        parameters = {
            "INPUT": str(tmp_path / f"{name}.tif"),
            "MODEL": "toy",
            "OUTPUT": str(tmp_path / f"{name}_mask.tif"),
        }
        assert algorithm.checkParameterValues(parameters, context)[0]
        results, success = algorithm.run(parameters, context, feedback)
        assert success
        assert results["OUTPUT"] == str(tmp_path / f"{name}_mask.tif")
    jobs = [text for _, text in feedback.told if text.startswith("job=")]
    inputs = [re.search(r'"input": "[^"]*/(\w)\.tif"', job).group(1) for job in jobs]
    assert inputs == ["a", "b", "c"]


def test_a_model_prepares_trains_maps_and_evaluates(
    provider, native, stub_engine, context, feedback, raster, polygons, tmp_path
):
    """The four steps, each fed by the one before; the stub does the work."""
    model = QgsProcessingModelAlgorithm("From labels to a judged map", "Tests")
    image = QgsProcessingParameterRasterLayer("image", "Image")
    model.addModelParameter(image, QgsProcessingModelParameter("image"))
    given = Source.fromModelParameter("image")
    steps = {
        "preparedataset": {
            "RASTER": given,
            "LABELS": Source.fromStaticValue(polygons),
            "FIELD": Source.fromStaticValue("kind"),
            "OUTPUT": Source.fromStaticValue(str(tmp_path / "set")),
        },
        "trainmodel": {
            "DATASET": Source.fromChildOutput("preparedataset", "OUTPUT"),
            "EPOCHS": Source.fromStaticValue(2),
            "OUTPUT": Source.fromStaticValue(str(tmp_path / "model")),
        },
        "segment": {
            "INPUT": given,
            "MODEL_FILE": Source.fromChildOutput("trainmodel", "OUTPUT"),
            "OUTPUT": Source.fromStaticValue(str(tmp_path / "map.tif")),
        },
        "evaluate": {
            "INPUT": Source.fromChildOutput("segment", "OUTPUT"),
            "REFERENCE": Source.fromStaticValue(polygons),
            "FIELD": Source.fromStaticValue("kind"),
            "HTML": Source.fromStaticValue(str(tmp_path / "report.html")),
        },
    }
    for name, sources in steps.items():
        child = QgsProcessingModelChildAlgorithm(f"unet_segmenter:{name}")
        child.setChildId(name)
        for parameter, source in sources.items():
            child.addParameterSources(parameter, [source])
        model.addChildAlgorithm(child)
    results, success = model.run({"image": raster}, context, feedback)
    assert success, feedback.told
    jobs = [json.loads(text[4:]) for _, text in feedback.told if text.startswith("job=")]
    assert [job.get("reader", job.get("preset")) for job in jobs[:2]] == ["geo", ""]
    assert jobs[1]["dataset"] == str(tmp_path / "set")
    assert jobs[2]["model"] == str(tmp_path / "model")
    assert jobs[3]["input"] == str(tmp_path / "map.tif")
    assert results["CHILD_RESULTS"]["evaluate"]["MEAN_IOU"] == 0.5


def test_one_data_set_is_prepared_after_the_other_as_batch_does(
    provider, stub_engine, context, feedback, tmp_path
):
    registry = QgsApplication.processingRegistry()
    algorithm = registry.createAlgorithmById("unet_segmenter:preparedataset")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        parameters = {
            "SOURCE": "folders",
            "FOLDER": str(tmp_path / name),
            "OUTPUT": str(tmp_path / f"{name}_set"),
        }
        assert algorithm.checkParameterValues(parameters, context)[0]
        results, success = algorithm.run(parameters, context, feedback)
        assert success
        assert results["OUTPUT"] == str(tmp_path / f"{name}_set")


def test_qgis_process_runs_a_model_with_the_real_engine(
    provider, native, repository, raster, tmp_path
):
    program = os.environ.get("QGIS_PROCESS")
    profile = repository / ".build" / "profile"
    if not program or not profile.is_dir():
        pytest.skip('QGIS_PROCESS is not set: run eval "$(make -s env)" first')
    if not (repository / "resources/models/aeroscapes/card.json").is_file():
        pytest.skip("no model is bundled in this checkout")
    path = tmp_path / "count.model3"
    model = class_count_model("aeroscapes", "vegetation")
    assert model.toFile(str(path))
    parameters = {"image": raster}
    for definition in model.destinationParameterDefinitions():
        suffix = "tif" if definition.type() == "rasterDestination" else "gpkg"
        parameters[definition.name()] = str(tmp_path / f"{definition.description()}.{suffix}")
    done = subprocess.run(
        [program, "run", str(path), "--", *(f"{k}={v}" for k, v in parameters.items())],
        env={**os.environ, "QGIS_CUSTOM_CONFIG_PATH": str(profile)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert Path(tmp_path / "mask.tif").is_file()
    table = QgsVectorLayer(str(tmp_path / "table.gpkg"), "table", "ogr")
    counts = {f["value"]: f["count"] for f in table.getFeatures()}
    assert sum(counts.values()) == 2400
    assert set(counts) <= {0, 1}


def test_the_model_that_comes_with_the_plugin_has_valid_steps_and_two_outputs(provider):
    model = provider.algorithm("landcoverpolygons").create()
    assert set(model.childAlgorithms()) == {"segment", "fuse", "refine", "vectorize"}
    for step in model.childAlgorithms():
        assert model.validateChildAlgorithm(step) == (True, [])
    assert model.validate() == (True, [])
    outputs = {o.name(): o.type() for o in model.outputDefinitions()}
    assert outputs == {"refine:map": "outputRaster", "vectorize:polygons": "outputVector"}
