# SPDX-License-Identifier: GPL-2.0-or-later
"""`segment` in batch, and in a model whose next step takes its mask and its numbers."""

from __future__ import annotations

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
