# SPDX-License-Identifier: GPL-2.0-or-later
"""How far probabilities can be believed: histograms of scores that add up, and what they tell.

A histogram holds all that calibration, thresholds and the expected calibration error need to know
of any number of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .metrics import IGNORE, BinaryCounts, FloatArray, IntArray, ratio

ECE_BINS = 15

# Bins are even in the logit, where calibration and thresholds need them fine, and cut once more at
# the edges k / ECE_BINS, so that the expected calibration error is exact.
_CLIP = 1e-7
_PER_LOGIT = 16
_LOGITS = 17  # logit(1 - _CLIP) is 16.1
_COARSE = 2 * _LOGITS * _PER_LOGIT


@dataclass(frozen=True)
class ScoreHistogram:
    """Pixels per class and bin of probability, (K, B) each: what calibration needs to know.

    Parameters
    ----------
    negatives, positives : ndarray of int64
        Pixels that are not of the class, and that are.
    total : ndarray of float64
        Sum of their probabilities.
    """

    negatives: IntArray
    positives: IntArray
    total: FloatArray

    @classmethod
    def zero(cls, classes: int) -> ScoreHistogram:
        """Histograms of no pixel."""
        shape = (classes, BIN_EDGES.size - 1)
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape))

    @classmethod
    def of(
        cls,
        probabilities: NDArray[np.float32],
        labels: NDArray[np.uint8],
        ignore: int = IGNORE,
    ) -> ScoreHistogram:
        """Sort pixels into bins.

        Parameters
        ----------
        probabilities : ndarray of float, shape (..., K)
            Probability of each class, 0-1.
        labels : ndarray of int, shape (...)
            Truth: class k has the label k + 1, and 0 is none of the classes.
        ignore : int
            Label of pixels that do not count.
        """
        truth = labels[..., None] == np.arange(1, probabilities.shape[-1] + 1)
        return cls.of_answers(probabilities, truth, (labels != ignore)[..., None])

    @classmethod
    def of_answers(
        cls, probabilities: NDArray[np.float32], truth: NDArray[np.bool_], known: NDArray[np.bool_]
    ) -> ScoreHistogram:
        """Sort pixels into bins whose truth is known of some classes only.

        Parameters
        ----------
        probabilities : ndarray of float, shape (..., K)
            Probability of each class, 0-1.
        truth : ndarray of bool, shape (..., K)
            Whether a pixel is of each class.
        known : ndarray of bool, shape (..., K) or (..., 1)
            Whether the truth is known.
        """
        bins, classes = BIN_EDGES.size - 1, probabilities.shape[-1]
        known = np.broadcast_to(known, truth.shape)
        rows: list[list[NDArray[np.generic]]] = [[], [], []]
        for k in range(classes):
            kept = known[..., k]
            score, positive = probabilities[..., k][kept], truth[..., k][kept]
            place = bin_of(score)
            count = np.bincount(place, minlength=bins)
            hits = np.bincount(place[positive], minlength=bins)
            rows[0].append(count - hits)
            rows[1].append(hits)
            rows[2].append(np.bincount(place, weights=score, minlength=bins))
        shape = (classes, bins)
        negatives, positives, total = (np.array(part).reshape(shape) for part in rows)
        return cls(negatives.astype(np.int64), positives.astype(np.int64), total.astype(np.float64))

    def __add__(self, other: ScoreHistogram) -> ScoreHistogram:
        return ScoreHistogram(
            self.negatives + other.negatives,
            self.positives + other.positives,
            self.total + other.total,
        )

    @property
    def counts(self) -> IntArray:
        """Pixels per class and bin, (K, B)."""
        return self.negatives + self.positives

    def mean_probability(self) -> FloatArray:
        """Mean probability of each bin, (K, B); the bin's middle where it is empty."""
        middle = (BIN_EDGES[:-1] + BIN_EDGES[1:]) / 2
        counts = self.counts
        return np.divide(
            self.total, counts, out=np.tile(middle, (len(counts), 1)), where=counts > 0
        )

    def counts_at(self, thresholds: Sequence[float]) -> BinaryCounts:
        """One-vs-rest counts at a threshold a class, rounded to the nearest edge of a bin."""
        hit, false, missed = [], [], []
        for k, threshold in enumerate(thresholds):
            first = int(np.abs(BIN_EDGES - threshold).argmin())
            hit.append(self.positives[k, first:].sum())
            false.append(self.negatives[k, first:].sum())
            missed.append(self.positives[k, :first].sum())
        return BinaryCounts(*(np.array(part, np.int64) for part in (hit, false, missed)))

    def iou_by_edge(self) -> FloatArray:
        """IoU at a threshold on each edge of a bin, (K, B + 1); NaN where undefined."""
        hit, false = (
            np.pad(part[:, ::-1].cumsum(axis=1)[:, ::-1], ((0, 0), (0, 1))).astype(np.float64)
            for part in (self.positives, self.negatives)
        )
        return ratio(hit, self.positives.sum(axis=1, keepdims=True) + false)

    def reliability(self, bins: int = ECE_BINS, adaptive: bool = False) -> list[ReliabilityCurve]:
        """Curve of each class, over equal bins or (``adaptive``) bins of equal mass."""
        return [
            reliability_curve(counts, positives, means, bins, adaptive)
            for counts, positives, means in zip(
                self.counts, self.positives, self.mean_probability(), strict=True
            )
        ]

    def ece(self, adaptive: bool = False) -> FloatArray:
        """Expected calibration error of each class against the rest, (K,); NaN without pixels."""
        return np.array([curve.ece() for curve in self.reliability(adaptive=adaptive)])


