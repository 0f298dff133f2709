# SPDX-License-Identifier: GPL-2.0-or-later
"""Fit calibration and thresholds of each class on validation, and say what they are worth.

All that is needed of the pixels is their histogram over probability, which holds any number of
them in some kilobytes, so every pixel counts and none is drawn. It does not matter what made the
probabilities: one model on its validation split, or the models of a leave-sites-out run, each on
the sites that it did not see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.metrics import BinaryCounts
from unet_segmenter.engine.model_card import Calibration
from unet_segmenter.engine.reliability import (
    ReliabilityCurve,
    ScoreHistogram,
    reliability_curve,
)

from .calibration_methods import METHODS, THRESHOLDS, applied, logit, sigmoid

__all__ = [
    "METHODS",
    "THRESHOLDS",
    "CalibrationPlan",
    "CalibrationResult",
    "ClassCalibration",
    "calibrate",
    "fit_class",
    "gather",
    "histogram_of_logits",
    "histograms",
    "into_card",
    "table",
]


@dataclass(frozen=True)
class CalibrationPlan:
    """How to calibrate, and how to choose thresholds.

    Attributes
    ----------
    method : str
        A key of `METHODS`.
    threshold : str
        A key of `THRESHOLDS`.
    fixed : float
        The threshold of "fixed", and of classes that validation does not show.
    """

    method: str = "platt"
    threshold: str = "best"
    fixed: float = 0.5

    def __post_init__(self) -> None:
        for what, value, table in (
            ("calibration", self.method, METHODS), ("threshold", self.threshold, THRESHOLDS),
        ):  # fmt: skip
            if value not in table:
                raise JobError(f"{what} {value!r} is unknown; known are {', '.join(table)}")
        if not 0 < self.fixed < 1:
            raise JobError(f"the threshold must lie between 0 and 1, but it is {self.fixed}")


@dataclass(frozen=True)
class ClassCalibration:
    """What the card says of one class: a probability counts from ``threshold`` on, calibrated."""

    calibration: Calibration = field(default=Calibration())
    threshold: float = 0.5


@dataclass(frozen=True)
class CalibrationResult:
    """Calibration and threshold a class, in the order of the channels, and how they did.

    Attributes
    ----------
    report : dict
        For the card: method, groups, per class the expected calibration error before and after,
        and the IoU at 0.5 before and at the threshold after.
    """

    classes: tuple[ClassCalibration, ...]
    report: dict[str, Any]


def calibrate(
    groups: Mapping[str, ScoreHistogram],
    names: Iterable[str],
    plan: CalibrationPlan | None = None,
) -> CalibrationResult:
    """Fit on all groups; judge on groups that the fit did not see.

    With two groups or more every group is judged by a fit on the others, and the numbers are
    pooled over them. A class whose probabilities so become worse (by their cross-entropy) keeps
    them as they are, and one whose IoU becomes worse keeps its decisions ("unchanged"): what suits
    some sites may not suit the next. With one group the numbers are of the pixels that were fitted,
    and the report says so.

    Parameters
    ----------
    groups : mapping of str to ScoreHistogram
        Raw probabilities and truth by group (site), see `histograms`.
    names : iterable of str
        Names of the classes in the order of the channels.
    plan : CalibrationPlan, optional

    Returns
    -------
    CalibrationResult

    Raises
    ------
    JobError
        If there is no group.
    """
    plan, names = plan or CalibrationPlan(), list(names)
    if not groups:
        raise JobError("there is nothing to calibrate on: the validation split has no image")
    pooled = _sum(groups.values())
    pairs = _held_out(groups) if len(groups) > 1 else [(pooled, pooled)]
    plans = [_worthwhile(pairs, k, plan) for k in range(len(names))]
    final = [fit_class(pooled, k, one) for k, one in enumerate(plans)]
    judged = [
        (histogram, [fit_class(rest, k, one) for k, one in enumerate(plans)])
        for histogram, rest in pairs
    ]
    before, after = (
        [_curve(judged, k, calibrated) for k in range(len(names))] for calibrated in (False, True)
    )
    half = pooled.counts_at([0.5] * len(names))
    counts = sum(
        (_counts(histogram, fitted) for histogram, fitted in judged),
        start=BinaryCounts.zero(len(names)),
    )
    iou = half.scores()["iou"], counts.scores()["iou"]
    report = {
        **asdict(plan),
        "groups": sorted(groups),
        "judged_on": (
            "each group by a fit on the others" if len(groups) > 1
            else "the pixels that were fitted: there is one group only"
        ),
        "pixels": int(pooled.counts[0].sum()),
        "per_class": {
            name: {
                "method": "none" if final[k].calibration.is_identity else plans[k].method,
                "threshold": plans[k].threshold,
                "ece_before": _rounded(before[k].ece()), "ece_after": _rounded(after[k].ece()),
                "iou_at_half_before": _rounded(iou[0][k]),
                "iou_at_threshold_after": _rounded(iou[1][k]),
            }
            for k, name in enumerate(names)
        },
        "mean_ece_before": _rounded(_mean([curve.ece() for curve in before])),
        "mean_ece_after": _rounded(_mean([curve.ece() for curve in after])),
        "mean_iou_at_half_before": _rounded(half.mean_iou()),
        "mean_iou_at_threshold_after": _rounded(counts.mean_iou()),
    }  # fmt: skip
    return CalibrationResult(tuple(final), report)


def histograms(
    probabilities_of: Callable[[np.ndarray], np.ndarray],
    samples: Iterable[tuple[str, np.ndarray, np.ndarray]],
) -> dict[str, ScoreHistogram]:
    """Return a histogram a group of a model's raw probabilities.

    Parameters
    ----------
    probabilities_of : callable
        Image (H, W, B) to raw probabilities (H, W, K).
    samples : iterable of (group, image, mask)
        Masks (H, W) uint8: 0 none of the classes, k + 1 channel k, 255 ignored.
    """
    return gather(
        (group, ScoreHistogram.of(probabilities_of(image), mask)) for group, image, mask in samples
    )


def gather(found: Iterable[tuple[str, ScoreHistogram]]) -> dict[str, ScoreHistogram]:
    """Return the sum of each group's histograms."""
    groups: dict[str, ScoreHistogram] = {}
    for group, histogram in found:
        groups[group] = groups[group] + histogram if group in groups else histogram
    return groups


