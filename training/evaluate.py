# SPDX-License-Identifier: GPL-2.0-or-later
"""What a model is worth on images it has not seen: per class, fused, per image and per group."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from unet_segmenter.engine.fuse import Wholes, class_mask, places_of_wholes
from unet_segmenter.engine.metrics import (
    BOUNDARY_TOLERANCE,
    BinaryCounts,
    BoundaryCounts,
    confusion_matrix,
    frequency_weighted_iou,
    matthews,
    overall_accuracy,
)
from unet_segmenter.engine.model_card import ModelCard, ModelClass
from unet_segmenter.engine.reliability import ScoreHistogram

from .answers import OPEN, YES, is_part_of, plain_answers
from .chosen_classes import recode
from .dataset import IGNORE, Dataset, Sample
from .errors import DatasetError
from .whole_and_tiled import Network, calibrated, on_all_cores, whole

REST = "other"
"""What the confusion matrix calls pixels of no class, and those that no class claims."""


@dataclass(frozen=True)
class Tally:
    """Counts of some images, which add up.

    Attributes
    ----------
    images : int
        Number of images.
    counts, boundary : BinaryCounts, BoundaryCounts
        Of the one-vs-rest masks at the card's thresholds.
    fused_counts : BinaryCounts
        Of the fused map, a class at a time, wherever the truth is known.
    confusion : ndarray of int64, shape (K + 1, K + 1)
        Of the fused map; rows are the truth. Pixels with partial labels do not count.
    scores : ScoreHistogram
        Of the calibrated probabilities.
    """

    images: int
    counts: BinaryCounts
    boundary: BoundaryCounts
    fused_counts: BinaryCounts
    confusion: np.ndarray
    scores: ScoreHistogram

    @classmethod
    def zero(cls, classes: int) -> Tally:
        """Return the counts of no image."""
        return cls(
            0, BinaryCounts.zero(classes), BoundaryCounts.zero(classes),
            BinaryCounts.zero(classes),
            np.zeros((classes + 1, classes + 1), np.int64), ScoreHistogram.zero(classes),
        )  # fmt: skip

    @classmethod
    def of(
        cls, probabilities: np.ndarray, labels: np.ndarray, thresholds: Sequence[float],
        tolerance: int = BOUNDARY_TOLERANCE, answers: np.ndarray | None = None,
        wholes: Wholes = (),
    ) -> Tally:  # fmt: skip
        """Count one image.

        Parameters
        ----------
        probabilities : ndarray of float32, shape (H, W, K)
            Calibrated.
        labels : ndarray of uint8, shape (H, W)
            k + 1 is channel k, 0 none of the classes, 255 unknown; others are partial labels.
        thresholds : sequence of float
            One a class.
        tolerance : int
            Distance in px at which boundaries still meet.
        answers : ndarray, shape (256, K) int8, optional
            What each label says of each class; by default none is partial.
        wholes : sequence of int or None
            Channel of the class that contains each class, as `class_mask` takes them.
        """
        values = np.arange(1, probabilities.shape[-1] + 1)
        answers = plain_answers(values.size) if answers is None else answers
        truth, known = answers[labels] == YES, answers[labels] != OPEN
        claimed = probabilities >= np.asarray(thresholds, np.float32)
        fused = class_mask(probabilities, values.tolist(), list(thresholds), wholes)
        chosen = fused[..., None] == values
        for part, container in enumerate(wholes):
            if container is not None and is_part_of(answers, part, container):
                chosen[..., container] |= chosen[..., part]
        whole_labels = np.where(labels <= values.size, labels, np.uint8(IGNORE))
        return cls(
            1,
            BinaryCounts.of_answers(claimed, truth, known),
            BoundaryCounts.of(claimed, truth, known, tolerance),
            BinaryCounts.of_answers(chosen, truth, known),
            confusion_matrix(fused, whole_labels, values.size + 1, IGNORE),
            ScoreHistogram.of_answers(probabilities, truth, known),
        )

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.images + other.images,
            self.counts + other.counts,
            self.boundary + other.boundary,
            self.fused_counts + other.fused_counts,
            self.confusion + other.confusion,
            self.scores + other.scores,
        )

    def per_class(self, names: Sequence[str]) -> dict[str, dict[str, float | None]]:
        """Return iou, dice, precision, recall, f1, boundary_f1, ece a class; None: undefined."""
        scores = {**self.counts.scores(), "boundary_f1": self.boundary.f1()}
        scores["ece"] = self.scores.ece()
        return {
            name: {key: rounded(values[k]) for key, values in scores.items()}
            for k, name in enumerate(names)
        }

    def fused(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the scores of the single label map."""
        counts = self.fused_counts
        iou = counts.scores()["iou"]
        return {
            "iou": {name: rounded(value) for name, value in zip(names, iou, strict=True)},
            "mean_iou": rounded(counts.mean_iou()),
            "pixel_accuracy": rounded(overall_accuracy(self.confusion)),
            "frequency_weighted_iou": rounded(frequency_weighted_iou(self.confusion)),
            "mcc": rounded(matthews(self.confusion)),
        }


