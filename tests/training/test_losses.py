# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs tensorflow")

from training.losses import (
    binary_cross_entropy,
    dice_and_cross_entropy,
    dice_loss,
    one_vs_rest,
)


def _parts(labels, probabilities):
    labels = np.array(labels, np.uint8).reshape(1, 1, -1)
    p = np.array(probabilities, np.float32).reshape(1, 1, labels.size, -1)
    logits = np.log(p) - np.log1p(-p)
    return (*one_vs_rest(labels, p.shape[-1]), logits)


def test_targets_are_one_vs_rest_and_255_does_not_count():
    targets, valid, _logits = _parts([1, 2, 0, 255], [[0.5, 0.5]] * 4)
    assert np.asarray(targets)[0, 0, :3].tolist() == [[1, 0], [0, 1], [0, 0]]
    assert np.asarray(valid)[0, 0, :, 0].tolist() == [1, 1, 1, 0]


def test_cross_entropy_equals_that_by_hand():
    targets, valid, logits = _parts([1, 0, 255], [[0.8], [0.4], [0.001]])
    by_hand = -(np.log(0.8) + np.log(0.6)) / 2
    assert float(binary_cross_entropy(targets, logits, valid)) == pytest.approx(by_hand, rel=1e-5)


def test_dice_loss_equals_that_by_hand():
    targets, valid, logits = _parts([1, 0, 255], [[0.8], [0.4], [0.9]])
    by_hand = 1 - (2 * 0.8 + 1) / (0.8 + 0.4 + 1 + 1)
    assert float(dice_loss(targets, logits, valid)) == pytest.approx(by_hand, rel=1e-5)


def test_a_class_absent_from_the_batch_leaves_the_dice_loss_alone():
    targets, valid, logits = _parts([1, 0], [[0.8, 0.9], [0.4, 0.9]])
    alone = _parts([1, 0], [[0.8], [0.4]])
    assert float(dice_loss(targets, logits, valid)) == pytest.approx(
        float(dice_loss(alone[0], alone[2], alone[1])), rel=1e-6
    )


def test_the_loss_is_finite_for_extreme_logits_and_for_nothing_valid():
    logits = np.array([[[[1e4, -1e4], [-1e4, 1e4]]]], np.float32)
    for labels in ([[[1, 2]]], [[[2, 1]]], [[[255, 255]]]):
        assert np.isfinite(float(dice_and_cross_entropy(np.array(labels, np.uint8), logits)))


def test_a_right_answer_costs_less_than_a_wrong_one():
    labels = np.array([[[1, 2]]], np.uint8)
    right = np.array([[[[9.0, -9.0], [-9.0, 9.0]]]], np.float32)
    assert float(dice_and_cross_entropy(labels, right)) < 0.01
    assert float(dice_and_cross_entropy(labels, -right)) > 5
