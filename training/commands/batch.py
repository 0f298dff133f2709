# SPDX-License-Identifier: GPL-2.0-or-later
"""Draw a batch as training would see it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .train import add_data, add_recipe, spec_of

HELP = "Draw the first batch that a recipe would train on, as a PNG: images, masks laid over them."


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_data(parser, "PNG file to write")
    add_recipe(parser)


def run(options: Namespace) -> None:
    """Draw it."""
    from ..batch_sheet import draw_batch
    from ..recipe import Recipe

    spec = spec_of(options)
    print(f"written to {draw_batch(Recipe.of(spec), Path(options.output))}")
