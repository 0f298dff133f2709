# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.training.dataset_folder import write_dataset
from training.chosen_classes import choose_classes
from training.dataset import Dataset
from training.evidence import Evidence, evidence_of

SAME = np.arange(256, dtype=np.uint8)


def _of(dataset, side="validation"):
    names = [cls.name for cls in dataset.classes]
    return evidence_of(dataset, dataset.split(side), names, SAME, dataset.answers)


def test_pixels_are_counted_of_the_masks_class_by_class(tmp_path):
    dataset = Dataset.open(write_dataset(tmp_path / "stripes", size=(48, 64)))
    masks = np.stack([np.asarray(Image.open(one.mask)) for one in dataset.split("validation")])
    found = _of(dataset)
    assert found.px == {"meadow": (masks == 1).sum(), "road": (masks == 2).sum()}
    assert found.not_px["meadow"] == ((masks == 0) | (masks == 2)).sum()
    assert found.labelled_px == (masks != 255).sum()
    assert found.total_px == masks.size
    assert (found.images, found.groups, found.polygons) == (2, 2, None)
    assert not found.doubts("validation")
    road = _of(choose_classes(dataset, ["road"]))
    assert road.px == {"road": found.px["road"]}
    assert road.labelled_px == found.labelled_px


def test_it_is_told_in_words_and_numbers():
    found = Evidence(3, 2, {"a": 10}, {"a": 5}, 15, 1000, polygons=4)
    assert str(found) == (
        "15 labelled pixels (0.015 of all) of 4 polygons in 3 images of 2 blocks or groups"
    )
    assert found.to_card() == {
        "labelled_px": 15, "labelled_share": 0.015, "blocks": 2, "polygons": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("px", "not_px", "words"),
    [
        ({"a": 900, "b": 0}, {"a": 900, "b": 900}, ["show a alone"]),
        ({"a": 900, "b": 299}, {"a": 900, "b": 900}, ["'b' rests on 299 pixels: too few"]),
        ({"a": 900}, {"a": 0}, ["known not to be 'a'", "may be 1 for a map that is a all over"]),
        ({"a": 0, "b": 0}, {"a": 9, "b": 9}, ["show none of the classes: "]),
        ({"a": 300, "b": 300}, {"a": 300, "b": 300}, []),
    ],
)
def test_scores_on_too_little_are_doubted(px, not_px, words):
    doubts = Evidence(1, 1, px, not_px, 900, 1000).doubts("test")
    assert len(doubts) == bool(words)
    assert all(word in doubts[0] for word in words)
