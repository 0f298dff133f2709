# SPDX-License-Identifier: GPL-2.0-or-later
"""Crops of images of any bands and type: turned as photographs are, varied by their spread."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.augment import Augmentation, augment
from training.dataset import Scaling
from training.vary_bands import VaryBands, random_crop

HOW = Augmentation(size=64)
STILL = replace(
    HOW,
    plain=0.0,
    contrast=0.0,
    exposure=0.0,
    cast=0.0,
    haze=0.0,
    noise=0.0,
    blur=0.0,
    sharpen=0.0,
)
TYPES = {"uint8": (0, 255), "uint16": (0, 4095), "float32": (-30.0, 10.0)}


def _frame(bands: int, data_type: str) -> tuple[np.ndarray, np.ndarray, VaryBands]:
    """Image (90, 120, B) whose values tell the class of the mask, and what varies it."""
    low, high = TYPES[data_type]
    mask = np.repeat(np.repeat(np.array([[1, 3, 5]], np.uint8), 40, axis=1), 90, axis=0)
    mask[:45] = np.roll(mask[:45], 40, axis=1)
    shares = mask[..., None] / 6 * np.linspace(1, 0.5, bands)
    image = (low + shares * (high - low)).astype(data_type)
    pixels = image.reshape(-1, bands).astype(np.float64)
    scaling = Scaling(tuple(pixels.mean(axis=0)), tuple(pixels.std(axis=0)))
    return image, mask, VaryBands(scaling, (low, high), data_type)


@pytest.mark.parametrize(
    ("bands", "data_type"),
    [(bands, kind) for bands in (1, 3, 4, 5) for kind in TYPES if (bands, kind) != (3, "uint8")],
)
def test_crops_keep_bands_type_range_and_classes(bands, data_type):
    image, mask, vary = _frame(bands, data_type)
    rng, crops = np.random.default_rng(0), []
    for _ in range(50):
        crop, labels = augment(image, mask, HOW, rng, vary)
        assert crop.shape == (64, 64, bands)
        assert crop.dtype == np.dtype(data_type)
        assert crop.min() >= TYPES[data_type][0]
        assert crop.max() <= TYPES[data_type][1]
        assert labels.dtype == np.uint8
        assert set(np.unique(labels)) <= {1, 3, 5, 255}
        crops.append(crop.astype(np.float64).mean())
    assert np.std(crops) > 0.1 * image.std(), "light and contrast differ from crop to crop"


def test_image_and_mask_are_turned_and_zoomed_alike():
    image, mask, vary = _frame(4, "uint16")
    value_of = {k: image[mask == k][0].astype(float) for k in (1, 3, 5)}
    rng, turned = np.random.default_rng(1), 0
    for _ in range(30):
        crop, labels = augment(image, mask, STILL, rng, vary)
        known = labels != 255
        values = np.stack([value_of[k] for k in (1, 3, 5)])
        expected = values[np.searchsorted([1, 3, 5], labels[known])]
        assert (np.abs(crop[known] - expected).max(axis=-1) <= 1).mean() > 0.8  # but the borders
        corners = {labels[0, 0], labels[0, -1], labels[-1, 0], labels[-1, -1]}
        turned += len(corners) > 1 and not (labels == labels[0]).all()
    assert turned > 10


def test_the_same_seed_gives_the_same_crop_and_another_one_another():
    image, mask, vary = _frame(5, "float32")
    first, again, other = (
        augment(image, mask, HOW, np.random.default_rng(seed), vary)[0] for seed in (5, 5, 6)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def _lit(bands: int, data_type: str, light: dict, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the factor and the shift of each class's values, (3, B), by another light."""
    image, mask, vary = _frame(bands, data_type)
    low, high = TYPES[data_type]
    image = image + (high - low) / 100  # no zero, which stays what it is
    changed = replace(vary, value_range=(min(low, 0) * 1e6, 1e6))
    changed = replace(changed, data_type="float64")
    how = replace(STILL, scale=(1.0, 1.0), turn=0.0, lean_degrees=0.0, **light)
    crop, labels = augment(image, mask, how, np.random.default_rng(seed), changed)
    before, after = (
        np.array([pixels[values == k].mean(axis=0) for k in (1, 3, 5) if (labels == k).any()])
        for pixels, values in ((image, mask), (crop, labels))
    )
    return after / before, (after - before) / vary.scaling.stddev


@pytest.mark.parametrize("light", [{"exposure": 0.4}, {"cast": 0.42}])
def test_a_gain_multiplies_dark_and_bright_values_alike_where_zero_is_black(light):
    for seed in range(10):
        factors, _shift = _lit(4, "uint16", light, seed)
        assert np.allclose(factors, factors[0], rtol=1e-3)
        assert (np.ptp(factors[0]) > 0.01) == ("cast" in light), "each band on its own, or all"
        assert 0.6 < factors.min() <= factors.max() < 1.6


def test_haze_adds_the_same_light_to_dark_and_bright_values():
    for seed in range(10):
        _factor, shift = _lit(4, "uint16", {"haze": 1.0}, seed)
        assert np.allclose(shift, shift[0, 0], atol=1e-3)
        assert 0.1 <= shift[0, 0] <= 1.0


def test_values_that_can_be_negative_are_shifted_in_units_of_each_band_s_spread():
    for seed in range(10):
        _factor, shift = _lit(4, "float32", {"exposure": 0.4, "cast": 0.42}, seed)
        assert np.allclose(shift, shift[0], atol=1e-3), "dark and bright alike"
        assert 0 < np.abs(shift).max() <= 0.82


def test_a_band_that_varies_little_about_a_large_mean_is_not_thrown_far():
    heights = np.random.default_rng(0).normal(2000, 20, (80, 80, 1)).astype(np.float32)
    vary = VaryBands(Scaling((2000.0,), (20.0,)), (0.0, 5000.0), "float32")
    for seed in range(20):
        crop = vary(heights, replace(HOW, plain=0.0), np.random.default_rng(seed))
        assert abs(crop.mean() - 2000) < 3 * 20


def test_a_plain_crop_of_other_bands_keeps_its_values_and_type():
    image, _mask, vary = _frame(4, "uint16")
    how = replace(HOW, plain=1.0)
    kept = vary(image.astype(np.float32), how, np.random.default_rng(0))
    assert np.array_equal(kept, image)
    assert kept.dtype == np.uint16


def test_a_plain_crop_is_a_window_and_what_is_missing_is_ignored():
    image, mask, _vary = _frame(5, "uint16")
    crop, labels = random_crop(image, mask, 32, np.random.default_rng(0))
    assert crop.shape == (32, 32, 5)
    values = {k: image[mask == k][0] for k in (1, 3, 5)}
    assert all((crop[labels == k] == values[k]).all() for k in np.unique(labels))
    crop, labels = random_crop(image, mask, 128, np.random.default_rng(0))
    assert (labels[90:] == 255).all()
    assert (labels[:, 120:] == 255).all()
    assert np.array_equal(crop[:90, :120], image)
