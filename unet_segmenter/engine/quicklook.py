# SPDX-License-Identifier: GPL-2.0-or-later
"""A picture of the image beside the mask, with a legend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from .legend import ClassLook
from .model_card import NODATA_VALUE
from .side_files import QUICKLOOK_MARK

_WIDTH = 1600
_GAP = 12
_FONT_SIZE = 18
_OVERLAY = 0.6
_SPREAD = (2, 98)


def draw_quicklook(
    image: NDArray[np.generic],
    valid: NDArray[np.bool_],
    mask: NDArray[np.uint8],
    looks: tuple[ClassLook, ...],
    value_range: tuple[float, float],
    path: Path,
) -> None:
    """Draw the image, and beside it the mask laid over it, into a PNG file.

    Parameters
    ----------
    image : ndarray, shape (H, W, C)
        Raster values; the first three bands are shown as red, green and blue, or the first
        one as grey.
    valid : ndarray of bool, shape (H, W)
        False at nodata, which is drawn white.
    mask : ndarray of uint8, shape (H, W)
        Class values; 255 is nodata.
    looks : tuple of ClassLook
        Names and colours.
    value_range : tuple of float
        Black and white of 8-bit images; others are stretched to their middle 96 %.
    path : Path
        File to write.
    """
    left = _as_rgb(image, valid, value_range)
    right = left.copy()
    for look in looks:
        where = mask == look.value
        right[where] = (1 - _OVERLAY) * right[where] + _OVERLAY * np.asarray(look.rgb)
    right[mask == NODATA_VALUE] = 255
    panels = [_fit(left), _fit(right)]
    width, height = panels[0].size
    font = ImageFont.load_default(_FONT_SIZE)
    rows = _legend_rows(looks, font, 2 * width + _GAP)
    line = _FONT_SIZE + 14
    canvas = Image.new("RGB", (2 * width + 3 * _GAP, height + 2 * _GAP + line * len(rows)), "white")
    canvas.paste(panels[0], (_GAP, _GAP))
    canvas.paste(panels[1], (width + 2 * _GAP, _GAP))
    pen = ImageDraw.Draw(canvas)
    for index, row in enumerate(rows):
        top = height + _GAP + 8 + line * index
        for look, x in row:
            box = (x, top + 2, x + _FONT_SIZE, top + 2 + _FONT_SIZE)
            pen.rectangle(box, fill=look.color, outline="#555555")
            pen.text((x + _FONT_SIZE + 6, top), look.name, fill="#222222", font=font)
    about = PngImagePlugin.PngInfo()
    about.add_text("Software", QUICKLOOK_MARK)
    canvas.save(path, optimize=True, pnginfo=about)


def _as_rgb(
    image: NDArray[np.generic], valid: NDArray[np.bool_], value_range: tuple[float, float]
) -> NDArray[np.float32]:
    channels = (0, 1, 2) if image.shape[2] >= 3 else (0, 0, 0)
    rgb: NDArray[np.float32] = image[..., channels].astype(np.float32)
    low, high = value_range
    if (low, high) != (0, 255) and valid.any():
        low, high = (float(v) for v in np.percentile(rgb[valid], _SPREAD))
    rgb = np.clip((rgb - low) / max(high - low, 1e-9), 0, 1) * 255
    rgb[~valid] = 255
    return rgb


def _fit(rgb: NDArray[np.float32]) -> Image.Image:
    height, width = rgb.shape[:2]
    scale = min((_WIDTH - 3 * _GAP) / 2 / width, 1200 / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    smooth = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
    return Image.fromarray(rgb.round().astype(np.uint8)).resize(size, smooth)


def _legend_rows(
    looks: tuple[ClassLook, ...], font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: float
) -> list[list[tuple[ClassLook, float]]]:
    """Legend entries and their x in px, broken into rows."""
    rows: list[list[tuple[ClassLook, float]]] = [[]]
    x = float(_GAP)
    for look in looks:
        entry = _FONT_SIZE + 6 + font.getlength(look.name) + 24
        if x + entry > width and rows[-1]:
            rows.append([])
            x = float(_GAP)
        rows[-1].append((look, x))
        x += entry
    return rows
