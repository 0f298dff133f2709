# SPDX-License-Identifier: GPL-2.0-or-later
"""Train a model on a prepared data set, or on an image and its polygons."""

from __future__ import annotations

import signal
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from unet_segmenter.engine import training_flags as flags

from . import ConsoleProgress

if TYPE_CHECKING:
    from ..train_spec import TrainSpec

HELP = "Train a model on a prepared data set, or on an image with polygons; goes on if it stopped."


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags, which `python -m unet_segmenter trainmodel` has too."""
    flags.add_train(parser)


def run(options: Namespace) -> None:
    """Train, calibrate and export."""
    from ..train import train
    from ..train_spec import TrainSpec

    with console() as progress:
        train(TrainSpec.from_json(flags.train_values(options)), progress)


def add_data(parser: ArgumentParser, output: str) -> None:
    """Add the data sets, and the output with its help."""
    parser.add_argument("dataset", help="folder of a prepared data set")
    parser.add_argument("--output", required=True, help=output)
    flags.add_flags(parser, flags.MIX)


def add_start(parser: ArgumentParser) -> None:
    """Add the model to start from."""
    flags.add_flags(parser, flags.START)


def add_recipe(parser: ArgumentParser) -> None:
    """Add what decides the weights; what is not given is as the preset has it."""
    flags.add_flags(parser, flags.NETWORK, "network")
    flags.add_flags(parser, flags.FITTING, "training")


def spec_of(options: Namespace, **changes: Any) -> TrainSpec:
    """Return the spec of data, start and recipe."""
    from dataclasses import replace

    from ..starts import folder_of
    from ..train_spec import TrainSpec

    shared = (*flags.MIX, *flags.START, *flags.NETWORK, *flags.FITTING)
    values = {"dataset": options.dataset, "output": options.output}
    spec = TrainSpec.from_json({**values, **flags.values_of(options, shared), **changes})
    return replace(spec, start=folder_of(spec))


class _Console(ConsoleProgress):
    stopping = False

    def cancelled(self) -> bool:
        return self.stopping


@contextmanager
def console() -> Iterator[ConsoleProgress]:
    """A progress on the terminal; Ctrl+C asks to stop, a second one stops at once."""
    progress = _Console()

    def stop(_number: int, _frame: Any) -> None:
        if progress.stopping:
            raise KeyboardInterrupt
        progress.stopping = True
        progress.log("info", "stopping after this step; Ctrl+C again stops at once")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield progress
    finally:
        signal.signal(signal.SIGINT, before)
