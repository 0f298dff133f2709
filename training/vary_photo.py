# SPDX-License-Identifier: GPL-2.0-or-later
"""Other light, colour and sharpness for crops of photographs, as cameras and the air make them.

Light is a factor: a cast, an exposure or a shadow multiplies dark and bright pixels alike, and
only haze adds to them.
"""

from __future__ import annotations

import io
from math import exp, log
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from .augment import Augmentation

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in what the eye calls brightness (ITU-R BT.601)."""
GREEN_CAST = 0.3
"""Width of the casts of green, in those of red and blue: daylight varies from amber to blue."""
METER = (0.15, 0.7)
"""Least and greatest mean that another exposure leads to, 0 to 1."""
HAZE_DEPTH = (0.05, 0.45)
JPEG_QUALITY = (30, 95)
BLUR_SIGMA = (0.4, 1.8)
GRAIN = (2.0, 12.0)
"""Least and greatest standard deviation of the noise, in 255ths."""


def vary_photo(image: np.ndarray, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Return crop (H, W, 3) uint8 in other light, colours and sharpness; ``how.plain`` of them not.

    Everything is done by Pillow on bytes: batches wait for it.
    """
    if rng.random() < how.plain:
        return image
    picture = Image.fromarray(image)
    if not how.upright and rng.random() < how.shadow:
        picture = cast_shadow(picture, rng)
    keep = 1 + rng.uniform(-how.saturation, how.saturation)
    picture = Image.blend(picture.convert("L").convert("RGB"), picture, keep)
    curve = white_balance(how, float(image[::8, ::8].mean()) / 255, rng)
    picture = through(picture, tone(haze(curve, how, rng), how, rng) * 255)
    if rng.random() < how.grey:
        picture = picture.convert("L").convert("RGB")
    picture = sharpness(picture, how, rng)
    if rng.random() < how.noise:
        picture = grain(picture, rng.uniform(*GRAIN), rng)
    if rng.random() < how.jpeg:
        picture = recompressed(picture, int(rng.integers(*JPEG_QUALITY, endpoint=True)))
    return np.asarray(picture)


def through(picture: Image.Image, curve: np.ndarray) -> Image.Image:
    """Return a photograph with each band's values replaced by those of a curve (256, 3)."""
    return picture.point(np.rint(curve).astype(int).T.ravel().tolist())


def white_balance(how: Augmentation, light: float, rng: np.random.Generator) -> np.ndarray:
    """Return values 0 to 1, (256, 3), in another cast and exposure: each band times its gain.

    Parameters
    ----------
    light : float
        Mean of the photograph, 0 to 1. A camera's meter leaves it within `METER`, or where it is.
    """
    even = rng.uniform(-1, 1, 3)
    # Slight casts are more frequent than strong ones: a seventh is beyond four fifths of the range.
    casts = how.cast * np.copysign(np.abs(even) ** 1.5, even)
    gains = np.exp(casts * (1, GREEN_CAST, 1))
    darkest, brightest = (log(limit / max(light, 1 / 255)) for limit in METER)
    exposure = rng.uniform(
        max(-how.exposure, min(0, darkest)), min(how.exposure, max(0, brightest))
    )
    gains *= exp(exposure) / (gains @ LUMA)
    return np.clip(np.linspace(0, 1, 256)[:, None] * gains, 0, 1)


def haze(curve: np.ndarray, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Return values (256, 3) seen through air that is lit grey to bluish."""
    colour = rng.uniform(0.55, 0.95) * np.array([rng.uniform(0.8, 1), rng.uniform(0.9, 1), 1])
    depth = rng.uniform(*HAZE_DEPTH) if rng.random() < how.haze else 0.0
    return curve * (1 - depth) + depth * colour


def tone(curve: np.ndarray, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Return values (256, 3), 0 to 1, with another contrast and gamma, the same for all bands."""
    contrast = exp(rng.uniform(-how.contrast, how.contrast))
    curve = np.clip((curve - 0.5) * contrast + 0.5, 0, 1)
    return curve ** exp(rng.uniform(-how.gamma, how.gamma))


def cast_shadow(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a photograph with random patches in shade, which keep some of the sky's blue.

    Without it, deep shadows of trees on grass were taken for asphalt.
    """
    cells = int(rng.integers(3, 14))
    noise = Image.fromarray(rng.uniform(0, 255, (cells, cells)).astype(np.uint8))
    field = noise.resize(picture.size, Image.Resampling.BICUBIC)
    edge, softness = rng.uniform(0.45, 0.7), rng.uniform(0.01, 0.08)
    shade = np.clip((np.linspace(0, 1, 256) - edge) / softness, 0, 1) * 255
    light = rng.uniform(0.2, 0.65) * np.array([1.0, 1.05, rng.uniform(1.1, 1.5)])
    dark = through(picture, np.arange(256)[:, None] * light)
    return Image.composite(dark, picture, field.point(np.rint(shade).astype(int).tolist()))


def sharpness(picture: Image.Image, how: Augmentation, rng: np.random.Generator) -> Image.Image:
    """Return a photograph blurred, sharpened or as it is."""
    chance, strength = rng.random(), rng.random()
    if chance < how.blur:
        low, high = BLUR_SIGMA
        return picture.filter(ImageFilter.GaussianBlur(low + strength * (high - low)))
    if chance < how.blur + how.sharpen:
        return Image.blend(picture.filter(ImageFilter.SMOOTH), picture, 1.3 + 1.7 * strength)
    return picture


def grain(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Return a photograph with noise of a standard deviation of ``strength`` in 255ths."""
    pixels = np.asarray(picture)
    # The sum of two even bytes is nearly normal, and five times quicker than a normal number.
    noise = np.frombuffer(rng.bytes(2 * pixels.size), np.uint8).reshape(2, *pixels.shape)
    varied = noise[0].astype(np.float32)
    varied += noise[1]
    varied -= 255
    varied *= np.float32(strength / (256 / 6**0.5))
    varied += pixels
    return Image.fromarray(np.clip(varied, 0, 255, out=varied).astype(np.uint8))


def recompressed(picture: Image.Image, quality: int) -> Image.Image:
    """Return a photograph as JPEG of that quality keeps it."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")
