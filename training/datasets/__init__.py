# SPDX-License-Identifier: GPL-2.0-or-later
"""Readers of labelled image sets: objects with one small protocol, one file a format."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from ..classes import SourceClass


class Reader(Protocol):
    """A labelled image set as it lies on the disk.

    Attributes
    ----------
    classes : tuple of SourceClass
        What the ids in the labels mean.
    default_classes, default_ignore : tuple of str
        The class map (see `training.classes.class_map`) where none is asked for.
    title, license, citation, url : str
        What it is; "" where unknown.
    gsd : float or None
        Ground sampling distance, m.
    bands : tuple of str
        Names of the image's bands; empty where the images tell.
    rim : int
        Width in px of the frames' edge where labels are not to be trusted.
    default_split : str
        One of `training.prepare_spec.SPLIT_METHODS`.

    A reader of chips of a georeferenced raster has ``window(name)``, ``grid(name)``,
    ``block_grid(name)``, ``polygons(name)``, ``polygon_classes``, ``labelled`` and, where its chips
    were planned with their sides, ``sides`` and ``plan_notes`` besides.
    """

    classes: tuple[SourceClass, ...]
    default_classes: tuple[str, ...]
    default_ignore: tuple[str, ...]
    title: str
    license: str
    citation: str
    url: str
    gsd: float | None
    bands: tuple[str, ...]
    rim: int
    default_split: str

    def names(self) -> list[str]:
        """Return the names of all samples, in a fixed order."""

    def image(self, name: str) -> np.ndarray:
        """Return the image, (H, W, B), in its own type; any value that may be seen at nodata."""

    def nodata(self, name: str) -> np.ndarray | None:
        """Return where the image holds nothing, (H, W) bool, or None: it does all over."""

    def labels(self, name: str) -> np.ndarray:
        """Return the ids of the data set's classes, (H, W) integer; negative is unlabelled."""

    def group(self, name: str) -> str:
        """Return what may not be torn apart by a split; "" where the data set tells none."""

    def image_file(self, name: str) -> Path | None:
        """Return the file that holds exactly the image, or None."""

    def label_file(self, name: str) -> Path:
        """Return the file to name in errors about the labels."""

    def lists(self) -> dict[str, list[str]]:
        """Return the data set's own split, names by "train", "validation", "test"; or {}."""
