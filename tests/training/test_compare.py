# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("tensorflow", reason="training needs tensorflow")

from tests.training.dataset_folder import write_dataset
from tests.training.tiny_fit import Listener
from training.checkpoint import read_history
from training.compare import CompareSpec, compare
from training.errors import WeightsError
from training.recipe import Recipe
from training.run import fit_recipe
from training.train_spec import TrainSpec
from unet_segmenter.engine.errors import Cancelled, JobError


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    """A comparison whose model learned the same classes for 8 epochs; and for one, for warm."""
    base = tmp_path_factory.mktemp("compare")
    data = write_dataset(base / "data", size=(32, 48))
    train = TrainSpec(
        str(data), str(base / "out"), preset="unet", width=4, depth=1, epochs=3, steps=5, batch=4,
        size=32, rate=2e-2, averaging=0.0,
    )  # fmt: skip
    recipe = Recipe.of(replace(train, epochs=8))
    sides = (recipe.dataset.split(side) for side in ("train", "validation"))
    fit_recipe(recipe, *sides, base / "other", Listener())
    return CompareSpec(replace(train, start=str(base / "other")), source=str(data), warm_epochs=1)


def test_three_starts_trained_equally_long_become_one_figure_and_one_table(spec):
    listener = Listener()
    curves = compare(spec, listener)
    assert {name: len(rows) for name, rows in curves.items()} == {"cold": 3, "warm": 3, "hot": 3}
    # The longer the model that a start comes from had learned, the lower the first loss.
    cold, warm, hot = (curves[name][0]["loss"] for name in ("cold", "warm", "hot"))
    assert hot < 0.95 * warm < 0.95**2 * cold
    assert len(read_history(spec.folder / "brief")) == 1
    with Image.open(spec.folder / "comparison.png") as figure:
        assert figure.width > 600
    with (spec.folder / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["start"] for row in rows] == ["cold"] * 3 + ["warm"] * 3 + ["hot"] * 3
    assert float(rows[3]["mean_iou"]) == curves["warm"][0]["mean_iou"]
    table = (spec.folder / "comparison.md").read_text()
    assert "| warm | 3 | " in table
    assert "meadow | road" in table
    assert listener.steps[-1][0] == listener.steps[-1][1]

    again = Listener()
    assert compare(spec, again) == curves
    assert not again.steps  # nothing was trained a second time

    # The model of the warm start may be one that is there.
    train = replace(spec.train, output=f"{spec.folder}2", epochs=1)
    named = CompareSpec(train, warm_start=str(spec.folder / "brief"))
    other = compare(named, Listener())
    assert other["warm"][0]["loss"] == pytest.approx(warm, rel=0.05)
    assert not (named.folder / "brief").exists()


def test_a_comparison_needs_both_models_and_the_warm_one_an_epoch(spec):
    with pytest.raises(JobError, match="needs a model to start from"):
        replace(spec, train=replace(spec.train, start=""))
    for both in ({"source": ""}, {"warm_start": "brief"}):
        with pytest.raises(JobError, match=r"--warm-from.*--source.*not both"):
            replace(spec, **both)
    with pytest.raises(JobError, match="1 epoch or more"):
        replace(spec, warm_epochs=0)


def test_the_cold_start_begins_from_nothing_unless_an_encoder_is_named(spec, monkeypatch):
    begun = {}

    def fit_recipe(recipe, _train, _held_out, folder, *_more):
        begun[folder.name] = (recipe.spec.encoder, Path(recipe.spec.start).name)
        raise Cancelled("enough")

    monkeypatch.setattr("training.compare.fit_recipe", fit_recipe)
    train = replace(spec.train, output=f"{spec.folder}3", preset="lite0", width=None, depth=None)
    for encoder in ("auto", "own.npz"):
        asked = replace(spec, train=replace(train, encoder=encoder, output=f"{encoder}.out"))
        monkeypatch.chdir(spec.folder)
        with pytest.raises(Cancelled):
            compare(asked, Listener())
        assert begun.popitem() == ("brief", ("none" if encoder == "auto" else encoder, ""))


def test_a_model_that_is_not_there_is_told_before_an_hour_of_training(spec, tmp_path):
    train = replace(spec.train, start=str(tmp_path / "nothing"), output=str(tmp_path / "out"))
    with pytest.raises(WeightsError, match="nothing: no weights to start from"):
        compare(replace(spec, train=train), Listener())
    assert not (tmp_path / "out" / "cold").exists()
