# SPDX-License-Identifier: GPL-2.0-or-later
"""Random crops with scale, turn, flip, and the light and sharpness of other cameras.

Meant for sites never seen: colour and scale are what differ most between two flights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, exp, log

import numpy as np

from .crop import crop, extent
from .dataset import IGNORE
from .vary_photo import vary_photo

MOST_PIECES = 4
"""Pieces along a crop's side, at most: chips that are smaller still are zoomed in."""


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
        The same for upright frames: what lies outside them must stay small.
    rare : float
        Share of crops centred on a pixel of a value drawn evenly among the frame's.
    turn : float
        Share of crops turned by any angle and flipped both ways, where not ``upright``. The others
        lean by a few degrees and flip left to right.
    lean_degrees : float
        Standard deviation of the lean.
    upright : bool
        Whether the place in the picture matters, as with a sky: no turns, shadows or pieces.
    plain : float
        Share of crops whose light and sharpness stay as they are.
    exposure, cast, contrast, gamma : float
        Logarithm of the greatest factor or power; of ``cast`` that of red and blue, each on its
        own. 0.42 is x 0.66 to x 1.52.
    saturation : float
        Greatest change of the saturation, 1 being all of it.
    grey, haze, shadow, blur, sharpen, noise, jpeg : float
        Share of the other crops without colour, in haze, with patches in shade, blurred,
        sharpened, with noise, compressed once more.
    """

    size: int = 320
    scale: tuple[float, float] = (0.5, 2.0)
    scale_upright: tuple[float, float] = (0.8, 2.0)
    rare: float = 0.5
    turn: float = 0.5
    lean_degrees: float = 8.0
    upright: bool = False
    plain: float = 0.2
    exposure: float = 0.4
    cast: float = 0.42
    contrast: float = 0.25
    gamma: float = 0.3
    saturation: float = 0.5
    grey: float = 0.06
    haze: float = 0.25
    shadow: float = 0.25
    blur: float = 0.2
    sharpen: float = 0.2
    noise: float = 0.25
    jpeg: float = 0.3


VaryValues = Callable[[np.ndarray, Augmentation, np.random.Generator], np.ndarray]
"""Crop (S, S, B) to one of other light and sharpness, of the data's own type."""
Chip = tuple[np.ndarray, np.ndarray, Augmentation]
Another = Callable[[np.random.Generator], Chip]
"""Draws a chip of the same bands and type: image, mask, and how to vary it."""


def augment(
    image: np.ndarray,
    mask: np.ndarray,
    how: Augmentation,
    rng: np.random.Generator,
    vary: VaryValues = vary_photo,
    another: Another | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return one varied crop: image (S, S, B) and mask (S, S) uint8.

    Where the frame is smaller than the crop, the crop is made of pieces of several; without
    ``another`` it is zoomed in as far as ``how.scale`` allows. What is still outside a frame goes
    on mirrored in the image, and is "ignore" in the mask.

    Parameters
    ----------
    image : ndarray
        A photograph, (H, W, 3) uint8; with another ``vary`` of any bands and type.
    mask : ndarray, shape (H, W), dtype uint8
        Any values; 255 is "ignore".
    vary : callable
        Gives another light and sharpness.
    another : callable, optional
        Where pieces beside the first come from.
    """
    most = MOST_PIECES if another and not how.upright else 1
    low, high = how.scale_upright if how.upright else how.scale
    low = min(max(low, how.size / most / min(mask.shape)), high)
    zoom = exp(rng.uniform(log(low), log(high)))
    rows, cols = (_bounds(how.size, ceil(how.size / (side * zoom)), most) for side in mask.shape)
    pieces: list[list[tuple[np.ndarray, np.ndarray]]] = []
    chip: Chip = image, mask, how
    for top, bottom in zip(rows, rows[1:], strict=False):
        pieces.append([])
        for left, right in zip(cols, cols[1:], strict=False):
            if another and (top or left):
                chip = another(rng)
            pieces[-1].append(_piece(*chip, zoom, (bottom - top, right - left), rng))
    crops, masks = ([[piece[k] for piece in row] for row in pieces] for k in (0, 1))
    return vary(_joined(crops), how, rng), _joined(masks)


def _joined(pieces: list[list[np.ndarray]]) -> np.ndarray:
    rows = [row[0] if len(row) == 1 else np.concatenate(row, axis=1) for row in pieces]
    return rows[0] if len(rows) == 1 else np.concatenate(rows)


def _bounds(size: int, pieces: int, most: int) -> list[int]:
    pieces = min(pieces, most)
    return [size * number // pieces for number in range(pieces + 1)]


def _piece(
    image: np.ndarray,
    mask: np.ndarray,
    how: Augmentation,
    zoom: float,
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return a random crop of one frame, in the light that is its own."""
    turned = not how.upright and rng.random() < how.turn
    angle = rng.uniform(0, 360) if turned else rng.normal(0, how.lean_degrees)
    flips = (rng.random() < 0.5, turned and rng.random() < 0.5)
    for step in (90, 180):  # turned squarely, where the corners would be outside the frame
        if any(
            box > side for box, side in zip(extent(shape, zoom, angle), mask.shape, strict=True)
        ):
            angle = step * round(angle / step)
    centre = _centre(mask, how, extent(shape, zoom, angle), rng)
    return crop(image, mask, centre, zoom, angle, flips, shape)


def _centre(
    mask: np.ndarray, how: Augmentation, box: tuple[float, float], rng: np.random.Generator
) -> tuple[float, float]:
    height, width = mask.shape
    row, col = rng.uniform(0, height), rng.uniform(0, width)
    if rng.random() < how.rare:
        # A coarse grid of the mask is enough to aim with, and ten times quicker.
        coarse = mask[::4, ::4]
        values = np.flatnonzero(np.bincount(coarse.ravel(), minlength=IGNORE + 1)[:IGNORE])
        if values.size:
            rows, cols = np.nonzero(coarse == rng.choice(values))
            pick = rng.integers(rows.size)
            row, col = rows[pick] * 4.0, cols[pick] * 4.0
    return _inside(row, box[0] / 2, height), _inside(col, box[1] / 2, width)


def _inside(centre: float, half: float, length: int) -> float:
    if 2 * half >= length:
        return length / 2
    return min(max(centre, half), length - half)
