# SPDX-License-Identifier: GPL-2.0-or-later
"""Splits that do not leak: neighbouring frames of a video are near-copies, so groups stay whole."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .dataset import SPLITS
from .errors import DatasetError

_DRAWS = 500


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


def split_by_lists(
    names: Sequence[str], lists: Mapping[str, Iterable[str]], where: str = "the lists"
) -> dict[str, str]:
    """Return the side of each name that a list has; names in no list are left out.

    Raises
    ------
    DatasetError
        If a list names a sample that is not there, or two lists name the same.
    """
    known, side_of = set(names), {}
    for side, listed in lists.items():
        if side not in SPLITS:
            raise DatasetError(f"{where}: {side!r} is no split; there are {', '.join(SPLITS)}")
        for name in listed:
            if name not in known:
                raise DatasetError(f"{where}: {name!r} in {side} is no sample of the data set")
            if side_of.setdefault(name, side) != side:
                raise DatasetError(f"{where}: {name!r} is both in {side_of[name]} and in {side}")
    return side_of


def split_by_groups(
    group_of: Mapping[str, str],
    fractions: Sequence[float],
    seed: int,
    pixels: Mapping[str, np.ndarray] | None = None,
) -> dict[str, str]:
    """Return the side of each name; a group is never torn.

    Of many random deals the one is kept whose sides come nearest to the fractions, of the
    samples and of each class's pixels alike.

    Parameters
    ----------
    group_of : mapping
        Group of each name.
    fractions : sequence of float
        Shares of training, validation and, if there are three, test.
    pixels : mapping of ndarray, shape (K,)
        Pixels of each class in each sample.

    Raises
    ------
    DatasetError
        If there are fewer groups than sides.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for name, group in group_of.items():
        members[group].append(name)
    wanted = np.array([share for share in fractions if share > 0])
    sides = [side for side, share in zip(SPLITS, fractions, strict=False) if share > 0]
    if len(members) < len(sides):
        raise DatasetError(
            f"{len(members)} groups cannot be split into {', '.join(sides)} without tearing one; "
            "give other groups, or fewer sides"
        )
    amounts = {group: _amount(listed, pixels) for group, listed in members.items()}
    table = np.array([amounts[group] for group in sorted(members)])
    table = (
        table[:, table.sum(axis=0) > 0] / np.maximum(table.sum(axis=0), 1e-9)[table.sum(axis=0) > 0]
    )
    best = _best_deal(table, wanted, np.random.default_rng(seed))
    return {
        name: sides[side]
        for group, side in zip(sorted(members), best, strict=True)
        for name in members[group]
    }


def _amount(names: Sequence[str], pixels: Mapping[str, np.ndarray] | None) -> list[float]:
    of_classes = [] if pixels is None else sum(pixels[name] for name in names)
    return [len(names), *of_classes]


def _best_deal(table: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the side of each group; table (G, Q) holds the group's shares of each quantity."""
    best, least = None, np.inf
    for _ in range(_DRAWS):
        sides = _deal(table[:, 0], wanted, rng)
        shares = np.stack([table[sides == side].sum(axis=0) for side in range(wanted.size)])
        error = np.abs(shares - wanted[:, None])
        # Samples count as much as all classes together.
        cost = error[:, 0].sum() + (error[:, 1:].sum(axis=0).mean() if error.shape[1] > 1 else 0)
        if cost < least:
            best, least = sides, cost
    return best


def _deal(sizes: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Deal groups in random order to the side that lacks most; no side stays empty."""
    sides, lacking = np.zeros(sizes.size, int), wanted.copy()
    order = rng.permutation(sizes.size)
    for done, group in enumerate(order):
        empty = [side for side in range(wanted.size) if lacking[side] == wanted[side]]
        choices = empty if sizes.size - done <= len(empty) else range(wanted.size)
        side = max(choices, key=lambda side: lacking[side])
        sides[group] = side
        lacking[side] -= sizes[group]
    return sides


def split_at_random(names: Sequence[str], fractions: Sequence[float], seed: int) -> dict[str, str]:
    """Return the side of each name, drawn without regard to likeness: near-copies leak."""
    return split_by_groups({name: name for name in names}, fractions, seed)
