# SPDX-License-Identifier: GPL-2.0-or-later
"""The split that a spec asks for: one of a table of methods, checked for empty sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.progress import Progress

from .dataset import SPLITS
from .datasets import Reader
from .errors import DatasetError
from .prepare_sample import Record
from .prepare_spec import LEAST_SIDE, PrepareSpec
from .split import split_at_random, split_by_groups, split_by_lists
from .text_lists import read_groups, read_names


@dataclass(frozen=True)
class Split:
    """Which side each sample is on.

    Attributes
    ----------
    method : str
        How it was made.
    side_of : dict
        "train", "validation" or "test" of each name; names that are absent were left out.
    group_of : dict
        What was kept together.
    notes : tuple of str
        What the report should say of it.
    """

    method: str
    side_of: dict[str, str]
    group_of: dict[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Task:
    """What a method is given."""

    spec: PrepareSpec
    reader: Reader
    records: Sequence[Record]
    folder: Path
    progress: Progress

    @property
    def names(self) -> list[str]:
        return [record.name for record in self.records]

    @property
    def pixels(self) -> dict:
        return {record.name: record.positive for record in self.records}


def method_of(spec: PrepareSpec, reader: Reader) -> str:
    """Return the method that is asked for, by name or by what is given, or else the reader's."""
    given = "lists" if spec.lists else "groups" if spec.groups else ""
    return spec.split or given or reader.default_split


def make_split(
    spec: PrepareSpec,
    reader: Reader,
    records: Sequence[Record],
    folder: Path,
    progress: Progress,
) -> Split:
    """Return the split of the samples written in ``folder``.

    Raises
    ------
    JobError
        If the data set does not have what the method needs.
    DatasetError
        If training or validation would have no sample.
    """
    method = method_of(spec, reader)
    split = METHODS[method](_Task(spec, reader, records, folder, progress))
    sizes = Counter(split.side_of.values())
    for side in ("train", "validation"):
        if not sizes[side]:
            raise DatasetError(
                f"{spec.source}: the {side} split is empty ({len(records)} samples, split by "
                f"{method}); give more samples, other fractions or other lists"
            )
    if left_out := len(records) - len(split.side_of):
        progress.log("info", f"{left_out} of {len(records)} samples are on no side of the split")
    return split


def _by_lists(task: _Task) -> Split:
    spec, names = task.spec, task.names
    lists, where = task.reader.lists(), spec.source
    if spec.lists:
        lists, where = {}, ", ".join(spec.lists)
        for text in spec.lists:
            side, separator, path = text.partition("=")
            if not separator:
                raise JobError(f"{text!r} is no list; write it as train=FILE or validation=FILE")
            lists[side.strip()] = read_names(path.strip())
        everything = set(task.reader.names())
        split_by_lists(sorted(everything), lists, where)  # refuses names that are not there
    if not lists:
        raise JobError(
            f"{spec.source} has no lists of its own; give them (--lists), or choose another split"
        )
    kept = set(names)  # the others were empty, or are not wanted
    lists = {side: [name for name in listed if name in kept] for side, listed in lists.items()}
    group_of = {name: task.reader.group(name) for name in names}
    return Split("lists", split_by_lists(names, lists, where), group_of)


def _by_groups(task: _Task) -> Split:
    spec = task.spec
    if spec.groups:
        table = read_groups(spec.groups)
        if missing := [name for name in task.names if not table.get(name)]:
            raise DatasetError(f"{spec.groups}: has no group for {missing[0]!r}")
        group_of = {name: table[name] for name in task.names}
    else:
        group_of = {name: task.reader.group(name) for name in task.names}
        if not all(group_of.values()):
            raise JobError(
                f"{spec.source} has no groups; give a csv with them (--groups), or choose another "
                "split"
            )
    side_of = split_by_groups(group_of, spec.fractions, spec.seed, task.pixels)
    return Split("groups", side_of, group_of)


def _by_clusters(task: _Task) -> Split:
    from .clusters import cluster_samples

    spec = task.spec
    group_of, notes = cluster_samples(
        {record.name: task.folder / record.image for record in task.records}, task.progress
    )
    side_of = split_by_groups(group_of, spec.fractions, spec.seed, task.pixels)
    return Split("clusters", side_of, group_of, notes)


def _by_blocks(task: _Task) -> Split:
    """Split by blocks of 4 chips, or of 3, 2 or 1 where the raster has too few of them.

    There are enough if one of them is no more than the smallest share: 4 blocks for a quarter.
    Smaller blocks are taken too where a side would lack a class that they give it.
    """
    from .chips import block_of, split_by_blocks

    spec, names = task.spec, task.names
    if not hasattr(task.reader, "window"):
        raise JobError("a split by blocks is for georeferenced rasters (reader geo)")
    if sides := task.reader.sides:
        own = {name: sides[name] for name in names}
        return Split("blocks", own, {name: name for name in names}, task.reader.plan_notes)
    windows = {name: task.reader.window(name) for name in names}
    sides = {side for side, share in zip(SPLITS, spec.fractions, strict=False) if share > 0}
    enough = ceil(1 / min(share for share in spec.fractions if share > 0))
    tried = (spec.block,) if spec.block else tuple(count * spec.chip for count in (4, 3, 2, 1))
    found: list[Split] = []
    for length in tried:
        group_of = {name: block_of(window, length) for name, window in windows.items()}
        blocks = len(set(group_of.values()))
        if blocks < (len(sides) if length == tried[-1] else enough):
            continue
        side_of = split_by_blocks(
            windows, group_of, spec.fractions, spec.seed, spec.gap, task.pixels
        )
        if set(side_of.values()) == sides:
            notes = (f"blocks of {length} px; two sides are {spec.gap} px apart at least",)
            found.append(Split("blocks", side_of, group_of, notes))
            if _has_all_classes(side_of, sides, task.pixels):
                return found[-1]
    if found:
        return found[0]
    height = max(window.row_stop for window in windows.values())
    width = max(window.col_stop for window in windows.values())
    small = max(min(height, width) // 4 // LEAST_SIDE, 1) * LEAST_SIDE
    raise DatasetError(
        f"{spec.source}: its {len(names)} labelled chips of {spec.chip} px, in blocks of "
        f"{tried[-1]} px, cannot be split into {', '.join(s for s in SPLITS if s in sides)} "
        f"without overlap; take smaller chips (--chip {min(small, spec.chip)}, say; CHIP_SIZE in "
        "QGIS), smaller blocks (--block; SPLIT_BLOCK) or a smaller gap, or label more of it"
    )


def _has_all_classes(
    side_of: Mapping[str, str], sides: Iterable[str], pixels: Mapping[str, np.ndarray]
) -> bool:
    """Return whether each class that any sample has is on each side."""
    there = sum(pixels.values()) > 0
    on_sides = [sum(pixels[name] for name in side_of if side_of[name] == side) for side in sides]
    return all(((amounts > 0) == there).all() for amounts in on_sides)


def _at_random(task: _Task) -> Split:
    words = "a random split leaks where images are alike; choose clusters, groups or lists instead"
    task.progress.log("warning", words)
    side_of = split_at_random(task.names, task.spec.fractions, task.spec.seed)
    return Split("random", side_of, {n: task.reader.group(n) for n in task.names}, (words,))


METHODS: dict[str, Callable[[_Task], Split]] = {
    "lists": _by_lists,
    "groups": _by_groups,
    "clusters": _by_clusters,
    "blocks": _by_blocks,
    "random": _at_random,
}
"""How samples come to their sides; the names are `training.prepare_spec.SPLIT_METHODS`."""
