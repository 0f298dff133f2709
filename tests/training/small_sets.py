# SPDX-License-Identifier: GPL-2.0-or-later
"""Small labelled image sets, written in the layouts in which the real ones come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from training.datasets.semantic_drone import CLASSES

DRONE_IDS = (0, 3, 8, 19, 1)  # unlabeled, grass, vegetation, tree, paved-area
SHADES = {0: (9, 9, 9), 3: (60, 150, 50), 8: (110, 170, 40), 19: (40, 70, 20), 1: (150, 140, 150)}


def draw(number: int, height: int = 48, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (H, W, 3) and its ids (H, W): stripes of all classes, noise of its own."""
    rng = np.random.default_rng(number)
    ids = np.repeat(np.array(rng.permutation(DRONE_IDS), np.uint8), -(-height // 5))[:height]
    ids = np.repeat(ids[:, None], width, axis=1)
    image = np.array([SHADES[i] for i in ids[:, 0]])[:, None] + rng.normal(
        0, 30, (height, width, 3)
    )
    return np.clip(image, 0, 255).astype(np.uint8), ids


def colored(ids: np.ndarray) -> np.ndarray:
    """Return ids (H, W) as the Semantic Drone Dataset's colours (H, W, 3) uint8."""
    table = np.array([[int(cls.color[at : at + 2], 16) for at in (1, 3, 5)] for cls in CLASSES])
    return table[ids].astype(np.uint8)


def write_pairs(images: Path, labels: Path, count: int = 4, in_color: bool = True) -> None:
    """Write ``count`` JPEG images and PNG masks, 000 to 999."""
    for folder in (images, labels):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image, ids = draw(number)
        Image.fromarray(image).save(images / f"{number:03d}.jpg", quality=95)
        mask = colored(ids) if in_color else ids
        Image.fromarray(mask).save(labels / f"{number:03d}.png")


def write_class_list(path: Path, header: str, separator: str = ", ") -> None:
    """Write the Semantic Drone Dataset's classes as its csv files have them."""
    rows = [header]
    for cls in CLASSES:
        red, green, blue = (int(cls.color[at : at + 2], 16) for at in (1, 3, 5))
        rows.append(separator.join(map(str, (cls.name, red, green, blue))))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")


def write_folder_set(root: Path, count: int = 6, in_color: bool = False) -> Path:
    """Write a plain set: images/, masks/ and classes.csv with five classes."""
    write_pairs(root / "images", root / "masks", count, in_color=False)
    rows = ["id,name,r,g,b", "0,background,0,0,0", "3,grass,0,200,0", "8,bush,99,99,0"]
    rows += ["19,tree,0,90,0", "1,paved,80,80,80"]
    (root / "classes.csv").write_text("\n".join(rows) + "\n")
    if in_color:
        table = {0: (0, 0, 0), 3: (0, 200, 0), 8: (99, 99, 0), 19: (0, 90, 0), 1: (80, 80, 80)}
        for path in (root / "masks").iterdir():
            ids = np.asarray(Image.open(path))
            colors = np.zeros((*ids.shape, 3), np.uint8)
            for number, color in table.items():
                colors[ids == number] = color
            Image.fromarray(colors).save(path)
    return root


def garden(number: int) -> Image.Image:
    """A ground of 900 x 700 px with stones and beds of many sizes, other ones in each garden."""
    rng = np.random.default_rng(number)
    ground = Image.new("RGB", (900, 700), tuple(rng.integers(60, 190, 3).tolist()))
    for _ in range(260):
        x, y = rng.integers(0, 900), rng.integers(0, 700)
        wide, high = rng.integers(6, 60, 2)
        color = tuple(rng.integers(0, 255, 3).tolist())
        stone = Image.new("RGBA", (int(wide), int(high)), (*color, 255))
        stone = stone.rotate(float(rng.uniform(0, 360)), expand=True)
        ground.paste(stone, (int(x), int(y)), stone)
    return ground


def view(number: int, left: int, top: int, turn: float = 0, zoom: float = 1, light: float = 1):
    """What a drone sees of a garden: 360 x 240 px, turned by degrees, from another height."""
    wide, high = int(480 / zoom), int(380 / zoom)
    part = garden(number).crop((left, top, left + wide, top + high)).resize((480, 380))
    part = part.rotate(turn, Image.Resampling.BICUBIC).crop((60, 70, 420, 310))
    return np.clip(np.asarray(part) * light, 0, 255).astype(np.uint8)


VIEWS = {
    "a0": (1, 100, 80, 0, 1.0, 1.0),
    "a1": (1, 160, 120, 37, 1.0, 1.0),
    "a2": (1, 60, 60, 200, 0.8, 0.8),
    "b0": (2, 100, 80, 0, 1.0, 1.0),
    "b1": (2, 150, 60, 90, 1.2, 1.15),
    "b2": (2, 200, 140, 310, 1.0, 0.9),
}
