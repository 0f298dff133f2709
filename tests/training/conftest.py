# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the training tests: a small AeroScapes set, and a network with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

IDS = (9, 0, 8, 7, 10, 11)  # vegetation, background, construction, obstacle, road, sky
COLOURS = (
    (40, 130, 40),
    (180, 160, 120),
    (210, 90, 60),
    (200, 40, 40),
    (110, 110, 120),
    (90, 170, 230),
)


def draw_frame(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a frame of coloured stripes with noise, and its mask of AeroScapes ids."""
    order = rng.permutation(len(IDS))
    stripe = np.minimum(np.arange(height) * len(IDS) // height, len(IDS) - 1)
    ids = np.repeat(np.array(IDS, np.uint8)[order[stripe]][:, None], width, axis=1)
    image = np.array(COLOURS)[order[stripe]][:, None] + rng.normal(0, 8, (height, width, 3))
    ids[:8, :8] = 1  # a person: none of our classes
    return np.clip(image, 0, 255).astype(np.uint8), ids


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    """An AeroScapes set of four 96 x 128 frames in the official layout."""
    rng = np.random.default_rng(1)
    lists = {"trn": ["000001_001", "000001_002", "041001_001"], "val": ["040001_001"]}
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets"):
        (tmp_path / folder).mkdir()
    for name, stems in lists.items():
        (tmp_path / "ImageSets" / f"{name}.txt").write_text("\n".join(stems) + "\n")
        for stem in stems:
            image, ids = draw_frame(rng, 96, 128)
            Image.fromarray(image).save(tmp_path / "JPEGImages" / f"{stem}.jpg", quality=95)
            Image.fromarray(ids).save(tmp_path / "SegmentationClass" / f"{stem}.png")
    return tmp_path


@pytest.fixture(scope="session")
def random_model():
    """The shipped architecture with random weights and normalisation that is not the identity."""
    pytest.importorskip("keras", reason="training needs keras")
    import keras

    from training.unet import build_unet, with_sigmoid

    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(3)
    model = build_unet(6)
    for layer in model.layers:
        if layer.name.endswith("_norm"):
            size = layer.weights[0].shape[0]
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, size),
                    rng.normal(0, 0.3, size),
                    rng.normal(0, 0.3, size),
                    rng.uniform(0.2, 0.8, size),
                ]
            )
    return with_sigmoid(model)
