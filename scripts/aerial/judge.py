# SPDX-License-Identifier: GPL-2.0-or-later
"""Judge models on places that they did not learn from, as they are and under colour casts.

    python scripts/aerial/judge.py SETS DEEPFOREST_WHEEL MODEL [MODEL ...]

SETS is what make_data.py wrote; the validation images of each set are scored, at the models' own
thresholds. Crowns are those that people boxed in four aerial images of the NEON programme, which
the deepforest wheel carries: the share of the ellipses in their boxes that is called vegetation.
Prints Markdown tables.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from xml.etree import ElementTree as ET  # nosec B405 - of a wheel that is pinned by hash

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from training.dataset import Dataset, Sample  # noqa: E402
from training.evaluate import cell, evaluate, with_classes_of  # noqa: E402
from training.whole_and_tiled import OpenModel, calibrated, whole  # noqa: E402
from unet_segmenter.engine.model_library import default_library  # noqa: E402
from unet_segmenter.engine.open_model import open_model  # noqa: E402

CASTS = {"": (1.0, 1.0, 1.0)} | {
    f"{name} x {gain}": tuple(gain if band == place else 1.0 for band in range(3))
    for name, place in (("red", 0), ("blue", 2))
    for gain in (0.7, 0.8, 1.25, 1.4)
}
SETS = ("naip", "oam", "obx", "dunes", "dubai", "aeroscapes")
IMAGES = (
    "2019_YELL_2_528000_4978000_image_crop2", "2019_YELL_2_541000_4977000_image_crop", "OSBS_029",
    "SOAP_061",
)  # fmt: skip


@dataclass(frozen=True)
class CastDataset(Dataset):
    """A data set whose images are seen through a camera with other gains."""

    gains: tuple[float, ...] = (1.0, 1.0, 1.0)

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        """Return image and mask, the image with a cast."""
        image, mask = super().read(sample)
        return np.clip(np.rint(image * np.float32(self.gains)), 0, 255).astype(np.uint8), mask


def cast(dataset: Dataset, gains: tuple[float, ...]) -> CastDataset:
    """Return the data set seen with these gains."""
    return CastDataset(**{f.name: getattr(dataset, f.name) for f in fields(Dataset)}, gains=gains)


def scores(model: str, folder: Path, casts: bool) -> None:
    """Print the IoU of each class that a set tells of; under casts the loss against none."""
    card = open_model(model, default_library())
    dataset = Dataset.open(folder)
    known = with_classes_of(dataset, card)
    network = OpenModel(card)
    plain: dict[str, float | None] = {}
    for name, gains in CASTS.items() if casts else [("", CASTS[""])]:
        seen = cast(dataset, gains)
        total = evaluate(network, known, seen, seen.split("validation")).total()
        there = total.counts.hit + total.counts.missed > 0
        found = {
            cls: row["iou"]
            for (cls, row), occurs in zip(
                total.per_class([c.name for c in known.classes]).items(), there, strict=True
            )
            if occurs
        }
        plain = plain or found
        cells = " | ".join(
            f"{cls} {cell(iou)}" + (f" ({iou - plain[cls]:+.3f})" if name else "")
            for cls, iou in found.items()
        )
        print(f"| {card.name} | {dataset.title} | {name or 'as they are'} | {cells} |", flush=True)


def boxes(text: str) -> Iterator[tuple[int, int, int, int]]:
    """Yield left, top, right, bottom of each crown of a Pascal VOC file."""
    for box in ET.fromstring(text).iter("bndbox"):  # nosec B314 - of a pinned wheel
        yield tuple(int(float(box.find(k).text)) for k in ("xmin", "ymin", "xmax", "ymax"))


def crowns(model: str, wheel: Path) -> None:
    """Print how much of the boxed crowns is called vegetation, and tree."""
    card = open_model(model, default_library())
    run = calibrated(OpenModel(card), card)
    classes = sorted(card.classes, key=lambda cls: cls.channel)
    with zipfile.ZipFile(wheel) as archive:
        for name in IMAGES:
            data = archive.read(f"deepforest/data/{name}.png")
            with Image.open(io.BytesIO(data)) as picture:
                image = np.asarray(picture.convert("RGB"))
            probability = whole(run, image, card)
            inside = np.zeros(image.shape[:2], bool)
            for left, top, right, bottom in boxes(
                archive.read(f"deepforest/data/{name}.xml").decode()
            ):
                rows, cols = np.ogrid[top:bottom, left:right]
                x = (cols - (left + right - 1) / 2) / ((right - left) / 2)
                y = (rows - (top + bottom - 1) / 2) / ((bottom - top) / 2)
                part = inside[top:bottom, left:right]
                part |= (x**2 + y**2 <= 1)[: part.shape[0], : part.shape[1]]
            told = [
                f"{cls.name} {(probability[..., k][inside] >= cls.threshold).mean():.3f}"
                for k, cls in enumerate(classes)
                if cls.name in ("vegetation", "tree")
            ]
            print(f"| {card.name} | {name} | {' | '.join(told)} |", flush=True)


def main(sets: str, wheel: str, *models: str) -> None:
    """Print the tables of all models."""
    for model in models:
        for name in SETS:
            scores(model, Path(sets) / name, casts=True)
        crowns(model, Path(wheel))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
