# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.dataset_folder import write_dataset
from tests.training.tiny_fit import Listener
from training.crossvalidation_results import write_tallies
from training.dataset import Dataset
from training.evaluate import Tally
from training.fusion_table import FusionTableSpec, fusion_table
from unet_segmenter.engine.crf_settings import CrfSettings
from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.fuse_methods import FUSION_METHODS

SPECKS = 0.05


def write_folds(folder, dataset, folds=2):
    """Probabilities that are right but for specks; the second class is claimed too rarely."""
    rng = np.random.default_rng(3)
    for number in range(folds):
        here = folder / f"fold_{number + 1}"
        (here / "predictions").mkdir(parents=True)
        tallies = {}
        for sample in dataset.samples[number::folds]:
            _image, mask = dataset.read(sample)
            truth = np.stack([mask == 1, mask == 2], axis=-1)
            specks = rng.random(mask.shape) < SPECKS
            p = np.where(truth ^ specks[..., None], [0.9, 0.4], [0.1, 0.2]).astype(np.float32)
            steps = np.rint(p * 254).astype(np.uint8)
            np.savez_compressed(here / "predictions" / f"{sample.name}.npz", p=steps)
            tally = Tally.of(steps / np.float32(254), mask, [0.5, 0.5])
            tallies[sample.group] = tallies.get(sample.group, Tally.zero(2)) + tally
        write_tallies(here / "tallies.npz", tallies)


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    base = tmp_path_factory.mktemp("fusion")
    data = write_dataset(base / "data", size=(48, 64), validation=4)
    write_folds(base / "cross", Dataset.open(data))
    crf = CrfSettings(sxy=8, srgb=20, compat=5, iterations=5)
    return FusionTableSpec(str(data), str(base / "cross"), str(base / "out"), radius=3, crf=crf)


@pytest.fixture(scope="module")
def rows(spec):
    found = fusion_table(spec, Listener())
    return {(row["method"], row["calibrated"], row["refinement"]): row for row in found["rows"]}


def test_every_way_is_scored_and_written(spec, rows, tmp_path):
    assert {method for method, _, _ in rows} == set(FUSION_METHODS)
    assert len(rows) == len(FUSION_METHODS) * 2 * 3
    out = Path(spec.output)
    kept = json.loads((out / "fusion.json").read_text())
    assert len(kept["rows"]) == len(rows)
    assert kept["images"] == 6
    with (out / "fusion.csv").open(newline="") as file:
        assert [row["mean_iou"] for row in csv.DictReader(file)] == [
            str(row["mean_iou"]) for row in kept["rows"]
        ]
    assert (out / "fusion.md").read_text().count("\n") == len(rows) + 2


def test_calibration_lets_the_class_be_claimed_that_never_reached_one_half(rows):
    assert rows["threshold", False, "none"]["iou"]["road"] == 0
    assert rows["threshold", True, "none"]["iou"]["road"] > 0.8


def test_both_refinements_remove_specks(rows):
    fused = rows["threshold", True, "none"]["mean_iou"]
    assert rows["threshold", True, "majority"]["mean_iou"] > fused + 0.02
    assert rows["threshold", True, "crf"]["mean_iou"] > fused + 0.02


def test_the_card_is_told_whether_the_crf_pays_and_keeps_all_else(spec, rows, tmp_path):
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"name": "toy", "metrics": {"mean_iou": 0.5}}))
    fusion_table(replace(spec, card=str(tmp_path), output=str(tmp_path / "out")), Listener())
    told = json.loads(card.read_text())
    assert (told["name"], told["metrics"]) == ("toy", {"mean_iou": 0.5})
    plain, refined = (rows["argmax", True, name]["mean_iou"] for name in ("none", "crf"))
    assert told["refinement"]["crf"] is (refined > plain)
    assert told["refinement"]["mean_iou"] == plain
    assert told["refinement"]["mean_iou_refined"] == refined


def test_of_a_list_every_nth_image_is_judged(spec, tmp_path):
    one = replace(spec, output=str(tmp_path), names=("frame1", "frame2", "frame3"), every=2)
    assert fusion_table(one, Listener())["images"] == 2


def test_without_predictions_the_error_names_the_folder_and_the_command(spec, tmp_path):
    with pytest.raises(JobError, match=f"{tmp_path}.*run 'crossvalidate' with --predictions"):
        fusion_table(replace(spec, crossvalidation=str(tmp_path)), Listener())
    with pytest.raises(JobError, match=r"no predictions of 1 of the images.*frame99"):
        fusion_table(replace(spec, names=("frame99",)), Listener())
