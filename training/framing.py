# SPDX-License-Identifier: GPL-2.0-or-later
"""How a network sees an image: at its own size, at half of it, or squashed to a square."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from unet_segmenter.engine.errors import JobError

KINDS = ("native", "half", "squash")


@dataclass(frozen=True)
class Framing:
    """The working resolution of training and validation.

    Attributes
    ----------
    kind : str
        "native": as it is. "half": 2x2 px become one, as a network with ``reduction`` 2 does
        itself. "squash": every image becomes ``size`` x ``size`` px, as the course does it.
    size : int
        Side in px of the square, for "squash".
    """

    kind: str = "native"
    size: int = 512

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise JobError(f"framing {self.kind!r} is unknown; there are {', '.join(KINDS)}")

    def see(self, image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return image (H', W', B), float32 where halved, and mask (H', W') uint8.

        Masks are taken by nearest, always.
        """
        if self.kind == "half":
            return halved(image), mask[: mask.shape[0] // 2 * 2 : 2, : mask.shape[1] // 2 * 2 : 2]
        if self.kind == "squash" and image.shape[:2] != (self.size, self.size):
            shape = self.size, self.size
            squashed = resized(image, shape)
            if np.issubdtype(image.dtype, np.integer):
                squashed = np.rint(squashed)  # bilinear: never beyond the values that are there
            return squashed.astype(image.dtype), resized_mask(mask, shape)
        return image, mask

    def restore(self, probabilities: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Return probabilities (H', W', K) at an image's own size (H, W), bilinear."""
        return probabilities if probabilities.shape[:2] == shape else resized(probabilities, shape)


def halved(image: np.ndarray) -> np.ndarray:
    """Return the mean of each 2x2 px of (H, W, B), float32; an odd last row or column is left."""
    height, width = (side // 2 * 2 for side in image.shape[:2])
    even = image[:height, :width].astype(np.float32)
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return (H, W, B) at another size, float32; bilinear, averaging where it shrinks."""
    size = shape[1], shape[0]
    bands = [
        Image.fromarray(np.ascontiguousarray(band, np.float32)).resize(
            size, Image.Resampling.BILINEAR
        )
        for band in np.moveaxis(image, -1, 0)
    ]
    return np.stack([np.asarray(band) for band in bands], axis=-1)


def resized_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return (H, W) uint8 at another size by nearest: no value that was not there."""
    picture = Image.fromarray(np.ascontiguousarray(mask))
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.NEAREST))
