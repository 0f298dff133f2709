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
    confidence,
    places_of_wholes,
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


# vegetation, tree and shrub (its parts), road
WHOLES = (None, 0, 0, None)


def among_parts(*p: float, thresholds: tuple[float, ...] = (0.5, 0.4, 0.6, 0.5)) -> int:
    return int(class_mask(np.array([[p]], np.float32), [1, 2, 3, 4], thresholds, WHOLES)[0, 0])


def test_wholes_are_found_by_name_and_one_that_is_left_out_does_not_count() -> None:
    names = {"vegetation": None, "tree": "vegetation", "car": "obstacle"}
    assert places_of_wholes(names) == (None, 0, None)


def test_a_part_takes_a_pixel_from_its_whole_where_it_reaches_its_own_threshold() -> None:
    assert among_parts(0.9, 0.4, 0.1, 0.6) == 2  # less probable than the road, and a tree
    assert among_parts(0.9, 0.39, 0.1, 0.6) == 1
    assert among_parts(0.9, 0.39, 0.6, 0.6) == 3
    assert among_parts(0.9, 0.65, 0.6, 0.6) == 2  # the most probable of two parts
    assert among_parts(0.9, 0.59, 0.6, 0.6) == 3


def test_a_part_takes_no_pixel_from_another_class_than_its_whole() -> None:
    assert among_parts(0.6, 0.95, 0.1, 0.7) == 4
    assert among_parts(0.3, 0.95, 0.1, 0.2) == 0  # vegetation does not reach its threshold


def test_a_whole_of_value_zero_is_not_taken_for_the_unknown() -> None:
    p = np.array([[[0.2, 0.9], [0.8, 0.9], [0.8, 0.1]]], np.float32)
    assert class_mask(p, [0, 5], [0.5, 0.5], (None, 0)).tolist() == [[0, 5, 0]]


def test_confidence_is_that_of_the_weaker_of_both_decisions() -> None:
    def sure(*p: float) -> float:
        return float(confidence(np.array([[p]], np.float32), [0.5] * 4, WHOLES)[0, 0])

    assert sure(0.9, 0.95, 0.1, 0.6) == pytest.approx(0.3)  # vegetation before road; surely tree
    assert sure(0.9, 0.55, 0.1, 0.1) == pytest.approx(0.1)  # surely vegetation, hardly a tree
    assert sure(0.9, 0.45, 0.1, 0.1) == pytest.approx(0.1)  # hardly not a tree
    assert sure(0.9, 0.95, 0.49, 0.1) == pytest.approx(0.8)  # that it is no shrub does not matter
    assert sure(0.2, 0.5, 0.5, 0.9) == pytest.approx(0.7)  # a road, whatever the parts say


def test_confidence_of_one_class_with_parts_is_the_distance_from_its_threshold() -> None:
    p = np.array([[[0.6, 0.05], [0.6, 0.52]]], np.float32)
    np.testing.assert_allclose(confidence(p, [0.5, 0.5], (None, 0)), [[0.2, 0.04]], atol=1e-6)
