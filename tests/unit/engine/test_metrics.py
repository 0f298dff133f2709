# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unet_segmenter.engine.metrics import (
    BinaryCounts,
    BoundaryCounts,
    confusion_matrix,
    counts_of_confusion,
    frequency_weighted_iou,
    matthews,
    overall_accuracy,
)

# Six pixels: 1 1 2 2 0 and one to ignore.
LABELS = np.array([[1, 1, 2], [2, 0, 255]], np.uint8)
SIDE = st.integers(1, 7)
PAIRS = st.tuples(SIDE, SIDE).flatmap(
    lambda shape: st.tuples(
        arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 3])),
        arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 3, 255])),
    )
)


def _claims(first, second):
    return np.stack([np.array(first, bool), np.array(second, bool)], axis=-1).reshape(2, 3, 2)


def _sets(predicted, labels, value):
    """Pixels claimed and pixels true, as sets of positions that count."""
    where = [tuple(p) for p in np.argwhere(labels != 255)]
    return {p for p in where if predicted[p] == value}, {p for p in where if labels[p] == value}


def _share(part, whole):
    return len(part) / len(whole) if whole else math.nan


def test_scores_equal_those_counted_by_hand():
    claimed = _claims([1, 0, 0, 0, 1, 1], [0, 0, 1, 1, 0, 1])
    counts = BinaryCounts.of(claimed, LABELS)
    assert (counts.hit.tolist(), counts.false.tolist(), counts.missed.tolist()) == (
        [1, 2],
        [1, 0],
        [1, 0],
    )
    scores = counts.scores()
    assert scores["iou"].tolist() == pytest.approx([1 / 3, 1])
    assert scores["dice"].tolist() == pytest.approx([1 / 2, 1])
    assert scores["f1"].tolist() == pytest.approx([1 / 2, 1])
    assert scores["precision"].tolist() == pytest.approx([1 / 2, 1])
    assert scores["recall"].tolist() == pytest.approx([1 / 2, 1])
    assert counts.mean_iou() == pytest.approx(2 / 3)


def test_a_class_that_never_occurs_has_no_score_and_does_not_count():
    labels = np.where(LABELS == 2, 0, LABELS)
    nowhere, somewhere = ([0] * 6, [0, 0, 1, 0, 0, 0])
    counts = BinaryCounts.of(_claims([1, 1, 0, 0, 0, 0], nowhere), labels)
    assert np.isnan(counts.scores()["iou"][1])
    assert np.isnan(counts.scores()["recall"][1])
    assert counts.mean_iou() == 1.0
    counts = BinaryCounts.of(_claims([1, 1, 0, 0, 0, 0], somewhere), labels)
    assert counts.scores()["iou"].tolist() == [1, 0]
    assert counts.mean_iou() == 1.0


def test_counts_add_up_over_images():
    claimed = _claims([1, 0, 0, 0, 1, 1], [0, 0, 1, 1, 0, 1])
    once = BinaryCounts.of(claimed, LABELS)
    twice = BinaryCounts.zero(2) + once + once
    assert twice.hit.tolist() == [2, 4]
    assert twice.scores()["iou"].tolist() == once.scores()["iou"].tolist()


def test_the_confusion_matrix_has_truth_in_rows_and_drops_ignored_pixels():
    predicted = np.array([[1, 2, 2], [2, 1, 1]], np.uint8)
    matrix = confusion_matrix(predicted, LABELS, 3)
    assert matrix.tolist() == [[0, 1, 0], [0, 1, 1], [0, 0, 2]]
    counts = counts_of_confusion(matrix)
    assert (counts.hit.tolist(), counts.false.tolist(), counts.missed.tolist()) == (
        [1, 2],
        [1, 1],
        [1, 0],
    )


def test_a_value_without_a_place_in_the_matrix_is_refused():
    with pytest.raises(ValueError, match="not below 2"):
        confusion_matrix(np.array([2], np.uint8), np.array([0], np.uint8), 2)


