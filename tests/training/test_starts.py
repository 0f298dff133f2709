# SPDX-License-Identifier: GPL-2.0-or-later
"""Which model a training starts from, and what its card tells of that."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.dataset_folder import write_dataset
from training.card import told_split
from training.dataset import Dataset
from training.starts import MINUTES, start_in_words, told_start, with_start
from training.train_spec import TrainSpec
from unet_segmenter.engine.model_library import ModelLibrary, resources_folder

AUTO = TrainSpec("data", "out", start="auto")


@pytest.fixture
def models(tmp_path) -> Path:
    """A folder of two models, whose cards alone are read."""
    folder = tmp_path / "models"
    told = json.loads((resources_folder() / "models" / "aeroscapes" / "card.json").read_text())
    network = {"deepest_stride": 32, "trainable_norm": True, "width": None, "depth": None}
    for name, changes in (
        ("aerial", {"network": network, "framing": {"kind": "half"}}),
        ("aeroscapes", {"framing": {"kind": "plain"}}),
    ):
        (folder / name).mkdir(parents=True)
        card = {**told, "name": name, "training": {**told["training"], **changes}}
        (folder / name / "card.json").write_text(json.dumps(card))
        (folder / name / "trainable.keras").touch()
    return folder


def test_the_default_start_is_the_first_model_that_is_there_with_its_network(models):
    library = ModelLibrary((models,))
    spec = with_start(AUTO, library)
    assert Path(spec.start) == models / "aerial"
    assert (spec.preset, spec.half, spec.deepest_stride) == ("lite0", True, 32)
    assert spec.trainable_norm is True
    assert spec.minutes == MINUTES == 20
    (models / "aerial" / "trainable.keras").unlink()
    spec = with_start(AUTO, library)
    assert Path(spec.start) == models / "aeroscapes"
    assert (spec.half, spec.deepest_stride) == (False, None)


def test_what_is_asked_for_wins_over_the_start_s_network(models):
    library = ModelLibrary((models,))
    spec = with_start(replace(AUTO, half=False, deepest_stride=16, minutes=5), library)
    assert (spec.half, spec.deepest_stride, spec.minutes) == (False, 16, 5)
    assert with_start(replace(AUTO, epochs=3), library).minutes is None


@pytest.mark.parametrize(
    "changes", [{"preset": "unet"}, {"encoder": "weights.npz"}, {"start": "none"}, {"start": ""}]
)
def test_another_network_or_first_weights_start_from_no_model(models, changes):
    spec = with_start(replace(AUTO, **changes), ModelLibrary((models,)))
    assert spec.start == ""
    assert spec.preset == changes.get("preset", "lite0")


def test_a_model_of_the_library_goes_by_its_name(models):
    spec = with_start(replace(AUTO, start="aeroscapes"), ModelLibrary((models,)))
    assert Path(spec.start) == models / "aeroscapes"


def test_a_set_that_the_starting_model_learned_from_is_not_said_to_be_unseen(models, tmp_path):
    dataset = Dataset.open(write_dataset(tmp_path / "stripes"))
    held_out = dataset.split("validation")
    assert told_split(dataset, held_out).endswith("2 images of 2 groups not trained on")
    spec = with_start(replace(AUTO, start="aeroscapes"), ModelLibrary((models,)))
    told = told_start(spec, dataset)
    assert told["started_from"] == "aeroscapes 2.1.0"
    assert told["start_learned_from"] == ["AeroScapes"]
    assert told["start_saw_this_data"] is False
    assert told_split(dataset, held_out, told).endswith(
        "not trained on here; the starting model aeroscapes 2.1.0 learned from AeroScapes"
    )
    frames = replace(dataset, title="AeroScapes, 20 frames")
    told = told_start(spec, frames)
    assert told["start_saw_this_data"] is True
    assert start_in_words(told).endswith("learned from AeroScapes, so it may have seen them")


def test_a_set_is_known_again_by_its_fingerprint_among_several_that_were_mixed(models, tmp_path):
    dataset = Dataset.open(write_dataset(tmp_path / "stripes"))
    path = models / "aerial" / "card.json"
    card = json.loads(path.read_text())
    card["training"]["dataset"]["mixed"] = [
        {"title": "towns", "fingerprint": "0"},
        {"title": "renamed since", "fingerprint": dataset.fingerprint()},
    ]
    card["training"]["start_learned_from"] = ["ImageNet"]
    path.write_text(json.dumps(card))
    told = told_start(with_start(AUTO, ModelLibrary((models,))), dataset)
    assert told["start_learned_from"] == ["towns", "renamed since", "ImageNet"]
    assert told["start_saw_this_data"] is True
