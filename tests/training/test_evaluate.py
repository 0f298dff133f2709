# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from tests.training.dataset_folder import CLASSES, write_dataset
from training.__main__ import main
from training.dataset import Dataset
from training.errors import DatasetError
from training.evaluate import Tally, answers_for, evaluate, table, with_classes_of
from training.evaluate_report import write_evaluation
from unet_segmenter.engine.model_card import Calibration, ModelCard, ModelClass

TOLD = {"model": "stripes", "dataset": "Stripes", "split": "validation"}


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return Dataset.open(write_dataset(tmp_path / "data", validation=3))


@pytest.fixture
def card(repository) -> ModelCard:
    """The shipped card, as of a model of two classes whose order is not that of the data set."""
    shipped = ModelCard.load(repository / "resources/models/aeroscapes")
    (meadow, green), (road, grey) = CLASSES[:2]
    classes = (ModelClass(1, road, grey, 0), ModelClass(2, meadow, green, 1))
    scaled = replace(shipped.input, mean=(0.0,) * 3, stddev=(1.0,) * 3)
    return replace(shipped, classes=classes, divisor=16, input=scaled, cuts=None)


def _by_colour(images):
    """A network that knows the stripes: green is meadow, and dark grey is road."""
    red, green, blue = np.moveaxis(images, -1, 0)
    road = np.where((np.abs(red - blue) < 45) & (red > 75) & (red < 145), 0.9, 0.05)
    meadow = np.where((green > red + 45) & (green > blue + 45), 0.8, 0.1)
    return np.stack([road, meadow], axis=-1).astype(np.float32)


def test_a_network_that_knows_the_classes_scores_high_by_name_not_by_number(card, dataset):
    found = evaluate(_by_colour, card, dataset, dataset.split("validation"))
    metrics = found.metrics()
    assert metrics["frames"] == 3
    assert list(metrics["per_class"]) == ["road", "meadow"]
    assert metrics["per_class"]["meadow"]["iou"] > 0.95
    assert metrics["per_class"]["road"]["iou"] > 0.9
    assert metrics["fused"]["pixel_accuracy"] > 0.9
    assert metrics["fused"]["mcc"] > 0.9
    assert set(metrics["per_group"]) == {"site2", "site3", "site4"}
    assert "| meadow | 1.000 |" in table(metrics)


def test_the_sum_over_images_is_the_count_of_all_pixels(card, dataset):
    found = evaluate(_by_colour, card, dataset, dataset.split("validation"))
    total = found.total()
    labels = [dataset.read(sample)[1] for sample in dataset.split("validation")]
    known = sum(int((mask != 255).sum()) for mask in labels)
    assert total.confusion.sum() == known
    assert total.scores.counts.sum(axis=1).tolist() == [known, known]
    assert found.mean_iou(dataset.split("validation")) == total.counts.mean_iou()
    first, tally = found.by_image[0]
    assert found.mean_iou([first]) == tally.counts.mean_iou()
    assert (total.counts.hit + total.counts.missed).tolist() == [
        sum(int((mask == value).sum()) for mask in labels) for value in (2, 1)
    ]
    by_group = found.by_group().values()
    assert sum(tally.counts.hit[0] for tally in by_group) == total.counts.hit[0]


def test_calibration_and_thresholds_of_the_card_decide(card, dataset):
    samples = dataset.split("validation")
    raised = tuple(replace(cls, threshold=0.95) for cls in card.classes)
    metrics = evaluate(_by_colour, replace(card, classes=raised), dataset, samples).metrics()
    assert metrics["per_class"]["road"]["recall"] == 0
    surer = tuple(replace(cls, calibration=Calibration(3.0, 0.0)) for cls in raised)
    metrics = evaluate(_by_colour, replace(card, classes=surer), dataset, samples).metrics()
    assert metrics["per_class"]["road"]["recall"] > 0.9
    assert metrics["per_class"]["road"]["ece"] < 0.05


def test_a_softmax_counts_the_channels_that_the_card_names(card, dataset):
    def network(images):
        known = _by_colour(images)
        rest = np.clip(1 - known.sum(axis=-1, keepdims=True), 0, 1)
        return np.concatenate([rest, known], axis=-1)

    moved = tuple(replace(cls, channel=cls.channel + 1) for cls in card.classes)
    softmax = replace(card, activation="softmax", classes=moved)
    metrics = evaluate(network, softmax, dataset, dataset.split("validation")).metrics()
    assert metrics["per_class"]["meadow"]["iou"] > 0.95


def test_the_worst_image_comes_first(card, dataset):
    def network(images):
        wrong = images.shape[1] == 96 and np.isclose(images.sum(), spoiled)
        return 1 - _by_colour(images) if wrong else _by_colour(images)

    sample = dataset.split("validation")[1]
    spoiled = dataset.read(sample)[0].astype(np.float32).sum()
    found = evaluate(network, card, dataset, dataset.split("validation"))
    assert found.worst()[0][0].name == sample.name


