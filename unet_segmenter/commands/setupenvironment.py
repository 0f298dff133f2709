# SPDX-License-Identifier: GPL-2.0-or-later
"""`setupenvironment`: makes the engine's Python environment."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..runners.environment import create_environment, default_location, engine_lock
from ..runners.training_environment import add_training
from .terminal import LineProgress, print_json

HELP = "make the engine's Python environment"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("--target", type=Path, help="its folder (default: in the user's data)")
    add("--base", type=Path, help="the Python to make it from")
    add("--with-training", action="store_true", help="add what training needs: TensorFlow, 2 GB")


def run(options: argparse.Namespace) -> int:
    """Make the environment, or find it there."""
    target = (options.target or default_location()).absolute()
    progress = LineProgress()
    report = create_environment(target, progress, lock=engine_lock(), base=options.base)
    told = {"ready": report.ready, "python": str(report.python)}
    message = report.message
    if options.with_training:
        training = add_training(target, progress)
        told["training"] = training.ready
        message = f"{message}\n{training.message}"
    if options.json:
        print_json(told)
    else:
        print(message)
    return 0
