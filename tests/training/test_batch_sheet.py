# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
from PIL import Image

from tests.training.dataset_folder import write_dataset
from training.__main__ import main
from training.batch_sheet import GAP


def test_the_first_batch_is_drawn_as_crops_beside_their_masks(tmp_path):
    data = write_dataset(tmp_path / "data", size=(64, 96))
    path = tmp_path / "sheets" / "batch.png"

    code = main(
        ["batch", str(data), "--preset", "unet", "--size", "32", "--batch", "6", "--augment", "no",
         "--output", str(path)]
    )  # fmt: skip

    assert code == 0
    with Image.open(path) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (2 * 32 + GAP, 4 * (64 + GAP) - GAP, 3)
    stored = {
        tuple(rgb)
        for name in ("frame0", "frame1")
        for rgb in np.asarray(Image.open(data / "images" / f"{name}.png")).reshape(-1, 3)
    }
    crop = {tuple(rgb) for rgb in pixels[:32, :32].reshape(-1, 3)}
    assert crop <= stored  # scaling is undone exactly
    assert not np.array_equal(pixels[:32, :32], pixels[:32, 32:64])  # the mask lies over it
