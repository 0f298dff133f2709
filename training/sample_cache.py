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
    """

    def __init__(self, path: Path) -> None:
        index = json.loads((path / "index.json").read_text(encoding="utf-8"))
        self._shapes = [tuple(shape) for shape in index["shapes"]]
        self._images = np.memmap(path / "images.raw", np.dtype(index["data_type"]), "r")
        self._masks = np.memmap(path / "masks.raw", np.uint8, "r")
        sizes = [height * width for height, width, _bands in self._shapes]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return image (H, W, B) and mask (H, W), both read-only."""
        height, width, bands = self._shapes[index]
        start, stop = self._starts[index], self._starts[index + 1]
        image = self._images[start * bands : stop * bands].reshape(height, width, bands)
        return image, self._masks[start:stop].reshape(height, width)


def cached(
    dataset: Dataset, samples: Sequence[Sample], rim: int = 0, folder: Path | None = None
) -> CachedSamples | DecodedSamples:
    """Return ``samples`` as raw arrays on the disk, decoding them if that was not done before.

    Parameters
    ----------
    rim : int
        Width in px of the masks' edge that is set to "ignore"; ``dataset.rim`` for training.
    folder : Path, optional
        Where the arrays lie; by default ``cache`` in the data set's folder. It may be deleted.

    Returns
    -------
    CachedSamples, or DecodedSamples where the disk has no room or cannot be written.
    """
    path = (folder or dataset.folder / "cache") / _key(dataset, samples, rim)
    if (path / "index.json").is_file():
        return CachedSamples(path)
    pixel = np.dtype(dataset.data_type).itemsize * len(dataset.bands) + 1
    needed = sum(sample.height * sample.width for sample in samples) * pixel
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(temporary).free < needed + (1 << 30):
            return DecodedSamples(dataset, samples, rim)
        _decode(dataset, samples, rim, temporary)
        temporary.rename(path)
    except OSError:
        if not (path / "index.json").is_file():  # unless another process was quicker
            return DecodedSamples(dataset, samples, rim)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return CachedSamples(path)


def ignore_rim(mask: np.ndarray, rim: int) -> np.ndarray:
    """Return the mask (H, W) with its outermost ``rim`` px set to "ignore"."""
    if not rim:
        return mask
    mask = mask.copy()
    mask[:rim] = mask[-rim:] = IGNORE
    mask[:, :rim] = mask[:, -rim:] = IGNORE
    return mask


def _decode(dataset: Dataset, samples: Sequence[Sample], rim: int, folder: Path) -> None:
    shapes = []
    with (folder / "images.raw").open("wb") as images, (folder / "masks.raw").open("wb") as masks:
        for sample in samples:
            image, mask = dataset.read(sample)
            images.write(np.ascontiguousarray(image, dataset.data_type).data)
            masks.write(np.ascontiguousarray(ignore_rim(mask, rim)).data)
            shapes.append(image.shape)
    index = {"data_type": dataset.data_type, "shapes": shapes}
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")


def _key(dataset: Dataset, samples: Sequence[Sample], rim: int) -> str:
    """Return a name that changes with the samples' files."""
    digest = hashlib.sha256(f"{dataset.data_type},{len(dataset.bands)},{rim}".encode())
    for sample in samples:
        for path in (sample.image, sample.mask):
            stat = path.stat()
            digest.update(f"{path.name},{stat.st_size},{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
