# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare the ways from one-vs-rest probabilities to one map."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

HELP = "Score every fusion, with and without calibration and refinement, on held-out images."


def add_arguments(parser: ArgumentParser) -> None:
    """Add data, predictions and what to do."""
    from ..calibration_methods import METHODS, THRESHOLDS

    add = parser.add_argument
    add("dataset", help="folder of a prepared data set")
    add("crossvalidation", help="folder that crossvalidate --predictions wrote of it")
    add("--output", required=True, help="folder for fusion.md, .csv and .json")
    add("--card", default="", help="model whose card is to say whether a CRF pays: its folder")
    add("--list", type=Path, help="text file with the names of the images to judge on (all)")
    add("--every", type=int, default=1, help="take each n-th of them (default: %(default)s)")
    add("--calibration", choices=METHODS, default="platt")
    add("--threshold", choices=THRESHOLDS, default="best")
    add("--radius", type=int, default=15, help="of the majority filter (default: %(default)s px)")


def run(options: Namespace) -> None:
    """Compare, and write the table."""
    from ..calibrate import CalibrationPlan
    from ..fusion_table import FusionTableSpec, fusion_table
    from ..text_lists import read_names
    from .train import console

    names = tuple(read_names(options.list)) if options.list else ()
    spec = FusionTableSpec(
        options.dataset, options.crossvalidation, options.output, options.card, names,
        options.every, CalibrationPlan(options.calibration, options.threshold), options.radius,
    )  # fmt: skip
    with console() as progress:
        fusion_table(spec, progress)
