# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure whether a split leaks: is what it validates on nearer to training than it should be?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .similarity import similarities

if TYPE_CHECKING:
    from .clusters import Keypoints

_NEAR_COPY = (0.85, 0.9)
_SHARE_WARNED_OF = 0.05
_PAIRS = 10
_LOOKED_AT = 24  # samples held out whose keypoints are compared
_NEAREST = 3  # training samples that each of them is compared with
MOST_IMAGES = _LOOKED_AT * (1 + _NEAREST)
"""Images of which `measure_overlap` finds the keypoints, at most."""


_LISTS = ("pairs", "same_place_pairs")


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
    same_place : float or None
        Share of a few samples held out that show a place which one of the most similar training
        samples shows too, turned or from another height, say; None where that was not looked for.
        Semantic Drone at random: 0.8, by clusters: 0.
    same_place_pairs : tuple of (str, str, int)
        Such pairs: held out, training, keypoints in common.
    """

    across: float
    within: float
    threshold: float
    share: float
    pairs: tuple[tuple[str, str, float], ...]
    same_place: float | None = None
    same_place_pairs: tuple[tuple[str, str, int], ...] = ()

    @property
    def warning(self) -> str:
        """What to tell the user, or ""."""
        signs = []
        if self.share >= _SHARE_WARNED_OF:
            held_out, trained, value = self.pairs[0]
            signs.append(
                f"{self.share:.0%} of the samples held out have a near-copy in training "
                f"({held_out} and {trained} are alike to {value:.2f})"
            )
        if self.same_place is not None and self.same_place >= _SHARE_WARNED_OF:
            held_out, trained, _count = self.same_place_pairs[0]
            signs.append(
                f"{self.same_place:.0%} of those looked at show a place that training shows too "
                f"({held_out} and {trained})"
            )
        if not signs:
            return ""
        return (
            f"the split leaks: {', and '.join(signs)}; split by groups or clusters, or trust "
            "the scores less"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what dataset.json holds."""
        pairs = {name: [list(p) for p in getattr(self, name)] for name in _LISTS}
        return {**asdict(self), **pairs}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Leak:
        """Return what `to_dict` gave."""
        pairs = {name: tuple(tuple(p) for p in found.get(name, ())) for name in _LISTS}
        return cls(**{**found, **pairs})


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


def measure_overlap(
    leak: Leak,
    looks: Mapping[str, np.ndarray],
    side_of: Mapping[str, str],
    keypoints_of: Callable[[str], Keypoints],
    tell: Callable[[int], None] = lambda _: None,
) -> Leak:
    """Return ``leak`` with the share of places that are on both sides.

    A few samples held out, evenly spread, are compared by their keypoints with the training
    samples that look most like them: so it is found where two flights saw one garden, which look
    alike in colour only.

    Parameters
    ----------
    keypoints_of : callable
        Name to keypoints, see `training.clusters.find_keypoints`.
    tell : callable
        Called with the number of images done, up to `MOST_IMAGES`.
    """
    from .clusters import common_keypoints, is_same_place

    nearest = _nearest(looks, side_of)
    names = sorted({name for held_out, near in nearest.items() for name in (held_out, *near)})
    found: dict[str, Keypoints] = {}
    with ThreadPoolExecutor(2) as pool:
        try:
            for done, keypoints in enumerate(pool.map(keypoints_of, names)):
                tell(done)
                found[names[done]] = keypoints
        finally:
            pool.shutdown(cancel_futures=True)
    pairs = []
    for held_out, near in nearest.items():
        common = {name: common_keypoints(found[held_out], found[name]) for name in near}
        best = max(common, key=lambda name: common[name])
        if is_same_place(*common[best]):
            pairs.append((held_out, best, common[best][0]))
    pairs.sort(key=lambda pair: -pair[2])
    share = round(len(pairs) / len(nearest), 4)
    return replace(leak, same_place=share, same_place_pairs=tuple(pairs[:_PAIRS]))


def _nearest(
    looks: Mapping[str, np.ndarray], side_of: Mapping[str, str]
) -> dict[str, Sequence[str]]:
    """Return the most similar training samples of a few samples held out."""
    trained = [name for name in looks if side_of[name] == "train"]
    held_out = [name for name in looks if side_of[name] != "train"]
    picks = np.unique(np.linspace(0, len(held_out) - 1, _LOOKED_AT).round().astype(int))
    train = np.stack([looks[name] for name in trained])
    nearest = {}
    for pick in picks:
        alike = train @ looks[held_out[pick]]
        order = np.argsort(-alike, kind="stable")[:_NEAREST]
        nearest[held_out[pick]] = [trained[i] for i in order]
    return nearest
