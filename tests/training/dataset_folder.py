# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes a small prepared data set: stripes of colour, each a class, that a network can learn."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = ((40, 130, 40), (110, 110, 120), (90, 170, 230))
CLASSES = (("meadow", "#228b22"), ("road", "#6c7a89"), ("sky", "#5dade2"))


def draw(rng: np.random.Generator, height: int, width: int, classes: int):
    """Return an image (H, W, 3) of stripes with noise, and its mask of 0 to ``classes``."""
    order = rng.permutation(classes + 1)
    stripe = np.minimum(np.arange(height) * len(order) // height, len(order) - 1)
    mask = np.repeat(order[stripe].astype(np.uint8)[:, None], width, axis=1)
    palette = np.array([(180, 160, 120), *COLOURS[:classes]])
    image = palette[mask] + rng.normal(0, 8, (height, width, 3))
    mask[:4, :4] = 255
    return np.clip(image, 0, 255).astype(np.uint8), mask


def write_dataset(
    folder: Path, classes: int = 2, size: tuple[int, int] = (96, 128), validation: int = 2
) -> Path:
    """Write two training images, and validation images each of a group of its own."""
    rng = np.random.default_rng(5)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows = []
    splits = ["train"] * 2 + ["validation"] * validation
    for number, split in enumerate(splits):
        name = f"frame{number}"
        image, mask = draw(rng, *size, classes)
        Image.fromarray(image).save(folder / "images" / f"{name}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
        rows.append(
            {
                "name": name, "split": split, "group": f"site{number}",
                "image": f"images/{name}.png", "mask": f"masks/{name}.png",
                "height": size[0], "width": size[1],
            }
        )  # fmt: skip
    with (folder / "samples.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    told = {
        "format": "unet-segmenter-dataset", "format_version": 1, "title": "Stripes",
        "classes": [
            {"value": value, "name": name, "color": color}
            for value, (name, color) in enumerate(CLASSES[:classes], 1)
        ],
        "bands": ["red", "green", "blue"], "data_type": "uint8", "value_range": [0, 255],
        "gsd": 0.1, "license": "CC0-1.0", "citation": "Drawn by the tests.",
        "sources": [{"title": "Drawn"}], "split": {"method": "drawn"},
        "scaling": {"mean": [120.0, 130.0, 125.0], "stddev": [50.0, 40.0, 45.0]},
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(told))
    return folder
