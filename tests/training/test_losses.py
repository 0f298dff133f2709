# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs tensorflow")

from training.answers import plain_answers
from training.losses import (
    LOSSES,
    binary_cross_entropy,
    dice_loss,
    one_vs_rest,
)


def _parts(labels, probabilities):
    labels = np.array(labels, np.uint8).reshape(1, 1, -1)
    p = np.array(probabilities, np.float32).reshape(1, 1, labels.size, -1)
    logits = np.log(p) - np.log1p(-p)
    return (*one_vs_rest(labels, plain_answers(p.shape[-1])), logits)


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
        assert np.isfinite(float(LOSSES["dice+bce"](np.array(labels, np.uint8), logits)))


def test_a_right_answer_costs_less_than_a_wrong_one():
    labels = np.array([[[1, 2]]], np.uint8)
    right = np.array([[[[9.0, -9.0], [-9.0, 9.0]]]], np.float32)
    assert float(LOSSES["dice+bce"](labels, right)) < 0.01
    assert float(LOSSES["dice+bce"](labels, -right)) > 5


def _gradient(name, labels, logits, weights=()):
    import tensorflow as tf

    from training.losses import keras_loss

    x = tf.constant(logits, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = keras_loss(name, weights)(np.asarray(labels, np.uint8), x)
    return float(loss), np.asarray(tape.gradient(loss, x))


LABELS = np.array([[[0, 1, 2, 255], [1, 1, 2, 0]]], np.uint8)


def _logits(channels, seed=1):
    return np.random.default_rng(seed).normal(0, 1, (1, 2, 4, channels)).astype(np.float32)


def _channels(name, classes=2):
    return classes + (LOSSES[name].head == "softmax")


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_falls_when_its_gradient_is_followed_and_ignores_255(name):
    logits = _logits(_channels(name))
    loss, gradient = _gradient(name, LABELS, logits)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 1e-3
    assert np.abs(gradient[0, 0, 3]).max() == 0
    after, _ = _gradient(name, LABELS, logits - 0.5 * gradient)
    assert after < loss


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_finite_with_its_gradient_for_extreme_logits_and_nothing_valid(name):
    logits = np.where(_logits(_channels(name)) > 0, 1e4, -1e4).astype(np.float32)
    for labels in (LABELS, np.full_like(LABELS, 255), np.zeros_like(LABELS)):
        loss, gradient = _gradient(name, labels, logits)
        assert np.isfinite(loss)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_prefers_the_right_answer(name):
    targets = (LABELS[..., None] == np.arange(3)).astype(np.float32)
    right = 16 * targets[..., 3 - _channels(name) :] - 8
    assert _gradient(name, LABELS, right)[0] < 0.2 * _gradient(name, LABELS, -right)[0]


def _pulls(name, weights):
    """How strongly the loss pulls for the first class and for the second.

    A one-vs-rest loss pulls in the class's channel; "weighted-bce" weighs its positives only, and
    a softmax pulls in all channels at the class's pixels.
    """
    _loss, gradient = _gradient(name, LABELS, _logits(_channels(name)), weights)
    pull = np.abs(gradient)
    first, second = (np.equal(LABELS, value) for value in (1, 2))
    if LOSSES[name].head == "softmax":
        return pull[first].sum(), pull[second].sum()
    if name == "weighted-bce":
        return pull[first][:, 0].sum(), pull[second][:, 1].sum()
    return pull[..., 0].sum(), pull[..., 1].sum()


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "course-dice"])
def test_a_class_weight_scales_the_gradient_of_its_class_against_the_other_s(name):
    even, heavy = _pulls(name, (1.0, 1.0)), _pulls(name, (1.0, 9.0))
    ratio = (heavy[1] / heavy[0]) / (even[1] / even[0])
    if name == "dice+cross-entropy":  # soft Dice pulls at the pixels of every class
        assert ratio > 2
    else:
        assert ratio == pytest.approx(9, rel=1e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_weights_of_one_are_no_weights(name):
    logits = _logits(_channels(name))
    plain, even = _gradient(name, LABELS, logits), _gradient(name, LABELS, logits, (1.0, 1.0))
    assert even[0] == pytest.approx(plain[0], rel=1e-5)
    assert np.abs(even[1] - plain[1]).max() < 1e-6


def test_class_weights_have_the_value_computed_by_hand():
    shares = [[0.8, 0.3], [0.4, 0.6], [0.1, 0.2], [0.5, 0.5]]
    _targets, _valid, logits = _parts([1, 2, 0, 255], shares)
    labels = np.array([[[1, 2, 0, 255]]], np.uint8)
    first = -(np.log(0.8) + np.log(0.6) + np.log(0.9)) / 3
    second = -(np.log(0.7) + np.log(0.6) + np.log(0.8)) / 3
    found = LOSSES["bce"](labels, logits, np.float32([1, 3]))
    assert float(found) == pytest.approx((first + 3 * second) / 4, rel=1e-4)
    heavier = -(np.log(0.7) + 3 * np.log(0.6) + np.log(0.8)) / 3
    found = LOSSES["weighted-bce"](labels, logits, np.float32([1, 3]))
    assert float(found) == pytest.approx((first + heavier) / 2, rel=1e-4)


def test_a_positive_s_weight_acts_with_one_class_too():
    labels, logits = np.array([[[1, 0]]], np.uint8), np.zeros((1, 1, 2, 1), np.float32)
    _loss, gradient = _gradient("weighted-bce", labels, logits, (3.0,))
    assert gradient[0, 0, 0, 0] == pytest.approx(-3 * gradient[0, 0, 1, 0], rel=1e-4)


def test_the_course_s_loss_is_one_minus_soft_dice_over_the_heap_of_all_pixels():
    labels = np.array([[[1, 0]], [[0, 0]]], np.uint8)
    p = np.float32([0.9, 0.2, 0.3, 0.1]).reshape(2, 1, 2, 1)
    found = LOSSES["course-dice"](labels, np.log(p) - np.log1p(-p))
    assert float(found) == pytest.approx(1 - (2 * 0.9 + 1) / (1.5 + 1 + 1), rel=1e-5)
    empty = LOSSES["course-dice"](np.zeros_like(labels), np.log(p) - np.log1p(-p))
    assert float(empty) == pytest.approx(1 - 1 / (1.5 + 1), rel=1e-5)


def test_tversky_with_even_costs_is_dice_and_with_uneven_ones_missing_costs_more():
    from training.losses import tversky_loss

    targets, valid, logits = _parts([1, 1, 0, 0], [[0.7], [0.2], [0.4], [0.1]])
    even = float(tversky_loss(targets, logits, valid, false=0.5, missed=0.5))
    hit = 0.9
    assert even == pytest.approx(1 - (hit + 1) / (hit + 0.5 * (0.5 + 1.1) + 1), rel=1e-5)
    assert float(tversky_loss(targets, logits, valid)) > even  # 1.1 missed, 0.5 false


def test_focal_without_focus_is_cross_entropy_and_with_focus_easy_pixels_fade():
    from training.losses import focal_loss

    targets, valid, logits = _parts([1, 0], [[0.95], [0.1]])
    plain = float(focal_loss(targets, logits, valid, gamma=0.0, alpha=0.5))
    entropy = float(binary_cross_entropy(targets, logits, valid))
    assert plain == pytest.approx(entropy / 2, rel=1e-4)
    assert float(focal_loss(targets, logits, valid, alpha=0.5)) < 0.02 * plain


def test_softmax_takes_label_0_as_the_class_none():
    labels = np.array([[[0, 2, 255]]], np.uint8)
    logits = np.log(np.float32([[[[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.9, 0.05, 0.05]]]]))
    by_hand = -(np.log(0.7) + np.log(0.6)) / 2
    assert float(LOSSES["cross-entropy"](labels, logits)) == pytest.approx(by_hand, rel=1e-4)
    weighted = -(np.log(0.7) + 4 * np.log(0.6)) / 5
    found = LOSSES["cross-entropy"](labels, logits, np.float32([2, 4]))
    assert float(found) == pytest.approx(weighted, rel=1e-4)


def test_one_channel_keeps_its_axis_on_the_way_through_keras():
    """Keras squeezes a last axis of 1 for plain functions; then rows would be read as classes."""
    labels = np.array([[[1, 0], [0, 1]]], np.uint8)
    logits = np.float32([[[[9], [-9]], [[-9], [9]]]])
    assert _gradient("dice+bce", labels, logits)[0] < 0.01
