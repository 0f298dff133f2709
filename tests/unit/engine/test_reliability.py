# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unet_segmenter.engine.metrics import BinaryCounts
from unet_segmenter.engine.reliability import BIN_EDGES, ECE_BINS, ScoreHistogram, bin_of


def _error_by_hand(scores, truth):
    total = 0.0
    for number in range(ECE_BINS):
        low, high = number / ECE_BINS, (number + 1) / ECE_BINS
        inside = (scores >= low) & ((scores < high) | ((number == ECE_BINS - 1) & (scores == 1)))
        if inside.any():
            total += abs(scores[inside].mean() - truth[inside].mean()) * inside.sum()
    return total / len(scores)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 60).flatmap(lambda n: st.tuples(
    arrays(np.float32, n, elements=st.floats(0, 1, width=32)), arrays(np.bool_, n))))  # fmt: skip
def test_the_expected_calibration_error_equals_its_definition(drawn):
    scores, truth = drawn
    histogram = ScoreHistogram.of(scores[:, None], truth.astype(np.uint8))
    expected = _error_by_hand(scores.astype(np.float64), truth)
    assert histogram.ece()[0] == pytest.approx(expected, abs=1e-6)


@settings(max_examples=80, deadline=None)
@given(arrays(np.float32, 40, elements=st.floats(0, 1, width=32)))
def test_every_probability_lies_in_its_bin(scores):
    place = bin_of(scores)
    clipped = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    assert (BIN_EDGES[place] <= clipped + 1e-9).all()
    assert (clipped <= BIN_EDGES[place + 1] + 1e-9).all()


def test_bins_rise_and_hold_the_edges_that_matter():
    assert (np.diff(BIN_EDGES) > 0).all()
    for edge in (0.5, *(k / ECE_BINS for k in range(1, ECE_BINS))):
        assert np.abs(BIN_EDGES - edge).min() < 1e-12
        assert BIN_EDGES[bin_of(np.array([edge]))[0]] == pytest.approx(edge, abs=1e-12)


def _drawn(count=20_000):
    rng = np.random.default_rng(4)
    scores = rng.random((count, 2)).astype(np.float32)
    labels = np.where(rng.random(count) < scores[:, 0], 1, 2 * (rng.random(count) < 0.5))
    labels[:500] = 255
    return scores, labels.astype(np.uint8)


def test_true_probabilities_have_no_error_and_others_have_it():
    scores, labels = _drawn()
    first, second = ScoreHistogram.of(scores, labels).ece()
    assert first < 0.02
    assert second > 0.2
    first, second = ScoreHistogram.of(scores, labels).ece(adaptive=True)
    assert first < 0.02
    assert second > 0.2


def test_bins_of_equal_mass_hold_equally_many_pixels():
    rng = np.random.default_rng(0)
    scores = rng.beta(0.5, 4, (50_000, 1)).astype(np.float32)
    histogram = ScoreHistogram.of(scores, np.zeros(len(scores), np.uint8))
    counts = histogram.reliability(adaptive=True)[0].counts
    assert counts.sum() == 50_000
    assert counts.max() < 2 * 50_000 / ECE_BINS


def test_histograms_add_up_and_ignore_what_does_not_count():
    scores, labels = _drawn()
    whole = ScoreHistogram.of(scores, labels)
    parts = [ScoreHistogram.of(scores[a:b], labels[a:b]) for a, b in ((0, 7000), (7000, None))]
    total = sum(parts, start=ScoreHistogram.zero(2))
    assert total.positives.tolist() == whole.positives.tolist()
    assert total.negatives.tolist() == whole.negatives.tolist()
    assert np.allclose(total.total, whole.total)
    assert whole.counts.sum(axis=1).tolist() == [len(labels) - 500] * 2


def test_counts_at_a_threshold_equal_those_of_the_pixels():
    scores, labels = _drawn()
    histogram = ScoreHistogram.of(scores, labels)
    thresholds = [0.5, float(BIN_EDGES[300])]
    expected = BinaryCounts.of(scores >= np.array(thresholds), labels)
    found = histogram.counts_at(thresholds)
    assert found.hit.tolist() == expected.hit.tolist()
    assert found.false.tolist() == expected.false.tolist()
    assert found.missed.tolist() == expected.missed.tolist()
    iou = histogram.iou_by_edge()
    assert iou[0, np.abs(BIN_EDGES - 0.5).argmin()] == pytest.approx(expected.scores()["iou"][0])
    assert iou[1, 300] == pytest.approx(expected.scores()["iou"][1])
    assert iou.max() <= 1


def test_no_pixel_gives_no_error():
    histogram = ScoreHistogram.of(np.zeros((0, 2), np.float32), np.zeros(0, np.uint8))
    assert all(math.isnan(error) for error in histogram.ece())
    assert np.isnan(ScoreHistogram.zero(2).iou_by_edge()).all()
