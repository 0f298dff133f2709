# SPDX-License-Identifier: GPL-2.0-or-later
"""What becomes of one-vs-rest probabilities by each way to one map, on sites no model saw.

The probabilities are those that a cross-validation kept of its held-out images. Calibration and
thresholds of a fold are fitted on the images of the other folds.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unet_segmenter.engine.crf_settings import CrfSettings
from unet_segmenter.engine.errors import Cancelled, JobError
from unet_segmenter.engine.fuse_classes import map_values
from unet_segmenter.engine.fuse_methods import FUSION_METHODS, FusionRules, conflict, fuse
from unet_segmenter.engine.majority import majority_filter
from unet_segmenter.engine.metrics import confusion_matrix, counts_of_confusion, overall_accuracy
from unet_segmenter.engine.model_card import UNKNOWN_VALUE
from unet_segmenter.engine.predict import calibrate as apply_calibration
from unet_segmenter.engine.progress import Progress
from unet_segmenter.engine.refine import refine, refine_block, unary_from_labels
from unet_segmenter.engine.shares import decode_shares

from .calibrate import CalibrationPlan, ClassCalibration, calibrate
from .crossvalidate import TALLIES, fold_folder
from .crossvalidation_results import read_tallies
from .dataset import Dataset, Sample
from .evaluate import Tally, cell, rounded
from .run import write_json

NAME = "fusion"
NO_CALIBRATION = ClassCalibration()


@dataclass(frozen=True)
class FusionTableSpec:
    """What to compare.

    Attributes
    ----------
    dataset, crossvalidation : str
        Folders: the prepared data set, and what `crossvalidate --predictions` wrote of it.
    output : str
        Folder to write fusion.json, .csv and .md to.
    card : str
        Folder of a model of that recipe, whose card is to say whether a CRF pays; none if empty.
    names : tuple of str
        Images to judge on, by name; empty for all that were held out.
    every : int
        Take each n-th of them: refinement takes seconds an image.
    calibration : CalibrationPlan
        How each fold is calibrated, and its thresholds chosen, by the others.
    radius : int
        Of the majority filter, px.
    crf : CrfSettings
        Of the refinement.
    """

    dataset: str
    crossvalidation: str
    output: str
    card: str = ""
    names: tuple[str, ...] = ()
    every: int = 1
    calibration: CalibrationPlan = field(default_factory=CalibrationPlan)
    radius: int = 15
    crf: CrfSettings = field(default_factory=CrfSettings)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.every < 1:
            raise JobError(f"every must be 1 or more, not {self.every}")


Way = tuple[str, bool, str]
"""Method of fusion, whether calibrated, and refinement."""


@dataclass(frozen=True)
class _Fused:
    """A fused map with what it was made of.

    Attributes
    ----------
    image, p, labels : ndarray, shapes (H, W, B), (H, W, K) and (H, W)
        The image, a probability a class, and the classes that fusion decided for.
    rules : FusionRules
        How it decided.
    """

    image: np.ndarray
    p: np.ndarray
    labels: np.ndarray
    rules: FusionRules


Refinement = Callable[[_Fused, FusionTableSpec], np.ndarray]


def _as_fused(fused: _Fused, _spec: FusionTableSpec) -> np.ndarray:
    return fused.labels


def _majority(fused: _Fused, spec: FusionTableSpec) -> np.ndarray:
    return majority_filter(fused.labels, spec.radius)


def _crf(fused: _Fused, spec: FusionTableSpec) -> np.ndarray:
    """Refine as `landcover` does: by the probabilities, unless the fusion decided otherwise.

    Then the classes are what is known; "unknown" is one of them.
    """
    everywhere = np.ones(fused.labels.shape, bool)
    if fused.rules.method == "argmax":
        return refine_block(fused.image, fused.p, everywhere, spec.crf, values=fused.rules.values)
    values = map_values(fused.rules)
    unary = unary_from_labels(fused.labels, values, spec.crf.gt_prob)
    found = refine(fused.image, unary, everywhere, spec.crf)
    refined: np.ndarray = np.array(values, np.uint8)[found.argmax(-1)]
    return refined


REFINEMENTS: dict[str, Refinement] = {
    "none": _as_fused,
    "majority": _majority,
    "crf": _crf,
}
"""What is done to a fused map, by name."""


def fusion_table(spec: FusionTableSpec, progress: Progress) -> dict[str, Any]:
    """Fuse and refine each image in each way; count against its mask.

    Returns
    -------
    dict
        "rows": method, calibrated, refinement, mean IoU, overall accuracy, IoU a class, share of
        pixels that are unknown. "conflict": share of pixels that several classes claim.

    Raises
    ------
    JobError
        If the cross-validation kept no predictions, or not of the images asked for.
    Cancelled
        If the user stopped.
    """
    dataset = Dataset.open(spec.dataset)
    names = [cls.name for cls in dataset.classes]
    folds = _folds(Path(spec.crossvalidation), names, spec.calibration)
    samples = _samples(dataset, folds, spec)
    ways = [
        (method, calibrated, refinement)
        for method in FUSION_METHODS
        for calibrated in (False, True)
        for refinement in REFINEMENTS
    ]
    counts = _Counts(ways, len(names))
    for done, sample in enumerate(samples, 1):
        _count(counts, dataset, sample, folds[sample.name], spec)
        if progress.cancelled():
            raise Cancelled("Cancelled; nothing was written.")
        progress.advance(done, len(samples), "fusing and refining")
    results = {
        "data": dataset.title, "images": len(samples), "classes": names,
        "calibration": asdict(spec.calibration), "radius": spec.radius, "crf": asdict(spec.crf),
        "conflict": {
            "as they are": _share(counts.claims[False]),
            "calibrated": _share(counts.claims[True]),
        },
        "rows": [_row(way, matrix, names) for way, matrix in counts.matrices.items()],
    }  # fmt: skip
    _write(Path(spec.output), results)
    if spec.card:
        _tell_card(Path(spec.card) / "card.json", results)
    progress.log("info", markdown(results))
    return results


@dataclass(frozen=True)
class _Fold:
    """What the images of the other folds say of one fold's."""

    predictions: Path
    fitted: list[ClassCalibration]
    rarest_first: tuple[int, ...]


