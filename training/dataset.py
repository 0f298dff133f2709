# SPDX-License-Identifier: GPL-2.0-or-later
"""A prepared data set: what `prepare` writes, and everything that trains or evaluates reads."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .answers import UNLABELLED, answers_of, is_plain, plain_answers
from .errors import DatasetError
from .images import read_image, read_labels

FORMAT = "unet-segmenter-dataset"
FORMAT_VERSION = 1
SPLITS = ("train", "validation", "test")
IGNORE = UNLABELLED


@dataclass(frozen=True)
class ClassInfo:
    """One class: its value in the masks (1 is the first channel), its name and "#rrggbb".

    Attributes
    ----------
    part_of : str, optional
        The class that contains it, as vegetation contains trees.
    """

    value: int
    name: str
    color: str
    part_of: str | None = None

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as red, green, blue, 0 to 255."""
        return tuple(int(self.color[at : at + 2], 16) for at in (1, 3, 5))


@dataclass(frozen=True)
class Sample:
    """One image with its mask: where the files lie, and on which side of the split.

    Attributes
    ----------
    name : str
        Stem of both files.
    group : str
        What may not be on two sides: a site, a block of a raster, a cluster of similar images.
    split : str
        "train", "validation" or "test".
    height, width : int
        Size in px.
    """

    name: str
    group: str
    split: str
    image: Path
    mask: Path
    height: int
    width: int


@dataclass(frozen=True)
class Scaling:
    """(value - mean) / stddev, one of each a band: what the network is fed."""

    mean: tuple[float, ...]
    stddev: tuple[float, ...]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return an image or batch (..., B) as float32, scaled."""
        scaled = image.astype(np.float32)
        scaled -= np.float32(self.mean)
        scaled /= np.float32(self.stddev)
        return scaled


@dataclass(frozen=True)
class Dataset:
    """A prepared data set.

    Attributes
    ----------
    classes : tuple of ClassInfo
        In the order of the channels. What the masks' values mean is told by `answers`.
    bands : tuple of str
        Names of the image's bands.
    data_type : str
        Type of the image's values: "uint8", "uint16", "float32" ...
    value_range : tuple of float
        Smallest and largest value that the images may have.
    scaling : Scaling
        Mean and standard deviation a band, over the training images.
    gsd : float or None
        Ground sampling distance, m.
    rim : int
        Width in px of the frames' edge where labels are not to be trusted: training ignores it,
        evaluation counts it.
    details : mapping
        All of dataset.json.
    """

    folder: Path
    title: str
    classes: tuple[ClassInfo, ...]
    bands: tuple[str, ...]
    data_type: str
    value_range: tuple[float, float]
    scaling: Scaling
    samples: tuple[Sample, ...]
    gsd: float | None = None
    rim: int = 0
    details: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def answers(self) -> np.ndarray:
        """What each value of the masks says of each class, (256, K) int8; see `answers`."""
        names = [cls.name for cls in self.classes]
        listed = self.details.get("partial_labels") or ()
        return answers_of(listed, names) if listed else plain_answers(len(names))

    @classmethod
    def open(cls, folder: Path | str) -> Dataset:
        """Open the data set in ``folder``.

        Raises
        ------
        DatasetError
            If the folder holds none, or one of another format.
        """
        folder = Path(folder)
        path = folder / "dataset.json"
        if not path.is_file():
            raise DatasetError(f"{folder}: no prepared data set (it has no dataset.json)")
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if (found["format"], found["format_version"]) != (FORMAT, FORMAT_VERSION):
                raise DatasetError(
                    f"{path}: format {found['format']!r} {found['format_version']!r}, "
                    f"not {FORMAT!r} {FORMAT_VERSION}; prepare the data set again"
                )
            opened = cls(
                folder=folder,
                title=found["title"],
                classes=tuple(ClassInfo(**one) for one in found["classes"]),
                bands=tuple(found["bands"]),
                data_type=found["data_type"],
                value_range=tuple(found["value_range"]),
                scaling=Scaling(*(tuple(found["scaling"][key]) for key in ("mean", "stddev"))),
                samples=tuple(_read_samples(folder)),
                gsd=found.get("gsd"),
                rim=found.get("rim", 0),
                details=found,
            )
            opened.answers  # noqa: B018 - partial labels that make no sense fail here
            return opened
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{path}: damaged ({type(error).__name__}: {error}); prepare the data set again"
            ) from error

    def split(self, name: str) -> tuple[Sample, ...]:
        """Return the samples of "train", "validation" or "test"."""
        if name not in SPLITS:
            raise DatasetError(f"{name!r} is no split; there are {', '.join(SPLITS)}")
        return tuple(sample for sample in self.samples if sample.split == name)

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        """Return image (H, W, B) in its own type and mask (H, W) uint8.

        Raises
        ------
        DatasetError
            If a file is absent or damaged, or its size or bands are not as listed.
        """
        image, mask = read_image(sample.image), read_labels(sample.mask)
        wanted = (sample.height, sample.width)
        if image.shape != (*wanted, len(self.bands)):
            raise DatasetError(
                f"{sample.image}: {_size(image)} where {sample.width}x{sample.height} with "
                f"{len(self.bands)} bands was prepared; prepare the data set again"
            )
        if mask.shape != wanted:
            raise DatasetError(
                f"{sample.mask}: {_size(mask)} where {sample.width}x{sample.height} was prepared; "
                "prepare the data set again"
            )
        return image, mask

    def fingerprint(self) -> str:
        """Return the sha256 of classes, lists and all files: equal sets have equal ones."""
        digest = hashlib.sha256()
        classes = [{"value": c.value, "name": c.name, "color": c.color} for c in self.classes]
        fixed = classes, self.bands, self.data_type, self.rim
        digest.update(json.dumps(fixed).encode())
        if not is_plain(self.answers):
            digest.update(self.answers.tobytes())
        for sample in sorted(self.samples, key=lambda sample: sample.name):
            digest.update(f"{sample.name},{sample.group},{sample.split}".encode())
            for path in (sample.image, sample.mask):
                digest.update(_digest_of(path))
        return digest.hexdigest()


def _digest_of(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error


def _read_samples(folder: Path) -> list[Sample]:
    path = folder / "samples.csv"
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; prepare the data set again")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        samples = [
            Sample(
                name=row["name"],
                group=row["group"],
                split=row["split"],
                image=folder / row["image"],
                mask=folder / row["mask"],
                height=int(row["height"]),
                width=int(row["width"]),
            )
            for row in rows
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path}: a column is missing or damaged ({error})") from error
    if not samples:
        raise DatasetError(f"{path}: lists no sample; prepare the data set again")
    if unknown := {sample.split for sample in samples} - set(SPLITS):
        raise DatasetError(f"{path}: unknown split {sorted(unknown)}; known are {list(SPLITS)}")
    return samples


def _size(array: np.ndarray) -> str:
    bands = f" with {array.shape[2]} bands" if array.ndim == 3 else ""
    return f"{array.shape[1]}x{array.shape[0]}{bands}"
