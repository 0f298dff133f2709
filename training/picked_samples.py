# SPDX-License-Identifier: GPL-2.0-or-later
"""Images of a data set by number, from one store; and whether they show what is to be learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_segmenter.engine.progress import Progress

from .chosen_classes import ChosenClasses
from .dataset import Sample
from .errors import DatasetError
from .sample_cache import cached, ignore_rim
from .validation import Pair


@dataclass(frozen=True)
class Picked:
    """Some of a data set's images with their masks, from one store of all, decoded once.

    Attributes
    ----------
    table : ndarray (256,) uint8 or None
        New values of the masks.
    rim : int
        Width in px of the masks' edge that is set to "ignore".
    """

    store: Any
    numbers: tuple[int, ...]
    table: np.ndarray | None = None
    rim: int = 0

    @classmethod
    def of(
        cls, dataset: ChosenClasses, samples: Sequence[Sample], table: np.ndarray | None = None,
        rim: int = 0,
    ) -> Picked:  # fmt: skip
        """Return samples of the training and validation splits, with the values of all classes."""
        full = dataset.full
        every = [*full.split("train"), *full.split("validation")]
        place = {sample.name: number for number, sample in enumerate(every)}
        return cls(cached(full, every), tuple(place[s.name] for s in samples), table, rim)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, number: int) -> Pair:
        """Return image (H, W, B) and mask (H, W)."""
        image, mask = self.store[self.numbers[number]]
        mask = ignore_rim(mask, self.rim)
        return image, mask if self.table is None else self.table[mask]


def count_pixels(
    dataset: ChosenClasses, samples: Sequence[Sample], enough: bool = False
) -> np.ndarray:
    """Count the pixels of each value, (256,) int64.

    Parameters
    ----------
    enough : bool
        Stop as soon as every class was seen.
    """
    source = Picked.of(dataset, samples, dataset.table)
    counts = np.zeros(256, np.int64)
    for number in range(len(source)):
        counts += np.bincount(source[number][1].ravel(), minlength=256)
        if enough and counts[1 : len(dataset.classes) + 1].all():
            break
    return counts


def check_classes(
    dataset: ChosenClasses,
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    progress: Progress,
    deciding: bool = True,
) -> None:
    """Refuse classes that no training image shows; warn of those that validation lacks.

    Parameters
    ----------
    deciding : bool
        Whether validation decides which weights are kept, and so must show some class.

    Raises
    ------
    DatasetError
        If a class is absent from training, or all are from validation.
    """
    for samples, where in ((train, "training"), (held_out, "validation")):
        if not samples:
            raise DatasetError(
                f"{dataset.folder}: there is no {where} image; prepare the data set with another "
                "split"
            )
        counts = count_pixels(dataset, samples, enough=True)
        absent = [cls.name for cls in dataset.classes if not counts[cls.value]]
        all_absent = len(absent) == len(dataset.classes)
        if absent and (where == "training" or (all_absent and deciding)):
            raise DatasetError(
                f"{dataset.folder}: no {where} image shows the class {', '.join(absent)}; leave "
                "it out of the classes, or prepare the data set with another split"
            )
        if absent:
            progress.log("warning", f"no {where} image shows {', '.join(absent)}: no score for it")
