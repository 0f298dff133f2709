# SPDX-License-Identifier: GPL-2.0-or-later
"""Train the network of the bundled model on AeroScapes."""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

HELP = "Train on AeroScapes; the same command resumes."
FOLDER = Path("runs/aeroscapes")


def add_arguments(parser: ArgumentParser) -> None:
    """Add data and recipe."""
    add_data(parser)
    add_fit(parser)


def add_data(parser: ArgumentParser) -> None:
    """Add the data's folder and the run's."""
    parser.add_argument("data", type=Path, help="folder with JPEGImages, ImageSets, ...")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"of the run ({FOLDER})")


def add_fit(parser: ArgumentParser) -> None:
    """Add the recipe."""
    parser.add_argument("--encoder", type=Path, help="wheel, .pth or .npz; else from scratch")
    parser.add_argument("--epochs", type=int, default=28)
    parser.add_argument("--steps", type=int, default=100, help="batches an epoch")
    parser.add_argument("--batch", type=int, default=8, help="crops a batch")
    parser.add_argument("--size", type=int, default=320, help="side of a crop, px")
    parser.add_argument("--frames", type=int, default=46, help="frames to validate an epoch")
    parser.add_argument("--minutes", type=float, help="begin no further epoch after so long")


def run(options: Namespace) -> None:
    """Train."""
    from ..augment import Augmentation
    from ..datasets.aeroscapes import CLASSES, AeroScapes, without_rim
    from ..encoder_lite import load_encoder_weights
    from ..fit import FitPlan, fit, save_plan
    from ..split import shared_groups
    from ..unet import build_unet

    began = time.time()
    dataset = AeroScapes(options.data)
    stems, held_out = dataset.stems("trn"), dataset.stems("val")
    if leak := shared_groups(stems, held_out):
        print(f"warning: sites on both sides of the split: {leak}", file=sys.stderr)
    train = [without_rim(*dataset.sample(stem)) for stem in stems]
    validation = [dataset.sample(stem) for stem in few(held_out, options.frames)]
    plan = FitPlan(
        epochs=options.epochs, steps=options.steps, batch=options.batch,
        augmentation=Augmentation(size=options.size),
    )  # fmt: skip
    import keras

    keras.utils.set_random_seed(plan.seed)
    model = build_unet(len(CLASSES))
    if options.encoder:
        load_encoder_weights(model, options.encoder)
    print(f"{model.count_params():,} weights; {len(train)} frames, {len(validation)} to validate")
    if not (options.folder / "plan.json").is_file():
        save_plan(plan, options.folder, git_commit=_commit())
    until = None if options.minutes is None else began + 60 * options.minutes
    best = fit(
        model, (stems, train), validation, plan, options.folder,
        lambda line: print(line, flush=True), until,
    )  # fmt: skip
    print(f"best weights: {best}")


def few(stems: list[str], count: int | None) -> list[str]:
    """Return about ``count`` stems, evenly spread; all for None."""
    return stems if count is None else stems[:: max(1, len(stems) // count)]


def _commit() -> str | None:
    here = Path(__file__).parent
    found = subprocess.run(
        ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None
