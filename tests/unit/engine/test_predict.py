# SPDX-License-Identifier: GPL-2.0-or-later
"""Scaling, test-time augmentation and calibration."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from unet_segmenter.engine.model_card import Calibration, ModelInput
from unet_segmenter.engine.predict import calibrate, predict, scale

INPUT = ModelInput(("a", "b"), ("uint8",), (0.0, 255.0), (100.0, 50.0), (10.0, 20.0))


def test_scaling_is_that_of_the_card_band_by_band() -> None:
    pixels = np.array([[[110, 50], [90, 90]]], np.uint8)
    scaled = scale(pixels, np.ones((1, 2), bool), INPUT)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[[1, 0], [-1, 2]]], rtol=1e-6)


def test_scaling_does_not_depend_on_what_else_the_block_holds() -> None:
    """Standardisation per tile is the Segmentation Zoo's defect."""
    dark = np.full((4, 4, 2), 10, np.uint8)
    mixed = dark.copy()
    mixed[1:] = 240
    valid = np.ones((4, 4), bool)
    assert np.array_equal(scale(dark, valid, INPUT)[0], scale(mixed, valid, INPUT)[0])


def test_values_outside_of_the_cards_range_are_clipped() -> None:
    pixels = np.array([[[-500, 3000]]], np.int16)
    scaled = scale(pixels, np.ones((1, 1), bool), INPUT)
    np.testing.assert_allclose(scaled, [[[-10, 10.25]]], rtol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("uint8", 255), ("int16", -9999), ("float32", np.nan), ("float64", -1.7976931348623157e308)],
)
def test_nodata_becomes_the_mean_whatever_the_raster_holds_there(dtype: str, value: float) -> None:
    pixels = np.full((2, 2, 2), 60, dtype)
    pixels[0, 1] = value
    valid = np.array([[True, False], [True, True]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled = scale(pixels, valid, INPUT)
    assert scaled[0, 1].tolist() == [0, 0]
    np.testing.assert_allclose(scaled[valid], [[-4, 0.5]] * 3, rtol=1e-6)


def test_scaling_leaves_the_pixels_untouched() -> None:
    pixels = np.full((2, 2, 2), 60, np.float32)
    scale(pixels, np.zeros((2, 2), bool), INPUT)
    assert (pixels == 60).all()


def ramp(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """A network that is blind to no flip: each pixel is weighted by its place."""
    rows, cols = np.mgrid[0 : images.shape[1], 0 : images.shape[2]].astype(np.float32)
    return images * rows[..., np.newaxis] + 10 * cols[..., np.newaxis]


def test_augmentation_is_the_mean_over_the_four_flips() -> None:
    images = np.random.default_rng(3).normal(size=(2, 5, 4, 3)).astype(np.float32)
    expected = np.zeros_like(images)
    for rows in (slice(None), slice(None, None, -1)):
        for cols in (slice(None), slice(None, None, -1)):
            expected += ramp(images[:, rows, cols])[:, rows, cols] / 4
    np.testing.assert_allclose(predict(images, ramp, flips=True), expected, rtol=1e-5, atol=1e-5)
    assert np.array_equal(predict(images, ramp), ramp(images))


def test_augmentation_hands_the_network_contiguous_arrays_and_calls_it_four_times() -> None:
    calls = []

    def network(images: NDArray[np.float32]) -> NDArray[np.float32]:
        calls.append(images.flags["C_CONTIGUOUS"])
        return images

    predict(np.zeros((1, 4, 4, 1), np.float32), network, flips=True)
    assert calls == [True] * 4


def test_the_identity_calibration_changes_not_a_bit() -> None:
    p = np.random.default_rng(0).random((5, 6, 2), np.float32)
    assert np.array_equal(calibrate(p, [Calibration(), Calibration()]), p)


def test_platt_scaling_by_hand() -> None:
    p = np.array([[0.5, 0.2], [0.9, 0.8]], np.float32)
    found = calibrate(p, [Calibration(2.0, 1.0), Calibration()])

    def platt(value: float) -> float:
        return 1 / (1 + math.exp(-(2 * math.log(value / (1 - value)) + 1)))

    np.testing.assert_allclose(found, [[platt(0.5), 0.2], [platt(0.9), 0.8]], atol=1e-6)


@given(st.floats(0, 1, width=32), st.floats(0.1, 5), st.floats(-5, 5))
def test_calibrated_probabilities_stay_probabilities(p: float, scale: float, offset: float) -> None:
    found = calibrate(np.array([[p]], np.float32), [Calibration(scale, offset)])
    assert 0 <= found[0, 0] <= 1