def histogram_of_logits(logits: np.ndarray, labels: np.ndarray) -> ScoreHistogram:
    """Return the histogram of one-vs-rest logits (..., K) against labels (...)."""
    return ScoreHistogram.of(1 / (1 + np.exp(-logits.astype(np.float64))), labels)


def fit_class(histogram: ScoreHistogram, k: int, plan: CalibrationPlan) -> ClassCalibration:
    """Return calibration and threshold of channel ``k``.

    A class of which validation shows no pixel, or nothing else, keeps its probabilities and the
    fixed threshold: there is nothing to learn from.
    """
    positives, negatives = histogram.positives[k], histogram.negatives[k]
    if not positives.any() or not negatives.any():
        return ClassCalibration(threshold=plan.fixed)
    logits = logit(histogram.mean_probability()[k])
    scale, offset = METHODS[plan.method](logits, positives, negatives)
    calibration = Calibration(round(float(scale), 4), round(float(offset), 4))
    threshold = THRESHOLDS[plan.threshold](histogram, k, calibration, plan.fixed)
    return ClassCalibration(calibration, round(float(np.clip(threshold, 0.001, 0.999)), 4))


def into_card(content: dict[str, Any], result: CalibrationResult) -> dict[str, Any]:
    """Return a card's content with the result in its classes and as its "calibration"."""
    classes = sorted(content["output"]["classes"], key=lambda cls: cls["channel"])
    fitted = [
        {**cls, "threshold": one.threshold, "calibration": asdict(one.calibration)}
        for cls, one in zip(classes, result.classes, strict=True)
    ]
    output = {**content["output"], "classes": fitted}
    return {**content, "output": output, "calibration": result.report}


