# SPDX-License-Identifier: GPL-2.0-or-later
"""`preparedataset`: what its parameters become, what it refuses, how it is stopped."""

from __future__ import annotations

import time

import pytest
from osgeo import ogr


def test_a_raster_with_polygons_becomes_a_job_with_files(
    run, stub_engine, feedback, raster, polygons, tmp_path
):
    results = run(
        "preparedataset",
        RASTER=raster,
        LABELS=polygons,
        FIELD="kind",
        BANDS=[3, 1],
        CLASSES="green=grass,tree; road",
        FRACTIONS="50/25/25",
        CHIP_SIZE=16,
        SCALE=0.5,
        SEED=7,
        OUTPUT=str(tmp_path / "set"),
    )
    job = feedback.job()
    assert (job["reader"], job["source"], job["field"]) == ("geo", raster, "kind")
    labels = ogr.Open(job["labels"])
    assert [feature["kind"] for feature in labels.GetLayer()] == ["grass", "tree"]
    assert job["bands"] == [3, 1]
    assert job["classes"] == ["green=grass,tree", "road"]
    assert job["fractions"] == [0.5, 0.25, 0.25]
    assert (job["chip"], job["scale"], job["seed"], job["split"]) == (16, 0.5, 7, "")
    assert (job["block"], job["gsd"], job["size"]) == (0, None, [])
    assert job["samples"] == "auto"
    assert results["OUTPUT"] == str(tmp_path / "set")
    assert results["REPORT"] == str(tmp_path / "set" / "report.html")
    assert results["CLASS_NAMES"] == "grass,tree"
    assert [results[n] for n in ("SAMPLES", "TRAIN", "VALIDATION", "TEST")] == [4, 3, 1, 0]
    assert results["LEAK_SHARE"] == 0.25


def test_chips_may_be_as_large_as_the_raster_and_its_labels_allow(
    run, stub_engine, feedback, raster, polygons, tmp_path
):
    given = {"RASTER": raster, "LABELS": polygons, "FIELD": "kind", "CHIP_SIZE": 0}
    assert run("preparedataset", **given, OUTPUT=str(tmp_path / "set")) is not None
    assert feedback.job()["chip"] == 0


def test_labels_may_leave_questions_open(run, stub_engine, feedback, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("value,is,is_not\n1,tree,\n")
    given = {"SOURCE": "folders", "FOLDER": str(tmp_path), "LABEL_TABLE": str(table)}
    assert run("preparedataset", **given, OUTPUT=str(tmp_path / "set")) is not None
    assert feedback.job()["label_table"] == str(table)


def test_folders_become_a_job(run, stub_engine, feedback, tmp_path):
    (tmp_path / "in" / "masks").mkdir(parents=True)
    run(
        "preparedataset",
        SOURCE="folders",
        FOLDER=str(tmp_path / "in"),
        MASKS=str(tmp_path / "in" / "masks"),
        CLASSES="grass, tree",
        IGNORE="shadow, 7",
        SPLIT="clusters",
        SIZE="960x540",
        OUTPUT=str(tmp_path / "set"),
        OVERWRITE=True,
    )
    job = feedback.job()
    assert (job["reader"], job["source"]) == ("folder", str(tmp_path / "in"))
    assert job["labels"] == str(tmp_path / "in" / "masks")
    assert (job["classes"], job["ignore"]) == (["grass", "tree"], ["shadow", "7"])
    assert (job["split"], job["size"], job["overwrite"]) == ("clusters", [960, 540], True)
    assert "chip" not in job


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"RASTER": None}, "SOURCE raster needs an image in RASTER."),
        ({"LABELS": None}, "SOURCE raster needs polygons or a class raster in LABELS."),
        ({"FIELD": "sort"}, "LABELS has no field 'sort'; it has fid, kind."),
        ({"SOURCE": "folders"}, "SOURCE folders needs the folder of the data set in FOLDER."),
        ({"SOURCE": "aeroscapes", "FOLDER": "/no/where"}, "FOLDER: there is no folder /no/where."),
        ({"FRACTIONS": "90/30"}, "FRACTIONS '90/30' must be two or three shares"),
        ({"SIZE": "large"}, "SIZE 'large' must be a width and a height in px"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(
    refusal, raster, polygons, tmp_path, changes, message
):
    given = {"RASTER": raster, "LABELS": polygons, "FIELD": "kind", "OUTPUT": str(tmp_path / "o")}
    assert message in refusal("preparedataset", **{**given, **changes})


def test_an_error_of_the_worker_is_told_in_its_own_words(run, stub_engine, feedback, tmp_path):
    parameters = {"SOURCE": "folders", "FOLDER": str(tmp_path), "OUTPUT": str(tmp_path / "set")}
    assert run("preparedataset", TITLE="refused", **parameters) is None
    errors = [text for level, text in feedback.told if level == "error"]
    assert any("#123456, which is no class" in text for text in errors)


def test_a_cancel_stops_it_within_two_seconds(
    run, stub_engine, feedback, cancelled_when_busy, tmp_path
):
    parameters = {"SOURCE": "folders", "FOLDER": str(tmp_path), "OUTPUT": str(tmp_path / "set")}
    assert run("preparedataset", TITLE="slow", **parameters) is None
    assert time.monotonic() - cancelled_when_busy[0] < 2
    assert any("nothing was written" in text for _, text in feedback.told)
