# SPDX-License-Identifier: GPL-2.0-or-later
"""Export what was trained on AeroScapes."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from .aeroscapes_train import add_data, few

HELP = "Write model.keras, model.onnx and the measured card."
OUTPUT = Path("resources/models/aeroscapes")


def add_arguments(parser: ArgumentParser) -> None:
    """Add data and output."""
    add_data(parser)
    add_output(parser)


def add_output(parser: ArgumentParser) -> None:
    """Add the model's folder."""
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"model ({OUTPUT})")
    parser.add_argument("--few", type=int, help="use this many validation frames only")


def run(options: Namespace) -> None:
    """Export."""
    from ..datasets.aeroscapes import AeroScapes
    from ..errors import WeightsError
    from ..export import export, load_trained, ready_to_ship
    from ..fit import read_history

    weights = options.folder / "best.weights.h5"
    if not weights.is_file():
        raise WeightsError(f"{weights}: no such file; run 'python -m training train' first")
    dataset = AeroScapes(options.data)
    history = read_history(options.folder)
    training = {
        "data": "AeroScapes, 877 frames scaled to 960x540",
        "train": "ImageSets/trn.txt (11 sites)",
        "validation": "ImageSets/val.txt (3 other sites)",
        "encoder": "ImageNet, batch normalisation frozen",
        "epochs_done": len(history),
        "best_epoch": int(max(history, key=lambda row: row["mean_iou"])["epoch"]),
        **json.loads((options.folder / "plan.json").read_text()),
    }
    calibration = [dataset.image(stem) for stem in few(dataset.stems("trn"), 10)]
    trained = load_trained(weights)
    options.output.mkdir(parents=True, exist_ok=True)
    trained.save(options.output / "trainable.keras")  # with its normalisation, to train further
    model = ready_to_ship(trained, calibration)
    frames = few(dataset.stems("val"), options.few)
    print(export(model, options.output, frames, dataset.sample, training))
