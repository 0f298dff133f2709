# SPDX-License-Identifier: GPL-2.0-or-later
"""Decoded samples on the disk, opened by memory map: each image is decoded once, none is held."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .dataset import IGNORE, Dataset, Sample
from .errors import DatasetError

_SPARED = 1 << 30  # bytes of the disk that are left free


class DecodedSamples:
    """Samples by number, read and decoded each time: slow, and without a file beside them.

    Parameters
    ----------
    dataset : Dataset
    samples : sequence of Sample
        Some of its samples.
    rim : int
        Width in px of the masks' edge that is set to "ignore".
    """

    def __init__(self, dataset: Dataset, samples: Sequence[Sample], rim: int = 0) -> None:
        self.dataset, self.samples, self.rim = dataset, samples, rim

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return image (H, W, B) and mask (H, W)."""
        image, mask = self.dataset.read(self.samples[index])
        return image, ignore_rim(mask, self.rim)


class CachedSamples:
    """Samples by number, from raw arrays on the disk.

    The arrays are views of memory maps: the operating system keeps what fits of them in memory and
    drops it when memory is short, so a process grows by no data set's size.

    Parameters
    ----------
    path : Path
        Folder that `cached` wrote.
    names : sequence of str
        The samples wanted.
    rim : int
        Width in px of the masks' edge that is set to "ignore".
    """

    def __init__(self, path: Path, names: Sequence[str], rim: int = 0) -> None:
        index = json.loads((path / "index.json").read_text(encoding="utf-8"))
        self.rim = rim
        self._shapes = [tuple(shape) for shape in index["shapes"]]
        self._images = np.memmap(path / "images.raw", np.dtype(index["data_type"]), "r")
        self._masks = np.memmap(path / "masks.raw", np.uint8, "r")
        sizes = [height * width for height, width, _bands in self._shapes]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        place_of = {name: place for place, name in enumerate(index["names"])}
        self._places = [place_of[name] for name in names]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return image (H, W, B), which is read-only, and mask (H, W)."""
        place = self._places[index]
        height, width, bands = self._shapes[place]
        start, stop = self._starts[place], self._starts[place + 1]
        image = self._images[start * bands : stop * bands].reshape(height, width, bands)
        return image, ignore_rim(self._masks[start:stop].reshape(height, width), self.rim)


def cached(
    dataset: Dataset, samples: Sequence[Sample], rim: int = 0, folder: Path | None = None
) -> CachedSamples | DecodedSamples:
    """Return ``samples`` from raw arrays on the disk.

    All samples of the data set are decoded if that was not done before: other sides, folds and
    runs then find them there.

    Parameters
    ----------
    samples : sequence of Sample
        Some of the data set's samples, in any order.
    rim : int
        Width in px of the masks' edge that is set to "ignore"; ``dataset.rim`` for training.
    folder : Path, optional
        Where the arrays lie; by default ``cache`` in the data set's folder. It may be deleted.

    Returns
    -------
    CachedSamples, or DecodedSamples where the disk has no room or cannot be written.

    Raises
    ------
    DatasetError
        If a file is absent or damaged.
    """
    path = (folder or dataset.folder / "cache") / _key(dataset)
    if (path / "index.json").is_file() or _decoded(dataset, path):
        return CachedSamples(path, [sample.name for sample in samples], rim)
    return DecodedSamples(dataset, samples, rim)


def _decoded(dataset: Dataset, path: Path) -> bool:
    """Decode all samples into ``path``, which appears when it is whole; return whether it did."""
    pixel = np.dtype(dataset.data_type).itemsize * len(dataset.bands) + 1
    needed = sum(sample.height * sample.width for sample in dataset.samples) * pixel
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(temporary).free < needed + _SPARED:
            return False
        _decode(dataset, temporary)
        temporary.rename(path)
    except OSError:  # no right to write, or another process was quicker
        return (path / "index.json").is_file()
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True


def ignore_rim(mask: np.ndarray, rim: int) -> np.ndarray:
    """Return the mask (H, W) with its outermost ``rim`` px set to "ignore"."""
    if not rim:
        return mask
    mask = mask.copy()
    mask[:rim] = mask[-rim:] = IGNORE
    mask[:, :rim] = mask[:, -rim:] = IGNORE
    return mask


def _decode(dataset: Dataset, folder: Path) -> None:
    shapes = []
    with (folder / "images.raw").open("wb") as images, (folder / "masks.raw").open("wb") as masks:
        for sample in dataset.samples:
            image, mask = dataset.read(sample)
            images.write(np.ascontiguousarray(image, dataset.data_type).data)
            masks.write(np.ascontiguousarray(mask).data)
            shapes.append(image.shape)
    names = [sample.name for sample in dataset.samples]
    index = {"data_type": dataset.data_type, "names": names, "shapes": shapes}
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")


def _key(dataset: Dataset) -> str:
    """Return a name that changes with the samples' files."""
    digest = hashlib.sha256(f"{dataset.data_type},{len(dataset.bands)}".encode())
    for sample in dataset.samples:
        for path in (sample.image, sample.mask):
            try:
                stat = path.stat()
            except OSError as error:
                raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error
            digest.update(f"{path.name},{stat.st_size},{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
