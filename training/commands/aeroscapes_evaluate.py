# SPDX-License-Identifier: GPL-2.0-or-later
"""Score a model on the validation frames of AeroScapes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .aeroscapes_export import OUTPUT
from .aeroscapes_train import few

HELP = "Print a model's scores on val.txt as tables."


def add_arguments(parser: ArgumentParser) -> None:
    """Add data and model."""
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, default=OUTPUT)
    parser.add_argument("--few", type=int, help="use this many validation frames only")


def run(options: Namespace) -> None:
    """Evaluate."""
    from unet_segmenter.engine.model_card import ModelCard

    from ..datasets.aeroscapes import AeroScapes
    from ..evaluate import evaluate, table
    from ..whole_and_tiled import OpenModel

    dataset, card = AeroScapes(options.data), ModelCard.load(options.model)
    frames = few(dataset.stems("val"), options.few)
    named = ((stem, dataset.sample(stem)) for stem in frames)
    print(table(evaluate(OpenModel(card), card, named)))