def _folds(folder: Path, names: Sequence[str], plan: CalibrationPlan) -> dict[str, _Fold]:
    """Return the fold that held each image out, with a calibration fitted on the others."""
    tallies = {
        path.parent.name: read_tallies(path) for path in sorted(folder.glob(f"fold_*/{TALLIES}"))
    }
    if len(tallies) < 2:
        raise JobError(
            f"{folder}: holds no finished cross-validation; run 'crossvalidate' with --predictions"
        )
    found: dict[str, _Fold] = {}
    for number in range(1, len(tallies) + 1):
        here = fold_folder(folder, number)
        others = {
            group: tally
            for name, groups in tallies.items()
            if name != here.name
            for group, tally in groups.items()
        }
        scores = {group: tally.scores for group, tally in others.items()}
        counts = sum(others.values(), start=Tally.zero(len(names))).counts
        fold = _Fold(
            here / "predictions",
            list(calibrate(scores, names, plan).classes),
            tuple(np.argsort(counts.hit + counts.missed, kind="stable").tolist()),
        )
        found |= {path.stem: fold for path in fold.predictions.glob("*.npz")}
    if not found:
        raise JobError(f"{folder}: kept no predictions; run 'crossvalidate' with --predictions")
    return found


class _Counts:
    """What was found so far: a confusion matrix a way, and how many pixels several classes claim.

    `claims` holds two numbers each: pixels claimed by more than one class, and all.
    """

    def __init__(self, ways: Sequence[Way], classes: int) -> None:
        self.matrices = {way: np.zeros((classes + 1, classes + 1), np.int64) for way in ways}
        self.claims = {calibrated: np.zeros(2, np.int64) for calibrated in (False, True)}


