# SPDX-License-Identifier: GPL-2.0-or-later
"""What a model is worth on frames it has not seen: per class, fused, and per site."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from unet_segmenter.engine.fuse import class_mask
from unet_segmenter.engine.model_card import ModelCard

from .batches import Sample
from .metrics import BinaryCounts, confusion_matrix, counts_of_confusion
from .split import site_of
from .whole_and_tiled import Network, on_all_cores, thresholds_of, whole


def evaluate(
    network: Network, card: ModelCard, named_samples: Iterable[tuple[str, Sample]]
) -> dict[str, Any]:
    """Return the metrics that the card tells, pooled over the pixels of all frames.

    ``per_class`` holds the one-vs-rest masks at the card's thresholds, ``fused`` the single
    label map (0 where no class passes), ``per_site`` the one-vs-rest IoU of each site.
    """
    classes = sorted(card.classes, key=lambda cls: cls.channel)
    values, names = [cls.value for cls in classes], [cls.name for cls in classes]
    if values != list(range(1, len(values) + 1)):
        raise ValueError("class values must be 1, 2, ... in the order of the channels")
    thresholds = thresholds_of(card)
    sites: dict[str, BinaryCounts] = defaultdict(lambda: BinaryCounts.zero(len(values)))
    frames: dict[str, int] = defaultdict(int)
    matrix = np.zeros((len(values) + 1,) * 2, np.int64)

    def count(named_sample: tuple[str, Sample]) -> tuple[str, BinaryCounts, np.ndarray]:
        stem, (image, labels) = named_sample
        probabilities = whole(network, image, card)
        fused = class_mask(probabilities, values, thresholds.tolist())
        counts = BinaryCounts.of(probabilities >= thresholds, labels)
        return site_of(stem), counts, confusion_matrix(fused, labels, len(values) + 1)

    for site, counts, confusion in on_all_cores(count, named_samples):
        sites[site] += counts
        frames[site] += 1
        matrix += confusion
    total = sum(sites.values(), start=BinaryCounts.zero(len(values)))
    fused_counts = counts_of_confusion(matrix)
    return {
        "frames": sum(frames.values()),
        "per_class": _by_name(total, names),
        "mean_iou": _rounded(total.mean_iou()),
        "fused": {
            "iou": {name: row["iou"] for name, row in _by_name(fused_counts, names).items()},
            "mean_iou": _rounded(fused_counts.mean_iou()),
            "pixel_accuracy": _rounded(np.diag(matrix).sum() / matrix.sum()),
        },
        "confusion": {"rows_truth_columns_prediction": ["other", *names], "px": matrix.tolist()},
        "per_site": {
            site: {
                "frames": frames[site],
                "iou": {name: row["iou"] for name, row in _by_name(counts, names).items()},
            }
            for site, counts in sorted(sites.items())
        },
    }


def table(metrics: dict[str, Any]) -> str:
    """Return the metrics as Markdown."""
    lines = [
        "| class | IoU | Dice | precision | recall | IoU, fused |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, row in metrics["per_class"].items():
        cells = [row[key] for key in ("iou", "dice", "precision", "recall")]
        cells.append(metrics["fused"]["iou"][name])
        lines.append(f"| {name} | {' | '.join(map(_cell, cells))} |")
    mean = _cell(metrics["mean_iou"]), _cell(metrics["fused"]["mean_iou"])
    lines += [f"| **mean** | {mean[0]} | | | | {mean[1]} |", ""]
    names = list(metrics["per_class"])
    lines += [f"| site | frames | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    for site, row in metrics["per_site"].items():
        cells = " | ".join(_cell(row["iou"][name]) for name in names)
        lines.append(f"| {site} | {row['frames']} | {cells} |")
    return "\n".join(lines)


def _by_name(counts: BinaryCounts, names: list[str]) -> dict[str, dict[str, float | None]]:
    scores = counts.scores()
    return {
        name: {key: _rounded(values[number]) for key, values in scores.items()}
        for number, name in enumerate(names)
    }


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
