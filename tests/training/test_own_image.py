# SPDX-License-Identifier: GPL-2.0-or-later
"""From an image and its polygons to a model, in a time budget that a counting clock tells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs tensorflow")

from tests.training.test_geo import box, grid_of, write_polygons
from tests.training.tiny_fit import Listener
from training.dataset import SPLITS, Dataset
from training.train import train
from training.train_spec import TrainSpec
from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.model_card import ModelCard
from unet_segmenter.engine.rasters.writer import write_geotiff
from unet_segmenter.engine.vector import read_labelled_polygons

SHAPE = (256, 320)


class Clock(Listener):
    """Each step takes a second; and the report is looked for as soon as it is told."""

    there = False

    def __call__(self) -> float:
        return float(len(self.steps))

    def log(self, level, message):
        super().log(level, message)
        if message.startswith("Watch it in a browser: "):
            self.there = Path(message.partition(": ")[2]).is_file()


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A raster of dark and bright stripes, and 20 polygons in them: image, polygons."""
    folder = tmp_path_factory.mktemp("field")
    rng = np.random.default_rng(0)
    bright = (np.arange(SHAPE[1]) // 20 % 2).astype(bool)
    pixels = np.where(bright[None, :, None], 200, 60) + rng.normal(0, 9, (*SHAPE, 3))
    write_geotiff(folder / "field.tif", pixels.astype(np.uint8), grid_of(SHAPE))
    rows = [
        (box(row, col + 4, 24, 12), {"kind": "bright" if bright[col + 4] else "dark"})
        for row in (8, 72, 136, 200)
        for col in (0, 20, 120, 140, 280)
    ]
    layer = write_polygons(folder / "labels.geojson", rows)
    return str(folder / "field.tif"), layer


def _spec(labelled, output, **changes) -> TrainSpec:
    image, polygons = labelled
    return TrainSpec(
        **{
            "dataset": "", "output": str(output), "image": image, "polygons": polygons,
            "field": "kind", "preset": "unet", "width": 4, "depth": 1, "batch": 4, "rate": 2e-2,
            "minutes": 1.5, **changes,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(labelled, tmp_path_factory):
    output = tmp_path_factory.mktemp("models") / "stripes"
    clock = Clock()
    return output, train(_spec(labelled, output), clock, clock), clock


def test_the_report_is_there_when_it_is_told_and_the_budget_ends_the_training(trained):
    _output, result, clock = trained
    assert clock.there
    assert "finished: the time is used up" in clock.text()
    assert len(clock.steps) < 90 + 40, "steps, and the stages of the preparation"
    assert Path(result.report).is_file()
    page = Path(result.report).read_text()
    assert "http-equiv" not in page
    assert "The exported model" in page
    assert "The scores rest on" in page
    assert "name the file of its encoder" not in clock.text()


def test_the_run_s_folder_has_the_data_set_and_the_blocks_of_each_side(trained):
    run = trained[0].with_name("stripes.run")
    dataset = Dataset.open(run / "dataset")
    assert all(dataset.split(side) for side in SPLITS)
    _polygons, sides, _crs = read_labelled_polygons(str(run / "blocks.gpkg"), "side")
    assert sorted(sides) == sorted(sample.split for sample in dataset.samples)
    _polygons, sides, _crs = read_labelled_polygons(str(run / "test_blocks.gpkg"), "side")
    assert set(sides) == {"test"}


def test_the_card_tells_the_scores_on_test_blocks_and_what_they_rest_on(trained):
    card = ModelCard.load(trained[0])
    dataset = Dataset.open(trained[0].with_name("stripes.run") / "dataset")
    metrics = card.details["metrics"]
    count = len(dataset.split("test"))
    assert metrics["split"].startswith(f"field, test: {count} images of {count} groups not trained")
    masks = [dataset.read(sample)[1] for sample in dataset.split("test")]
    for value, name in enumerate(("bright", "dark"), 1):
        assert metrics["evidence"]["px"][name] == sum((mask == value).sum() for mask in masks)
        assert metrics["per_class"][name]["iou"] > 0.8
    polygons = dataset.details["balance"]["test"]["polygons"]
    assert metrics["evidence"]["polygons"] == polygons > 0
    assert f"of {polygons} polygons" in metrics["split"]
    assert card.details["metrics_on_validation"]["split"].startswith("field, validation")
    told = card.details["training"]["dataset"]
    assert told["labelled"] == "samples"
    assert told["labels"]["test"]["polygons"] == polygons
    assert 0 < told["labels"]["train"]["labelled_share"] < 0.5


def test_the_same_call_has_nothing_to_do_and_other_polygons_are_refused(
    trained, labelled, tmp_path
):
    output, result, _clock = trained
    again = Clock()
    assert train(_spec(labelled, output), again, again) == result
    assert "nothing to do" in again.text()
    assert not again.steps
    copy = tmp_path / "copy.geojson"  # QGIS writes the same polygons to another file each time
    copy.write_text(Path(labelled[1]).read_text())
    assert train(_spec((labelled[0], str(copy)), output), Clock(), Clock()) == result
    copy.write_text(copy.read_text().replace("bright", "light"))
    with pytest.raises(JobError, match="polygons or areas are not those with which the run"):
        train(_spec((labelled[0], str(copy)), output), Clock(), Clock())


def test_a_failure_is_told_in_the_report_that_was_waiting(labelled, tmp_path):
    spec = _spec(labelled, tmp_path / "m", classes=("lake",))
    with pytest.raises(JobError, match="no class 'lake'"):
        train(spec, Clock())
    page = (tmp_path / "m.run" / "report.html").read_text()
    assert "failed: the data set has no class &#x27;lake&#x27;" in page
    assert "http-equiv" not in page


def test_an_image_and_its_polygons_come_together(labelled):
    with pytest.raises(JobError, match="name the polygons"):
        replace(_spec(labelled, "m"), polygons="")
    with pytest.raises(JobError, match="a data set, or an image"):
        replace(_spec(labelled, "m"), dataset="set")
