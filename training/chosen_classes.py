# SPDX-License-Identifier: GPL-2.0-or-later
"""What is learned: chosen classes of one prepared data set, or of several that are mixed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.name_lists import join_names

from .answers import OPEN, UNLABELLED, YES, code_answers
from .dataset import ClassInfo, Dataset, Sample, Scaling
from .errors import DatasetError

Pair = tuple[np.ndarray, np.ndarray]
SKY = "sky"
"""The class that tells which side of a picture is up, also where it is not learned."""
NO_CODE = 300
"""Code that no pixel of a mask has."""


@dataclass(frozen=True)
class Part:
    """One of the data sets that are learned together.

    Attributes
    ----------
    dataset : Dataset
        With all its classes.
    codes : ndarray, shape (256,) uint8
        The code in the whole of each code of its masks.
    share : float
        Its share of the training crops.
    prefix : str
        What its samples' and groups' names begin with in the whole.
    """

    dataset: Dataset
    codes: np.ndarray = field(repr=False, compare=False)
    share: float = 1.0
    prefix: str = ""


@dataclass(frozen=True)
class ChosenClasses(Dataset):
    """Images whose masks answer for the chosen classes only.

    Attributes
    ----------
    parts : tuple of Part
        The data sets that the samples are of.
    table : ndarray, shape (256, K) int8
        What each code of the masks says of each class.
    sky_code : int
        Code of the pixels that show the sky; `NO_CODE` where no data set knows it.
    learn_all : bool
        Whether the validation images are training images too.
    """

    parts: tuple[Part, ...] = field(default=(), repr=False, compare=False)
    table: np.ndarray = field(default_factory=lambda: np.zeros((256, 0)), repr=False, compare=False)
    sky_code: int = NO_CODE
    learn_all: bool = False

    @property
    def answers(self) -> np.ndarray:
        """What each code of the masks says of each class, (256, K) int8."""
        return self.table

    @cached_property
    def origins(self) -> dict[str, tuple[Part, Sample]]:
        """The part, and the sample in it, of each sample's name."""
        return {
            part.prefix + sample.name: (part, sample)
            for part in self.parts
            for sample in part.dataset.samples
        }

    def split(self, name: str) -> tuple[Sample, ...]:
        """Return the samples of "train", "validation" or "test"."""
        both = self.learn_all and name == "train"
        return super().split(name) + (super().split("validation") if both else ())

    def read(self, sample: Sample) -> Pair:
        """Return image (H, W, B) and mask (H, W) uint8 with the codes of the whole."""
        part, own = self.origins[sample.name]
        image, mask = part.dataset.read(own)
        return image, part.codes[mask]

    def fingerprint(self) -> str:
        """Return the sha256 of classes, files and shares: what is learned alike has equal ones."""
        whole = super().fingerprint()
        if len(self.parts) == 1:
            return whole
        shares = [part.share for part in self.parts]
        return hashlib.sha256(f"{whole} {shares}".encode()).hexdigest()

    def draw_weights(self, samples: Sequence[Sample], power: float) -> np.ndarray:
        """Return the probability (N,) to draw each sample for a training crop.

        Each data set has its share. In it a group's share grows with its number of samples to
        ``power``: 1 draws samples evenly (a site filmed for long drowns the others), 0 draws
        groups evenly (ten frames are learned by heart).
        """
        weights = np.zeros(len(samples))
        for part in self.parts:
            own = [n for n, one in enumerate(samples) if self.origins[one.name][0] is part]
            groups = [samples[number].group for number in own]
            of_group = {group: groups.count(group) ** (power - 1.0) for group in set(groups)}
            drawn = np.array([of_group[group] for group in groups])
            if own:
                weights[own] = part.share * drawn / drawn.sum()
        return weights / weights.sum()


