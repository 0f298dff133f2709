# SPDX-License-Identifier: GPL-2.0-or-later
"""The Semantic Drone Dataset in the three layouts that are about: official, Kaggle's and flat."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..classes import PRESETS, SourceClass
from ..errors import DatasetError
from ..palette import read_palette
from .folder import PairedFiles, files_by_stem

_BUILT_IN = (
    ("unlabeled", "#000000"), ("paved-area", "#804080"), ("dirt", "#824c00"),
    ("grass", "#006600"), ("gravel", "#706757"), ("water", "#1c2aa8"),
    ("rocks", "#30291e"), ("pool", "#003259"), ("vegetation", "#6b8e23"),
    ("roof", "#464646"), ("wall", "#66669c"), ("window", "#fee40c"),
    ("door", "#fe940c"), ("fence", "#be9999"), ("fence-pole", "#999999"),
    ("person", "#ff1660"), ("dog", "#663300"), ("car", "#098f96"),
    ("bicycle", "#770b20"), ("tree", "#333300"), ("bald-tree", "#befabe"),
    ("ar-marker", "#709692"), ("obstacle", "#028773"), ("conflicting", "#ff0000"),
)  # fmt: skip
CLASSES = tuple(SourceClass(number, *row) for number, row in enumerate(_BUILT_IN))
"""The classes where no csv lies beside the masks; the id is the row's number."""


@dataclass(frozen=True)
class Layout:
    """Where images and masks lie, below the folder that the user names."""

    name: str
    images: str
    labels: str


_OFFICIAL = "training_set/gt/semantic"
_KAGGLE = "dataset/semantic_drone_dataset"
_COLORS = "RGB_color_image_masks"
LAYOUTS = (
    Layout("official", "training_set/images", f"{_OFFICIAL}/label_images"),
    Layout(
        "official, low resolution",
        "training_set/low_res_images",
        f"{_OFFICIAL}/low_res_label_images",
    ),
    Layout("official", "images", "gt/semantic/label_images"),
    Layout("official, low resolution", "low_res_images", "gt/semantic/low_res_label_images"),
    Layout("Kaggle, ids", f"{_KAGGLE}/original_images", f"{_KAGGLE}/label_images_semantic"),
    Layout("Kaggle, ids", "original_images", "label_images_semantic"),
    Layout("Kaggle, colours", f"{_KAGGLE}/original_images", f"{_COLORS}/{_COLORS}"),
    Layout("Kaggle, colours", f"{_KAGGLE}/original_images", _COLORS),
    Layout("Kaggle, colours", "original_images", f"{_COLORS}/{_COLORS}"),
    Layout("Kaggle, colours", "original_images", _COLORS),
    Layout("flat", "images", "labels"),
)
"""Layouts in the order in which they are looked for; the first that is there is taken."""

PALETTES = (
    f"{_OFFICIAL}/class_dict.csv",
    "gt/semantic/class_dict.csv",
    "class_dict_seg.csv",
    "class_dict.csv",
    "dataset/class_dict_seg.csv",
    "../class_dict_seg.csv",
    "../../class_dict_seg.csv",
)
"""Where a class list may lie."""


@dataclass(frozen=True)
class SemanticDrone(PairedFiles):
    """Read images and masks below ``root``, whatever the layout.

    Parameters
    ----------
    root : Path
        The folder that holds the data set.
    palette : Path, optional
        A class list to use instead of the one that lies there.

    Raises
    ------
    DatasetError
        If no layout fits, or an image has no mask.
    """

    root: Path
    palette: Path | None = None

    layout: Layout = field(init=False)
    class_list: Path | None = field(init=False, repr=False)
    classes: tuple[SourceClass, ...] = field(init=False, repr=False)
    _images: dict[str, Path] = field(init=False, repr=False)
    _labels: dict[str, Path] = field(init=False, repr=False)

    default_classes = PRESETS["semantic-drone"]
    default_ignore = ("unlabeled", "conflicting")
    title = "Semantic Drone Dataset"
    license = "non-commercial (TU Graz, Institute of Computer Graphics and Vision)"
    citation = "Semantic Drone Dataset, Institute of Computer Graphics and Vision, TU Graz, 2019"
    url = "https://dronedataset.icg.tugraz.at"
    gsd = None
    bands = ("red", "green", "blue")
    rim = 0
    default_split = "clusters"

    def __post_init__(self) -> None:
        layout = _layout_of(self.root)
        lying = (self.root / name for name in PALETTES if (self.root / name).is_file())
        listed = self.palette or next(lying, None)
        # A frozen object is filled once, here.
        object.__setattr__(self, "layout", layout)
        object.__setattr__(self, "class_list", listed)
        object.__setattr__(self, "classes", read_palette(listed) if listed else CLASSES)
        object.__setattr__(self, "_images", files_by_stem(self.root / layout.images))
        object.__setattr__(self, "_labels", files_by_stem(self.root / layout.labels))

    @property
    def where_masks_lie(self) -> str:
        """Say where a mask was looked for."""
        return f"in {self.layout.labels}"


def _layout_of(root: Path) -> Layout:
    for layout in LAYOUTS:
        if (root / layout.images).is_dir() and (root / layout.labels).is_dir():
            return layout
    seen = "; ".join(
        f"{layout.name}: {layout.images} and {layout.labels}"
        for layout in (LAYOUTS[0], LAYOUTS[4], LAYOUTS[7], LAYOUTS[-1])
    )
    raise DatasetError(f"{root}: no layout of the Semantic Drone Dataset is there ({seen})")
