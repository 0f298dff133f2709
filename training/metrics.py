# SPDX-License-Identifier: GPL-2.0-or-later
"""Streaming counts over pixels -> IoU, Dice, precision and recall a class; confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BinaryCounts:
    """Pixels per class, (K,) int64 each: claimed rightly, claimed wrongly, missed."""

    hit: np.ndarray
    false: np.ndarray
    missed: np.ndarray

    @classmethod
    def zero(cls, classes: int) -> BinaryCounts:
        """Return counts of no pixel."""
        return cls(*(np.zeros(classes, np.int64) for _ in range(3)))

    @classmethod
    def of(cls, claimed: np.ndarray, labels: np.ndarray, ignore: int = 255) -> BinaryCounts:
        """Count masks ``claimed`` (H, W, K) bool against labels (H, W), k + 1 being class k."""
        kept = labels != ignore
        truth = labels[kept][:, None] == np.arange(1, claimed.shape[-1] + 1)
        claim = claimed[kept]
        return cls(
            (claim & truth).sum(axis=0), (claim & ~truth).sum(axis=0), (~claim & truth).sum(axis=0)
        )

    def __add__(self, other: BinaryCounts) -> BinaryCounts:
        return BinaryCounts(
            self.hit + other.hit, self.false + other.false, self.missed + other.missed
        )

    def scores(self) -> dict[str, np.ndarray]:
        """Return iou, dice, precision and recall, (K,) float64 each; NaN where undefined."""
        hit, false, missed = (
            count.astype(np.float64) for count in (self.hit, self.false, self.missed)
        )
        return {
            "iou": _ratio(hit, hit + false + missed),
            "dice": _ratio(2 * hit, 2 * hit + false + missed),
            "precision": _ratio(hit, hit + false),
            "recall": _ratio(hit, hit + missed),
        }

    def mean_iou(self) -> float:
        """Return the mean IoU over the classes that occur in the truth.

        A class that never occurs has IoU 0 as soon as one pixel is claimed, and none before:
        counted in, one pixel would move the mean of six by a sixth.
        """
        there = self.hit + self.missed > 0
        return float(self.scores()["iou"][there].mean()) if there.any() else float("nan")


def confusion_matrix(
    predicted: np.ndarray, labels: np.ndarray, values: int, ignore: int = 255
) -> np.ndarray:
    """Return (values, values) int64: rows are the truth, columns the prediction."""
    kept = labels != ignore
    index = labels[kept].astype(np.int64) * values + predicted[kept]
    return np.bincount(index, minlength=values * values).reshape(values, values)


def counts_of_confusion(matrix: np.ndarray) -> BinaryCounts:
    """Return the one-vs-rest counts of classes 1 and up of a confusion matrix."""
    hit = np.diag(matrix)
    return BinaryCounts(hit[1:], (matrix.sum(axis=0) - hit)[1:], (matrix.sum(axis=1) - hit)[1:])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
