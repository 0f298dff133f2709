# SPDX-License-Identifier: GPL-2.0-or-later
"""Learning curves and sheets of image, truth and prediction, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .datasets.aeroscapes import CLASSES, IGNORE
from .fit import read_history


def palette() -> np.ndarray:
    """Return the classes' colours by value, (256, 3) uint8; 0 is black, 255 magenta."""
    colors = np.zeros((256, 3), np.uint8)
    for cls in CLASSES:
        colors[cls.value] = list(bytes.fromhex(cls.color[1:]))
    colors[IGNORE] = 255, 0, 255
    return colors


def save_sheet(rows: Sequence[tuple[np.ndarray, ...]], path: Path, width: int = 480) -> Path:
    """Write rows of pictures: images (H, W, 3) uint8 as they are, masks (H, W) in colour."""
    colors = palette()
    bands = []
    for row in rows:
        cells = [picture if picture.ndim == 3 else colors[picture] for picture in row]
        height = round(width * cells[0].shape[0] / cells[0].shape[1])
        resized = [Image.fromarray(cell).resize((width, height)) for cell in cells]
        bands.append(np.concatenate([np.asarray(cell) for cell in resized], axis=1))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(bands)).save(path)
    return path


def save_learning_curve(folder: Path, path: Path) -> Path:
    """Plot loss and validation IoU by epoch, from a run's history.csv."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = read_history(folder)
    epochs = [row["epoch"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    left.plot(epochs, [row["loss"] for row in rows], color="black")
    left.set(xlabel="epoch", ylabel="training loss (Dice + cross-entropy)")
    for cls in CLASSES:
        values = [row[f"iou_{cls.value}"] for row in rows]
        right.plot(epochs, values, color=cls.color, label=cls.name)
    right.plot(epochs, [row["mean_iou"] for row in rows], color="black", label="mean")
    right.set(xlabel="epoch", ylabel="validation IoU, one-vs-rest", ylim=(0, 1))
    right.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)
    return path
