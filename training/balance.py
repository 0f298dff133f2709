# SPDX-License-Identifier: GPL-2.0-or-later
"""How much there is of each class on each side of the split, in pixels and in samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unet_segmenter.engine.progress import Progress

from .answers import is_plain, negative_pixels
from .classes import ClassMap
from .dataset import IGNORE, SPLITS
from .errors import DatasetError
from .prepare_sample import Record


def balance_of(
    records: Sequence[Record], side_of: Mapping[str, str], mapping: ClassMap
) -> dict[str, Any]:
    """Return samples and pixels of each class by side: what dataset.json holds as "balance".

    Of each class the pixels that are of it ("px") and those known not to be ("not_px"); the rest
    leaves it open.
    """
    balance = {}
    for side in SPLITS:
        members = [record for record in records if side_of[record.name] == side]
        if not members:
            continue
        counts = np.stack([record.pixels for record in members])
        pixels = counts.sum(axis=0)
        positive = np.stack([record.positive for record in members])
        negative = negative_pixels(pixels, mapping.answers)
        balance[side] = {
            "samples": len(members),
            "total_px": int(pixels.sum()),
            "none_px": int(pixels[0]),
            "ignored_px": int(pixels[IGNORE]),
            "classes": {
                name: {
                    "px": int(positive[:, k].sum()), "samples": int((positive[:, k] > 0).sum()),
                    "not_px": int(negative[k]),
                }
                for k, name in enumerate(mapping.names)
            },
        }  # fmt: skip
    return balance


def warn_of_absent(balance: Mapping[str, Any], mapping: ClassMap, progress: Progress) -> None:
    """Warn of each class that one side lacks.

    Raises
    ------
    DatasetError
        If no sample of any side has a class, and no label is partial.
    """
    partial = not is_plain(mapping.answers)
    for cls in mapping.classes:
        without = [side for side, row in balance.items() if not row["classes"][cls.name]["px"]]
        if len(without) == len(balance) and partial:
            progress.log(
                "warning",
                f"no pixel is {cls.name!r}: this data set only says where it is not, and can teach "
                "it in a mix with others alone",
            )
            continue
        if len(without) == len(balance):
            raise DatasetError(
                f"class {cls.name!r} has no pixel in any sample; leave it out, or see whether the "
                "class list fits the masks"
            )
        for side in without:
            progress.log(
                "warning",
                f"class {cls.name!r} has no pixel in the {side} split: it is "
                + ("not learned" if side == "train" else "not measured there"),
            )
        for side, row in balance.items():
            if not row["classes"][cls.name]["not_px"]:
                progress.log(
                    "warning",
                    f"no pixel of the {side} split is known not to be {cls.name!r}: "
                    + (
                        "the model will see that class everywhere; label some of what it is not"
                        if side == "train"
                        else "its scores there say nothing of false claims"
                    ),
                )