def choose_classes(
    dataset: Dataset, names: Sequence[str], learn_all: bool = False
) -> ChosenClasses:
    """Return the data set with the named classes alone, in the order named; all for no names.

    A pixel of a class that was not chosen is "none of them".

    Raises
    ------
    JobError
        If the data set has no class of a name, or a name comes twice.
    """
    return mix_datasets([(dataset, 1.0)], names, learn_all)


def mix_datasets(
    shares: Sequence[tuple[Dataset, float]], names: Sequence[str] = (), learn_all: bool = False
) -> ChosenClasses:
    """Return several data sets as one to learn; classes are matched by name.

    What a data set says of a class that it does not know is left open.

    Parameters
    ----------
    shares : sequence of (Dataset, float)
        Each with its share of the training crops.
    names : sequence of str
        The classes to learn, in this order; empty for all that some data set has.

    Raises
    ------
    JobError
        If no data set has a class of a name, or a name comes twice.
    DatasetError
        If a data set has none of the classes, or images of another kind than the first.
    """
    datasets = [dataset for dataset, _share in shares]
    classes = _chosen(datasets, names)
    names = [cls.name for cls in classes]
    rows = [_rows(dataset, names) for dataset in datasets]
    codes, table = code_answers([row for part in rows for row in part], len(names))
    tables = np.array(codes, np.uint8).reshape(len(datasets), 256)
    sky_code = _mark_sky(datasets, names, tables, table)
    prefixes = _prefixes(datasets)
    parts = tuple(
        Part(dataset, own, share, prefix)
        for (dataset, share), own, prefix in zip(shares, tables, prefixes, strict=True)
    )
    first = datasets[0]
    shown: dict[str, Any] = {one.name: getattr(first, one.name) for one in fields(Dataset)}
    if len(parts) > 1:
        shown |= _together(parts)
    shown["classes"] = classes
    return ChosenClasses(**shown, parts=parts, table=table, sky_code=sky_code, learn_all=learn_all)


