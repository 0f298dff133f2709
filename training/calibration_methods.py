# SPDX-License-Identifier: GPL-2.0-or-later
"""Ways to correct the probabilities of one class, and to choose its threshold: two tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unet_segmenter.engine.model_card import Calibration
from unet_segmenter.engine.reliability import BIN_EDGES, ScoreHistogram

LARGEST_SCALE = 20.0
LARGEST_OFFSET = 20.0
TIE = 5e-4
"""Thresholds whose IoU lies so near to the best are as good: the middle of them is taken."""


def applied(probability: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Return calibrated probabilities of raw ones."""
    return sigmoid(calibration.scale * logit(probability) + calibration.offset)


def logit(probability: np.ndarray) -> np.ndarray:
    """Return log(p / (1 - p)), clipped where the engine clips it."""
    clipped = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.log(clipped) - np.log1p(-clipped)


def sigmoid(value: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-value))


# Methods: logits (B,), positives (B,) and negatives (B,) -> scale and offset.


def _platt(
    logits: np.ndarray, positives: np.ndarray, negatives: np.ndarray, free_offset: bool = True
) -> tuple[float, float]:
    """Minimise the cross-entropy of sigmoid(scale * logit + offset).

    References
    ----------
    J. Platt, "Probabilistic outputs for support vector machines and comparisons to regularized
    likelihood methods", 1999; his targets, which stand in for a prior, keep the fit finite where
    a threshold parts the classes.
    """
    from scipy.optimize import minimize

    many, few = positives.sum(), negatives.sum()
    high, low = (many + 1) / (many + 2), 1 / (few + 2)
    share = (positives * high + negatives * low) / (many + few)
    weight = (positives + negatives) / (many + few)

    def entropy(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        z = parameters[0] * logits + parameters[1]
        slope = weight * sigmoid(z) - share
        loss = float((weight * np.logaddexp(0, z) - share * z).sum())
        return loss, np.array([(slope * logits).sum(), slope.sum() if free_offset else 0.0])

    limit = LARGEST_OFFSET if free_offset else 0.0
    found = minimize(
        # For two parameters a method without BLAS, whose threads would cost more than the work.
        entropy, np.array([1.0, 0.0]), jac=True, method="TNC",
        bounds=[(1 / LARGEST_SCALE, LARGEST_SCALE), (-limit, limit)],
        options={"ftol": 1e-13, "xtol": 1e-9, "gtol": 1e-9, "maxfun": 1000},
    )  # fmt: skip
    scale, offset = found.x
    return float(scale), float(offset)


def _temperature(
    logits: np.ndarray, positives: np.ndarray, negatives: np.ndarray
) -> tuple[float, float]:
    """The same without an offset: one over the temperature.

    References
    ----------
    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    return _platt(logits, positives, negatives, free_offset=False)


METHODS: dict[str, Callable[..., tuple[float, float]]] = {
    "platt": _platt,
    "temperature": _temperature,
    "none": lambda _logits, _positives, _negatives: (1.0, 0.0),
}


# Thresholds: histogram, channel, its calibration, the fixed one -> calibrated probability.


def _best(
    histogram: ScoreHistogram, k: int, calibration: Calibration, _fixed: float
) -> float:  # fmt: skip
    """The threshold with the highest IoU; of a plateau its middle."""
    iou = histogram.iou_by_edge()[k, 1:-1]
    good = iou >= np.nanmax(iou) - TIE
    first = last = int(np.nanargmax(iou))
    while first > 0 and good[first - 1]:
        first -= 1
    while last + 1 < good.size and good[last + 1]:
        last += 1
    edges = logit(BIN_EDGES[1:-1])
    return float(applied(sigmoid((edges[first] + edges[last]) / 2), calibration))


def _otsu(histogram: ScoreHistogram, k: int, calibration: Calibration, _fixed: float) -> float:
    """The threshold that parts the probabilities best, whatever the truth is (Otsu, 1979)."""
    from skimage.filters import threshold_otsu

    # Otsu's method is about values, so its bins are even in them.
    values = applied(histogram.mean_probability()[k], calibration)
    counts, edges = np.histogram(values, 256, (0, 1), weights=histogram.counts[k])
    return float(threshold_otsu(hist=(counts, (edges[:-1] + edges[1:]) / 2)))


THRESHOLDS: dict[str, Callable[..., float]] = {
    "best": _best,
    "otsu": _otsu,
    "fixed": lambda _histogram, _k, _calibration, fixed: fixed,
    # The decisions that the fixed threshold made before calibration.
    "unchanged": lambda _histogram, _k, calibration, fixed: float(
        applied(np.float64(fixed), calibration)
    ),
}
