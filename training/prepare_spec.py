# SPDX-License-Identifier: GPL-2.0-or-later
"""What to prepare: source, classes, split and size, as a value that travels as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.typed_json import from_json

READERS = ("aeroscapes", "semantic-drone", "folder", "geo")
LEAST_SIDE = 16
"""Of a sample, px."""
LABELLED = ("auto", "everything", "samples")
"""How much of a raster was labelled by polygons."""
SPLIT_METHODS = ("lists", "groups", "clusters", "blocks", "random")


@dataclass(frozen=True)
class PrepareSpec:
    """One data set to prepare.

    Attributes
    ----------
    source : str
        The data set's folder; for "geo" the raster.
    output : str
        The folder to write. It must not exist, be empty, or hold a prepared data set that
        ``overwrite`` allows to replace.
    reader : str
        One of `READERS`.
    labels : str
        Folder of masks for "folder" (default: masks or labels in the source); polygon layer or
        class raster for "geo".
    palette : str
        csv of class names with colours or ids.
    label_table : str
        csv of what each value of the masks is, is not, and leaves open; see
        `training.answers.read_label_table`. It takes the place of the palette.
    field : str
        Attribute of the polygons that names the class.
    areas : str
        Polygons of the areas that are labelled whole: all beyond them is ignored ("geo").
    samples : str
        One of `LABELLED`: "everything" was labelled, so that a pixel without a polygon is none of
        the classes; or "samples" only, so that nothing is known of it. "auto" is everything where
        areas are given, and samples elsewhere ("geo" with polygons).
    bands : tuple of int
        Bands of the raster, from 1; empty means all but alpha ("geo").
    nodata : tuple of float
        Values of the raster that are no data, beside its own ("geo").
    crs : str
        CRS of the raster where its file has none, or a wrong one; "" for its own ("geo").
    chip, overlap : int
        Side of the chips, and by how much neighbours overlap, px. Side 0 chooses chips by the
        raster and its labels, each a block of the split by itself: as large as leaves each side
        some of every class ("geo").
    classes : tuple of str
        Classes to learn as `training.classes.class_map` reads them, or the name of one of its
        `PRESETS`; empty takes the reader's.
    ignore : tuple of str
        Names or ids that are ignored in training and scores; empty takes the reader's.
    only : str
        File that lists the names to use, one a line.
    scale : float
        Factor of the images' sides: 0.5 halves them.
    size : tuple of int
        Width and height in px that all images are brought to, whatever their shape; empty keeps
        theirs.
    min_labelled, min_positive : float
        Share of a sample's pixels, 0 to 1, that must not be ignored, or that one of the classes
        must have; samples below are left out.
    split : str
        One of `SPLIT_METHODS`; "" takes what is given (``lists``, ``groups``), or the reader's.
    fractions : tuple of float
        Shares of training, validation and, if there are three, test.
    lists : tuple of str
        Files of names as "train=FILE", "validation=FILE", "test=FILE".
    groups : str
        csv with the columns name and group: what a split must keep together.
    block, gap : int
        Side of the blocks of a raster that go to one side of the split, and the width of the
        strip between two sides that is left out, px; 0 takes 4 chips, or fewer where the raster
        has too few blocks for the split, and no gap ("geo").
    rim : int, optional
        Width in px of the frames' edge that training ignores; None takes the reader's.
    seed : int
        Of the draws.
    title, license, citation : str
        What it is; "" takes the reader's.
    gsd : float, optional
        Ground sampling distance of the source, m.
    overwrite : bool
        Whether an earlier prepared data set may be replaced.
    """

    source: str
    output: str
    reader: str = "folder"
    labels: str = ""
    palette: str = ""
    label_table: str = ""
    field: str = ""
    areas: str = ""
    samples: str = "auto"
    bands: tuple[int, ...] = ()
    nodata: tuple[float, ...] = ()
    crs: str = ""
    chip: int = 512
    overlap: int = 0
    classes: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    only: str = ""
    scale: float = 1.0
    size: tuple[int, ...] = ()
    min_labelled: float = 0.0
    min_positive: float = 0.0
    split: str = ""
    fractions: tuple[float, ...] = (0.75, 0.25)
    lists: tuple[str, ...] = ()
    groups: str = ""
    block: int = 0
    gap: int = 0
    rim: int | None = None
    seed: int = 2026
    title: str = ""
    license: str = ""
    citation: str = ""
    gsd: float | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if not self.source or not self.output:
            raise JobError("a source and an output folder are needed")
        _among(self.reader, "reader", READERS)
        _among(self.samples, "samples", LABELLED)
        if self.samples == "samples" and self.areas:
            raise JobError(
                "areas are labelled whole, so that samples cannot be all that was labelled: leave "
                "the areas out, or say that everything in them was labelled (samples: everything)"
            )
        if self.split:
            _among(self.split, "split", SPLIT_METHODS)
        if self.split == "blocks" and self.reader != "geo":
            raise JobError("a split by blocks is for georeferenced rasters (reader geo)")
        if self.label_table and (self.palette or self.ignore or self.reader == "geo"):
            raise JobError(
                "a label table is for masks of values (not for reader geo), and says by itself "
                "what a palette or ignored values would: leave those out"
            )
        self._check_sizes()
        self._check_shares()

    def _check_sizes(self) -> None:
        if not self.chip and (self.overlap or self.block or self.split not in ("", "blocks")):
            raise JobError(
                "chips that are chosen by the raster (chip 0) are blocks of the split by "
                "themselves: leave out overlap, block and split, or give the chips' side"
            )
        if self.chip and (self.chip < LEAST_SIDE or not 0 <= self.overlap < self.chip):
            raise JobError(
                f"chip {self.chip} and overlap {self.overlap}: chips have {LEAST_SIDE} px or more, "
                "and overlap by less than that"
            )
        if not 0 < self.scale <= 8:
            raise JobError(f"scale {self.scale} must lie above 0, and not above 8")
        if self.size and (len(self.size) != 2 or min(self.size) < LEAST_SIDE):
            raise JobError(
                f"size {self.size} must be a width and a height of {LEAST_SIDE} px or more"
            )
        if self.size and self.scale != 1:
            raise JobError("give a scale or a size, not both")
        if min(self.block, self.gap, self.rim or 0, self.seed) < 0:
            raise JobError("block, gap, rim and seed must not be negative")
        if self.gsd is not None and self.gsd <= 0:
            raise JobError(f"gsd {self.gsd} must be above 0 m")

    def _check_shares(self) -> None:
        for name in ("min_labelled", "min_positive"):
            if not 0 <= getattr(self, name) <= 1:
                raise JobError(f"{name} {getattr(self, name)} must lie between 0 and 1")
        if len(self.fractions) not in (2, 3) or min(self.fractions) < 0 or self.fractions[0] <= 0:
            raise JobError(f"fractions {self.fractions} must be two or three shares")
        if abs(sum(self.fractions) - 1) > 1e-6:
            raise JobError(f"fractions {self.fractions} sum to {sum(self.fractions):g}, not to 1")

    def to_json(self) -> str:
        """Return the spec as a JSON text."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> PrepareSpec:
        """Return the spec of a JSON text.

        Raises
        ------
        JobError
            If it is no JSON object, or has a key that is unknown or a value of another type.
        """
        return from_json(cls, text, "The spec")

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> PrepareSpec:
        """Return the spec of a mapping with the attributes' names; lists become tuples."""
        return from_json(cls, found, "The spec")


def _among(value: str, name: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise JobError(f"{name} {value!r} is unknown; known are {', '.join(known)}")
