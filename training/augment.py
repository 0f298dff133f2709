# SPDX-License-Identifier: GPL-2.0-or-later
"""Random crops with scale, turn, flip, colour, blur and noise. Masks by nearest, always.

Meant for sites never seen: colour and scale are what differ most between two drone flights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, cos, exp, log, radians, sin

import numpy as np
from PIL import Image, ImageFilter

from .datasets.aeroscapes import IGNORE

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in what the eye calls brightness (ITU-R BT.601)."""


@dataclass(frozen=True)
class Augmentation:
    """How strongly to vary a sample. Shares are probabilities, 0 to 1.

    Attributes
    ----------
    size : int
        Side of the crop, px.
    scale : tuple of float
        Range of the zoom; 0.5 shows the ground at half the resolution.
    scale_upright : tuple of float
        The same for frames with ``upright_value``: what is added by mirroring must stay small.
    rare : float
        Share of crops centred on a pixel of a class drawn evenly among the frame's.
    turn : float
        Share of crops turned by any angle and flipped both ways, in frames without
        ``upright_value``. The others lean by a few degrees and flip left to right.
    shadow : float
        Share of crops with patches in shade, in frames without ``upright_value``.
    upright_value : int
        The class whose place in the picture matters: sky.
    """

    size: int = 320
    scale: tuple[float, float] = (0.5, 2.0)
    scale_upright: tuple[float, float] = (0.8, 2.0)
    rare: float = 0.5
    turn: float = 0.5
    lean_degrees: float = 8.0
    upright_value: int = 6
    contrast: float = 0.35
    brightness: float = 0.2
    gamma: float = 0.3
    tint: float = 0.18
    saturation: float = 0.5
    grey: float = 0.08
    shadow: float = 0.25
    blur: float = 0.2
    noise: float = 0.2


VaryValues = Callable[[np.ndarray, Augmentation, np.random.Generator], np.ndarray]
"""Crop (S, S, B) float32 to one of other light and sharpness, of the data's own type."""


