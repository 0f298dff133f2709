# SPDX-License-Identifier: GPL-2.0-or-later
"""`refine`: what its parameters become, what it refuses, what it gives."""

from __future__ import annotations

import dataclasses

import pytest
from qgis.core import QgsPalettedRasterRenderer, QgsProcessingContext, QgsRasterLayer

from tests.qgis.samples import write_raster
from unet_segmenter.engine.crf_settings import SOLVERS, CrfSettings
from unet_segmenter.engine.refine_job import RefineJob


@pytest.fixture
def map_path(tmp_path):
    path = tmp_path / "map.tif"
    write_raster(path, bands=1)
    return str(path)


def test_parameters_become_the_fields_of_the_job(
    run, stub_engine, feedback, raster, map_path, tmp_path
):
    output = str(tmp_path / "refined.tif")
    results = run(
        "refine",
        INPUT=raster,
        PROBABILITY=map_path,
        BANDS=[2, 1],
        VALUE_RANGE="0,4000",
        SXY=20,
        SRGB=7,
        COMPAT=12,
        SXY_GAUSSIAN=2,
        COMPAT_GAUSSIAN=3,
        ITERATIONS=6,
        GT_PROB=0.7,
        UNKNOWN="keep",
        UNKNOWN_THRESHOLD=0.4,
        SWITCH_SHARE=0.2,
        ALIGN=True,
        SOLVER="pydensecrf",
        BLOCK_SIZE=64,
        OUTPUT=output,
    )
    assert RefineJob.from_json(feedback.job()) == RefineJob(
        input=raster,
        output=output,
        probability=map_path,
        bands=(2, 1),
        value_range=(0.0, 4000.0),
        sxy=20.0,
        srgb=7.0,
        compat=12.0,
        sxy_gaussian=2.0,
        compat_gaussian=3.0,
        iterations=6,
        gt_prob=0.7,
        unknown="keep",
        unknown_threshold=0.4,
        switch_share=0.2,
        align=True,
        solver="pydensecrf",
        block_size=64,
    )
    assert results["OUTPUT"] == output
    assert (results["CHANGED_SHARE"], results["CHANGED_PIXELS"]) == (0.125, 300)
    assert (results["PIXELS"], results["NODATA_PIXELS"]) == (2400, 7)


def test_without_a_choice_the_settings_are_those_of_the_engine(
    run, stub_engine, feedback, raster, map_path
):
    run("refine", INPUT=raster, LABELS=map_path, OUTPUT="TEMPORARY_OUTPUT")
    job = RefineJob.from_json(feedback.job())
    assert job.settings() == CrfSettings()
    assert (job.labels, job.probability, job.label_band) == (map_path, None, 1)
    assert (job.bands, job.value_range, job.unknown) == ((), (), "fill")
    assert job.resume is False, "a temporary path is never written again"


def test_the_map_is_loaded_in_the_colours_of_the_classes(
    run, stub_engine, context, raster, map_path, tmp_path
):
    path = str(tmp_path / "refined.tif")
    details = QgsProcessingContext.LayerDetails("map", context.project(), "OUTPUT")
    context.addLayerToLoadOnCompletion(path, details)
    run("refine", INPUT=raster, LABELS=map_path, OUTPUT=path)
    layer = QgsRasterLayer(path, "map")
    context.layerToLoadOnCompletionDetails(path).postProcessor().postProcessLayer(
        layer, context, None
    )
    renderer = layer.renderer()
    assert isinstance(renderer, QgsPalettedRasterRenderer)
    assert [(c.value, c.label, c.color.name()) for c in renderer.classes()] == [
        (1, "grass", "#228b22")
    ]


def test_every_setting_of_the_engine_can_be_chosen(provider):
    algorithm = provider.algorithm("refine")
    for field in dataclasses.fields(CrfSettings):
        parameter = algorithm.parameterDefinition(field.name.upper())
        assert parameter.defaultValue() == field.default, field.name
    assert algorithm.parameterDefinition("SOLVER").options() == list(SOLVERS)


def test_what_makes_no_sense_is_refused_before_the_run(refusal, raster, map_path):
    assert "either PROBABILITY or LABELS" in refusal("refine", INPUT=raster)
    both = {"PROBABILITY": map_path, "LABELS": map_path}
    assert "either PROBABILITY or LABELS" in refusal("refine", INPUT=raster, **both)
    assert "GT_PROB" in refusal("refine", INPUT=raster, LABELS=map_path, GT_PROB=1)
    assert "SXY must lie from" in refusal("refine", INPUT=raster, LABELS=map_path, SXY=0)
