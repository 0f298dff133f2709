# SPDX-License-Identifier: GPL-2.0-or-later
"""Splits that do not leak: neighbouring frames of a video are near-copies, so sites stay whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence


def site_of(stem: str) -> str:
    """Return the site of an AeroScapes frame: ``040003_017`` was taken at ``040``."""
    return stem[:3]


def sequence_of(stem: str) -> str:
    """Return the video sequence of an AeroScapes frame, its first six digits."""
    return stem[:6]


def shared_groups(
    train: Iterable[str], validation: Iterable[str], group_of=site_of
) -> dict[str, tuple[int, int]]:
    """Return the groups that lie on both sides, with the number of frames on each.

    An empty answer is what a split that does not leak gives.
    """
    left = Counter(map(group_of, train))
    right = Counter(map(group_of, validation))
    return {group: (left[group], right[group]) for group in sorted(left.keys() & right.keys())}


def leave_sites_out(
    stems: Sequence[str], folds: int, group_of=site_of
) -> list[tuple[list[str], list[str]]]:
    """Cut ``stems`` into (train, validation) pairs, each site being validated on exactly once.

    Sites are dealt largest first to the fold that holds the fewest frames yet.
    """
    sizes = Counter(map(group_of, stems))
    if not 2 <= folds <= len(sizes):
        raise ValueError(f"folds must lie between 2 and the number of sites, {len(sizes)}")
    members: list[set[str]] = [set() for _ in range(folds)]
    frames = [0] * folds
    for site, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        fold = frames.index(min(frames))
        members[fold].add(site)
        frames[fold] += size
    return [
        (
            [stem for stem in stems if group_of(stem) not in held_out],
            [stem for stem in stems if group_of(stem) in held_out],
        )
        for held_out in members
    ]
