# SPDX-License-Identifier: GPL-2.0-or-later
"""How much there is of each class on each side of the split, in pixels and in samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unet_segmenter.engine.progress import Progress

from .dataset import SPLITS, ClassInfo
from .errors import DatasetError
from .prepare_sample import Record


def balance_of(
    records: Sequence[Record], side_of: Mapping[str, str], classes: Sequence[ClassInfo]
) -> dict[str, Any]:
    """Return samples and pixels of each class by side: what dataset.json holds as "balance"."""
    names = [cls.name for cls in classes]
    balance = {}
    for side in SPLITS:
        members = [record for record in records if side_of[record.name] == side]
        if not members:
            continue
        counts = np.stack([record.pixels for record in members])
        pixels, samples = counts.sum(axis=0), (counts > 0).sum(axis=0)
        balance[side] = {
            "samples": len(members),
            "none_px": int(pixels[0]),
            "ignored_px": int(pixels[-1]),
            "classes": {
                name: {"px": int(pixels[value]), "samples": int(samples[value])}
                for value, name in enumerate(names, 1)
            },
        }
    return balance


def warn_of_absent(
    balance: Mapping[str, Any], classes: Sequence[ClassInfo], progress: Progress
) -> None:
    """Warn of each class that one side lacks.

    Raises
    ------
    DatasetError
        If no sample of any side has a class.
    """
    for cls in classes:
        without = [side for side, row in balance.items() if not row["classes"][cls.name]["px"]]
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
