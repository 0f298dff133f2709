# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that tell an evaluation: a page with plots and the worst images, tables, all numbers."""

from __future__ import annotations

import csv
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unet_segmenter.engine import report_page as part
from unet_segmenter.engine.csv_cells import plain_cell
from unet_segmenter.engine.fuse import class_mask, places_of_wholes
from unet_segmenter.engine.metrics import overall_accuracy
from unet_segmenter.engine.model_card import ModelCard

from .answers import UNLABELLED
from .dataset import ClassInfo, Dataset, Sample
from .evaluate import REST, Evaluation, Tally, answers_for, rounded
from .evidence import evidence_of
from .sample_pictures import colored_mask, data_url, picture, thumbnail
from .whole_and_tiled import Network, calibrated, whole

WORST = 12
PICTURE_WIDTH = 340


def write_evaluation(
    evaluation: Evaluation,
    network: Network,
    card: ModelCard,
    dataset: Dataset,
    folder: Path,
    told: Mapping[str, Any],
    worst: int = WORST,
) -> Path:
    """Write report.html, per_class.csv, per_image.csv and metrics.json.

    Parameters
    ----------
    network : callable
        As it was evaluated: the worst images are predicted again to be shown.
    told : mapping
        What was evaluated, in words, for the page and the JSON: model, data, split.
    worst : int
        How many of the worst images to show.

    Returns
    -------
    Path
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    codes, answers = answers_for(dataset, evaluation.classes)
    samples = [sample for sample, _tally in evaluation.by_image]
    evidence = evidence_of(dataset, samples, evaluation.names, codes, answers)
    metrics = {
        **evaluation.metrics(),
        "evidence": {**evidence.to_card(), "px": evidence.px, "not_px": evidence.not_px},
        "doubts": evidence.doubts(str(told["split"])),
    }
    told = {**told, "evidence_in_words": str(evidence)}
    (folder / "metrics.json").write_text(
        json.dumps({**told, **metrics}, indent=1) + "\n", encoding="utf-8"
    )
    _write_rows(folder / "per_class.csv", per_class_rows(metrics))
    _write_rows(folder / "per_image.csv", per_image_rows(evaluation))
    pictures = _worst_pictures(evaluation, network, card, dataset, worst)
    page = folder / "report.html"
    page.write_text(_page(evaluation, metrics, card, told, pictures), encoding="utf-8")
    return page


def per_class_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row a class: the one-vs-rest scores, and the IoU in the fused map."""
    return [
        {"class": name, **scores, "iou_fused": metrics["fused"]["iou"][name]}
        for name, scores in metrics["per_class"].items()
    ]