def augment(
    image: np.ndarray,
    mask: np.ndarray,
    how: Augmentation,
    rng: np.random.Generator,
    vary: VaryValues | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return one varied crop: image (S, S, B) and mask (S, S) uint8.

    Outside the frame, image and mask go on mirrored.

    Parameters
    ----------
    image : ndarray
        A photograph, (H, W, 3) uint8; with ``vary`` of any bands and type.
    vary : callable, optional
        What takes the place of a photograph's shadows and colours.
    """
    upright = bool((mask == how.upright_value).any())
    low, high = how.scale_upright if upright else how.scale
    zoom = exp(rng.uniform(log(low), log(high)))
    turned = not upright and rng.random() < how.turn
    angle = rng.uniform(0, 360) if turned else rng.normal(0, how.lean_degrees)
    flips = (rng.random() < 0.5, turned and rng.random() < 0.5)
    centre = _centre(mask, how, zoom, rng)
    image, mask = crop(image, mask, centre, zoom, angle, flips, how.size)
    if vary is not None:
        return vary(image, how, rng), mask
    if not upright and rng.random() < how.shadow:
        image = cast_shadow(image, rng)
    return vary_colour(image, how, rng), mask


def crop(
    image: np.ndarray,
    mask: np.ndarray,
    centre: tuple[float, float],
    zoom: float,
    angle: float,
    flips: tuple[bool, bool],
    size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the square of ``size`` px around ``centre`` (row, col), zoomed, turned, flipped.

    A photograph, (H, W, 3) uint8, stays one; any other image (H, W, B) becomes float32.
    """
    image, mask, centre = _mirrored(image, mask, centre, size / zoom)
    cosine, sine = cos(radians(angle)) / zoom, sin(radians(angle)) / zoom
    left_right, up_down = (-1 if flip else 1 for flip in flips)
    # Maps a crop's (x, y) to the frame's: turn and flip about the crop's centre.
    a, b = cosine * left_right, -sine * up_down
    d, e = sine * left_right, cosine * up_down
    half = size / 2
    matrix = (a, b, centre[1] - (a + b) * half, d, e, centre[0] - (d + e) * half)
    affine, shape = Image.Transform.AFFINE, (size, size)
    labels = Image.fromarray(mask).transform(shape, affine, matrix, Image.Resampling.NEAREST)
    coarse = zoom < 0.7  # bilinear alone would alias
    if coarse:
        matrix = tuple(value / 2 for value in matrix)

    def sampled(plane: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(plane)
        picture = picture.reduce(2) if coarse else picture
        return np.asarray(picture.transform(shape, affine, matrix, Image.Resampling.BILINEAR))

    if image.dtype == np.uint8 and image.shape[-1] == 3:
        return sampled(image), np.asarray(labels)
    planes = np.ascontiguousarray(np.moveaxis(image, -1, 0), np.float32)
    return np.stack([sampled(plane) for plane in planes], axis=-1), np.asarray(labels)


def _mirrored(
    image: np.ndarray, mask: np.ndarray, centre: tuple[float, float], side: float
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Cut out, or mirror on, all that a square of `side` px may see however it is turned."""
    reach = ceil(side / 2 * 2**0.5) + 4
    pads, cuts, at = [], [], []
    for middle, length in zip(centre, mask.shape, strict=True):
        start, stop = int(middle) - reach, int(middle) + reach
        pads.append((max(0, -start), max(0, stop - length)))
        cuts.append(slice(max(0, start), min(length, stop)))
        at.append(middle - start)
    image = np.pad(image[tuple(cuts)], (*pads, (0, 0)), mode="symmetric")
    return image, np.pad(mask[tuple(cuts)], pads, mode="symmetric"), (at[0], at[1])


def cast_shadow(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the image with random patches in shade, which keep some of the sky's blue.

    Without it, deep shadows of trees on grass were taken for asphalt.
    """
    height, width = image.shape[:2]
    cells = int(rng.integers(3, 14))
    noise = Image.fromarray(rng.uniform(0, 255, (cells, cells)).astype(np.uint8))
    field = np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255
    softness = rng.uniform(0.01, 0.08)
    shade = np.clip((field - rng.uniform(0.45, 0.7)) / softness, 0, 1)[..., None]
    light = rng.uniform(0.2, 0.65) * np.array([1.0, 1.05, rng.uniform(1.1, 1.5)], np.float32)
    return np.clip(image * (1 - shade * (1 - light)), 0, 255).astype(np.uint8)


def vary_colour(image: np.ndarray, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Return image (H, W, 3) uint8 with other light, tint, saturation, sharpness and grain."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    gain = exp(rng.uniform(-how.contrast, how.contrast))
    gains = gain * np.exp(rng.uniform(-how.tint, how.tint, 3))
    light = rng.uniform(-how.brightness, how.brightness)
    curve = ramp ** exp(rng.uniform(-how.gamma, how.gamma))
    table = np.float32(np.clip((curve - 0.5) * gains + 0.5 + light, 0, 1) * 255)
    keep = 0.0 if rng.random() < how.grey else 1 + rng.uniform(-how.saturation, how.saturation)
    grain = None
    if rng.random() < how.noise:
        strength = np.float32(rng.uniform(2, 12))
        grain = strength * rng.standard_normal(image.shape, np.float32)
    # Plane by plane and in place: half the time of whole images, and batches wait for it.
    planes = [np.take(table[:, band], image[..., band]) for band in range(3)]
    grey = sum(np.float32(share) * p for share, p in zip(LUMA, planes, strict=True))
    varied = np.empty(image.shape, np.uint8)
    for band, plane in enumerate(planes):
        plane *= np.float32(keep)
        plane += np.float32(1 - keep) * grey
        if grain is not None:
            plane += grain[..., band]
        varied[..., band] = np.clip(plane, 0, 255, out=plane)
    if rng.random() < how.blur:
        blur = ImageFilter.GaussianBlur(rng.uniform(0.4, 1.8))
        varied = np.asarray(Image.fromarray(varied).filter(blur))
    return varied


def _centre(
    mask: np.ndarray, how: Augmentation, zoom: float, rng: np.random.Generator
) -> tuple[float, float]:
    height, width = mask.shape
    row, col = rng.uniform(0, height), rng.uniform(0, width)
    if rng.random() < how.rare:
        # A coarse grid of the mask is enough to aim with, and ten times quicker.
        values = np.unique(mask[::4, ::4])
        values = values[(values > 0) & (values != IGNORE)]
        if values.size:
            rows, cols = np.nonzero(mask[::4, ::4] == rng.choice(values))
            pick = rng.integers(rows.size)
            row, col = rows[pick] * 4.0, cols[pick] * 4.0
    half = how.size / 2 / zoom
    return _inside(row, half, height), _inside(col, half, width)


def _inside(centre: float, half: float, length: int) -> float:
    if 2 * half >= length:
        return length / 2
    return min(max(centre, half), length - half)
