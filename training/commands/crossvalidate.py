# SPDX-License-Identifier: GPL-2.0-or-later
"""Cross-validate a recipe by leaving groups out."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .train import add_data, add_recipe, add_start, console, spec_of

HELP = "Judge a recipe on groups that its models did not see; folds go on where they stopped."
FRAMES = 24
"""Held-out images that the curves of a fold are drawn by; all are judged in the end."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    add_data(parser, "folder to write: a run a fold, crossvalidation.json, .csv and .md")
    add = parser.add_argument
    add("--folds", type=int, default=4, help="(default: %(default)s)")
    add(
        "--together", nargs="+", action="append", default=[], metavar="GROUP",
        help="groups of the same place, never parted (may be given several times)",
    )  # fmt: skip
    add("--only", type=int, nargs="+", default=[], help="do these folds alone, from 1")
    add(
        "--select", choices=("last", "best"), default="last",
        help="judge the last weights, or those best on the held-out images, which flatters",
    )  # fmt: skip
    add("--predictions", action="store_true", help="keep the held-out probabilities")
    add_start(parser)
    add_recipe(parser)


def run(options: Namespace) -> None:
    """Cross-validate."""
    from ..crossvalidate import CrossSpec, crossvalidate

    frames = getattr(options, "frames", None) or (FRAMES if options.select == "last" else None)
    spec = CrossSpec(
        spec_of(options, frames=frames), options.folds, options.select, tuple(options.only),
        options.predictions, tuple(map(tuple, options.together)),
    )  # fmt: skip
    with console() as progress:
        crossvalidate(spec, progress)