@dataclass(frozen=True)
class Evaluation:
    """What a pass over images gave.

    Attributes
    ----------
    classes : tuple of ModelClass
        In the order of the channels.
    by_image : tuple of (Sample, Tally)
        In the order of the data set. Their score histograms, the bulk of a tally, are empty.
    scores : mapping of str to ScoreHistogram
        The score histograms by group.
    """

    classes: tuple[ModelClass, ...]
    by_image: tuple[tuple[Sample, Tally], ...]
    scores: Mapping[str, ScoreHistogram]
    tolerance: int = BOUNDARY_TOLERANCE

    @property
    def names(self) -> list[str]:
        """Names of the classes by channel."""
        return [cls.name for cls in self.classes]

    def total(self) -> Tally:
        """Return the counts of all images."""
        return _sum(self.by_group().values(), len(self.classes))

    def mean_iou(self, samples: Iterable[Sample]) -> float:
        """Return the mean one-vs-rest IoU of some of the images, over the classes that occur."""
        names = {sample.name for sample in samples}
        counts = (tally.counts for sample, tally in self.by_image if sample.name in names)
        return sum(counts, start=BinaryCounts.zero(len(self.classes))).mean_iou()

    def by_group(self) -> dict[str, Tally]:
        """Return the counts of each group."""
        parts: dict[str, list[Tally]] = defaultdict(list)
        for sample, tally in self.by_image:
            parts[sample.group].append(tally)
        return {
            group: replace(_sum(parts[group], len(self.classes)), scores=self.scores[group])
            for group in sorted(parts)
        }

    def worst(self) -> list[tuple[Sample, Tally]]:
        """Return the images, those with the lowest fused accuracy first."""

        def accuracy(entry: tuple[Sample, Tally]) -> float:
            found = overall_accuracy(entry[1].confusion)
            return 2.0 if math.isnan(found) else found

        return sorted(self.by_image, key=accuracy)

    def metrics(self) -> dict[str, Any]:
        """Return what the card records on it."""
        total, names = self.total(), self.names
        return {
            "frames": total.images,
            "per_class": total.per_class(names),
            "mean_iou": rounded(total.counts.mean_iou()),
            "mean_ece": rounded(mean_known(total.scores.ece())),
            "boundary_tolerance_px": self.tolerance,
            "fused": total.fused(names),
            "confusion": {
                "rows_truth_columns_prediction": [REST, *names],
                "px": total.confusion.tolist(),
            },
            "per_group": {
                group: {
                    "frames": tally.images,
                    "mean_iou": rounded(tally.counts.mean_iou()),
                    "iou": {name: row["iou"] for name, row in tally.per_class(names).items()},
                }
                for group, tally in self.by_group().items()
            },
        }


