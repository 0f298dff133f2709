# SPDX-License-Identifier: GPL-2.0-or-later
"""Plain folders of images and masks that have the same stems, with a class list in a csv."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..classes import SourceClass
from ..errors import DatasetError
from ..images import RASTERS, SUFFIXES, nodata_of, palette_of, read_image, read_labels
from ..palette import ids_of_colors, ids_of_indices, read_palette

_MASKS = ("masks", "labels", "mask", "label")
_PALETTES = ("classes.csv", "class_dict.csv", "palette.csv", "class_dict_seg.csv")


class PairedFiles:
    """What readers of images and masks with the same stems share; these have no groups or lists."""

    root: Path
    classes: tuple[SourceClass, ...]
    _images: dict[str, Path]
    _labels: dict[str, Path]

    def names(self) -> list[str]:
        """Return the stems of all images."""
        return sorted(self._images)

    def image(self, name: str) -> np.ndarray:
        """Return the image as (H, W, B); nodata holds the mean of the rest."""
        path = self._images[name]
        image, nodata = read_image(path), nodata_of(path)
        if nodata is None or nodata.all():
            return image
        image = image.copy()
        image[nodata] = image[~nodata].mean(axis=0).astype(image.dtype)
        return image

    def nodata(self, name: str) -> np.ndarray | None:
        """Return where the image holds nothing, (H, W) bool, or None."""
        return nodata_of(self._images[name])

    def labels(self, name: str) -> np.ndarray:
        """Return the ids (H, W), of a mask of ids or of colours; -1 at nodata of image or mask."""
        path = self.label_file(name)
        mask = read_labels(path)
        # Transparency of a mask says nothing: masks are often made to lie over their image.
        unknown = nodata_of(path) if path.suffix.lower() in RASTERS and mask.ndim == 2 else None
        if unknown is not None:
            if unknown.all():
                return np.full(mask.shape, -1, np.int32)
            mask[unknown] = mask[~unknown][0]
        ids = self._ids(mask, path)
        for nodata in (unknown, nodata_of(self._images[name])):
            if nodata is not None and nodata.shape == ids.shape:
                ids = np.where(nodata, np.int32(-1), ids)
        return ids

    def _ids(self, mask: np.ndarray, path: Path) -> np.ndarray:
        if mask.ndim == 3:
            return ids_of_colors(mask, self.classes, path)
        palette = palette_of(path)
        return mask if palette is None else ids_of_indices(mask, palette, self.classes, path)

    def group(self, _name: str) -> str:
        """Return "": nothing tells groups."""
        return ""

    def image_file(self, name: str) -> Path | None:
        """Return the image's file, or None where nodata in it was filled."""
        path = self._images[name]
        return path if nodata_of(path) is None else None

    def label_file(self, name: str) -> Path:
        """Return the mask's file."""
        if name not in self._labels:
            raise DatasetError(f"{self._images[name]}: has no mask {self.where_masks_lie}")
        return self._labels[name]

    @property
    def where_masks_lie(self) -> str:
        """Say where a mask was looked for."""
        return "of the same name"

    def masks_without_image(self) -> list[str]:
        """Return the names of the masks' files that no image has the stem of."""
        return [path.name for stem, path in self._labels.items() if stem not in self._images]

    def lists(self) -> dict[str, list[str]]:
        """Return {}: there is no official split."""
        return {}


@dataclass(frozen=True)
class FolderSet(PairedFiles):
    """Read images below ``root``/images (or ``root``) and masks of ids or of colours.

    Parameters
    ----------
    root : Path
        A folder with images, or with a folder "images" in it.
    masks : Path, optional
        The masks' folder; by default masks or labels in ``root``.
    palette : Path, optional
        The class list; by default classes.csv or class_dict.csv in ``root``.
    listed : tuple of SourceClass
        The classes, instead of a class list.

    Raises
    ------
    DatasetError
        If a folder or the class list is absent, or two files have one stem.
    """

    root: Path
    masks: Path | None = None
    palette: Path | None = None
    listed: tuple[SourceClass, ...] = ()

    classes: tuple[SourceClass, ...] = field(init=False, repr=False)
    _images: dict[str, Path] = field(init=False, repr=False)
    _labels: dict[str, Path] = field(init=False, repr=False)

    default_ignore = ()
    license = ""
    citation = ""
    url = ""
    gsd = None
    bands = ()
    rim = 0
    default_split = "clusters"

    def __post_init__(self) -> None:
        images = self.root / "images" if (self.root / "images").is_dir() else self.root
        masks = self.masks or _first(self.root, _MASKS, "folder of masks")
        classes = self.listed
        if not classes:
            palette = self.palette or _first(self.root, _PALETTES, "class list")
            classes = read_palette(palette)
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "_images", files_by_stem(images))
        object.__setattr__(self, "_labels", files_by_stem(masks))

    @property
    def title(self) -> str:
        """The folder's name."""
        return self.root.resolve().name

    @property
    def default_classes(self) -> tuple[str, ...]:
        """All classes but a background."""
        skipped = {"background", "unlabeled", "unlabelled", "none"}
        return tuple(cls.name for cls in self.classes if cls.name.lower() not in skipped)


def files_by_stem(folder: Path) -> dict[str, Path]:
    """Return the images in a folder by their stems.

    Raises
    ------
    DatasetError
        If the folder is absent or holds no image, or two images have one stem.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            if path.stem in found:
                raise DatasetError(
                    f"{path}: has the same stem as {found[path.stem].name}; which one is meant? "
                    "Move one away"
                )
            found[path.stem] = path
    if not found:
        raise DatasetError(f"{folder}: holds no image ({', '.join(SUFFIXES)})")
    return found


def _first(root: Path, names: tuple[str, ...], what: str) -> Path:
    for name in names:
        if (root / name).exists():
            return root / name
    raise DatasetError(f"{root}: has no {what} ({', '.join(names)}); name it")
