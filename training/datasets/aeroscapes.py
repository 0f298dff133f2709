# SPDX-License-Identifier: GPL-2.0-or-later
"""AeroScapes in its official layout: 2-D masks of ids 0 to 11, lists of stems per split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import DatasetError

IGNORE = 255


@dataclass(frozen=True)
class LabelClass:
    """One class to learn: its value in our masks, and its id in the data set's."""

    value: int
    name: str
    source_id: int
    color: str


CLASSES = (
    LabelClass(1, "vegetation", 9, "#228b22"),
    LabelClass(2, "background", 0, "#b8a07e"),
    LabelClass(3, "construction", 8, "#d9822b"),
    LabelClass(4, "obstacle", 7, "#c0392b"),
    LabelClass(5, "road", 10, "#6c7a89"),
    LabelClass(6, "sky", 11, "#5dade2"),
)
"""Channel order of the model is the order here. The other ids are negatives for all of them."""

SOURCE_NAMES = (
    "background", "person", "bike", "car", "drone", "boat",
    "animal", "obstacle", "construction", "vegetation", "road", "sky",
)  # fmt: skip


def value_of_id() -> np.ndarray:
    """Return a (256,) uint8 table from the data set's id to our class value (0: none of ours)."""
    table = np.zeros(256, np.uint8)
    for cls in CLASSES:
        table[cls.source_id] = cls.value
    return table


@dataclass(frozen=True)
class AeroScapes:
    """Read frames and masks below ``root`` (JPEGImages, SegmentationClass, ImageSets)."""

    root: Path

    def stems(self, split: str) -> list[str]:
        """Return the stems that ``ImageSets/SPLIT.txt`` lists, in its order."""
        path = self.root / "ImageSets" / f"{split}.txt"
        if not path.is_file():
            raise DatasetError(
                f"{path}: no such list; AeroScapes has ImageSets/trn.txt and val.txt"
            )
        stems = [line.strip() for line in path.read_text().splitlines() if line.strip()]
        if not stems:
            raise DatasetError(f"{path}: the list is empty")
        return stems

    def image(self, stem: str) -> np.ndarray:
        """Return the frame as (H, W, 3) uint8, red first."""
        return _read(self.root / "JPEGImages" / f"{stem}.jpg", "RGB")

    def ids(self, stem: str) -> np.ndarray:
        """Return the mask as stored, (H, W) uint8 of the data set's ids."""
        path = self.root / "SegmentationClass" / f"{stem}.png"
        mask = _read(path, None)
        if mask.ndim != 2:
            raise DatasetError(f"{path}: the mask has {mask.shape[-1]} bands, 2-D ids are wanted")
        unknown = np.setdiff1d(np.unique(mask), np.arange(len(SOURCE_NAMES)))
        if unknown.size:
            share = np.isin(mask, unknown).mean()
            raise DatasetError(
                f"{path}: unknown id {unknown.tolist()} in {share:.2%} of the pixels; "
                f"AeroScapes has 0 to {len(SOURCE_NAMES) - 1}"
            )
        return mask

    def sample(self, stem: str) -> tuple[np.ndarray, np.ndarray]:
        """Return frame (H, W, 3) and mask (H, W) of our class values, both uint8."""
        image, ids = self.image(stem), self.ids(stem)
        if image.shape[:2] != ids.shape:
            raise DatasetError(
                f"{self.root / 'SegmentationClass' / stem}.png: the mask is "
                f"{ids.shape[1]}x{ids.shape[0]}, its frame {image.shape[1]}x{image.shape[0]}"
            )
        return image, value_of_id()[ids]


def without_rim(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sample with the mask's outermost px set to "ignore".

    In 72 % of it the masks say background, one px further in 32 %, then 23 %: a drawn border.
    """
    mask = mask.copy()
    mask[[0, -1]] = mask[:, [0, -1]] = IGNORE
    return image, mask


def _read(path: Path, mode: str | None) -> np.ndarray:
    if not path.is_file():
        raise DatasetError(f"{path}: no such file, but the split lists it")
    try:
        with Image.open(path) as image:
            # A palette image holds the ids as its indices: np.asarray gives those.
            return np.asarray(image.convert(mode) if mode else image)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read as an image ({error})") from error