def evaluate(
    network: Network,
    card: ModelCard,
    dataset: Dataset,
    samples: Iterable[Sample],
    tolerance: int = BOUNDARY_TOLERANCE,
) -> Evaluation:
    """Run a model over images as the engine would, and count.

    Parameters
    ----------
    network : callable
        Scaled images (N, H, W, B) to raw probabilities (N, H, W, C).
    card : ModelCard
        Scaling, calibration, thresholds and divisor are taken from it.
    dataset : Dataset
        It must have the card's classes, by name; others of it count as none of them.
    samples : iterable of Sample
        Images of the data set.
    tolerance : int
        Distance in px at which boundaries still meet.

    Raises
    ------
    DatasetError
        If the data set has none of the classes, or other bands.
    """
    classes = tuple(sorted(card.classes, key=lambda cls: cls.channel))
    codes, answers = answers_for(dataset, classes)
    if len(dataset.bands) != len(card.input.bands):
        raise DatasetError(
            f"{dataset.folder}: its images have {len(dataset.bands)} bands, the model "
            f"{card.name} takes {len(card.input.bands)}"
        )
    thresholds = [cls.threshold for cls in classes]
    wholes = places_of_wholes({cls.name: cls.part_of for cls in classes})
    run = calibrated(network, card)

    def count(sample: Sample) -> tuple[Sample, Tally]:
        image, mask = dataset.read(sample)
        found = Tally.of(
            whole(run, image, card), codes[mask], thresholds, tolerance, answers, wholes
        )
        return sample, found

    empty = ScoreHistogram.zero(len(classes))
    scores: dict[str, ScoreHistogram] = {}
    by_image = []
    for sample, tally in on_all_cores(count, samples):
        scores[sample.group] = scores.get(sample.group, empty) + tally.scores
        by_image.append((sample, replace(tally, scores=empty)))
    return Evaluation(classes, tuple(by_image), scores, tolerance)


def with_classes_of(dataset: Dataset, card: ModelCard) -> ModelCard:
    """Return the card with those of its classes that the data set tells of.

    Where the data set has no name for a class, claims of it are neither right nor wrong.
    """
    told = {cls.name for cls in dataset.classes}
    known = tuple(
        cls if cls.part_of in told else replace(cls, part_of=None)
        for cls in card.classes
        if cls.name in told
    )
    return replace(card, classes=known or card.classes)


def answers_for(dataset: Dataset, classes: Sequence[ModelClass]) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes (256,) of a data set's masks for a model's classes, and their answer table.

    Nothing is said of a class of the model that the data set does not have.

    Raises
    ------
    DatasetError
        If it has none of them.
    """
    names = [cls.name for cls in classes]
    if not {cls.name for cls in dataset.classes} & set(names):
        raise DatasetError(
            f"{dataset.folder}: none of its classes ({_listed(dataset.classes)}) is one of the "
            f"model's ({_listed(classes)})"
        )
    return recode(dataset, names)


def table(metrics: Mapping[str, Any]) -> str:
    """Return the metrics as Markdown."""
    keys = ("iou", "dice", "precision", "recall", "boundary_f1", "ece")
    lines = [
        "| class | IoU | Dice = F1 | precision | recall | boundary F1 | ECE | IoU, fused |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in metrics["per_class"].items():
        cells = [*(row[key] for key in keys), metrics["fused"]["iou"][name]]
        lines.append(f"| {name} | {' | '.join(map(cell, cells))} |")
    mean, fused = cell(metrics["mean_iou"]), cell(metrics["fused"]["mean_iou"])
    lines += [f"| **mean** | {mean} | | | | | {cell(metrics['mean_ece'])} | {fused} |", ""]
    one_map = metrics["fused"]
    lines += [
        f"Fused map: accuracy {cell(one_map['pixel_accuracy'])}, frequency-weighted IoU "
        f"{cell(one_map['frequency_weighted_iou'])}, MCC {cell(one_map['mcc'])}.", "",
    ]  # fmt: skip
    names = list(metrics["per_class"])
    lines += [
        f"| group | images | mean IoU | {' | '.join(names)} |",
        "|---|---|---|" + "---|" * len(names),
    ]
    for group, row in metrics["per_group"].items():
        cells = " | ".join(cell(row["iou"][name]) for name in names)
        lines.append(f"| {group} | {row['frames']} | {cell(row['mean_iou'])} | {cells} |")
    return "\n".join(lines)


def rounded(value: float) -> float | None:
    """Return a score with four digits, None where it is undefined."""
    return round(float(value), 4) if np.isfinite(value) else None


def cell(value: float | None) -> str:
    """Return a score as a table shows it."""
    return "-" if value is None else f"{value:.3f}"


def mean_known(values: np.ndarray) -> float:
    """Return the mean of what is defined, NaN if nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _sum(tallies: Iterable[Tally], classes: int) -> Tally:
    return sum(tallies, start=Tally.zero(classes))


def _listed(classes: Iterable[Any]) -> str:
    return ", ".join(cls.name for cls in classes)