def _count(
    counts: _Counts, dataset: Dataset, sample: Sample, fold: _Fold, spec: FusionTableSpec
) -> None:
    """Fuse and refine one image in each way, and count it against its mask."""
    classes = len(dataset.classes)
    image, mask = dataset.read(sample)
    steps = np.load(fold.predictions / f"{sample.name}.npz")["p"]
    for calibrated in (False, True):
        fitted = fold.fitted if calibrated else [NO_CALIBRATION] * classes
        p = apply_calibration(decode_shares(steps)[0], [one.calibration for one in fitted])
        for method in FUSION_METHODS:
            rules = FusionRules(
                method,
                tuple(range(1, classes + 1)),
                tuple(one.threshold for one in fitted),
                fold.rarest_first,
            )
            labels = fuse(p, rules, np.ones(mask.shape, bool))
            fused = _Fused(image, p, labels, rules)
            for name, refinement in REFINEMENTS.items():
                refined = refinement(fused, spec)
                # A sum of class numbers may be no class.
                known = np.where(refined > classes, UNKNOWN_VALUE, refined)
                matrix = confusion_matrix(known, mask, classes + 1)
                counts.matrices[method, calibrated, name] += matrix
        several = int(np.count_nonzero(conflict(p, rules) > 1))
        counts.claims[calibrated] += np.array([several, mask.size])


def _samples(dataset: Dataset, folds: Mapping[str, _Fold], spec: FusionTableSpec) -> list[Sample]:
    wanted = set(spec.names)
    if absent := sorted(wanted - folds.keys()):
        raise JobError(
            f"{spec.crossvalidation}: has no predictions of {len(absent)} of the images asked for, "
            f"such as {absent[0]}"
        )
    samples = [
        sample
        for sample in sorted(dataset.samples, key=lambda sample: sample.name)
        if sample.name in folds and (not wanted or sample.name in wanted)
    ]
    return samples[:: spec.every]


def _share(claims: np.ndarray) -> float | None:
    return rounded(claims[0] / claims[1])


def _row(way: Way, matrix: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    method, calibrated, refinement = way
    counts = counts_of_confusion(matrix)
    iou = counts.scores()["iou"]
    return {
        "method": method, "calibrated": calibrated, "refinement": refinement,
        "mean_iou": rounded(counts.mean_iou()),
        "overall_accuracy": rounded(overall_accuracy(matrix)),
        "iou": {name: rounded(iou[k]) for k, name in enumerate(names)},
        "unknown": rounded(matrix[:, 0].sum() / matrix.sum()),
    }  # fmt: skip


def markdown(results: Mapping[str, Any]) -> str:
    """Return the results as a table in Markdown, best mean IoU in bold."""
    best = max(row["mean_iou"] for row in results["rows"])
    head = ["fusion", "calibrated", "refinement", "mean IoU", "accuracy", *results["classes"]]
    rows = [
        [
            row["method"], "yes" if row["calibrated"] else "no", row["refinement"],
            f"**{cell(row['mean_iou'])}**" if row["mean_iou"] == best else cell(row["mean_iou"]),
            cell(row["overall_accuracy"]),
            *(cell(row["iou"][name]) for name in results["classes"]),
        ]
        for row in results["rows"]
    ]  # fmt: skip
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _tell_card(path: Path, results: Mapping[str, Any]) -> None:
    """Note in a card whether a CRF raises the mean IoU of the most probable class."""
    found = {
        row["refinement"]: row["mean_iou"]
        for row in results["rows"]
        if row["method"] == "argmax" and row["calibrated"]
    }
    content = json.loads(path.read_text(encoding="utf-8"))
    content["refinement"] = {
        "crf": found["crf"] > found["none"],
        "mean_iou": found["none"], "mean_iou_refined": found["crf"],
        "settings": results["crf"], "images": results["images"], "data": results["data"],
    }  # fmt: skip
    write_json(path, content)


def _write(folder: Path, results: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{NAME}.json", results)
    (folder / f"{NAME}.md").write_text(markdown(results) + "\n", encoding="utf-8")
    with (folder / f"{NAME}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["method", "calibrated", "refinement", "mean_iou", "overall_accuracy", "unknown"]
            + [f"iou_{name}" for name in results["classes"]]
        )
        for row in results["rows"]:
            writer.writerow(
                [
                    row[key]
                    for key in (
                        "method", "calibrated", "refinement", "mean_iou", "overall_accuracy",
                        "unknown",
                    )
                ]
                + [row["iou"][name] for name in results["classes"]]
            )  # fmt: skip