@dataclass(frozen=True)
class ReliabilityCurve:
    """What a class's probabilities say and what is true, by bin; (B,) float64 each, NaN if empty.

    Parameters
    ----------
    said : ndarray
        Mean probability.
    true : ndarray
        Share of the pixels that are of the class.
    counts : ndarray
        Pixels.
    """

    said: FloatArray
    true: FloatArray
    counts: FloatArray

    def ece(self) -> float:
        """Expected calibration error, 0-1: the mean of |said - true| over the pixels.

        References
        ----------
        M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining Well Calibrated Probabilities Using
        Bayesian Binning", AAAI 2015; one class against the rest as in M. Kull et al., "Beyond
        temperature scaling", NeurIPS 2019; equal mass as in J. Nixon et al., "Measuring
        Calibration in Deep Learning", CVPR Workshops 2019.
        """
        total = self.counts.sum()
        if not total:
            return math.nan
        return float(np.nansum(np.abs(self.said - self.true) * self.counts) / total)


def reliability_curve(
    counts: IntArray,
    positives: IntArray,
    means: FloatArray,
    bins: int = ECE_BINS,
    adaptive: bool = False,
) -> ReliabilityCurve:
    """Gather fine bins into few.

    Parameters
    ----------
    counts, positives, means : ndarray, shape (N,)
        Pixels, pixels of the class, and mean probability, by fine bin in rising order.
    bins : int
        Number of bins.
    adaptive : bool
        Bins of equal mass instead of equal width.
    """
    if adaptive:
        before = np.cumsum(counts) - counts
        place = (before + counts / 2) * bins // max(int(counts.sum()), 1)
    else:
        # Means are of float32 values: an edge that float32 rounds down must not be undercut.
        place = np.floor(means * bins + 1e-6)
    index = np.clip(place, 0, bins - 1).astype(np.int64)
    total, said, true = (
        np.bincount(index, weights, bins).astype(np.float64)
        for weights in (counts, counts * means, positives)
    )
    return ReliabilityCurve(ratio(said, total), ratio(true, total), total)


def bin_of(probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """Bin of each probability on the grid `BIN_EDGES`."""
    score = np.clip(probabilities.astype(np.float64), _CLIP, 1 - _CLIP)
    logit = np.log(score) - np.log1p(-score)
    coarse = ((logit + _LOGITS) * _PER_LOGIT).astype(np.int64)
    bins: NDArray[np.int64] = _FIRST[coarse] + (score >= _CUT[coarse])
    return bins


def _grid() -> tuple[FloatArray, IntArray, FloatArray]:
    """Edges; and for each coarse bin its first bin, and where it is cut (2: nowhere)."""
    even = 1 / (1 + np.exp(_LOGITS - np.arange(_COARSE + 1) / _PER_LOGIT))
    cuts = np.float64(np.arange(1, ECE_BINS) / ECE_BINS)
    place = np.searchsorted(even, cuts) - 1
    cut = np.full(_COARSE, 2.0)
    cut[place] = cuts
    extra: IntArray = np.cumsum(cut < 2) - (cut < 2)
    return np.union1d(even, cuts), (np.arange(_COARSE) + extra).astype(np.int64), cut


BIN_EDGES, _FIRST, _CUT = _grid()
"""Edges of the bins of a `ScoreHistogram`, as probabilities."""
