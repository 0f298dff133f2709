# SPDX-License-Identifier: GPL-2.0-or-later
"""Decisions from probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unet_segmenter.engine.fuse import (
    binary_confidence,
    binary_mask,
    class_confidence,
    class_mask,
)


def test_a_binary_mask_holds_one_from_the_threshold_on() -> None:
    mask = binary_mask(np.array([[0.1, 0.29, 0.3, 0.9]], np.float32), 0.3)
    assert mask.dtype == np.uint8
    assert mask.tolist() == [[0, 0, 1, 1]]


def test_binary_confidence_is_zero_at_the_threshold_and_one_at_certainty() -> None:
    confidence = binary_confidence(np.array([[0, 0.15, 0.3, 0.65, 1]], np.float32), 0.3)
    np.testing.assert_allclose(confidence, [[1, 0.5, 0, 0.5, 1]], atol=1e-6)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_the_outermost_thresholds_give_finite_confidences(threshold: float) -> None:
    p = np.array([[0, 0.5, 1]], np.float32)
    mask, confidence = binary_mask(p, threshold), binary_confidence(p, threshold)
    assert mask.tolist() == [[1, 1, 1] if threshold == 0 else [0, 0, 1]]
    assert np.isfinite(confidence).all()
    assert ((confidence >= 0) & (confidence <= 1)).all()


def test_the_most_probable_class_that_reaches_its_threshold_wins() -> None:
    p = np.array([[[0.6, 0.7, 0.1], [0.6, 0.3, 0.5], [0.2, 0.3, 0.1]]], np.float32)
    mask = class_mask(p, [10, 20, 30], [0.5, 0.5, 0.5])
    assert mask.tolist() == [[20, 10, 0]]


def test_a_class_below_its_own_threshold_leaves_the_pixel_to_another() -> None:
    """Deepness turns such pixels silently into class 0."""
    p = np.array([[[0.7, 0.6]]], np.float32)
    assert class_mask(p, [1, 2], [0.8, 0.5]).tolist() == [[2]]


def test_no_class_over_its_threshold_means_unknown() -> None:
    p = np.array([[[0.4, 0.3]]], np.float32)
    assert class_mask(p, [1, 2], [0.5, 0.5]).tolist() == [[0]]


def test_confidence_among_classes_is_the_lead_over_the_second() -> None:
    p = np.array([[[0.2, 0.9, 0.6], [0.5, 0.5, 0.1]]], np.float32)
    np.testing.assert_allclose(class_confidence(p), [[0.3, 0]], atol=1e-6)


@given(
    arrays(np.float32, (3, 4, 3), elements=st.floats(0, 1, width=32)),
    st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3),
)
def test_every_decision_is_a_class_that_passes_or_unknown(
    p: np.ndarray, thresholds: list[float]
) -> None:
    values = [7, 3, 9]
    mask, confidence = class_mask(p, values, thresholds), class_confidence(p)
    for row, col in np.ndindex(mask.shape):
        scores = dict(zip(values, zip(p[row, col], thresholds, strict=True), strict=True))
        passing = {v: score for v, (score, limit) in scores.items() if score >= np.float32(limit)}
        if passing:
            assert passing[int(mask[row, col])] == max(passing.values())
        else:
            assert mask[row, col] == 0
    assert ((confidence >= 0) & (confidence <= 1)).all()


def test_equal_probabilities_go_to_the_class_named_first() -> None:
    p = np.full((1, 1, 3), 0.5, np.float32)
    assert class_mask(p, [4, 2, 9], [0.5] * 3).tolist() == [[4]]
