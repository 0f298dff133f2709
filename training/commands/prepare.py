# SPDX-License-Identifier: GPL-2.0-or-later
"""Prepare a data set: classes, sizes, a split that does not leak, a report."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from unet_segmenter.engine import training_flags

from . import ConsoleProgress

HELP = "Write a prepared data set: classes, a split that does not leak, pictures, a report."


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags, which `python -m unet_segmenter preparedataset` has too."""
    training_flags.add_prepare(parser)


def run(options: Namespace) -> None:
    """Prepare, and print what came of it."""
    from ..dataset_report import balance_table
    from ..prepare import prepare
    from ..prepare_spec import PrepareSpec

    spec = PrepareSpec.from_dict(training_flags.prepare_values(options))
    dataset = prepare(spec, ConsoleProgress())
    print(balance_table(dataset))
    leak = dataset.details["split"]["leak"]
    print(f"near-copies across the split: {leak['share']:.1%} of the samples held out")
    print(f"report: {dataset.folder / 'report.html'}")
