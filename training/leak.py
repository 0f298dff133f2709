# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure whether a split leaks: is what it validates on nearer to training than it should be?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .similarity import similarities

_NEAR_COPY = (0.85, 0.9)
_SHARE_WARNED_OF = 0.05
_PAIRS = 10


@dataclass(frozen=True)
class Leak:
    """How alike the sides of a split are.

    Attributes
    ----------
    across : float
        Median, over the samples held out, of the similarity to the nearest training sample.
    within : float
        Median, over the training samples, of the similarity to the nearest other one.
    threshold : float
        What counts as a suspicious pair: ``within``, but 0.85 at least and 0.9 at most. A sample
        held out that is as near to training as training samples are to each other tells nothing
        new.
    share : float
        Share of the samples held out that have such a pair. AeroScapes at random: 0.60; by its
        lists: 0.08, as the sites 040 and 041 show the same places; the site 000 alone: 0.01.
    pairs : tuple of (str, str, float)
        The most similar pairs: held out, training, similarity.
    """

    across: float
    within: float
    threshold: float
    share: float
    pairs: tuple[tuple[str, str, float], ...]

    @property
    def warning(self) -> str:
        """What to tell the user, or ""."""
        if self.share < _SHARE_WARNED_OF:
            return ""
        held_out, trained, value = self.pairs[0]
        return (
            f"the split leaks: {self.share:.0%} of the samples held out have a near-copy in "
            f"training ({held_out} and {trained} are alike to {value:.2f}); split by groups or "
            "clusters, or believe the scores less"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what dataset.json holds."""
        return {**asdict(self), "pairs": [list(pair) for pair in self.pairs]}


def measure_leak(looks: Mapping[str, np.ndarray], side_of: Mapping[str, str]) -> Leak:
    """Compare the sides of a split.

    Parameters
    ----------
    looks : mapping of ndarray
        Descriptor of each sample, see `training.similarity.describe`.
    side_of : mapping
        "train", "validation" or "test" of each.

    Returns
    -------
    Leak
    """
    trained = [name for name in looks if side_of[name] == "train"]
    held_out = [name for name in looks if side_of[name] != "train"]
    train = np.stack([looks[name] for name in trained])
    inner = similarities(train, train)
    np.fill_diagonal(inner, -1)
    within = float(np.median(inner.max(axis=1))) if len(trained) > 1 else 1.0
    outer = similarities(np.stack([looks[name] for name in held_out]), train)
    nearest = outer.argmax(axis=1)
    values = outer.max(axis=1)
    threshold = float(np.clip(within, *_NEAR_COPY))
    worst = np.argsort(-values, kind="stable")[:_PAIRS]
    return Leak(
        across=round(float(np.median(values)), 4),
        within=round(within, 4),
        threshold=round(threshold, 4),
        share=round(float((values >= threshold).mean()), 4),
        pairs=tuple((held_out[i], trained[nearest[i]], round(float(values[i]), 4)) for i in worst),
    )