def per_image_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return a row an image, worst first: fused accuracy, mean IoU and the IoU of each class."""
    rows = []
    for sample, tally in evaluation.worst():
        iou = tally.counts.scores()["iou"]
        rows.append(
            {
                "name": sample.name, "group": sample.group, "split": sample.split,
                "pixels": int(tally.confusion.sum()),
                "accuracy": rounded(overall_accuracy(tally.confusion)),
                "mean_iou": rounded(tally.counts.mean_iou()),
                **{f"iou_{name}": rounded(value)
                   for name, value in zip(evaluation.names, iou, strict=True)},
            }
        )  # fmt: skip
    return rows


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({key: plain_cell(value) for key, value in row.items()} for row in rows)


def _page(
    evaluation: Evaluation, metrics: Mapping[str, Any], card: ModelCard,
    told: Mapping[str, Any], pictures: str,
) -> str:  # fmt: skip
    names, total = evaluation.names, evaluation.total()
    colors = [cls.color for cls in evaluation.classes]
    fused = metrics["fused"]
    return part.page(
        f"{card.title} ({card.name} {card.version})",
        f"{told['split']}: {metrics['frames']} images of {len(metrics['per_group'])} groups of "
        f"{told['dataset']}; the scores rest on {told['evidence_in_words']}"
        + "".join(f". Mind that {doubt}" for doubt in metrics["doubts"]),
        [
            part.tiles(
                {
                    "mean IoU, one-vs-rest": part.score(metrics["mean_iou"]),
                    "mean IoU, one map": part.score(fused["mean_iou"]),
                    "accuracy, one map": part.score(fused["pixel_accuracy"]),
                    "frequency-weighted IoU": part.score(fused["frequency_weighted_iou"]),
                    "Matthews correlation": part.score(fused["mcc"]),
                    "mean calibration error": part.score(metrics["mean_ece"]),
                }
            ),
            part.section(
                "Classes, each against the rest",
                part.table(_HEAD, _class_rows(metrics, colors), numbers_from=2),
                "At the thresholds of the card, on calibrated probabilities. Of pixels F1 is the "
                "Dice coefficient. Two boundaries meet where they are at most "
                f"{evaluation.tolerance} px apart. The last IoU is of the single map, where the "
                "most probable class wins; the pixels are those that a class's scores rest on.",
            ),
            part.section(
                "Where the pixels of a class went, in the single map",
                part.confusion_table([REST, *names], total.confusion.tolist()),
                f"Per cent of the pixels that are of the class; point at a cell for their number. "
                f"{REST!r}: of no class, and claimed for none.",
            ),
            part.section(
                "Groups",
                part.table(("Group", "Images", "Mean IoU", *map(html.escape, names)),
                           _group_rows(metrics)),
                "IoU, one-vs-rest. A class that a group does not show has IoU 0 there as soon as "
                "one pixel is claimed for it, and none before; the mean leaves it out.",
            ),
            part.section(
                "How far the probabilities can be believed",
                part.reliability_plot(total.scores.reliability(), names, colors),
                "Mean probability against the share of pixels that are of the class, in 15 equal "
                "bins. On the dashed line they mean what they say.",
            ),
            part.section("The worst images", pictures, "By the accuracy of the single map."),
        ],
    )  # fmt: skip


_HEAD = (
    "Class", "IoU", "Dice = F1", "Precision", "Recall", "Boundary F1", "Calibration error",
    "IoU, one map", "Pixels of it", "Pixels of others",
)  # fmt: skip


def _class_rows(metrics: Mapping[str, Any], colors: Sequence[str]) -> Iterable[list[str]]:
    keys = ("dice", "precision", "recall", "boundary_f1", "ece")
    return [
        [
            part.swatch(name, color),
            part.bar(row["iou"], color),
            *(part.score(row[key]) for key in keys),
            part.score(metrics["fused"]["iou"][name]),
            f"{metrics['evidence']['px'][name]:,}",
            f"{metrics['evidence']['not_px'][name]:,}",
        ]
        for (name, row), color in zip(metrics["per_class"].items(), colors, strict=True)
    ]


def _group_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            html.escape(group), f"{row['frames']:,}", part.score(row["mean_iou"]),
            *map(part.score, row["iou"].values()),
        ]
        for group, row in metrics["per_group"].items()
    ]  # fmt: skip


def _worst_pictures(
    evaluation: Evaluation, network: Network, card: ModelCard, dataset: Dataset, count: int
) -> str:
    """Return the worst images beside truth and prediction, as HTML."""
    shown = [
        ClassInfo(number, cls.name, cls.color) for number, cls in enumerate(evaluation.classes, 1)
    ]
    thresholds = [cls.threshold for cls in evaluation.classes]
    wholes = places_of_wholes({cls.name: cls.part_of for cls in evaluation.classes})
    codes, answers = answers_for(dataset, evaluation.classes)
    run = calibrated(network, card)
    legend = "&emsp;".join(part.swatch(cls.name, cls.color) for cls in shown)
    figures = [f"<p>{legend}</p>"]
    for sample, tally in evaluation.worst()[:count]:
        image, mask = dataset.read(sample)
        probabilities = whole(run, image, card)
        fused = class_mask(probabilities, [cls.value for cls in shown], thresholds, wholes)
        truth = colored_mask(codes[mask], shown, answers)
        fused[codes[mask] == UNLABELLED] = UNLABELLED
        figures.append(_figure(sample, tally, image, truth, fused, shown))
    return "\n".join(figures)


def _figure(
    sample: Sample, tally: Tally, image: np.ndarray, truth: np.ndarray, fused: np.ndarray,
    shown: Sequence[ClassInfo],
) -> str:  # fmt: skip
    cells = [
        ("image", data_url(thumbnail(picture(image), PICTURE_WIDTH), "jpeg")),
        ("truth", data_url(thumbnail(truth, PICTURE_WIDTH, smooth=False))),
        (
            "prediction",
            data_url(thumbnail(colored_mask(fused, shown), PICTURE_WIDTH, smooth=False)),
        ),
    ]
    pictures = " ".join(f'<img alt="{name}" title="{name}" src="{url}">' for name, url in cells)
    accuracy = part.score(rounded(overall_accuracy(tally.confusion)))
    mean = part.score(rounded(tally.counts.mean_iou()))
    return (
        f"<figure>{pictures}<figcaption>{html.escape(sample.name)}, group "
        f"{html.escape(sample.group)}: accuracy {accuracy}, mean IoU {mean} "
        "(image, truth, prediction)</figcaption></figure>"
    )
