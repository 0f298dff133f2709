# SPDX-License-Identifier: GPL-2.0-or-later
"""AeroScapes in its official layout: 2-D masks of ids 0 to 11, lists of stems per split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..classes import PRESETS, SourceClass
from ..dataset import IGNORE
from ..errors import DatasetError
from ..images import read_image, read_labels
from ..split import site_of
from ..text_lists import read_text


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


_SOURCE_COLORS = (
    "#000000", "#c08080", "#008000", "#808080", "#800000", "#000080",
    "#c00080", "#c00000", "#c08000", "#004000", "#808000", "#008080",
)  # fmt: skip

LISTS = {"trn": "train", "val": "validation"}
"""The official lists, and the side of the split that each is."""


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

    classes: ClassVar[tuple[SourceClass, ...]] = tuple(
        SourceClass(number, name, color)
        for number, (name, color) in enumerate(zip(SOURCE_NAMES, _SOURCE_COLORS, strict=True))
    )
    default_classes: ClassVar[tuple[str, ...]] = PRESETS["aeroscapes"]
    default_ignore: ClassVar[tuple[str, ...]] = ()
    title: ClassVar[str] = "AeroScapes"
    license: ClassVar[str] = "CC BY-SA 4.0"
    citation: ClassVar[str] = (
        "Nigam, Huang, Ramanan: Ensemble Knowledge Transfer for Semantic Segmentation, WACV 2018"
    )
    url: ClassVar[str] = "https://github.com/ishann/aeroscapes"
    gsd: ClassVar[float | None] = None
    bands: ClassVar[tuple[str, ...]] = ("red", "green", "blue")
    rim: ClassVar[int] = 1  # see `without_rim`
    default_split: ClassVar[str] = "lists"

    def names(self) -> list[str]:
        """Return the stems of all lists."""
        return [stem for stems in self.lists().values() for stem in stems]

    def lists(self) -> dict[str, list[str]]:
        """Return the official split."""
        return {side: self.stems(name) for name, side in LISTS.items()}

    def group(self, stem: str) -> str:
        """Return the site."""
        return site_of(stem)

    def nodata(self, _stem: str) -> None:
        """Return None: all frames are whole."""
        return

    def labels(self, stem: str) -> np.ndarray:
        """Return the mask as stored, (H, W) uint8 of the data set's ids."""
        return self.ids(stem)

    def image_file(self, stem: str) -> Path:
        """Return the frame's JPEG."""
        return self.root / "JPEGImages" / f"{stem}.jpg"

    def label_file(self, stem: str) -> Path:
        """Return the mask's PNG."""
        return self.root / "SegmentationClass" / f"{stem}.png"

    def stems(self, split: str) -> list[str]:
        """Return the stems that ``ImageSets/SPLIT.txt`` lists, in its order."""
        path = self.root / "ImageSets" / f"{split}.txt"
        if not path.is_file():
            raise DatasetError(
                f"{path}: no such list; AeroScapes has ImageSets/trn.txt and val.txt"
            )
        stems = [line.strip() for line in read_text(path).splitlines() if line.strip()]
        if not stems:
            raise DatasetError(f"{path}: the list is empty")
        return stems

    def image(self, stem: str) -> np.ndarray:
        """Return the frame as (H, W, 3) uint8, red first."""
        return read_image(self.image_file(stem))

    def ids(self, stem: str) -> np.ndarray:
        """Return the mask as stored, (H, W) uint8 of the data set's ids."""
        path = self.label_file(stem)
        mask = read_labels(path)
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
                f"{self.label_file(stem)}: the mask is "
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
