# SPDX-License-Identifier: GPL-2.0-or-later
"""How much there is of each class on each side of the split, in pixels and in samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .answers import UNLABELLED, YES, is_plain, negative_pixels
from .classes import ClassMap
from .dataset import IGNORE, SPLITS
from .datasets import Reader
from .errors import DatasetError
from .prepare_sample import Record

FEW_POLYGONS = 5
"""A class that fewer polygons teach is warned of."""


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


def count_polygons(
    balance: Mapping[str, Any],
    records: Sequence[Record],
    side_of: Mapping[str, str],
    mapping: ClassMap,
    reader: Reader,
) -> None:
    """Add to each side's balance, and to its classes', how many polygons label it.

    Nothing is added where a reader's labels are no polygons.
    """
    classes = getattr(reader, "polygon_classes", np.zeros(0, np.int64))
    if not len(classes):
        return
    codes = np.array([mapping.value_of.get(int(id_), UNLABELLED) for id_ in classes])
    for side, row in balance.items():
        seen = [record.polygons for record in records if side_of[record.name] == side]
        own = codes[np.unique(np.concatenate(seen)).astype(np.int64)]
        row["polygons"] = int((own != UNLABELLED).sum())
        for k, name in enumerate(mapping.names):
            row["classes"][name]["polygons"] = int((mapping.answers[own, k] == YES).sum())


def labelled_share(row: Mapping[str, Any]) -> float:
    """Return the share, 0 to 1, of a side's pixels that say something of some class."""
    return 1 - row["ignored_px"] / max(row["total_px"], 1)


def refuse_absent(balance: Mapping[str, Any], mapping: ClassMap) -> None:
    """Refuse a class that no sample of any side has, unless labels are partial.

    Raises
    ------
    DatasetError
        If there is one.
    """
    if not is_plain(mapping.answers):
        return
    for name in mapping.names:
        if not any(row["classes"][name]["px"] for row in balance.values()):
            raise DatasetError(
                f"class {name!r} has no pixel in any sample; leave it out, or see whether the "
                "class list fits the masks"
            )


def doubts(balance: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return what makes a class hard to learn or its scores hard to believe, a sentence each."""
    return [doubt for name in names for doubt in _doubts_of(name, balance)]


def _doubts_of(name: str, balance: Mapping[str, Any]) -> list[str]:
    rows = {side: row["classes"][name] for side, row in balance.items()}
    without = [side for side, row in rows.items() if not row["px"]]
    if len(without) == len(rows):
        return [
            f"no pixel is labelled as {name!r}: this data set only says where the class is absent, "
            "so it can be learned only in a mix with other data sets"
        ]
    found = [
        f"class {name!r} has no pixel in the {side} split: it is "
        + ("not learned" if side == "train" else "not measured there")
        for side in without
    ]
    found += [
        f"no pixel of the {side} split is known not to be {name!r}: "
        + (
            "the model will see that class everywhere; label some of what it is not"
            if side == "train"
            else "its scores there say nothing of false claims"
        )
        for side, row in rows.items()
        if not row["not_px"]
    ]
    few = rows.get("train", {}).get("polygons")
    if few is not None and 0 < few < FEW_POLYGONS:
        found.append(
            f"class {name!r} is learned from {few} polygon{'s' if few > 1 else ''}: draw "
            f"{FEW_POLYGONS} or more, spread over the image and its kinds of light and ground"
        )
    return found
