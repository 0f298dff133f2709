# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import csv
from dataclasses import replace

import pytest
from PIL import Image

pytest.importorskip("tensorflow", reason="training needs tensorflow")

from tests.training.dataset_folder import write_dataset
from tests.training.tiny_fit import Listener
from training.compare import CompareSpec, compare
from training.errors import WeightsError
from training.recipe import Recipe
from training.run import fit_recipe
from training.train_spec import TrainSpec
from unet_segmenter.engine.errors import JobError


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    """A comparison that starts from a run of the same classes."""
    base = tmp_path_factory.mktemp("compare")
    data = write_dataset(base / "data", size=(32, 48))
    train = TrainSpec(
        str(data), str(base / "out"), preset="unet", width=4, depth=1, epochs=3, steps=5, batch=4,
        size=32, rate=2e-2, averaging=0.0,
    )  # fmt: skip
    recipe = Recipe.of(replace(train, epochs=8))
    sides = (recipe.dataset.split(side) for side in ("train", "validation"))
    fit_recipe(recipe, *sides, base / "other", Listener())
    return CompareSpec(replace(train, start=str(base / "other")), warm_epochs=1)


def test_cold_warm_and_hot_starts_become_one_figure_and_one_table(spec):
    listener = Listener()
    curves = compare(spec, listener)
    assert {name: len(rows) for name, rows in curves.items()} == {"cold": 3, "warm": 1, "hot": 3}
    for name in ("warm", "hot"):
        assert curves[name][0]["loss"] < 0.95 * curves["cold"][0]["loss"]
    with Image.open(spec.folder / "comparison.png") as figure:
        assert figure.width > 600
    with (spec.folder / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["start"] for row in rows] == ["cold"] * 3 + ["warm"] + ["hot"] * 3
    assert float(rows[3]["mean_iou"]) == curves["warm"][0]["mean_iou"]
    table = (spec.folder / "comparison.md").read_text()
    assert "| warm | 1 | 1 |" in table
    assert "meadow | road" in table
    assert listener.steps[-1][0] == listener.steps[-1][1]

    again = Listener()
    assert compare(spec, again) == curves
    assert not again.steps  # nothing was trained a second time


def test_a_comparison_needs_a_model_and_a_warm_start_needs_an_epoch(spec):
    with pytest.raises(JobError, match="needs a model to start from"):
        CompareSpec(replace(spec.train, start=""))
    with pytest.raises(JobError, match="1 epoch or more"):
        replace(spec, warm_epochs=0)


def test_a_model_that_is_not_there_is_told_before_an_hour_of_training(spec, tmp_path):
    train = replace(spec.train, start=str(tmp_path / "nothing"), output=str(tmp_path / "out"))
    with pytest.raises(WeightsError, match="nothing: no weights to start from"):
        compare(CompareSpec(train), Listener())
    assert not (tmp_path / "out" / "cold").exists()
