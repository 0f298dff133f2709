# SPDX-License-Identifier: GPL-2.0-or-later
"""Crops of any zoom and angle, as sharp as an area average. Masks by nearest, always."""

from __future__ import annotations

from math import ceil, cos, floor, radians, sin

import numpy as np
from PIL import Image

from .dataset import IGNORE


def extent(shape: tuple[int, int], zoom: float, angle: float) -> tuple[float, float]:
    """Return height and width in the frame, px, of the box around a crop of ``shape`` px."""
    cosine, sine = (abs(part) for part in _direction(zoom, angle))
    height, width = shape
    return cosine * height + sine * width, sine * height + cosine * width


def crop(
    image: np.ndarray,
    mask: np.ndarray,
    centre: tuple[float, ...],
    zoom: float,
    angle: float,
    flips: tuple[bool, bool],
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rectangle of ``shape`` px around ``centre`` (row, col), zoomed, turned, flipped.

    Below a zoom of 1 pixels are averaged over their area in the frame, so a zoom of 0.5 without a
    turn gives the mean of each 2x2 px; from 1 on they are bilinear, and a zoom of 1 without a turn
    gives the pixels as they are. Outside the frame the image goes on mirrored, and the mask with
    "ignore".

    A photograph, (H, W, 3) uint8, stays one; any other image (H, W, B) becomes float32.
    """
    box = extent(shape, zoom, angle)
    if angle % 90 == 0:  # the corners of the crop fall on corners of pixels
        centre = tuple(
            floor(at - side / 2 + 1e-6) + side / 2 for at, side in zip(centre, box, strict=True)
        )
    image, mask, middle = _surrounded(image, mask, centre, box)
    cosine, sine = _direction(zoom, angle)
    left_right, up_down = (-1 if flip else 1 for flip in flips)
    # Maps a crop's (x, y) to the frame's: turn and flip about the crop's centre.
    a, b = cosine * left_right, -sine * up_down
    d, e = sine * left_right, cosine * up_down
    half_height, half_width = shape[0] / 2, shape[1] / 2
    c = middle[1] - a * half_width - b * half_height
    f = middle[0] - d * half_width - e * half_height
    affine, size = Image.Transform.AFFINE, (shape[1], shape[0])
    labels = Image.fromarray(mask).transform(
        size, affine, (a, b, c, d, e, f), Image.Resampling.NEAREST
    )

    def sampled(plane: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(plane)
        if zoom >= 1:
            return np.asarray(
                picture.transform(size, affine, (a, b, c, d, e, f), Image.Resampling.BILINEAR)
            )
        # The mean of many samples, at least one for each of the frame's pixels: quicker than
        # bilinear, and neither aliased nor blurred.
        times = 3 if zoom > 2 / 3 else max(4, ceil(1 / zoom))
        fine = a / times, b / times, c, d / times, e / times, f
        many = picture.transform(
            (size[0] * times, size[1] * times), affine, fine, Image.Resampling.NEAREST
        )
        return np.asarray(many.reduce(times))

    if image.dtype == np.uint8 and image.shape[-1] == 3:
        return sampled(image), np.asarray(labels)
    planes = np.ascontiguousarray(np.moveaxis(image, -1, 0), np.float32)
    return np.stack([sampled(plane) for plane in planes], axis=-1), np.asarray(labels)


def _direction(zoom: float, angle: float) -> tuple[float, float]:
    """Return cosine and sine over the zoom, rounded: quarter turns keep pixels as they are."""
    turn = radians(angle)
    return round(cos(turn), 12) / zoom, round(sin(turn), 12) / zoom


def _surrounded(
    image: np.ndarray, mask: np.ndarray, centre: tuple[float, ...], box: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Cut out a box around the centre and a rim; what lies outside the frame is added."""
    pads, cuts, at = [], [], []
    for middle, side, length in zip(centre, box, mask.shape, strict=True):
        start, stop = floor(middle - side / 2) - 1, ceil(middle + side / 2) + 1
        pads.append((max(0, -start), max(0, stop - length)))
        cuts.append(slice(max(0, start), min(length, stop)))
        at.append(middle - start)
    image, mask = image[tuple(cuts)], mask[tuple(cuts)]
    if any(before or after for before, after in pads):
        image = np.pad(image, (*pads, (0, 0)), mode="symmetric")
        mask = np.pad(mask, pads, constant_values=IGNORE)
    return image, mask, tuple(at)
