# SPDX-License-Identifier: GPL-2.0-or-later
"""Find places that are held out in one of the data sets of a mix and learned from another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from unet_segmenter.engine.errors import Cancelled
from unet_segmenter.engine.progress import Progress

from .chosen_classes import ChosenClasses
from .picked_samples import Picked
from .similarity import describe, similarities

ALIKE = 0.85
"""Similarity from which two images are compared by their keypoints."""
COPIES = 0.98
"""Similarity from which they are one image, whatever the keypoints say."""
MOST_PAIRS = 24


@dataclass(frozen=True)
class SharedPlace:
    """An image held out, and one that shows its place in the training part of another set."""

    held_out: str
    trained: str
    similarity: float


def places_shared(dataset: ChosenClasses, progress: Progress) -> list[SharedPlace]:
    """Return the places that one data set validates on and another learns from, likest first.

    The most similar pairs across data sets are compared by their keypoints, at most 24 of them;
    each set's own split was measured when it was prepared.

    Raises
    ------
    Cancelled
        If the user stops.
    """
    if len(dataset.parts) < 2:
        return []
    held_out, trained = dataset.split("validation"), dataset.split("train")
    pictures = {side: Picked.of(dataset, side) for side in (held_out, trained)}
    looks = {side: _descriptors(pictures[side], progress) for side in (held_out, trained)}
    alike = similarities(looks[held_out], looks[trained])
    prefixes = [[dataset.origins[s.name][0].prefix for s in side] for side in (held_out, trained)]
    alike[np.equal.outer(*map(np.array, prefixes))] = -1
    nearest = alike.argmax(axis=1)
    order = np.argsort(-alike.max(axis=1), kind="stable")[:MOST_PAIRS]
    found = []
    for number in order:
        other, similarity = int(nearest[number]), float(alike[number].max())
        if similarity < ALIKE:
            break
        images = pictures[held_out][number][0], pictures[trained][other][0]
        if similarity >= COPIES or _same_place(*images):
            names = held_out[number].name, trained[other].name
            found.append(SharedPlace(*names, round(similarity, 3)))
    return found


def warning_of(found: Sequence[SharedPlace]) -> str:
    """Return what to warn of, or ""."""
    if not found:
        return ""
    first = found[0]
    return (
        f"{len(found)} validation images show a place that another of the data sets learns from "
        f"(first {first.held_out} and {first.trained}): the scores are too good. Put the places "
        "on one side with groups when you prepare the data sets, or leave one of them out"
    )


def _descriptors(images: Picked, progress: Progress) -> np.ndarray:
    rows = []
    for number in range(len(images)):
        if progress.cancelled():
            raise Cancelled("stopped while the data sets were compared; nothing was learned yet")
        progress.advance(number, len(images), "comparing the data sets")
        rows.append(describe(images[number][0]))
    return np.stack(rows)


def _same_place(first: np.ndarray, second: np.ndarray) -> bool:
    if find_spec("skimage") is None:
        return False  # without scikit-image there are no keypoints
    from .clusters import common_keypoints, find_keypoints, is_same_place

    return is_same_place(*common_keypoints(find_keypoints(first), find_keypoints(second)))
