# SPDX-License-Identifier: GPL-2.0-or-later
"""Crops of images of any bands and type: turned as photographs are, varied by their spread."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from training.augment import Augmentation, augment
from training.dataset import Scaling
from training.vary_bands import VaryBands, random_crop

HOW = Augmentation(size=64)
STILL = replace(HOW, contrast=0.0, brightness=0.0, tint=0.0, noise=0.0, blur=0.0)
MEANS = [182.22, 137.12, 144.19, 130.01]
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
        assert set(np.unique(labels)) <= {1, 3, 5}
        crops.append(crop.astype(np.float64).mean())
    assert np.std(crops) > 0.1 * image.std(), "light and contrast differ from crop to crop"


def test_image_and_mask_are_turned_and_zoomed_alike():
    image, mask, vary = _frame(4, "uint16")
    value_of = {k: image[mask == k][0].astype(float) for k in (1, 3, 5)}
    rng, turned = np.random.default_rng(1), 0
    for _ in range(30):
        crop, labels = augment(image, mask, STILL, rng, vary)
        expected = np.stack([value_of[k] for k in (1, 3, 5)])[np.searchsorted([1, 3, 5], labels)]
        assert (np.abs(crop - expected).max(axis=-1) <= 1).mean() > 0.8  # all but the borders
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


def test_light_is_varied_in_units_of_each_band_s_spread():
    image, mask, vary = _frame(4, "uint16")
    only_light = replace(STILL, brightness=0.2, scale=(1.0, 1.0), turn=0.0, lean_degrees=0.0)
    wide = replace(vary, value_range=(-1e6, 1e6), data_type="float32")
    crop, labels = augment(image, mask, only_light, np.random.default_rng(2), wide)
    shift = (crop[labels == 3] - image[mask == 3][0]).mean(axis=0) / vary.scaling.stddev
    assert np.ptp(shift) < 1e-3
    assert 0.01 < abs(shift[0]) <= 0.8


def test_crops_of_photographs_are_what_they_were():
    """So that a training of photographs can be repeated."""
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (90, 120, 3)).astype(np.uint8)
    mask = rng.integers(0, 7, (90, 120)).astype(np.uint8)
    found, means = hashlib.sha256(), []
    for seed in range(20):
        crop, labels = augment(image, mask, HOW, np.random.default_rng(seed))
        found.update(labels.tobytes())
        means.append(crop.mean())
    assert found.digest()[:4] == bytes([29, 37, 44, 113])
    assert np.allclose(means[:4], MEANS, atol=0.5)


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
