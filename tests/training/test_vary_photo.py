# SPDX-License-Identifier: GPL-2.0-or-later
"""Casts, haze and the rest, as cameras and the air make them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from training.augment import Augmentation
from training.vary_photo import (
    cast_shadow,
    haze,
    recompressed,
    sharpness,
    vary_photo,
    white_balance,
)

HOW = Augmentation(size=64)
NEVER = {
    "plain": 0.0, "exposure": 0.0, "cast": 0.0, "contrast": 0.0, "gamma": 0.0, "saturation": 0.0,
    "grey": 0.0, "haze": 0.0, "shadow": 0.0, "blur": 0.0, "sharpen": 0.0, "noise": 0.0, "jpeg": 0.0,
}  # fmt: skip
STILL = replace(HOW, **NEVER)


def _two_halves(dark: int = 40, bright: int = 150) -> np.ndarray:
    image = np.full((64, 64, 3), dark, np.uint8)
    image[:, 32:] = bright
    return image


def _noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)


def test_gains_change_dark_and_bright_pixels_the_same_way():
    image, changes = _two_halves(), []
    for seed in range(200):
        varied = vary_photo(image, HOW, np.random.default_rng(seed)).astype(float)
        halves = np.log(varied[:, :28].mean((0, 1)) + 1), np.log(varied[:, 36:].mean((0, 1)) + 1)
        changes.append([(half[0] - half[1], half[2] - half[1]) for half in halves])
    dark, bright = np.moveaxis(np.array(changes), 1, 0)
    for band in (0, 1):
        assert np.corrcoef(dark[:, band], bright[:, band])[0, 1] > 0.7


@pytest.mark.parametrize("change", [{"cast": 0.42}, {"exposure": 0.4}])
def test_casts_and_exposure_multiply_every_value_of_a_band(change):
    how = replace(STILL, **change)
    for seed in range(20):
        varied = vary_photo(_two_halves(), how, np.random.default_rng(seed)).astype(float)
        assert np.allclose(varied[0, 0] / 40, varied[0, 63] / 150, atol=0.02)


def test_red_and_blue_are_cast_apart_from_each_other_as_far_as_cameras_do():
    gains = np.array([
        white_balance(replace(HOW, exposure=0), 0.4, np.random.default_rng(seed))[100] / (100 / 255)
        for seed in range(3000)
    ])  # fmt: skip
    red, blue = gains[:, 0] / gains[:, 1], gains[:, 2] / gains[:, 1]
    for ratio in (red, blue):
        assert 0.55 < ratio.min() < 0.66
        assert 1.5 < ratio.max() < 1.8
        assert 0.1 < ((ratio < 0.8) | (ratio > 1.25)).mean() < 0.6, "strong ones are the fewer"
    assert abs(np.corrcoef(np.log(red), np.log(blue))[0, 1]) < 0.2


def test_no_exposure_blinds_a_bright_photograph_or_drowns_a_dark_one():
    for light in (0.1, 0.9):
        factors = [
            white_balance(replace(STILL, exposure=0.4), light, np.random.default_rng(seed))[50, 1]
            / (50 / 255)
            for seed in range(100)
        ]
        assert (min(factors) > 0.999) if light == 0.1 else (max(factors) < 1.001)


def test_haze_brightens_dark_pixels_towards_its_colour_which_is_grey_to_blue():
    ramp = np.linspace(0, 1, 256)[:, None].repeat(3, axis=1)
    for seed in range(50):
        curve = haze(ramp, replace(HOW, haze=1.0), np.random.default_rng(seed))
        depth = 1 - (curve[255] - curve[0])
        assert np.allclose(depth, depth[0])
        colour = curve[0] / depth
        assert 0.05 <= depth[0] <= 0.45
        assert (colour > 0.4).all()
        assert colour[2] >= colour[1]
        assert colour[2] >= colour[0]


def test_a_fifth_of_the_crops_stays_as_it_is():
    image = _noise()
    same = [
        np.array_equal(vary_photo(image, HOW, np.random.default_rng(seed)), image)
        for seed in range(300)
    ]
    assert 0.14 < np.mean(same) < 0.28


def test_colour_varies_and_the_input_stays():
    image = _noise()
    kept = image.copy()
    how = replace(HOW, plain=0.0)
    varied = [vary_photo(image, how, np.random.default_rng(seed)) for seed in range(4)]
    assert np.array_equal(image, kept)
    assert len({picture.tobytes() for picture in varied}) == 4


@pytest.mark.parametrize("name", [name for name in NEVER if name != "plain"])
def test_each_change_keeps_shape_and_type_and_comes_again_with_the_same_seed(name):
    image, how = _noise(), replace(STILL, **{name: 0.4 if name in ("exposure", "cast") else 1.0})
    one, same = (vary_photo(image, how, np.random.default_rng(3)) for _ in range(2))
    assert (one.shape, one.dtype) == (image.shape, np.uint8)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, image)
    assert np.array_equal(vary_photo(image, STILL, np.random.default_rng(3)), image)


def test_upright_frames_get_no_shadows():
    how = replace(STILL, shadow=1.0, upright=True)
    assert np.array_equal(vary_photo(_noise(), how, np.random.default_rng(0)), _noise())


def test_blur_takes_contrast_from_edges_and_sharpening_adds_it():
    edge = Image.fromarray(_two_halves())
    steps = {
        name: np.diff(
            np.asarray(sharpness(edge, replace(STILL, **{name: 1.0}), rng))[9, :, 0].astype(int)
        )
        for name in ("blur", "sharpen")
        for rng in [np.random.default_rng(1)]
    }
    assert steps["blur"].max() < 110 < steps["sharpen"].max()


def test_a_lower_quality_changes_more():
    picture = Image.fromarray(_noise())
    change = [
        np.abs(np.asarray(recompressed(picture, quality)).astype(int) - _noise()).mean()
        for quality in (30, 95)
    ]
    assert change[0] > change[1] > 0


def test_a_shadow_darkens_patches_and_leaves_the_rest_as_it_is():
    image = Image.fromarray(np.full((64, 64, 3), 200, np.uint8))
    for seed in range(8):
        shaded = np.asarray(cast_shadow(image, np.random.default_rng(seed)))
        assert (shaded <= 200).all()
        lit = (shaded == 200).all(axis=-1).mean()
        assert 0.02 < lit < 1.0
        assert shaded.min() < 200 * 0.8
        dark = shaded[shaded[..., 0] == shaded[..., 0].min()][0].astype(int)
        assert dark[2] > dark[0], "bluish"
