# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare cold, warm and hot starts."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .train import add_data, add_recipe, add_start, console, spec_of

HELP = "Train from scratch and from another model's weights, short and long, on one figure."


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_data(parser, "folder to write: a run each, comparison.png, .csv and .md")
    add_start(parser)
    parser.add_argument("--warm-epochs", type=int, default=5, help="(default: %(default)s)")
    add_recipe(parser)


def run(options: Namespace) -> None:
    """Compare."""
    from ..compare import CompareSpec, compare

    with console() as progress:
        compare(CompareSpec(spec_of(options), options.warm_epochs), progress)
