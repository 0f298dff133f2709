# SPDX-License-Identifier: GPL-2.0-or-later
"""`trainmodel`: from a prepared data set, or an image and polygons, to a model of the library."""

from __future__ import annotations

import argparse
import os

from ..engine import training_flags
from ..runners import in_process
from ..runners.job_kinds import JOB_KINDS
from .terminal import print_json, terminal_progress

HELP = "an image with polygons, or a prepared data set -> a trained, calibrated model with its card"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    training_flags.add_train(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Train and tell where the model is."""
    # TensorFlow greets with pages of notes about the processor.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    values = training_flags.train_values(options)
    patience = JOB_KINDS["train"].seconds_to_stop
    with terminal_progress(
        quiet=options.json or options.quiet, unit="step", seconds_to_stop=patience
    ) as progress:
        result = in_process.run_values("train", values, progress)
    if options.json:
        print_json(result)
        return 0
    print(f"OUTPUT: {result['model_folder']}")
    mean = result["metrics"].get("mean_iou")
    if isinstance(mean, (int, float)):
        print(f"  mean IoU: {mean:.4f}, on {result['metrics'].get('split', 'held-out images')}")
    print(f"REPORT: {result['report']}")
    return 0
