# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest

from training.datasets.aeroscapes import AeroScapes
from training.split import leave_sites_out, sequence_of, shared_groups, site_of

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
