# SPDX-License-Identifier: GPL-2.0-or-later
"""`fuse`: what its parameters become, what it refuses, what it gives."""

from __future__ import annotations

import pytest
from qgis.core import (
    QgsPalettedRasterRenderer,
    QgsProcessingContext,
    QgsProcessingParameterDefinition,
    QgsRasterLayer,
)

from tests.qgis.samples import write_raster
from unet_segmenter.engine.fuse_job import METHODS, FuseJob


@pytest.fixture
def other(tmp_path):
    path = tmp_path / "other.tif"
    write_raster(path, bands=1)
    return str(path)


def test_parameters_become_the_fields_of_the_job(
    run, stub_engine, feedback, raster, other, tmp_path
):
    files = {
        name: str(tmp_path / f"{name}.tif")
        for name in ("OUTPUT", "PROBABILITY", "CONFIDENCE", "CONFLICT", "ENTROPY")
    }
    results = run(
        "fuse",
        INPUTS=[raster, other],
        CLASS_NAMES="grass, 7=tree, road, sky",
        METHOD="priority",
        PRIORITY="tree, road",
        THRESHOLDS="0.3, tree=0.6",
        UNKNOWN_THRESHOLD=0.2,
        ALIGN=True,
        BLOCK_SIZE=64,
        PROBABILITY_TYPE="float32",
        SUMMARY=str(tmp_path / "summary.html"),
        **files,
    )
    job = FuseJob.from_json(feedback.job())
    assert job == FuseJob(
        inputs=(raster, other),
        output=files["OUTPUT"],
        class_names=("grass", "7=tree", "road", "sky"),
        method="priority",
        priority=("tree", "road"),
        thresholds=("0.3", "tree=0.6"),
        unknown_threshold=0.2,
        align=True,
        block_size=64,
        probability_type="float32",
        probability=files["PROBABILITY"],
        confidence=files["CONFIDENCE"],
        conflict=files["CONFLICT"],
        entropy=files["ENTROPY"],
        summary=str(tmp_path / "summary.html"),
    )
    assert {name: results[name] for name in files} == files
    assert (results["UNKNOWN_SHARE"], results["CONFLICT_SHARE"]) == (0.25, 0.125)
    assert (results["PIXELS"], results["NODATA_PIXELS"]) == (2400, 7)


def test_without_a_choice_argmax_decides_and_only_the_map_is_written(
    run, stub_engine, feedback, raster
):
    results = run("fuse", INPUTS=[raster], OUTPUT="TEMPORARY_OUTPUT", SUMMARY=None)
    job = FuseJob.from_json(feedback.job())
    assert (job.method, job.unknown_threshold, job.align) == ("argmax", None, False)
    assert job.outputs() == {"OUTPUT": results["OUTPUT"]}
    assert job.resume is False, "a temporary path is never written again"


def test_the_map_is_loaded_in_the_colours_of_the_classes(
    run, stub_engine, context, raster, tmp_path
):
    path = str(tmp_path / "map.tif")
    details = QgsProcessingContext.LayerDetails("map", context.project(), "OUTPUT")
    context.addLayerToLoadOnCompletion(path, details)
    run("fuse", INPUTS=[raster], OUTPUT=path)
    layer = QgsRasterLayer(path, "map")
    context.layerToLoadOnCompletionDetails(path).postProcessor().postProcessLayer(
        layer, context, None
    )
    renderer = layer.renderer()
    assert isinstance(renderer, QgsPalettedRasterRenderer)
    assert [(c.value, c.label, c.color.name()) for c in renderer.classes()] == [
        (1, "grass", "#228b22")
    ]


def test_the_methods_are_those_of_the_engine(provider):
    method = provider.algorithm("fuse").parameterDefinition("METHOD")
    assert method.options() == list(METHODS)
    assert "course_sum" in method.help()


def test_what_is_malformed_is_refused_before_the_run(refusal, raster, tmp_path):
    assert "'high' is malformed" in refusal("fuse", INPUTS=[raster], THRESHOLDS="high")
    assert "INPUTS" in refusal("fuse", OUTPUT=str(tmp_path / "a.tif"))


def test_it_has_the_parameters_that_are_promised(provider):
    algorithm = provider.algorithm("fuse")
    optional = QgsProcessingParameterDefinition.FlagOptional
    found = {p.name(): bool(p.flags() & optional) for p in algorithm.parameterDefinitions()}
    needed = ("INPUTS", "METHOD", "ALIGN", "PROBABILITY_TYPE", "OUTPUT")
    may_be_empty = (
        *("CLASS_NAMES", "PRIORITY", "THRESHOLDS", "UNKNOWN_THRESHOLD", "BLOCK_SIZE", "NODATA"),
        *("PROBABILITY", "CONFIDENCE", "CONFLICT", "ENTROPY", "SUMMARY"),
    )
    assert found == {**dict.fromkeys(needed, False), **dict.fromkeys(may_be_empty, True)}
    numbers = {output.name() for output in algorithm.outputDefinitions()}
    assert {"UNKNOWN_SHARE", "CONFLICT_SHARE", "PIXELS", "NODATA_PIXELS"} <= numbers
    by_default = {
        p.name(): p.createByDefault() for p in algorithm.destinationParameterDefinitions()
    }
    assert {name for name, made in by_default.items() if made} == {"OUTPUT", "SUMMARY"}
