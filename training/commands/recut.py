# SPDX-License-Identifier: GPL-2.0-or-later
"""Find where the network of a finished model can be cut, and write it into its card."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from . import natural

HELP = "Add to a model's card the parts that its network can be run in, proven on images."


def add_arguments(parser: ArgumentParser) -> None:
    """Add the model and what to prove its parts on."""
    parser.add_argument("model", type=Path, help="folder of the model, with its model.keras")
    parser.add_argument("images", type=Path, nargs="+", help="image files of its kind")
    parser.add_argument("--proofs", type=natural, default=6, help="images to use (6)")


def run(options: Namespace) -> None:
    """Prove, and write the card again; all else in it stays."""
    import json

    from unet_segmenter.engine.model_card import CARD_NAME, ModelCard

    from ..card import write_card
    from ..export import load_network
    from ..images import read_image
    from ..parts_proof import proven_cuts
    from ..whole_and_tiled import OpenModel, calibrated

    card = ModelCard.load(options.model)
    file = card.file("keras")
    network = load_network(card.checked_path(file) if file else card.folder / "model.keras")
    images = [read_image(path) for path in _spread(options.images, options.proofs)]
    found = proven_cuts(network, calibrated(OpenModel(card), card), card, images)
    content = json.loads((card.folder / CARD_NAME).read_text(encoding="utf-8"))
    for entry in ("cuts", "parts_versus_whole"):
        content.pop(entry, None)
    write_card({**content, **found}, card.folder)


def _spread(paths: list[Path], count: int) -> list[Path]:
    """Return so many of the paths, evenly spread."""
    step = max(len(paths) // max(count, 1), 1)
    return sorted(paths)[::step][:count]
