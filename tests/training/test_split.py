# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from training.dataset import SPLITS
from training.datasets.aeroscapes import AeroScapes
from training.errors import DatasetError
from training.split import (
    leave_sites_out,
    sequence_of,
    shared_groups,
    site_of,
    split_at_random,
    split_by_groups,
    split_by_lists,
)

STEMS = [
    f"{site}00{seq}_{n:03d}"
    for site in ("000", "001", "040", "041")
    for seq in (1, 2)
    for n in range(3)
]


def test_site_and_sequence_are_the_first_digits():
    assert (site_of("040003_017"), sequence_of("040003_017")) == ("040", "040003")


def test_a_shared_site_is_found_with_its_frames_on_each_side():
    assert shared_groups(["000001_001", "000001_002"], ["000002_001", "001001_001"]) == {
        "000": (2, 1)
    }


def test_sites_apart_share_nothing():
    assert shared_groups(["000001_001"], ["001001_001"]) == {}


def test_two_sequences_of_a_site_leak_by_site_but_not_by_sequence():
    pair = ["000001_001"], ["000002_001"]
    assert shared_groups(*pair, sequence_of) == {}
    assert shared_groups(*pair) == {"000": (1, 1)}


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_each_frame_is_validated_once_and_never_with_its_site_in_training(folds):
    pairs = leave_sites_out(STEMS, folds)
    assert len(pairs) == folds
    assert sorted(stem for _train, held_out in pairs for stem in held_out) == sorted(STEMS)
    for train, held_out in pairs:
        assert held_out
        assert len(train) + len(held_out) == len(STEMS)
        assert shared_groups(train, held_out) == {}


def test_more_folds_than_sites_are_refused():
    with pytest.raises(ValueError, match="number of sites, 4"):
        leave_sites_out(STEMS, 5)


def test_the_given_lists_do_not_leak(shared_data):
    dataset = AeroScapes(shared_data / "aeroscapes")
    train, validation = dataset.stems("trn"), dataset.stems("val")
    assert (len(train), len(validation)) == (692, 185)
    assert shared_groups(train, validation) == {}


GROUPS = {f"{group}{n}": group for group, size in zip("abcdefg", range(2, 16, 2), strict=True)
          for n in range(size)}  # fmt: skip


@settings(deadline=None)
@given(
    st.dictionaries(st.text("xyz0", min_size=1, max_size=4), st.sampled_from("abcdef"), min_size=9),
    st.integers(0, 5),
    st.sampled_from([(0.75, 0.25), (0.5, 0.25, 0.25), (0.5, 0.0, 0.5)]),
)
def test_no_group_is_torn_and_no_side_is_empty(group_of, seed, fractions):
    assume(len(set(group_of.values())) >= 3)
    side_of = split_by_groups(group_of, fractions, seed)
    assert side_of.keys() == group_of.keys()
    sides = {}
    for name, side in side_of.items():
        sides.setdefault(group_of[name], set()).add(side)
    assert all(len(found) == 1 for found in sides.values())
    wanted = {side for side, share in zip(SPLITS, fractions, strict=False) if share > 0}
    assert set(side_of.values()) == wanted


@pytest.mark.parametrize("fractions", [(0.75, 0.25), (0.5, 0.25, 0.25)])
def test_the_sides_come_near_to_the_fractions(fractions):
    side_of = split_by_groups(GROUPS, fractions, 1)
    for side, share in zip(SPLITS, fractions, strict=False):
        assert abs(list(side_of.values()).count(side) / len(GROUPS) - share) < 0.04


def test_the_classes_are_shared_out_as_the_samples_are():
    pixels = {
        name: np.array([100, 50 if group in "de" else 0, 7 if group in "fg" else 0])
        for name, group in GROUPS.items()
    }
    for seed in range(3):
        side_of = split_by_groups(GROUPS, (0.5, 0.5), seed, pixels)
        for side in ("train", "validation"):
            found = sum(pixels[name] for name in GROUPS if side_of[name] == side)
            assert (found > 0).all(), "each side has each class"


def test_a_seed_decides_the_draw():
    deals = [
        tuple(split_at_random(sorted(GROUPS), (0.5, 0.5), seed).values()) for seed in (1, 1, 2)
    ]
    assert deals[0] == deals[1] != deals[2]


def test_too_few_groups_are_refused():
    with pytest.raises(DatasetError, match="2 groups cannot be split into train, validation, test"):
        split_by_groups({"x": "a", "y": "b"}, (0.5, 0.25, 0.25), 0)


def test_lists_may_leave_names_out_but_not_name_others():
    lists = {"train": ["a"], "test": ["c"]}
    assert split_by_lists(["a", "b", "c"], lists) == {"a": "train", "c": "test"}
    with pytest.raises(DatasetError, match="'z' in train is no sample"):
        split_by_lists(["a"], {"train": ["z"]})
