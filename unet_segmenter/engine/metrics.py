# SPDX-License-Identifier: GPL-2.0-or-later
"""How far a segmentation agrees with the truth: counts that add up, and scores of them.

Counts are made image by image or block by block and added, so any amount of pixels streams
through. A score that is not defined (a class that neither occurs nor is claimed) is NaN, never 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

IGNORE = 255
"""Label of pixels that do not count."""
BOUNDARY_TOLERANCE = 2


@dataclass(frozen=True)
class BinaryCounts:
    """Pixels per class, (K,) int64 each: claimed rightly, claimed wrongly, missed."""

    hit: IntArray
    false: IntArray
    missed: IntArray

    @classmethod
    def zero(cls, classes: int) -> BinaryCounts:
        """Counts of no pixel."""
        return cls(*(np.zeros(classes, np.int64) for _ in range(3)))

    @classmethod
    def of(
        cls, claimed: NDArray[np.bool_], labels: NDArray[np.uint8], ignore: int = IGNORE
    ) -> BinaryCounts:
        """Count one-vs-rest masks.

        Parameters
        ----------
        claimed : ndarray of bool, shape (..., K)
            Whether a pixel is claimed for each class.
        labels : ndarray of int, shape (...)
            Truth: class k has the label k + 1, and 0 is none of the classes.
        ignore : int
            Label of pixels that do not count.
        """
        truth = labels[..., None] == np.arange(1, claimed.shape[-1] + 1)
        return cls.of_answers(claimed, truth, (labels != ignore)[..., None])

    @classmethod
    def of_answers(
        cls, claimed: NDArray[np.bool_], truth: NDArray[np.bool_], known: NDArray[np.bool_]
    ) -> BinaryCounts:
        """Count one-vs-rest masks whose truth is known of some classes only.

        Parameters
        ----------
        claimed, truth : ndarray of bool, shape (..., K)
            Whether a pixel is claimed for each class, and whether it is of the class.
        known : ndarray of bool, shape (..., K) or (..., 1)
            Whether the truth is known.
        """
        axes = tuple(range(claimed.ndim - 1))
        claim, true = claimed & known, truth & known
        hit, claims, trues = (part.sum(axis=axes) for part in (claim & true, claim, true))
        return cls(hit, claims - hit, trues - hit)

    def __add__(self, other: BinaryCounts) -> BinaryCounts:
        return BinaryCounts(
            self.hit + other.hit, self.false + other.false, self.missed + other.missed
        )

    def scores(self) -> dict[str, FloatArray]:
        """iou, dice, precision, recall and f1, (K,) float64 each; NaN where undefined.

        Of pixels F1, the harmonic mean of precision and recall, is the Dice coefficient.
        """
        hit, false, missed = (
            count.astype(np.float64) for count in (self.hit, self.false, self.missed)
        )
        dice = ratio(2 * hit, 2 * hit + false + missed)
        return {
            "iou": ratio(hit, hit + false + missed),
            "dice": dice,
            "precision": ratio(hit, hit + false),
            "recall": ratio(hit, hit + missed),
            "f1": dice.copy(),
        }

    def mean_iou(self) -> float:
        """Mean IoU over the classes that occur in the truth; NaN if none does.

        A class that never occurs has IoU 0 as soon as one pixel is claimed, and none before:
        counted in, one pixel would move the mean of six by a sixth.
        """
        there = self.hit + self.missed > 0
        return float(self.scores()["iou"][there].mean()) if there.any() else math.nan


def confusion_matrix(
    predicted: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    values: int,
    ignore: int = IGNORE,
) -> IntArray:
    """Count pixels by truth and prediction; matrices of parts add up.

    Parameters
    ----------
    predicted, labels : ndarray of int, shape (...)
        Values from 0 to ``values - 1``.
    values : int
        Number of values.
    ignore : int
        Label of pixels that do not count.

    Returns
    -------
    ndarray of int64, shape (values, values)
        Rows are the truth, columns the prediction.

    Raises
    ------
    ValueError
        If a value that counts is not below ``values``.
    """
    kept = labels != ignore
    truth, claim = labels[kept].astype(np.int64), predicted[kept].astype(np.int64)
    if truth.size and max(truth.max(), claim.max()) >= values:
        raise ValueError(f"a value is not below {values}")
    counts = np.bincount(truth * values + claim, minlength=values * values)
    return counts.astype(np.int64).reshape(values, values)


def counts_of_confusion(matrix: IntArray, first: int = 1) -> BinaryCounts:
    """One-vs-rest counts of the values from ``first`` on of a confusion matrix."""
    hit = np.diag(matrix)
    false, missed = matrix.sum(axis=0) - hit, matrix.sum(axis=1) - hit
    return BinaryCounts(hit[first:].copy(), false[first:], missed[first:])


def overall_accuracy(matrix: IntArray) -> float:
    """Share of the pixels that are classified rightly; NaN without pixels."""
    total = int(matrix.sum())
    return int(np.trace(matrix)) / total if total else math.nan


def frequency_weighted_iou(matrix: IntArray) -> float:
    """Mean IoU, each class weighted by its share of the truth; NaN without pixels."""
    share = matrix.sum(axis=1)
    there = share > 0
    if not there.any():
        return math.nan
    iou = counts_of_confusion(matrix, first=0).scores()["iou"]
    return float((iou[there] * share[there]).sum() / share.sum())


def matthews(matrix: IntArray) -> float:
    """Matthews correlation coefficient of any number of classes, -1 to 1.

    NaN where it is undefined: the truth, or the prediction, is a single class.

    References
    ----------
    J. Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient",
    Computational Biology and Chemistry 28, 2004.
    """
    # Python's integers: squares of pixel counts overflow 64 bits.
    truth = [int(count) for count in matrix.sum(axis=1)]
    claim = [int(count) for count in matrix.sum(axis=0)]
    total, right = sum(truth), int(np.trace(matrix))
    covariance = right * total - sum(t * c for t, c in zip(truth, claim, strict=True))
    spread = (total**2 - sum(t * t for t in truth)) * (total**2 - sum(c * c for c in claim))
    return covariance / math.sqrt(spread) if spread else math.nan


@dataclass(frozen=True)
class BoundaryCounts:
    """Boundary pixels per class, (K,) int64 each.

    Parameters
    ----------
    claimed, claimed_near : ndarray
        Of the prediction: all, and those within the tolerance of the truth's boundary.
    true, true_near : ndarray
        Of the truth: all, and those within the tolerance of the prediction's boundary.
    """

    claimed: IntArray
    claimed_near: IntArray
    true: IntArray
    true_near: IntArray

    @classmethod
    def zero(cls, classes: int) -> BoundaryCounts:
        """Counts of no pixel."""
        return cls(*(np.zeros(classes, np.int64) for _ in range(4)))

    @classmethod
    def of(
        cls,
        claimed: NDArray[np.bool_],
        true: NDArray[np.bool_],
        known: NDArray[np.bool_],
        tolerance: int = BOUNDARY_TOLERANCE,
        crop: tuple[slice, slice] | None = None,
    ) -> BoundaryCounts:
        """Count the boundary pixels of masks.

        A boundary pixel lies in the mask and has a known 4-neighbour outside. The edge of the
        image, and that of what is unknown, is no boundary.

        Parameters
        ----------
        claimed, true : ndarray of bool, shape (H, W, K)
            Masks of the prediction and of the truth.
        known : ndarray of bool, shape (H, W) or (H, W, K)
            Pixels that count, of all classes or of each.
        tolerance : int
            Distance in px at which boundaries still meet.
        crop : tuple of slice, optional
            Count these rows and columns only. With ``tolerance + 1`` px around them blocks add
            up to the whole.

        References
        ----------
        G. Csurka, D. Larlus, F. Perronnin, "What is a good evaluation measure for semantic
        segmentation?", BMVC 2013.
        """
        columns = []
        for k in range(claimed.shape[-1]):
            counted = known if known.ndim == 2 else known[..., k]
            ours = _boundary(claimed[..., k], counted)
            theirs = _boundary(true[..., k], counted)
            parts = ours, ours & _near(theirs, tolerance), theirs, theirs & _near(ours, tolerance)
            columns.append([int((part if crop is None else part[crop]).sum()) for part in parts])
        counts = np.array(columns, np.int64).reshape(-1, 4).T
        return cls(*counts)

    def __add__(self, other: BoundaryCounts) -> BoundaryCounts:
        return BoundaryCounts(
            self.claimed + other.claimed,
            self.claimed_near + other.claimed_near,
            self.true + other.true,
            self.true_near + other.true_near,
        )

    def f1(self) -> FloatArray:
        """Boundary F1, (K,) float64; NaN where the truth has no boundary that could be found."""
        near = self.claimed_near.astype(np.float64), self.true_near.astype(np.float64)
        precision = ratio(near[0], self.claimed.astype(np.float64))
        recall = ratio(near[1], self.true.astype(np.float64))
        both = np.nan_to_num(precision) + np.nan_to_num(recall)
        product = 2 * np.nan_to_num(precision) * np.nan_to_num(recall)
        f1 = np.divide(product, both, out=np.zeros_like(both), where=both > 0)
        return np.where(self.true > 0, f1, np.nan)


def _boundary(mask: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    inside, outside = mask & known, ~mask & known
    meets = np.zeros_like(inside)
    meets[1:] |= outside[:-1]
    meets[:-1] |= outside[1:]
    meets[:, 1:] |= outside[:, :-1]
    meets[:, :-1] |= outside[:, 1:]
    return inside & meets


def _near(mask: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """Pixels within a Euclidean distance of the mask: a dilation by a disk, row by row."""
    height, width = mask.shape
    near = np.zeros_like(mask)
    if not mask.any():
        return near
    for shift in range(min(distance, height - 1) + 1):
        reach = math.isqrt(distance * distance - shift * shift)
        count = np.pad(mask, ((0, 0), (reach + 1, reach))).cumsum(axis=1, dtype=np.int32)
        row = count[:, 2 * reach + 1 :] > count[:, :width]
        near[shift:] |= row[: height - shift]
        near[: height - shift] |= row[shift:]
    return near


def ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Quotient, NaN where the whole is 0."""
    shape = np.broadcast_shapes(part.shape, whole.shape)
    quotient: FloatArray = np.full(shape, np.nan)
    np.divide(part, whole, out=quotient, where=np.broadcast_to(whole > 0, shape))
    return quotient
