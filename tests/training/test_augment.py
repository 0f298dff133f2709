# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from training.augment import Augmentation, augment, cast_shadow, crop, vary_colour

HOW = Augmentation(size=64)


def _frame(values=(1, 3, 5), height=90, width=120):
    mask = np.repeat(np.array(values, np.uint8), height // len(values))[:, None]
    mask = np.repeat(mask, width, axis=1)
    return np.repeat(mask[..., None] * 40, 3, axis=-1).astype(np.uint8), mask


def test_a_thousand_crops_invent_no_class():
    image, mask = _frame()
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(1000):
        _crop, labels = augment(image, mask, HOW, rng)
        seen |= set(np.unique(labels).tolist())
    assert seen == {1, 3, 5}, "between 1 and 5 lie 2 and 4: only nearest keeps them out"


def test_crops_have_the_size_and_type_asked_for():
    image, labels = augment(*_frame(), HOW, np.random.default_rng(1))
    assert image.shape == (64, 64, 3)
    assert labels.shape == (64, 64)
    assert image.dtype == labels.dtype == np.uint8


def test_the_same_seed_gives_the_same_crop():
    first, second = (augment(*_frame(), HOW, np.random.default_rng(5)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_an_unturned_crop_at_scale_one_is_the_frames_own_window():
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (90, 120, 3)).astype(np.uint8)
    mask = rng.integers(0, 7, (90, 120)).astype(np.uint8)
    got, labels = crop(image, mask, (50, 60), 1.0, 0.0, (False, False), 32)
    assert np.array_equal(labels, mask[34:66, 44:76])
    assert np.array_equal(got, image[34:66, 44:76])


@pytest.mark.parametrize(
    ("flips", "turned"),
    [((True, False), np.fliplr), ((False, True), np.flipud)],
)
def test_flips_turn_image_and_mask_alike(flips, turned):
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (90, 120, 3)).astype(np.uint8)
    mask = rng.integers(0, 7, (90, 120)).astype(np.uint8)
    got, labels = crop(image, mask, (50, 60), 1.0, 0.0, flips, 32)
    assert np.array_equal(labels, turned(mask[34:66, 44:76]))
    assert np.array_equal(got, turned(image[34:66, 44:76]))


def test_image_and_mask_stay_aligned_however_they_are_turned_and_scaled():
    image, mask = _frame()
    rng = np.random.default_rng(4)
    for _ in range(50):
        zoom, angle = rng.uniform(0.3, 2), rng.uniform(0, 360)
        got, labels = crop(image, mask, (45, 60), zoom, angle, (True, True), 64)
        near = np.abs(got[..., 0].astype(int) - labels.astype(int) * 40) <= 40
        assert near.mean() > 0.97, (zoom, angle)


def test_outside_the_frame_it_goes_on_mirrored():
    mask = np.arange(1, 5, dtype=np.uint8).repeat(8)[None].repeat(32, axis=0)
    image = np.repeat(mask[..., None], 3, axis=-1)
    _got, labels = crop(image, mask, (16, 0), 1.0, 0.0, (False, False), 16)
    assert np.array_equal(labels[:, 8:], mask[8:24, :8])
    assert np.array_equal(labels[:, :8], mask[8:24, :8][:, ::-1])


def test_frames_with_sky_are_never_turned_upside_down():
    image, mask = _frame((6, 1))
    rng = np.random.default_rng(6)
    for _ in range(200):
        _got, labels = augment(image, mask, Augmentation(size=64, scale_upright=(0.9, 1.1)), rng)
        rows, _cols = np.nonzero(labels == 6)
        if 0 < rows.size < labels.size:
            assert rows.mean() < np.nonzero(labels == 1)[0].mean()


def test_colour_varies_and_the_input_stays():
    image, _mask = _frame()
    kept = image.copy()
    varied = [vary_colour(image, HOW, np.random.default_rng(seed)) for seed in range(4)]
    assert np.array_equal(image, kept)
    assert len({picture.tobytes() for picture in varied}) == 4


def test_a_shadow_darkens_patches_and_leaves_the_rest_as_it_is():
    image = np.full((64, 64, 3), 200, np.uint8)
    for seed in range(8):
        shaded = cast_shadow(image, np.random.default_rng(seed))
        assert (shaded <= 200).all()
        lit = (shaded == 200).all(axis=-1).mean()
        assert 0.02 < lit < 1.0
        assert shaded.min() < 200 * 0.8
