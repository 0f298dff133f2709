# SPDX-License-Identifier: GPL-2.0-or-later
"""Small rasters with known content, made on the fly for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

UTM = "EPSG:32633"
TRANSFORM = rasterio.Affine(0.25, 0.0, 500_000.0, 0.0, -0.25, 5_300_000.0)


def texture(height: int, width: int, bands: int = 3, *, seed: int = 1) -> NDArray[np.uint8]:
    """Smooth shapes and noise over the whole range 0-255, shape (H, W, C)."""
    random = np.random.default_rng(seed)
    rows, cols = np.mgrid[0:height, 0:width]
    waves = [
        np.sin(rows / random.uniform(3, 17) + cols / random.uniform(3, 17) + 6 * random.random())
        for _ in range(bands)
    ]
    image = 127 + 90 * np.stack(waves, axis=-1) + random.normal(0, 20, (height, width, bands))
    return np.clip(image, 0, 255).astype(np.uint8)


def write_raster(path: Path, pixels: NDArray[Any], **profile: Any) -> Path:
    """Write pixels of shape (H, W, C) or (H, W) as a raster; GeoTIFF in UTM unless told."""
    bands = pixels[np.newaxis] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    count, height, width = bands.shape
    settings = {
        "driver": "GTiff",
        "crs": UTM,
        "transform": TRANSFORM,
        "dtype": bands.dtype,
        "photometric": "minisblack",
        **profile,
    }
    with rasterio.open(path, "w", width=width, height=height, count=count, **settings) as raster:
        raster.write(bands)
    return path


def read_raster(path: Path | str) -> NDArray[Any]:
    """Pixels of a raster as they are stored, shape (C, H, W)."""
    with rasterio.open(path) as raster:
        pixels: NDArray[Any] = raster.read()
    return pixels