def test_no_pixel_gives_no_score():
    empty = np.zeros((3, 3), np.int64)
    for score in (overall_accuracy, frequency_weighted_iou, matthews):
        assert math.isnan(score(empty))
    assert math.isnan(BinaryCounts.zero(2).mean_iou())
    assert np.isnan(BoundaryCounts.zero(2).f1()).all()


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_scores_equal_those_of_sets_of_pixels(pair):
    predicted, labels = pair
    matrix = confusion_matrix(predicted, labels, 4)
    scores = counts_of_confusion(matrix).scores()
    masks = predicted[..., None] == np.arange(1, 4)
    same = BinaryCounts.of(masks, labels).scores()
    for value in (1, 2, 3):
        claim, true = _sets(predicted, labels, value)
        expected = {
            "iou": _share(claim & true, claim | true),
            "precision": _share(claim & true, claim),
            "recall": _share(claim & true, true),
        }
        for key, number in expected.items():
            for found in (scores, same):
                assert found[key][value - 1] == pytest.approx(number, nan_ok=True), (key, value)


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_scores_of_all_classes_equal_their_definitions(pair):
    predicted, labels = pair
    matrix = confusion_matrix(predicted, labels, 4)
    kept = labels != 255
    truth, claim = labels[kept], predicted[kept]
    right = (truth == claim).mean() if truth.size else math.nan
    assert overall_accuracy(matrix) == pytest.approx(right, nan_ok=True)
    weighted = 0.0
    for value in range(4):
        a, b = _sets(predicted, labels, value)
        weighted += _share(a & b, a | b) * len(b) / truth.size if b else 0.0
    weighted = weighted if truth.size else math.nan
    assert frequency_weighted_iou(matrix) == pytest.approx(weighted, nan_ok=True)
    if not truth.size:
        assert math.isnan(matthews(matrix))
        return
    # The coefficient is the correlation of the one-hot codes.
    one, two = (np.eye(4)[part] - np.eye(4)[part].mean(axis=0) for part in (truth, claim))
    spread = math.sqrt((one**2).sum() * (two**2).sum())
    expected = (one * two).sum() / spread if spread > 1e-9 else math.nan
    assert matthews(matrix) == pytest.approx(expected, nan_ok=True)


def test_the_matthews_coefficient_of_two_classes_is_the_well_known_one():
    tp, fn, fp, tn = 70, 30, 20, 880
    matrix = np.array([[tn, fp], [fn, tp]])
    expected = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert matthews(matrix) == pytest.approx(expected)
    huge = matrix.astype(np.int64) * 10**12
    assert matthews(huge) == pytest.approx(expected)


def _boundary_by_hand(mask, known):
    found = set()
    for row, col in np.argwhere(mask & known):
        for r, c in ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)):
            inside = 0 <= r < mask.shape[0] and 0 <= c < mask.shape[1]
            if inside and known[r, c] and not mask[r, c]:
                found.add((row, col))
    return found


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.integers(0, 3))
def test_boundary_counts_equal_distances_taken_one_by_one(pair, tolerance):
    predicted, labels = pair
    known = labels != 255
    values = np.arange(1, 4)
    claimed, true = predicted[..., None] == values, labels[..., None] == values
    counts = BoundaryCounts.of(claimed, true, known, tolerance)
    for k in range(3):
        ours = _boundary_by_hand(claimed[..., k], known)
        theirs = _boundary_by_hand(true[..., k], known)

        def near(points, others):
            return [p for p in points if any(math.dist(p, q) <= tolerance for q in others)]

        close = near(ours, theirs), near(theirs, ours)
        assert counts.claimed[k] == len(ours)
        assert counts.true[k] == len(theirs)
        assert counts.claimed_near[k] == len(close[0])
        assert counts.true_near[k] == len(close[1])
        if theirs:
            precision = len(close[0]) / len(ours) if ours else 0
            recall = len(close[1]) / len(theirs)
            both = precision + recall
            expected = 2 * precision * recall / both if both else 0
            assert counts.f1()[k] == pytest.approx(expected)
        else:
            assert math.isnan(counts.f1()[k])


def test_boundary_counts_of_blocks_add_up_to_the_whole():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (23, 31)).astype(np.uint8)
    predicted = np.where(rng.random(labels.shape) < 0.3, 1, labels)
    values, margin = np.arange(1, 3), 3
    known = rng.random(labels.shape) < 0.9

    def count(rows, cols):
        inner = slice(max(rows.start - margin, 0), rows.stop + margin)
        across = slice(max(cols.start - margin, 0), cols.stop + margin)
        crop = tuple(
            slice(part.start - outer.start, part.stop - outer.start)
            for part, outer in ((rows, inner), (cols, across))
        )
        where = inner, across
        masks = (part[where][..., None] == values for part in (predicted, labels))
        return BoundaryCounts.of(*masks, known[where], 2, crop)

    total = BoundaryCounts.zero(2)
    for rows in (slice(0, 9), slice(9, 23)):
        for cols in (slice(0, 16), slice(16, 31)):
            total += count(rows, cols)
    whole = count(slice(0, 23), slice(0, 31))
    assert whole.claimed.min() > 0
    for name in ("claimed", "claimed_near", "true", "true_near"):
        assert getattr(total, name).tolist() == getattr(whole, name).tolist()
