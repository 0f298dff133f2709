# SPDX-License-Identifier: GPL-2.0-or-later
"""Evaluate a model on the splits of a prepared data set."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from unet_segmenter.engine.job import RUNTIMES

from ..dataset import SPLITS
from . import natural

HELP = "Score a model on a prepared data set: tables, plots, its worst images."


def add_arguments(parser: ArgumentParser) -> None:
    """Add model, data and what to write."""
    parser.add_argument("model", help="folder of a model with its card, or name in the library")
    parser.add_argument("dataset", type=Path, help="folder of a prepared data set")
    parser.add_argument("--split", nargs="+", choices=SPLITS, default=["validation"])
    parser.add_argument("--output", type=Path, help="folder for report.html, csv and JSON")
    parser.add_argument("--tolerance", type=natural, default=2, help="px at which boundaries meet")
    parser.add_argument("--worst", type=natural, default=12, help="worst images to show")
    parser.add_argument("--runtime", choices=RUNTIMES, default="auto", help="what runs the network")


def run(options: Namespace) -> None:
    """Evaluate, print the tables, and write the report where one is asked for."""
    from unet_segmenter.engine.model_library import default_library
    from unet_segmenter.engine.open_model import open_model

    from ..dataset import Dataset
    from ..errors import DatasetError
    from ..evaluate import evaluate, table, with_classes_of
    from ..evaluate_report import write_evaluation
    from ..whole_and_tiled import OpenModel

    card = open_model(options.model, default_library())
    dataset = Dataset.open(options.dataset)
    samples = [sample for name in options.split for sample in dataset.split(name)]
    split = " and ".join(options.split)
    if not samples:
        raise DatasetError(f"{dataset.folder}: no image is in {split}; choose another split")
    network = OpenModel(card, options.runtime)
    whole, card = card, with_classes_of(dataset, card)
    if others := [cls.name for cls in whole.classes if cls not in card.classes]:
        print(f"not scored, as the data set does not label them: {', '.join(others)}")
    evaluation = evaluate(network, card, dataset, samples, options.tolerance)
    print(table(evaluation.metrics()))
    if options.output is not None:
        told = {
            "model": card.name, "model_version": card.version, "dataset": dataset.title,
            "dataset_fingerprint": dataset.fingerprint(), "split": split,
        }  # fmt: skip
        page = write_evaluation(
            evaluation, network, card, dataset, options.output, told, options.worst
        )
        print(f"report: {page}")
