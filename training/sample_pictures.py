# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures of what a network makes of a few images: image, truth, probability, mask."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .contact_sheet import overlay
from .dataset import ClassInfo
from .images import as_rgb

NAMES = ("image", "truth", "probability", "mask")
WIDTH = 360
_PAPER = 246  # grey level where there is none of the classes


def colored_mask(
    mask: np.ndarray, classes: Sequence[ClassInfo], answers: np.ndarray | None = None
) -> np.ndarray:
    """Return (H, W, 3) uint8 of a mask (H, W): each class in its colour, unknown pixels hatched.

    ``answers``, (256, K) int8, tells what the values say; by default none is a partial label.
    """
    paper = np.full((*mask.shape, 3), _PAPER, np.uint8)
    return overlay(paper, mask, classes, answers, opacity=1.0)


def colored_probability(probability: np.ndarray, classes: Sequence[ClassInfo]) -> np.ndarray:
    """Return (H, W, 3) uint8: the classes' colours mixed by their probabilities (H, W, K).

    Where they sum to less than 1, the rest is light grey.
    """
    colors = np.array([cls.rgb for cls in classes], np.float32)
    total = probability.sum(axis=-1, keepdims=True)
    mixed = probability @ colors / np.maximum(total, 1.0)
    return np.rint(mixed + _PAPER * np.clip(1.0 - total, 0, 1)).astype(np.uint8)


def picture(image: np.ndarray) -> np.ndarray:
    """Return any image (H, W, B) as (H, W, 3) uint8 to look at."""
    return np.ascontiguousarray(as_rgb(image))


def thumbnail(pixels: np.ndarray, width: int = WIDTH, smooth: bool = True) -> Image.Image:
    """Return a picture (H, W, 3) at that width."""
    height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
    how = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    return Image.fromarray(pixels).resize((width, height), how)


def data_url(image: Image.Image, kind: str = "png") -> str:
    """Return a picture as text that a page can hold."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 85} if kind == "jpeg" else {"optimize": True}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def save_sheet(rows: Sequence[Sequence[Image.Image]], path: Path) -> None:
    """Write rows of pictures of one width as one PNG."""
    gap = 6
    width, columns = rows[0][0].width, max(map(len, rows))
    heights = [max(cell.height for cell in row) for row in rows]
    size = columns * (width + gap) - gap, sum(heights) + gap * (len(rows) - 1)
    sheet, top = Image.new("RGB", size, "white"), 0
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            sheet.paste(cell, (column * (width + gap), top))
        top += height + gap
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)