def table(report: dict[str, Any]) -> str:
    """Return a calibration report as Markdown."""
    lines = [
        "| class | ECE before | after | IoU at 0.5 before | at the threshold after |",
        "|---|---|---|---|---|",
    ]
    keys = ("ece_before", "ece_after", "iou_at_half_before", "iou_at_threshold_after")
    for name, row in report["per_class"].items():
        lines.append(f"| {name} | {' | '.join(_cell(row[key]) for key in keys)} |")
    mean = " | ".join(_cell(report[f"mean_{key}"]) for key in keys)
    return "\n".join([*lines, f"| **mean** | {mean} |"])


def _held_out(
    groups: Mapping[str, ScoreHistogram],
) -> list[tuple[ScoreHistogram, ScoreHistogram]]:
    """Return each group with the sum of the others."""
    return [
        (histogram, _sum(other for name, other in groups.items() if name != held_out))
        for held_out, histogram in groups.items()
    ]


def _worthwhile(
    pairs: list[tuple[ScoreHistogram, ScoreHistogram]], k: int, plan: CalibrationPlan
) -> CalibrationPlan:
    """Return the plan for a class, without what makes held-out groups worse."""

    def fits(one: CalibrationPlan) -> list[tuple[ScoreHistogram, ClassCalibration]]:
        return [(histogram, fit_class(rest, k, one)) for histogram, rest in pairs]

    raw = replace(plan, method="none")
    if _cross_entropy(fits(plan), k) > _cross_entropy(fits(raw), k):
        plan = raw
    unchanged = replace(plan, threshold="unchanged")
    if plan.threshold != "fixed" and _iou(fits(plan), k) < _iou(fits(unchanged), k):
        plan = unchanged
    return plan


def _cross_entropy(fitted: list[tuple[ScoreHistogram, ClassCalibration]], k: int) -> float:
    total = 0.0
    for histogram, one in fitted:
        z = one.calibration.scale * logit(histogram.mean_probability()[k]) + one.calibration.offset
        total += (histogram.positives[k] * np.logaddexp(0, -z)).sum()
        total += (histogram.negatives[k] * np.logaddexp(0, z)).sum()
    return float(total)


def _iou(fitted: list[tuple[ScoreHistogram, ClassCalibration]], k: int) -> float:
    counts = BinaryCounts.zero(1)
    for histogram, one in fitted:
        counts += _only(histogram, k).counts_at([_raw_threshold(one)])
    return float(np.nan_to_num(counts.scores()["iou"][0]))


def _only(histogram: ScoreHistogram, k: int) -> ScoreHistogram:
    one = slice(k, k + 1)
    return ScoreHistogram(histogram.negatives[one], histogram.positives[one], histogram.total[one])


def _curve(
    judged: list[tuple[ScoreHistogram, list[ClassCalibration]]], k: int, calibrated: bool
) -> ReliabilityCurve:
    counts, positives, means = [], [], []
    for histogram, fitted in judged:
        mean = histogram.mean_probability()[k]
        counts.append(histogram.counts[k])
        positives.append(histogram.positives[k])
        means.append(applied(mean, fitted[k].calibration) if calibrated else mean)
    return reliability_curve(*(np.concatenate(part) for part in (counts, positives, means)))


def _counts(histogram: ScoreHistogram, fitted: list[ClassCalibration]) -> BinaryCounts:
    return histogram.counts_at([_raw_threshold(one) for one in fitted])


def _raw_threshold(one: ClassCalibration) -> float:
    """Return the raw probability that calibration takes to the threshold."""
    raw = (logit(np.float64(one.threshold)) - one.calibration.offset) / one.calibration.scale
    return float(sigmoid(raw))


def _sum(histograms: Iterable[ScoreHistogram]) -> ScoreHistogram:
    first, *others = histograms
    return sum(others, start=first)


def _mean(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
