# SPDX-License-Identifier: GPL-2.0-or-later
"""Images of a data set by number, from one store; and whether they show what is to be learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_segmenter.engine.progress import Progress

from .answers import positive_pixels
from .chosen_classes import ChosenClasses, Part
from .dataset import Sample
from .errors import DatasetError
from .sample_cache import cached, ignore_rim
from .validation import Pair


@dataclass(frozen=True)
class Picked:
    """Some images with their masks, from one store a data set, in which each is decoded once.

    Attributes
    ----------
    places : tuple of (Any, int, Part)
        Of each image: the store, the number in it, and the data set.
    with_rim : bool
        Whether the rim of each data set, where labels are not to be trusted, counts.
    """

    places: tuple[tuple[Any, int, Part], ...]
    with_rim: bool = True

    @classmethod
    def of(cls, dataset: ChosenClasses, samples: Sequence[Sample], with_rim: bool = True) -> Picked:
        """Return samples of the training and validation splits."""
        stores, numbers = {}, {}
        for part in dataset.parts:
            every = [*part.dataset.split("train"), *part.dataset.split("validation")]
            stores[part.prefix] = cached(part.dataset, every)
            names = (part.prefix + sample.name for sample in every)
            numbers |= {name: number for number, name in enumerate(names)}
        parts = [dataset.origins[sample.name][0] for sample in samples]
        places = [
            (stores[part.prefix], numbers[sample.name], part)
            for part, sample in zip(parts, samples, strict=True)
        ]
        return cls(tuple(places), with_rim)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> Pair:
        """Return image (H, W, B) and mask (H, W) uint8 with the codes of what is learned."""
        store, place, part = self.places[number]
        image, mask = store[place]
        mask = part.codes[mask]
        return image, mask if self.with_rim else ignore_rim(mask, part.dataset.rim)


def count_pixels(
    dataset: ChosenClasses, samples: Sequence[Sample], enough: bool = False
) -> np.ndarray:
    """Count the pixels that are of each class, (K,) int64.

    Parameters
    ----------
    enough : bool
        Stop as soon as every class was seen.
    """
    source = Picked.of(dataset, samples)
    counts = np.zeros(len(dataset.classes), np.int64)
    for number in range(len(source)):
        of_code = np.bincount(source[number][1].ravel(), minlength=256)
        counts += positive_pixels(of_code, dataset.answers)
        if enough and counts.all():
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
        absent = [cls.name for cls, px in zip(dataset.classes, counts, strict=True) if not px]
        all_absent = len(absent) == len(dataset.classes)
        if absent and (where == "training" or (all_absent and deciding)):
            raise DatasetError(
                f"{dataset.folder}: no {where} image shows the class {', '.join(absent)}; leave "
                "it out of the classes, or prepare the data set with another split"
            )
        if absent:
            progress.log("warning", f"no {where} image shows {', '.join(absent)}: no score for it")
