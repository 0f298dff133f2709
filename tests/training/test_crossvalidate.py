# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs tensorflow")

from tests.training.dataset_folder import write_dataset
from tests.training.tiny_fit import Listener
from training.chosen_classes import choose_classes
from training.crossvalidate import (
    CrossSpec,
    calibration_from,
    crossvalidate,
    folds_of,
)
from training.crossvalidation_results import markdown, read_tallies, write_tallies
from training.dataset import Dataset
from training.errors import DatasetError
from training.evaluate import Tally
from training.train import train
from training.train_spec import TrainSpec
from unet_segmenter.engine.errors import Cancelled, JobError
from unet_segmenter.engine.model_card import ModelCard


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    base = tmp_path_factory.mktemp("cross")
    data = write_dataset(base / "data", size=(32, 48), validation=3)
    return CrossSpec(
        TrainSpec(
            str(data), str(base / "out"), preset="unet", width=4, depth=1, epochs=2, steps=6,
            batch=4, size=32, rate=2e-2, averaging=0.0, frames=1,
        ),
        folds=2,
        predictions=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def results(spec):
    """Done in three calls: one fold, a second one cancelled, and all that is left."""
    assert crossvalidate(replace(spec, only=(1,)), Listener()) is None
    assert not (spec.folder / "crossvalidation.json").exists()
    with pytest.raises(Cancelled):
        crossvalidate(spec, Listener(lambda one: len(one.steps) >= 7))
    listener = Listener()
    found = crossvalidate(spec, listener)
    assert "fold 1: done before" in listener.text()
    assert "resumed after epoch 1 of 2" in listener.text()
    return found


def test_every_image_is_held_out_once_and_no_group_is_on_both_sides(spec):
    dataset = choose_classes(Dataset.open(spec.train.dataset), ())
    folds = folds_of(dataset, 2)
    held = [sample.name for _train, held_out in folds for sample in held_out]
    assert sorted(held) == sorted(sample.name for sample in dataset.samples)
    for taught, held_out in folds:
        assert not {s.group for s in taught} & {s.group for s in held_out}
        assert len(taught) + len(held_out) == len(dataset.samples)
    with pytest.raises(DatasetError, match="5 groups, which makes 2 to 5 folds, not 6"):
        folds_of(dataset, 6)


def test_groups_of_one_place_are_never_parted(spec):
    dataset = choose_classes(Dataset.open(spec.train.dataset), ())
    together = [("site0", "site3"), ("site3", "site4")]
    folds = folds_of(dataset, 3, together)
    held = [{sample.group for sample in held_out} for _train, held_out in folds]
    assert {"site0", "site3", "site4"} in held
    assert sorted(name for sites in held for name in sites) == [f"site{n}" for n in range(5)]
    with pytest.raises(DatasetError, match="of 3 groups, which makes 2 to 3 folds, not 4"):
        folds_of(dataset, 4, together)
    with pytest.raises(DatasetError, match="no group 'site9' to keep together"):
        folds_of(dataset, 2, [("site0", "site9")])


def test_scores_are_of_all_held_out_images_by_class_and_site_with_their_spread(spec, results):
    assert results["images"] == 5
    assert sorted(results["per_site"]) == [f"site{n}" for n in range(5)]
    assert {row["fold"] for row in results["per_site"].values()} == {1, 2}
    tallies = {}
    for fold in (1, 2):
        tallies |= read_tallies(spec.folder / f"fold_{fold}" / "tallies.npz")
    pooled = sum(tallies.values(), start=Tally.zero(2))
    iou = pooled.counts.scores()["iou"]
    assert results["per_class"]["meadow"]["iou"] == pytest.approx(iou[0], abs=1e-4)
    assert results["mean_iou"] == pytest.approx(iou.mean(), abs=1e-4)
    each = [tallies[f"site{n}"].counts.scores()["iou"][0] for n in range(5)]
    spread = results["spread"]["meadow"]
    assert spread["mean"] == pytest.approx(np.mean(each), abs=1e-4)
    assert spread["std"] == pytest.approx(np.std(each), abs=1e-4)
    assert (spread["min"], spread["sites"]) == (pytest.approx(min(each), abs=1e-4), 5)
    pixels = pooled.counts.hit + pooled.counts.missed
    mask_pixels = sum(
        np.bincount(Dataset.open(spec.train.dataset).read(s)[1].ravel(), minlength=256)[1:3]
        for s in Dataset.open(spec.train.dataset).samples
    )
    assert pixels.tolist() == mask_pixels.tolist()


def test_results_are_written_as_json_csv_and_markdown(spec, results):
    kept = json.loads((spec.folder / "crossvalidation.json").read_text())
    assert kept["mean_iou"] == results["mean_iou"]
    with (spec.folder / "crossvalidation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["site"] for row in rows] == [*(f"site{n}" for n in range(5)), "pooled"]
    assert float(rows[-1]["meadow"]) == results["per_class"]["meadow"]["iou"]
    text = (spec.folder / "crossvalidation.md").read_text()
    assert "unet on Stripes: 2 folds by group" in text
    assert "| site4 |" in text
    assert "flatters" not in text
    assert "flatters" in markdown({**results, "select": "best"})


def test_held_out_probabilities_are_kept_on_request_at_the_images_own_size(spec, results):
    paths = sorted(spec.folder.glob("fold_*/predictions/*.npz"))
    assert [path.stem for path in paths] != []
    assert len(paths) == results["images"]
    with np.load(paths[0]) as kept:
        assert kept["p"].shape == (32, 48, 2)
        assert kept["p"].dtype == np.uint8
        assert kept["p"].max() <= 254


def test_another_count_of_folds_does_not_go_on_in_the_same_folder(spec, results):
    assert results
    with pytest.raises(JobError, match="folds was 2, now 3"):
        crossvalidate(replace(spec, folds=3), Listener())


def test_a_preset_that_squashes_is_judged_on_the_same_folds_at_the_images_own_size(spec, tmp_path):
    train = replace(
        spec.train, preset="course", width=2, depth=None, size=32, epochs=1, steps=1,
        classes=("road",), output=str(tmp_path / "course"),
    )  # fmt: skip
    found = crossvalidate(replace(spec, train=train, select="best", predictions=False), Listener())
    assert found["images"] == 5
    tallies = read_tallies(tmp_path / "course" / "fold_1" / "tallies.npz")
    assert all(t.scores.counts[0].sum() == 32 * 48 - 16 for t in tallies.values())


def test_calibration_is_fitted_on_the_held_out_predictions_of_all_sites(spec, results):
    from training.calibrate import CalibrationPlan

    assert results
    dataset = choose_classes(Dataset.open(spec.train.dataset), ())
    fitted = calibration_from(spec.folder, dataset, CalibrationPlan())
    assert len(fitted.classes) == 2
    assert fitted.report["groups"] == [f"site{n}" for n in range(5)]
    with pytest.raises(JobError, match="was made with other classes than road"):
        calibration_from(spec.folder, choose_classes(dataset, ["road"]), CalibrationPlan())
    with pytest.raises(JobError, match="holds no cross-validation"):
        calibration_from(spec.folder / "fold_1", dataset, CalibrationPlan())


def test_counts_come_back_from_the_disk_as_they_were(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (20, 20)).astype(np.uint8)
    tally = Tally.of(rng.random((20, 20, 2)).astype(np.float32), labels, [0.5, 0.5])
    write_tallies(tmp_path / "t.npz", {"a": tally, "b": tally + tally})
    back = read_tallies(tmp_path / "t.npz")
    assert back["b"].images == 2
    for one, other in ((back["a"], tally), (back["b"], tally + tally)):
        assert np.array_equal(one.confusion, other.confusion)
        assert one.per_class(["x", "y"]) == other.per_class(["x", "y"])


def test_folds_and_selections_that_are_not_there_are_refused(spec):
    with pytest.raises(JobError, match="no fold 3 of 2"):
        replace(spec, only=(3,))
    with pytest.raises(JobError, match="select 'first'"):
        replace(spec, select="first")


def test_the_card_of_a_model_of_all_images_tells_the_scores_on_unseen_groups(spec, results):
    output = spec.folder.parent / "everything"
    told = replace(
        spec.train, output=str(output), all_samples=True, calibrate_from=str(spec.folder),
        gsd_range=(0.01, 0.2),
    )  # fmt: skip
    train(told, Listener())

    card = ModelCard.load(output)
    assert card.details["metrics"]["per_class"] == results["per_class"]
    assert card.details["metrics"]["split"].startswith(
        "Stripes: 5 images of 5 groups, each predicted by one of 2 networks"
    )
    assert card.details["metrics_on_learned_images"]["frames"] == 3
    assert card.details["calibration"]["groups"] == [f"site{n}" for n in range(5)]
    assert card.input.gsd_range == (0.01, 0.2)