def recode(dataset: Dataset, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return new codes (256,) uint8 of a data set's masks, and what they say of the named classes.

    Returns
    -------
    codes : ndarray, shape (256,) uint8
    table : ndarray, shape (256, K) int8
        The answer table of the new codes. What the data set does not know is open.
    """
    codes, table = code_answers(_rows(dataset, names), len(names))
    return np.array(codes, np.uint8), table


def _chosen(datasets: Sequence[Dataset], names: Sequence[str]) -> tuple[ClassInfo, ...]:
    known: dict[str, ClassInfo] = {}
    for dataset in datasets:
        known = {**{cls.name: cls for cls in dataset.classes}, **known}
    ordered = [cls.name for dataset in datasets for cls in dataset.classes]
    names = list(names) or list(dict.fromkeys(ordered))
    if unknown := [name for name in names if name not in known]:
        whose = "the data set has" if len(datasets) == 1 else "the data sets have"
        listed = join_names(dict.fromkeys(ordered))
        raise JobError(f"{whose} no class {unknown[0]!r}; known are {listed}")
    if len(set(names)) < len(names):
        raise JobError(f"a class is named twice: {join_names(names)}")
    for dataset in datasets:
        if not {cls.name for cls in dataset.classes} & set(names):
            raise DatasetError(
                f"{dataset.folder}: has none of the classes to learn ({join_names(names)}), but "
                f"{join_names(cls.name for cls in dataset.classes)}; prepare it with classes of "
                "the same names, or leave it out"
            )
    whole_of = {
        cls.name: cls.part_of
        for dataset in datasets
        for cls in dataset.classes
        if cls.part_of in names
    }
    return tuple(
        replace(known[name], value=n, part_of=whole_of.get(name)) for n, name in enumerate(names, 1)
    )


def _rows(dataset: Dataset, names: Sequence[str]) -> np.ndarray:
    """Return what each code of a data set's masks says of the named classes, (256, K) int8."""
    answers = dataset.answers
    place = {cls.name: number for number, cls in enumerate(dataset.classes)}
    unknown = np.full(256, OPEN, np.int8)
    columns = [answers[:, place[name]] if name in place else unknown for name in names]
    return np.stack(columns, axis=1)


def _mark_sky(
    datasets: Sequence[Dataset], names: Sequence[str], tables: np.ndarray, table: np.ndarray
) -> int:
    """Give the sky a code of its own, with the answers that it has; return the code."""
    skies = []
    for dataset, codes in zip(datasets, tables, strict=True):
        names_here = [cls.name for cls in dataset.classes]
        if SKY in names_here:
            says_sky = dataset.answers[:, names_here.index(SKY)] == YES
            skies.append((codes, says_sky))
    if not skies:
        return NO_CODE
    if SKY in names:
        return list(names).index(SKY) + 1
    free = next(code for code in range(len(names) + 1, UNLABELLED) if (table[code] == OPEN).all())
    for codes, says_sky in skies:
        table[free] = table[codes[says_sky][0]]
        codes[says_sky] = free
    return free


def _prefixes(datasets: Sequence[Dataset]) -> list[str]:
    if len(datasets) == 1:
        return [""]
    names = [dataset.folder.resolve().name for dataset in datasets]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DatasetError(
            f"two of the data sets to mix are in folders named {twice!r}; rename one"
        )
    return [f"{name}/" for name in names]


def _together(parts: Sequence[Part]) -> dict[str, Any]:
    """Return the attributes of a `Dataset` that holds all parts."""
    first = parts[0].dataset
    for part in parts[1:]:
        for what in ("bands", "data_type"):
            ours, theirs = getattr(first, what), getattr(part.dataset, what)
            if ours != theirs:
                raise DatasetError(
                    f"{part.dataset.folder}: its images have {what.replace('_', ' ')} {theirs}, "
                    f"those of {first.folder} {ours}; data sets to mix must be alike in that"
                )
    samples = tuple(
        replace(sample, name=part.prefix + sample.name, group=part.prefix + sample.group)
        for part in parts
        for sample in part.dataset.samples
    )
    ranges = [part.dataset.value_range for part in parts]
    known = [part.dataset.gsd for part in parts if part.dataset.gsd]
    return {
        "title": " + ".join(part.dataset.title for part in parts),
        "samples": samples,
        "scaling": _pooled(parts),
        "value_range": (min(low for low, _ in ranges), max(high for _, high in ranges)),
        "gsd": None,
        "rim": 0,
        "details": _details(parts) | {"gsd_span": [min(known), max(known)] if known else None},
    }


def _pooled(parts: Sequence[Part]) -> Scaling:
    shares = np.array([part.share for part in parts])[:, None]
    means = np.array([part.dataset.scaling.mean for part in parts])
    spreads = np.array([part.dataset.scaling.stddev for part in parts])
    mean = (shares * means).sum(axis=0) / shares.sum()
    variance = (shares * (spreads**2 + means**2)).sum(axis=0) / shares.sum() - mean**2
    stddev = np.sqrt(np.maximum(variance, 1e-12))
    return Scaling(tuple(np.round(mean, 6).tolist()), tuple(np.round(stddev, 6).tolist()))


def _details(parts: Sequence[Part]) -> dict[str, Any]:
    """Return what a card records on the whole."""
    found = [part.dataset.details for part in parts]

    def joined(key: str) -> str:
        return "; ".join(dict.fromkeys(text for one in found if (text := one.get(key))))

    itself = [
        {"title": part.dataset.title}
        | {k: str(one[k]) for k in ("url", "license", "citation") if one.get(k)}
        for part, one in zip(parts, found, strict=True)
    ]
    return {
        "license": joined("license"),
        "citation": joined("citation"),
        "sources": itself,
        "split": {"method": "that of each data set"},
        "mixed": [
            {
                "title": part.dataset.title,
                "share": part.share,
                "gsd": part.dataset.gsd,
                "fingerprint": part.dataset.fingerprint(),
                "split": part.dataset.details.get("split", {}).get("method"),
            }
            for part in parts
        ],
    }
