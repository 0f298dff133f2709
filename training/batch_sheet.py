# SPDX-License-Identifier: GPL-2.0-or-later
"""A picture of one training batch: what augmentation makes of the images, and of their masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from unet_segmenter.engine.errors import OutputError

from .contact_sheet import overlay
from .images import as_rgb
from .recipe import Recipe

COLUMNS = 4
GAP = 6


def draw_batch(recipe: Recipe, path: Path) -> Path:
    """Draw the first batch of the first epoch into a PNG file.

    The crops are taken from the very arrays that the network gets, with the scaling undone.

    Raises
    ------
    DatasetError
        If there is no training image.
    OutputError
        If the file cannot be written.
    """
    data = recipe.dataset
    samples = data.split("train")
    images, masks = next(iter(recipe.batches(samples)(0)))
    mean, stddev = np.float32(recipe.scaling.mean), np.float32(recipe.scaling.stddev)
    pixels = np.asarray(images) * stddev + mean
    data_type = np.dtype(data.data_type)
    if np.issubdtype(data_type, np.integer):
        limits = np.iinfo(data_type)
        pixels = np.clip(np.rint(pixels), limits.min, limits.max).astype(data_type)
    cells = []
    for image, mask in zip(pixels, np.asarray(masks), strict=True):
        picture = np.ascontiguousarray(as_rgb(image))
        cells.append(
            np.concatenate([picture, overlay(picture, mask, data.classes, data.answers)], 1)
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_tiled(cells)).save(path, "png", optimize=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    return path


def _tiled(cells: list[np.ndarray]) -> np.ndarray:
    """Return equal pictures (H, W, 3) in rows of `COLUMNS`, on white."""
    height, width, _bands = cells[0].shape
    columns = min(COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    shape = rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3
    canvas = np.full(shape, 255, np.uint8)
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        y, x = row * (height + GAP), column * (width + GAP)
        canvas[y : y + height, x : x + width] = cell
    return canvas
