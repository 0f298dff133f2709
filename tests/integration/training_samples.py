# SPDX-License-Identifier: GPL-2.0-or-later
"""Tiny labelled images for whole runs: a meadow left, a road right, told apart by colour."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import rasterio

GRASS, ROAD = (40, 140, 50), (120, 120, 130)
SPLIT_AT = 0.6  # share of the width that is meadow
LEFT, TOP, PIXEL = 500000.0, 4000000.0, 0.5


def draw(height: int, width: int, seed: int = 1) -> np.ndarray:
    """Image (3, H, W) uint8: meadow, then road, with noise."""
    rng = np.random.default_rng(seed)
    edge = int(width * SPLIT_AT)
    image = np.empty((height, width, 3))
    image[:, :edge], image[:, edge:] = GRASS, ROAD
    image += rng.normal(0, 12, image.shape)
    return np.moveaxis(np.clip(image, 0, 255).astype(np.uint8), 2, 0)


def truth(height: int, width: int) -> np.ndarray:
    """Classes (H, W) uint8: 1 meadow, 2 road."""
    mask = np.full((height, width), 2, np.uint8)
    mask[:, : int(width * SPLIT_AT)] = 1
    return mask


def write(path: Path, bands: np.ndarray, nodata: int | None = None) -> Path:
    """Write (B, H, W) as a GeoTIFF in UTM 17N, pixels of 0.5 m."""
    profile = {
        "driver": "GTiff",
        "count": bands.shape[0],
        "height": bands.shape[1],
        "width": bands.shape[2],
        "dtype": bands.dtype,
        "crs": "EPSG:32617",
        "transform": rasterio.Affine(PIXEL, 0, LEFT, 0, -PIXEL, TOP),
        "nodata": nodata,
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(bands)
    return path


def write_polygons(path: Path, height: int, width: int) -> Path:
    """Write the same truth as polygons with a field "kind"."""
    edge = int(width * SPLIT_AT)

    def box(west: int, east: int) -> list[list[list[float]]]:
        x0, x1 = LEFT + west * PIXEL, LEFT + east * PIXEL
        y0, y1 = TOP - height * PIXEL, TOP
        return [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]]

    features = [
        {
            "type": "Feature",
            "properties": {"kind": kind},
            "geometry": {"type": "Polygon", "coordinates": box(*columns)},
        }
        for kind, columns in (("meadow", (0, edge)), ("road", (edge, width)))
    ]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32617"}}
    content = {"type": "FeatureCollection", "crs": crs, "features": features}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_folders(folder: Path, count: int = 6, size: tuple[int, int] = (64, 80)) -> Path:
    """Write `count` images with masks of class numbers, and the list of the classes."""
    from PIL import Image

    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        image = np.moveaxis(draw(*size, seed=number), 0, 2)
        Image.fromarray(image).save(folder / "images" / f"view{number}.png")
        Image.fromarray(truth(*size)).save(folder / "masks" / f"view{number}.png")
    classes = "name,r,g,b\nunknown,0,0,0\nmeadow,40,140,50\nroad,120,120,130\n"
    (folder / "classes.csv").write_text(classes)
    return folder
