# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from math import cos, radians, sin

import numpy as np
import pytest
from PIL import Image

from training.crop import crop, extent
from training.framing import halved

STILL = (False, False)
FINE = 16
"""Samples along the side of a pixel of an exact area average."""


def _noise(bands: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (90, 120, bands)).astype(np.uint8)
    return image, rng.integers(0, 7, (90, 120)).astype(np.uint8)


def _scene(side: int = 480) -> np.ndarray:
    """Patches, edges and grain of all sizes, as a photograph has them, (H, W, 3) uint8."""
    rng, scene = np.random.default_rng(7), np.zeros((side, side))
    for cells in (6, 15, 40, 120, 240, 480):
        noise = Image.fromarray(rng.normal(0, cells**-0.35, (cells, cells)).astype(np.float32))
        scene += np.asarray(noise.resize((side, side), Image.Resampling.BICUBIC))
    scene = np.clip(128 + 60 * scene / scene.std(), 0, 255).astype(np.uint8)
    return np.repeat(scene[..., None], 3, axis=-1)


def _middle(image: np.ndarray, zoom: float, side: int) -> tuple[float, float]:
    """Return a place near the middle where an unturned crop begins at a corner of a pixel."""
    at = int(image.shape[0] / 2 - side / zoom / 2) + side / zoom / 2
    return at, at


def _area_average(image: np.ndarray, zoom: float, angle: float, side: int) -> np.ndarray:
    cosine, sine = cos(radians(angle)) / zoom, sin(radians(angle)) / zoom
    row, col = _middle(image, zoom, side)
    x, y = col - (cosine - sine) * side / 2, row - (sine + cosine) * side / 2
    matrix = (cosine / FINE, -sine / FINE, x, sine / FINE, cosine / FINE, y)
    many = Image.fromarray(image).transform(
        (side * FINE, side * FINE), Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST
    )
    return np.asarray(many.reduce(FINE))


def _fine_detail(image: np.ndarray) -> float:
    """Return the mean absolute Laplacian."""
    x = image[..., 0].astype(float)
    around = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    return float(np.abs(4 * x[1:-1, 1:-1] - around).mean())


@pytest.mark.parametrize("angle", [0, 10, 45])
@pytest.mark.parametrize("zoom", [0.25, 0.3, 0.37, 0.45, 0.5, 0.55, 0.6, 0.69, 0.8, 0.9, 0.95])
def test_fine_detail_is_that_of_an_area_average(zoom, angle):
    scene, side = _scene(), 80
    mask = np.zeros(scene.shape[:2], np.uint8)
    got, _labels = crop(scene, mask, _middle(scene, zoom, side), zoom, angle, STILL, (side, side))
    exact = _area_average(scene, zoom, angle, side)
    assert 0.75 < _fine_detail(got) / _fine_detail(exact) < 1.1
    assert np.abs(got.astype(int) - exact).mean() < 4, "and it is the same place"


@pytest.mark.parametrize("side", [32, 31])
def test_an_unturned_crop_at_zoom_one_is_the_frames_own_window(side):
    image, mask = _noise()
    got, labels = crop(image, mask, (50.7, 60.6), 1.0, 0.0, STILL, (side, side))
    window = (
        slice(50 - side // 2, 50 - side // 2 + side),
        slice(60 - side // 2, 60 + side - side // 2),
    )
    assert np.array_equal(labels, mask[window])
    assert np.array_equal(got, image[window])


def test_an_unturned_crop_at_zoom_one_half_is_what_a_network_with_reduction_two_sees():
    image, mask = _noise()
    got, labels = crop(image, mask, (50, 60), 0.5, 0.0, STILL, (32, 32))
    assert np.abs(got - halved(image)[9:41, 14:46]).max() <= 0.5
    assert set(np.unique(labels)) <= set(np.unique(mask))


@pytest.mark.parametrize("bands", [3, 5])
@pytest.mark.parametrize(
    ("flips", "angle", "turned"),
    [
        ((True, False), 0, np.fliplr),
        ((False, True), 0, np.flipud),
        (STILL, 90, lambda pixels: np.rot90(pixels, 1)),
        (STILL, 180, lambda pixels: np.rot90(pixels, 2)),
        (STILL, 270, lambda pixels: np.rot90(pixels, 3)),
    ],
)
def test_flips_and_quarter_turns_keep_every_pixel_of_image_and_mask(bands, flips, angle, turned):
    image, mask = _noise(bands)
    got, labels = crop(image, mask, (50, 60), 1.0, angle, flips, (32, 32))
    assert np.array_equal(labels, turned(mask[34:66, 44:76]))
    assert np.array_equal(got, turned(image[34:66, 44:76]))


def test_image_and_mask_stay_aligned_however_they_are_turned_and_scaled():
    mask = np.repeat(np.repeat(np.array([[1], [3], [5]], np.uint8), 30, axis=0), 120, axis=1)
    image = np.repeat(mask[..., None] * 40, 3, axis=-1).astype(np.uint8)
    rng = np.random.default_rng(4)
    for _ in range(50):
        zoom, angle = rng.uniform(0.3, 2), rng.uniform(0, 360)
        got, labels = crop(image, mask, (45, 60), zoom, angle, (True, True), (64, 48))
        assert labels.shape == (64, 48)
        near = np.abs(got[..., 0].astype(int) - labels.astype(int) * 40) <= 40
        assert near[labels != 255].mean() > 0.97, (zoom, angle)


def test_outside_the_frame_the_image_goes_on_mirrored_and_nothing_is_learned():
    columns = np.arange(1, 33, dtype=np.uint8)[None].repeat(32, axis=0)
    image = np.repeat(columns[..., None], 3, axis=-1)
    got, labels = crop(image, columns, (16, 0), 1.0, 0.0, STILL, (16, 16))
    assert np.array_equal(labels[:, 8:], columns[8:24, :8])
    assert (labels[:, :8] == 255).all()
    assert np.array_equal(got[:, :8], got[:, 8:][:, ::-1])


def test_the_box_of_a_turned_crop_holds_its_corners():
    assert extent((30, 40), 1.0, 0) == pytest.approx((30, 40))
    assert extent((30, 40), 2.0, 90) == pytest.approx((20, 15))
    assert extent((40, 40), 0.5, 45) == pytest.approx((80 * 2**0.5, 80 * 2**0.5))
