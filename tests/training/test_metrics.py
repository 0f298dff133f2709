# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from training.metrics import BinaryCounts, confusion_matrix, counts_of_confusion

# Six pixels: 1 1 2 2 0 and one to ignore.
LABELS = np.array([[1, 1, 2], [2, 0, 255]], np.uint8)


def _claims(first, second):
    return np.stack([np.array(first, bool), np.array(second, bool)], axis=-1).reshape(2, 3, 2)


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
    assert scores["precision"].tolist() == pytest.approx([1 / 2, 1])
    assert scores["recall"].tolist() == pytest.approx([1 / 2, 1])
    assert counts.mean_iou() == pytest.approx(2 / 3)


def test_a_class_that_never_occurs_has_no_score_and_does_not_count():
    labels = np.where(LABELS == 2, 0, LABELS)
    nowhere, somewhere = ([0] * 6, [0, 0, 1, 0, 0, 0])
    counts = BinaryCounts.of(_claims([1, 1, 0, 0, 0, 0], nowhere), labels)
    assert np.isnan(counts.scores()["iou"][1])
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
