# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare cold, warm and hot starts."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .train import add_data, add_recipe, add_start, console, spec_of

HELP = "Train from nothing, and from models that learned other data briefly and long."


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_data(parser, "folder to write: a run each, comparison.png, .csv and .md")
    add_start(parser)
    add = parser.add_argument
    add("--warm-from", default="", metavar="MODEL", help="one that learned the same data briefly")
    add(
        "--source", default="", metavar="DATASET",
        help="or the data set that it learned: such a model is trained first",
    )  # fmt: skip
    add("--warm-epochs", type=int, default=5, help="of that training (default: %(default)s)")
    add_recipe(parser)


def run(options: Namespace) -> None:
    """Compare."""
    from ..compare import CompareSpec, compare

    with console() as progress:
        spec = CompareSpec(
            spec_of(options), options.warm_from, options.source, options.warm_epochs
        )  # fmt: skip
        compare(spec, progress)
