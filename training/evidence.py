# SPDX-License-Identifier: GPL-2.0-or-later
"""What a score rests on: pixels, polygons and blocks, and whether they are enough to believe it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .answers import OPEN, negative_pixels, positive_pixels
from .dataset import Dataset, Sample
from .images import read_labels

FEW_PX = 300
"""A class's score that rests on fewer pixels is warned of."""


@dataclass(frozen=True)
class Evidence:
    """The labels that a score is measured on.

    Attributes
    ----------
    images, groups : int
        Number of images, and of blocks, sites or clusters that they are of.
    px, not_px : dict of str to int
        Pixels known to be, and known not to be, of each class.
    labelled_px, total_px : int
        Pixels that say something of some class, and all of them.
    polygons : int, optional
        Number of polygons that label them, where polygons do and it is known.
    """

    images: int
    groups: int
    px: dict[str, int]
    not_px: dict[str, int]
    labelled_px: int
    total_px: int
    polygons: int | None = None

    def to_card(self) -> dict[str, Any]:
        """Return what a card records on it."""
        told: dict[str, Any] = {
            "labelled_px": self.labelled_px,
            "labelled_share": round(self.labelled_px / max(self.total_px, 1), 5),
            "blocks": self.groups,
        }
        if self.polygons is not None:
            told["polygons"] = self.polygons
        return told

    def __str__(self) -> str:
        share = self.labelled_px / max(self.total_px, 1)
        drawn = "" if self.polygons is None else f" of {_counted(self.polygons, 'polygon')}"
        return (
            f"{self.labelled_px:,} labelled pixels ({share:.3g} of all){drawn} in "
            f"{_counted(self.images, 'image')} of {self.groups:,} "
            + ("block or group" if self.groups == 1 else "blocks or groups")
        )

    def doubts(self, side: str) -> list[str]:
        """Return why scores measured on this side should not be believed, a sentence each."""
        shown = [name for name, px in self.px.items() if px]
        if not self.images:
            return []
        found = []
        if len(self.px) > 1 and len(shown) < 2:
            what = f"{shown[0]} alone" if shown else "none of the classes"
            found.append(
                f"the {side} images show {what}: "
                "their mean does not show how well classes are distinguished; label more, in other "
                "places"
            )
        for name in shown:
            if self.px[name] < FEW_PX:
                found.append(
                    f"the {side} score of {name!r} rests on {self.px[name]:,} pixels: too few to "
                    "be believed"
                )
            if not self.not_px[name]:
                found.append(
                    f"nothing in the {side} images is known not to be {name!r}: its score there "
                    f"says nothing of false claims, and may be 1 for a map that is {name} all over"
                )
        return found


def evidence_of(
    dataset: Dataset,
    samples: Sequence[Sample],
    names: Sequence[str],
    codes: np.ndarray,
    answers: np.ndarray,
) -> Evidence:
    """Count what the masks of samples say of classes.

    Parameters
    ----------
    names : sequence of str
        The classes, K of them.
    codes : ndarray, shape (256,) uint8
        Codes of the data set's masks to those that ``answers`` has.
    answers : ndarray, shape (256, K) int8
        What each code says of each class.
    """
    counts = np.zeros(256, np.int64)
    for sample in samples:
        counts += np.bincount(codes[_mask(dataset, sample)].ravel(), minlength=256)
    positive, negative = positive_pixels(counts, answers), negative_pixels(counts, answers)
    return Evidence(
        images=len(samples),
        groups=len({sample.group for sample in samples}),
        px=dict(zip(names, positive.tolist(), strict=True)),
        not_px=dict(zip(names, negative.tolist(), strict=True)),
        labelled_px=int(counts[(answers != OPEN).any(axis=1)].sum()),
        total_px=int(counts.sum()),
        polygons=_polygons(dataset, samples),
    )


def _mask(dataset: Dataset, sample: Sample) -> np.ndarray:
    """Return the mask (H, W) uint8 of a sample without reading its image."""
    if not hasattr(dataset, "origins"):
        return read_labels(sample.mask)
    part, own = dataset.origins[sample.name]
    return part.codes[read_labels(own.mask)]


def _polygons(dataset: Dataset, samples: Sequence[Sample]) -> int | None:
    """Return the number of polygons of the one side that the samples are, where it is known."""
    sides = {sample.split for sample in samples}
    if len(sides) != 1 or "mixed" in dataset.details:
        return None
    (side,) = sides
    whole = sum(sample.split == side for sample in dataset.samples)
    if len(samples) != whole:
        return None
    return dataset.details.get("balance", {}).get(side, {}).get("polygons")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' if number != 1 else ''}"
