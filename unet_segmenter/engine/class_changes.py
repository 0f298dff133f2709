# SPDX-License-Identifier: GPL-2.0-or-later
"""Which pixels a refinement gave to other classes, counted from two layers of a store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .block_flow import stop_if
from .block_store import BlockStore
from .legend import ClassLook
from .model_card import NODATA_VALUE
from .progress import Progress
from .refine_job import ClassChange


def count_transitions(
    store: BlockStore, before: str, after: str, progress: Progress
) -> NDArray[np.int64]:
    """Pixels by value before (row) and after (column), shape (256, 256).

    Parameters
    ----------
    store : BlockStore
        All of its blocks are finished.
    before, after : str
        Layers of class values.
    progress : Progress
        Asked whether to stop.
    """
    counts = np.zeros(256 * 256, np.int64)
    for (_, old), (_, new) in zip(store.parts(before, 0), store.parts(after, 0), strict=True):
        stop_if(progress.cancelled)
        values = old.astype(np.intp) * 256 + new
        counts += np.bincount(values.ravel(), minlength=counts.size)
    # What is in no part has no data, before and after.
    counts[-1] += store.shape.height * store.shape.width - counts.sum()
    return counts.reshape(256, 256)


def class_changes(
    looks: Sequence[ClassLook], pairs: NDArray[np.int64], areas: NDArray[np.float64] | None
) -> tuple[ClassChange, ...]:
    """What became of each class.

    Parameters
    ----------
    looks : sequence of ClassLook
        The classes.
    pairs : ndarray of int, shape (256, 256)
        From `count_transitions`.
    areas : ndarray of float, shape (256,), optional
        Square metres of each value after, from `ground_areas`.
    """
    found = []
    for look in looks:
        before, after = int(pairs[look.value].sum()), int(pairs[:, look.value].sum())
        stayed = int(pairs[look.value, look.value])
        found.append(
            ClassChange(
                *(look.value, look.name, look.color, before, after),
                lost=before - stayed,
                gained=after - stayed,
                area=None if areas is None else float(areas[look.value]),
            )
        )
    return tuple(found)


def changed_pixels(pairs: NDArray[np.int64]) -> tuple[int, int]:
    """Pixels of another class than before, and all pixels with data."""
    known = pairs[:NODATA_VALUE, :NODATA_VALUE]
    return int(known.sum() - np.trace(known)), int(known.sum())
