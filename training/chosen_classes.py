# SPDX-License-Identifier: GPL-2.0-or-later
"""A prepared data set of which only some classes are learned: six binary models of one set, say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.name_lists import join_names

from .dataset import IGNORE, Dataset, Sample

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class ChosenClasses(Dataset):
    """The same images, in whose masks the classes that were not chosen are "none of them".

    Attributes
    ----------
    full : Dataset
        The data set with all its classes.
    table : ndarray, shape (256,) uint8
        The value here of each value of its masks.
    learn_all : bool
        Whether the validation images are training images too.
    """

    full: Dataset | None = field(default=None, repr=False, compare=False)
    table: np.ndarray = field(
        default_factory=lambda: np.arange(256, dtype=np.uint8), repr=False, compare=False
    )

    learn_all: bool = False

    def split(self, name: str) -> tuple[Sample, ...]:
        """Return the samples of "train", "validation" or "test"."""
        both = self.learn_all and name == "train"
        return super().split(name) + (super().split("validation") if both else ())

    def read(self, sample: Sample) -> Pair:
        """Return image (H, W, B) and mask (H, W) uint8 with the values of the chosen classes."""
        image, mask = super().read(sample)
        return image, self.table[mask]


def choose_classes(
    dataset: Dataset, names: Sequence[str], learn_all: bool = False
) -> ChosenClasses:
    """Return the data set with the named classes alone, in the order named; all for no names.

    Raises
    ------
    JobError
        If the data set has no class of a name, or a name comes twice.
    """
    known = {cls.name: cls for cls in dataset.classes}
    names = list(names) or list(known)
    if unknown := [name for name in names if name not in known]:
        raise JobError(f"the data set has no class {unknown[0]!r}; it has {join_names(known)}")
    if len(set(names)) < len(names):
        raise JobError(f"a class is named twice: {join_names(names)}")
    table = np.zeros(256, np.uint8)
    table[IGNORE] = IGNORE
    for value, name in enumerate(names, start=1):
        table[known[name].value] = value
    shown = {one.name: getattr(dataset, one.name) for one in fields(Dataset)}
    shown["classes"] = tuple(replace(known[name], value=n) for n, name in enumerate(names, 1))
    return ChosenClasses(**shown, full=dataset, table=table, learn_all=learn_all)
