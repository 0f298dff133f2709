# SPDX-License-Identifier: GPL-2.0-or-later
"""Round the kernels of a bundled model's trainable.keras, so that a zip holds it in half.

    python scripts/shrink_trainable.py MODEL IMAGE [IMAGE ...]

The plugin's zip may not exceed 25 MB. The shift that rounding causes is measured on the images and
put right; the file stays as it is where fewer than 99.5 % of the decisions stay the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from training.export import FOLD_SIDE, ROUNDING_AGREEMENT, load_network  # noqa: E402
from training.fold import round_kernels  # noqa: E402
from training.images import read_image  # noqa: E402
from training.whole_and_tiled import Difference  # noqa: E402
from unet_segmenter.engine.model_card import ModelCard  # noqa: E402


def main(model: str, *images: str) -> int:
    """Round, compare, and write the file again."""
    card = ModelCard.load(model)
    path = card.folder / "trainable.keras"
    network = load_network(path)
    mean, stddev = np.float32(card.input.mean), np.float32(card.input.stddev)
    side = FOLD_SIDE // card.divisor * card.divisor
    crops = np.stack([read_image(Path(image))[:side, :side] for image in images])
    scaled = (crops.astype(np.float32) - mean) / stddev
    exact = np.asarray(network.predict_on_batch(scaled))
    found = np.asarray(round_kernels(network, scaled).predict_on_batch(scaled))
    thresholds = np.full(exact.shape[-1], 0.5, np.float32)
    rounding = Difference.between(found, exact, thresholds)
    print(f"{card.name}: rounded kernels against exact ones {rounding}")
    if rounding.agreement < ROUNDING_AGREEMENT:
        return 1
    network.save(path)
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
