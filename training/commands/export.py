# SPDX-License-Identifier: GPL-2.0-or-later
"""Export a Keras model that was trained on a prepared data set, with its card measured."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

HELP = "Turn a trained .keras file into a model of the library, calibrated and measured."
SCALINGS = ("card", "dataset", "raw", "imagenet")


def add_arguments(parser: ArgumentParser) -> None:
    """Add network, data, identity and how to measure."""
    add = parser.add_argument
    add("network", type=Path, help="trainable.keras, or any .keras file of our layers")
    add("dataset", type=Path, help="folder of the prepared data set that it was trained on")
    add("--output", type=Path, required=True, help="folder of the model to write")
    add("--classes", nargs="+", default=[], help="classes of the data set, by channel; else all")
    add("--head", choices=("sigmoid", "softmax"), default="sigmoid")
    add("--scaling", choices=SCALINGS, help="what the network was fed: as the card.json beside it "
        "says (the default where there is one), or the data set's mean and deviation (else), raw "
        "values, or as ImageNet's encoders take them")  # fmt: skip
    add("--calibration", default="platt", help="platt, temperature or none")
    add("--threshold", default="best", help="best, otsu or fixed")
    for name in ("name", "title", "description", "license", "citation", "version"):
        add(f"--{name}", help="for the card")
    add("--gsd", type=float, nargs=2, metavar=("LOW", "HIGH"), help="range in m, for the card")


def run(options: Namespace) -> None:
    """Export, and print what was measured."""
    from unet_segmenter.engine.errors import JobError

    from ..calibrate import CalibrationPlan, table
    from ..chosen_classes import choose_classes
    from ..dataset import Dataset
    from ..export import ExportPlan, export, load_network
    from ..identity import Identity

    if (options.output / "card.json").exists():
        raise JobError(f"{options.output} holds a model already; name another output")
    dataset = choose_classes(Dataset.open(options.dataset), options.classes)
    told = ("title", "description", "license", "citation", "version")
    identity = Identity.of(
        dataset, options.name or options.output.name,
        gsd_range=tuple(options.gsd) if options.gsd else None,
        **{name: getattr(options, name) for name in told},
    )  # fmt: skip
    plan = ExportPlan(
        identity, _scaling(options, dataset), options.head,
        CalibrationPlan(options.calibration, options.threshold),
        {"network": options.network.name},
    )  # fmt: skip
    result = export(load_network(options.network), dataset, options.output, plan)
    print(table(result.card.details["calibration"]))
    print(f"the model is in {result.card.folder}")


def _scaling(options: Namespace, dataset):
    from unet_segmenter.engine.model_card import CARD_NAME, ModelCard

    from ..dataset import Scaling
    from ..encoder_lite import MEAN, STDDEV

    bands = len(dataset.bands)
    beside = options.network.parent / CARD_NAME
    choice = options.scaling or ("card" if beside.is_file() else "dataset")
    if choice == "card":
        told = ModelCard.load(beside).input
        return Scaling(told.mean, told.stddev)
    if choice == "raw":
        return Scaling((0.0,) * bands, (1.0,) * bands)
    if choice == "imagenet":
        return Scaling((MEAN[0],) * bands, (STDDEV[0],) * bands)
    return dataset.scaling
