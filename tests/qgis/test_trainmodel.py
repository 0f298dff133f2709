# SPDX-License-Identifier: GPL-2.0-or-later
"""`trainmodel`: what its parameters become, what it refuses, how it is watched and stopped."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from qgis.core import QgsApplication

from tests.qgis.samples import write_model
from unet_segmenter.processing import settings


@pytest.fixture
def dataset(tmp_path):
    """A folder that looks like a prepared data set; the stub does not read it."""
    folder = tmp_path / "set"
    folder.mkdir()
    classes = [{"value": n, "name": name} for n, name in enumerate(("grass", "tree"), 1)]
    (folder / "dataset.json").write_text(json.dumps({"classes": classes}))
    return folder


def test_parameters_become_a_job_and_what_is_left_out_is_the_preset_s(
    run, stub_engine, feedback, dataset, tmp_path
):
    results = run(
        "trainmodel",
        DATASET=str(dataset),
        CLASSES="tree",
        EPOCHS=2,
        LEARNING_RATE=0.002,
        AUGMENT="no",
        AVERAGING=0.9,
        CLASS_WEIGHTS="tree=2, grass=1",
        OUTPUT=str(tmp_path / "model"),
    )
    job = feedback.job()
    assert job["dataset"] == str(dataset)
    assert job["output"] == str(tmp_path / "model")
    assert (job["preset"], job["head"], job["freeze"]) == ("", "sigmoid", "none")
    assert (job["classes"], job["class_weights"]) == (["tree"], ["tree=2", "grass=1"])
    assert (job["epochs"], job["rate"], job["augment"]) == (2, 0.002, False)
    assert job["averaging"] == 0.9
    assert (job["loss"], job["optimizer"], job["start"], job["encoder"]) == (None, None, "auto", "")
    assert job["half"] is None
    assert not {"steps", "batch", "size", "seed", "minutes", "image", "polygons"} & set(job)
    assert results["OUTPUT"] == str(tmp_path / "model")
    assert (results["MODEL_NAME"], results["MEAN_IOU"]) == ("model", 0.2)
    assert results["REPORT"].endswith("report.html")


def test_the_encoder_may_begin_with_no_weights_at_all(
    run, stub_engine, feedback, dataset, tmp_path
):
    run("trainmodel", DATASET=str(dataset), ENCODER="none", OUTPUT=str(tmp_path / "model"))
    assert feedback.job()["encoder"] == "none"


def test_epochs_are_lines_of_the_log_and_the_time_left_is_progress(
    run, stub_engine, feedback, dataset, tmp_path
):
    run("trainmodel", DATASET=str(dataset), OUTPUT=str(tmp_path / "model"))
    assert feedback.job()["minutes"] == 20
    told = [text for level, text in feedback.told if level == "info"]
    assert "epoch 1: mean IoU 0.1" in told
    assert feedback.stages == ["epoch 1 of 2, 1 min left", "epoch 2 of 2, 1 min left"]
    assert feedback.progress() == 100


def test_a_named_model_joins_the_choice_of_segment(
    run, stub_engine, provider, library, feedback, dataset
):
    """The stub makes the folder alone, so its card is laid there before."""
    write_model(library / "meadows")
    try:
        assert "meadows" not in provider.algorithm("segment").parameterDefinition("MODEL").options()
        results = run("trainmodel", DATASET=str(dataset), NAME="meadows", OUTPUT=str(library))
        assert feedback.job()["output"] == str(library / "meadows")
        assert results["MODEL_NAME"] == "meadows"
        assert "meadows" in provider.algorithm("segment").parameterDefinition("MODEL").options()
    finally:
        for path in (library / "meadows").iterdir():
            path.unlink()
        (library / "meadows").rmdir()


def test_models_with_trainable_weights_can_be_started_from(
    run, stub_engine, provider, feedback, dataset, model_folder, tmp_path
):
    options = provider.algorithm("trainmodel").parameterDefinition("START").options()
    assert options[:2] == ["auto", "none"]
    assert "toy" not in options, "its weights are for mapping alone"
    (model_folder / "toy" / "trainable.keras").touch()
    try:
        provider.refreshAlgorithms()
        assert "toy" in provider.algorithm("trainmodel").parameterDefinition("START").options()
        run("trainmodel", DATASET=str(dataset), START="toy", OUTPUT=str(tmp_path / "model"))
    finally:
        (model_folder / "toy" / "trainable.keras").unlink()
    assert feedback.job()["start"] == str(model_folder / "toy")


def test_an_image_and_its_polygons_take_the_place_of_a_data_set(
    run, stub_engine, feedback, refusal, raster, polygons, tmp_path
):
    given = {"IMAGE": raster, "OUTPUT": str(tmp_path / "model")}
    assert "IMAGE needs POLYGONS" in refusal("trainmodel", **given)
    assert "or a prepared DATASET." in refusal("trainmodel", OUTPUT=str(tmp_path / "model"))
    given |= {"POLYGONS": polygons, "FIELD": "kind"}
    assert "DATASET, not both" in refusal("trainmodel", **given, DATASET=str(tmp_path))
    run("trainmodel", **given, MINUTES=5, SAMPLES="everything", AREAS=polygons)
    job = feedback.job()
    assert (job["image"], job["field"], job["samples"]) == (raster, "kind", "everything")
    assert (job["minutes"], job["start"], job["dataset"]) == (5, "auto", "")
    assert Path(job["polygons"]).name == "polygons.gpkg"
    assert Path(job["areas"]).name == "areas.gpkg"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DATASET": "/no/where"}, "DATASET: /no/where holds no prepared data set"),
        ({"CLASSES": "road"}, "CLASSES: the data set has no class 'road'; it has grass, tree."),
        ({"START_FILE": "/no/model"}, "START_FILE: there is no file or folder /no/model."),
        ({"ENCODER": "/no/file.whl"}, "ENCODER: there is no file or folder /no/file.whl."),
        ({"NAME": "../up"}, "NAME '../up' is no name of a folder"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(
    refusal, dataset, tmp_path, changes, message
):
    given = {"DATASET": str(dataset), "OUTPUT": str(tmp_path / "model")}
    assert message in refusal("trainmodel", **{**given, **changes})


def test_a_cancel_waits_for_the_step_and_tells_where_the_weights_are(
    run, stub_engine, feedback, dataset, cancelled_when_busy, tmp_path
):
    assert run("trainmodel", DATASET=str(dataset), TITLE="slow", OUTPUT=str(tmp_path / "m")) is None
    assert 0.3 < time.monotonic() - cancelled_when_busy[0] < 5
    errors = [text for level, text in feedback.told if level == "error"]
    assert any("the best weights are in RUN" in text for text in errors)


def test_without_packages_for_training_it_says_how_to_add_them(
    provider, monkeypatch, tmp_path, dataset
):
    monkeypatch.setattr(settings, "why_not_train", lambda: "It lacks TensorFlow.")
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("unet_segmenter:trainmodel")
    assert algorithm.canExecute() == (False, "It lacks TensorFlow.")
