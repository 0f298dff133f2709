# SPDX-License-Identifier: GPL-2.0-or-later
"""The vote of the disk around each pixel."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unet_segmenter.engine import majority
from unet_segmenter.engine.majority import METHODS, disk_counts, majority_filter

LABELS = arrays(np.uint8, (9, 11), elements=st.sampled_from([0, 1, 4, 6, 254]))
VALID = arrays(np.bool_, (9, 11), elements=st.sampled_from([True, True, False]))


def voters(labels: np.ndarray, valid: np.ndarray, row: int, col: int, radius: int) -> list[int]:
    """Classes in the disk around a pixel, one by one."""
    rows, cols = np.indices(labels.shape)
    near = (rows - row) ** 2 + (cols - col) ** 2 <= radius**2
    return [int(v) for v in labels[near & valid]]


@given(LABELS, VALID, st.integers(0, 4))
def test_the_most_frequent_class_wins_and_of_equals_the_own_then_the_lowest(
    labels: np.ndarray, valid: np.ndarray, radius: int
) -> None:
    result = majority_filter(labels, radius, valid)
    for row, col in np.argwhere(valid):
        votes = Counter(voters(labels, valid, row, col, radius))
        best = [value for value, count in votes.items() if count == max(votes.values())]
        own = labels[row, col]
        assert result[row, col] == (own if own in best else min(best))


@pytest.mark.parametrize("method", METHODS)
@given(labels=LABELS, valid=VALID, radius=st.integers(0, 4))
def test_no_class_comes_out_that_the_disk_does_not_hold(
    method: str, labels: np.ndarray, valid: np.ndarray, radius: int
) -> None:
    result = majority_filter(labels, radius, valid, method=method)
    for row, col in np.argwhere(valid):
        assert result[row, col] in voters(labels, valid, row, col, radius)


@pytest.mark.parametrize("method", METHODS)
@given(labels=LABELS, valid=VALID, radius=st.integers(0, 4), rest=LABELS)
def test_nodata_neither_changes_nor_votes(
    method: str, labels: np.ndarray, valid: np.ndarray, radius: int, rest: np.ndarray
) -> None:
    result = majority_filter(labels, radius, valid, method=method)
    assert (result[~valid] == labels[~valid]).all()
    other = majority_filter(np.where(valid, labels, rest), radius, valid, method=method)
    assert (result[valid] == other[valid]).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_part_with_the_radius_around_it_is_filtered_as_the_whole(method: str) -> None:
    labels = np.random.default_rng(3).integers(0, 4, (60, 80)).astype(np.uint8)
    valid = np.random.default_rng(4).random((60, 80)) > 0.1
    whole = majority_filter(labels, 5, valid, method=method)
    part = majority_filter(labels[15:45, 25:65], 5, valid[15:45, 25:65], method=method)
    assert (part[5:-5, 5:-5] == whole[20:40, 30:60]).all()


@pytest.mark.parametrize("method", METHODS)
def test_tiles_within_an_array_leave_no_trace(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(5).integers(1, 5, (70, 90)).astype(np.uint8)
    whole = majority_filter(labels, 3, method=method)
    monkeypatch.setattr(majority, "_TILE", 16)
    assert (majority_filter(labels, 3, method=method) == whole).all()
    assert (whole != labels).mean() > 0.3


def test_the_median_is_that_of_scikit_image() -> None:
    from skimage.filters import rank
    from skimage.morphology import disk

    random = np.random.default_rng(6)
    labels, valid = random.integers(0, 7, (50, 60)).astype(np.uint8), random.random((50, 60)) > 0.3
    expected = rank.median(labels, disk(4), mask=valid.astype(np.uint8))
    result = majority_filter(labels, 4, valid, method="median")
    assert (result[valid] == expected[valid]).all()


def test_the_median_may_name_a_class_that_nearly_nothing_is_and_the_vote_does_not() -> None:
    """The course smooths class numbers by their median."""
    labels = np.array([[1, 1, 6], [1, 4, 6], [1, 6, 6]], np.uint8)
    assert majority_filter(labels, 2, method="median")[1, 1] == 4
    assert majority_filter(labels, 2)[1, 1] == 1


def test_a_wide_array_of_one_class_beside_another_is_counted_right() -> None:
    """Sums along a row pass 2^16."""
    there = np.ones((1, 70_000), bool)
    there[0, :10] = False
    counts = disk_counts(there, 2)
    assert counts[0, 8:14].tolist() == [1, 2, 3, 4, 5, 5]
    assert (counts[0, 12:-2] == 5).all()


def test_the_largest_disk_is_counted_without_overflow() -> None:
    labels = np.ones((230, 230), np.uint8)
    labels[0, 0] = 2
    assert (majority_filter(labels, majority.MAX_RADIUS) == 1).all()
    with pytest.raises(ValueError, match="radius"):
        majority_filter(labels, majority.MAX_RADIUS + 1)