def test_tallies_start_from_nothing():
    assert Tally.zero(2).images == 0
    assert np.isnan(Tally.zero(2).counts.scores()["iou"]).all()


def test_classes_are_matched_by_name_and_none_in_common_is_an_error(card, dataset):
    codes, _ = answers_for(dataset, tuple(sorted(card.classes, key=lambda cls: cls.channel)))
    assert codes[[0, 1, 2, 255]].tolist() == [0, 2, 1, 255]
    strangers = (ModelClass(1, "water", "#0000ff", 0),)
    with pytest.raises(DatasetError, match=r"none of its classes \(meadow, road\).*water"):
        answers_for(dataset, strangers)


def test_a_class_that_the_data_set_does_not_tell_of_is_not_scored(card, dataset):
    water = ModelClass(3, "water", "#0000ff", 2)
    wider = replace(card, classes=(*card.classes, water))
    assert with_classes_of(dataset, wider).classes == card.classes
    strangers = replace(card, classes=(water,))
    assert with_classes_of(dataset, strangers) == strangers  # and `evaluate` refuses them


def test_other_bands_are_refused(card, dataset):
    with pytest.raises(DatasetError, match=r"2 bands.*takes 3"):
        evaluate(_by_colour, card, replace(dataset, bands=("one", "two")), dataset.samples)


def test_the_report_holds_every_number_and_shows_the_worst_images(card, dataset, tmp_path):
    found = evaluate(_by_colour, card, dataset, dataset.split("validation"))
    page = write_evaluation(found, _by_colour, card, dataset, tmp_path / "out", TOLD, worst=2)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["model"] == "stripes"
    assert metrics["mean_iou"] == found.metrics()["mean_iou"]
    with (tmp_path / "out" / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [sample.name for sample, _ in found.worst()]
    assert {"accuracy", "mean_iou", "iou_road", "iou_meadow", "group"} <= set(rows[0])
    with (tmp_path / "out" / "per_class.csv").open(newline="") as file:
        classes = list(csv.DictReader(file))
    assert [row["class"] for row in classes] == ["road", "meadow"]
    assert float(classes[1]["f1"]) == float(classes[1]["dice"]) > 0.95
    text = page.read_text()
    masks = [dataset.read(sample)[1] for sample in dataset.split("validation")]
    meadow = sum(int((mask == 1).sum()) for mask in masks)
    assert metrics["evidence"]["px"]["meadow"] == meadow
    assert f"{meadow:,}" in text
    assert "the scores rest on" in text
    assert text.count("<figure>") == 2
    assert text.count("data:image/jpeg") == 2
    assert text.count("data:image/png") == 4
    assert "http" not in text


def test_the_command_evaluates_a_shipped_model_on_its_classes(repository, tmp_path, capsys):
    folder = write_dataset(tmp_path / "data", validation=1)
    described = json.loads((folder / "dataset.json").read_text())
    described["classes"][0]["name"] = "vegetation"
    (folder / "dataset.json").write_text(json.dumps(described))
    model = str(repository / "resources/models/aeroscapes")
    arguments = ["evaluate", model, str(folder), "--runtime", "onnxruntime"]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    assert "| vegetation | " in capsys.readouterr().out
    assert (tmp_path / "out" / "report.html").is_file()
    assert main([*arguments, "--split", "test"]) == DatasetError.exit_code
    assert "no image is in test" in capsys.readouterr().err


def test_a_part_that_reaches_its_threshold_takes_the_pixels_of_its_whole(card, dataset):
    """A network that is surer of meadow than of the road which is part of it."""
    road, meadow = card.classes
    parted = replace(card, classes=(replace(road, part_of="meadow", threshold=0.85), meadow))

    def sure_of_meadow(images):
        found = _by_colour(images)
        found[..., 1] = np.maximum(found[..., 1], np.where(found[..., 0] > 0.8, 0.95, 0))
        return found

    plain = evaluate(sure_of_meadow, card, dataset, dataset.split("validation")).metrics()
    assert plain["fused"]["iou"]["road"] == 0
    found = evaluate(sure_of_meadow, parted, dataset, dataset.split("validation")).metrics()
    assert found["fused"]["iou"]["road"] > 0.9
    assert found["fused"]["iou"]["meadow"] > 0.95


def test_a_part_is_a_class_like_any_where_the_data_set_has_not_its_whole(card, dataset):
    road, meadow = card.classes
    foreign = replace(meadow, name="water")
    parted = replace(card, classes=(replace(road, part_of="water"), foreign))
    assert [(c.name, c.part_of) for c in with_classes_of(dataset, parted).classes] == [
        ("road", None)
    ]
