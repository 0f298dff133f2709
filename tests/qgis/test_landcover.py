# SPDX-License-Identifier: GPL-2.0-or-later
"""`landcover`: what its parameters become, what it refuses, what it gives."""

from __future__ import annotations

import json

import pytest
from osgeo import ogr
from qgis.core import QgsProcessingParameterDefinition

from tests.qgis.samples import write_model
from unet_segmenter.engine.crf_settings import CrfSettings
from unet_segmenter.engine.landcover_job import LandcoverJob


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A model outside the library."""
    return str(write_model(tmp_path_factory.mktemp("elsewhere") / "other"))


def test_parameters_become_the_fields_of_the_job(
    run, stub_engine, feedback, raster, polygons, elsewhere, tmp_path
):
    results = run(
        "landcover",
        INPUT=raster,
        MODELS=["toy"],
        MODEL_FILES=elsewhere,
        CLASSES="vegetation, road",
        BANDS="1,2,3; 3,2,1",
        EXTENT="500000,500005,3999997,4000000 [EPSG:32617]",
        AOI=polygons,
        METHOD="threshold",
        THRESHOLDS="vegetation=0.4",
        UNKNOWN_THRESHOLD=0.3,
        CRF="default",
        SXY=20,
        ITERATIONS=7,
        UNKNOWN="fill",
        SWITCH_SHARE=0.25,
        MAJORITY_RADIUS=3,
        RUNTIME="onnxruntime",
        TTA=True,
        OUTPUT=str(tmp_path / "map.tif"),
        CONFLICT=str(tmp_path / "conflict.tif"),
        SUMMARY=None,
    )
    job = LandcoverJob.from_json(feedback.job())
    assert job.models == ("toy", elsewhere)
    assert job.band_lists() == ((1, 2, 3), (3, 2, 1))
    assert job.extent == (500000, 3999997, 500005, 4000000)
    assert ogr.Open(job.aoi).GetLayer().GetFeatureCount() == 2
    assert (job.classes, job.method) == (("vegetation", "road"), "threshold")
    assert (job.thresholds, job.unknown_threshold) == (("vegetation=0.4",), 0.3)
    assert job.crf_settings() == CrfSettings(sxy=20.0, iterations=7)
    assert (job.majority_radius, job.runtime, job.tta) == (3, "onnxruntime", True)
    assert (job.unknown, job.switch_share) == ("fill", 0.25)
    assert set(job.outputs()) == {"OUTPUT", "CONFLICT"}
    assert results["CONFLICT"] == str(tmp_path / "conflict.tif")
    assert (results["UNKNOWN_SHARE"], results["CONFLICT_SHARE"]) == (0.25, 0.125)
    assert (results["RUNTIME_USED"], results["CHANGED_SHARE"]) == ("openvino", 0.5)


def test_without_a_choice_a_model_of_the_library_is_fused_and_its_card_decides_on_the_rest(
    run, stub_engine, feedback, raster
):
    run("landcover", INPUT=raster, OUTPUT="TEMPORARY_OUTPUT")
    job = LandcoverJob.from_json(feedback.job())
    assert job.models in (("aerial",), ("toy",))
    assert (job.method, job.crf, job.majority_radius) == ("argmax", "models", 0)
    assert job.unknown_threshold is None
    assert job.bands == ()


@pytest.mark.parametrize("classes", ['"a, b", "c=d"', ["a, b", "c=d"]])
def test_class_names_with_commas_are_quoted_or_in_a_list(
    run, stub_engine, feedback, raster, tmp_path, classes
):
    model = write_model(tmp_path / "hard")
    card = json.loads((model / "card.json").read_text())
    for one, name in zip(card["output"]["classes"], ("a, b", "c=d"), strict=False):
        one["name"] = name
    (model / "card.json").write_text(json.dumps(card))
    run(
        "landcover",
        INPUT=raster,
        MODEL_FILES=str(model),
        CLASSES=classes,
        METHOD="priority",
        PRIORITY=classes,
        THRESHOLDS='"c=d"=0.25',
        OUTPUT="TEMPORARY_OUTPUT",
    )
    job = LandcoverJob.from_json(feedback.job())
    assert job.classes == job.priority == ("a, b", "c=d")
    assert job.thresholds == ('"c=d"=0.25',)


def test_a_model_file_alone_needs_no_model_of_the_library(
    run, stub_engine, feedback, raster, elsewhere
):
    run("landcover", INPUT=raster, MODEL_FILES=elsewhere, OUTPUT="TEMPORARY_OUTPUT")
    assert feedback.job()["models"] == [elsewhere]


def test_the_parameters_of_the_crf_are_those_of_the_engine_and_advanced(provider):
    algorithm = provider.algorithm("landcover")
    advanced = QgsProcessingParameterDefinition.FlagAdvanced
    for field, value in vars(CrfSettings()).items():
        parameter = algorithm.parameterDefinition(field.upper())
        if parameter is None:
            assert field in ("unknown_threshold", "solver")
        elif field != "unknown_threshold":
            assert parameter.defaultValue() == value
            assert parameter.flags() & advanced


def test_unknown_models_and_classes_are_refused_with_those_there_are(refusal, raster):
    message = refusal("landcover", INPUT=raster, MODELS=["gone"])
    assert "There is no model 'gone' in the library; it has: " in message
    assert "toy" in message
    message = refusal("landcover", INPUT=raster, MODEL_FILES="/gone/model")
    assert message == "MODEL_FILES: there is no file or folder /gone/model."
    message = refusal("landcover", INPUT=raster, MODELS=["toy"], CLASSES="tree")
    assert message == "None of the models has a class 'tree'; they have road, slow, vegetation."


def test_it_has_every_field_of_the_job_as_a_parameter(provider):
    algorithm = provider.algorithm("landcover")
    names = {p.name() for p in algorithm.parameterDefinitions()}
    fields = {field.upper() for field in LandcoverJob.__dataclass_fields__}
    assert names - fields == {"MODEL_FILES"}
    assert fields - names == {"RESUME", "HALO", "CRS"}, "temporary outputs, models, the layer"
