# SPDX-License-Identifier: GPL-2.0-or-later
"""The scores of a cross-validation: pooled, by site with their spread, and by fold."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unet_segmenter.engine.csv_cells import plain_cell
from unet_segmenter.engine.metrics import BinaryCounts, BoundaryCounts
from unet_segmenter.engine.reliability import ScoreHistogram

from .evaluate import Tally, cell, mean_known, rounded
from .run import write_json

NAME = "crossvalidation"


def results_of(
    names: Sequence[str], tallies: Mapping[str, Tally], fold_of: Mapping[str, int]
) -> dict[str, Any]:
    """Return all scores: pooled, by site with their spread, and by fold.

    Parameters
    ----------
    names : sequence of str
        Of the classes.
    tallies : mapping of str to Tally
        Counts of each site.
    fold_of : mapping of str to int
        The fold in which each site was held out.
    """
    pooled = sum(tallies.values(), start=Tally.zero(len(names)))
    sites = {
        site: {
            "fold": fold_of[site], "images": tally.images,
            "mean_iou": rounded(tally.counts.mean_iou()),
            "iou": _of_occurring(tally, names),
        }
        for site, tally in sorted(tallies.items())
    }  # fmt: skip
    return {
        "images": pooled.images, "mean_iou": rounded(pooled.counts.mean_iou()),
        "mean_ece": rounded(mean_known(pooled.scores.ece())),
        "per_class": pooled.per_class(names), "fused": pooled.fused(names),
        "spread": {name: _spread([row["iou"][name] for row in sites.values()]) for name in names},
        "per_site": sites,
        "per_fold": {
            number: rounded(
                sum(
                    (tallies[site] for site in sites if fold_of[site] == number),
                    start=Tally.zero(len(names)),
                ).counts.mean_iou()
            )
            for number in sorted(set(fold_of.values()))
        },
    }  # fmt: skip


def _of_occurring(tally: Tally, names: Sequence[str]) -> dict[str, float | None]:
    """Return the IoU of the classes that occur at a site, None for the others."""
    there = tally.counts.hit + tally.counts.missed > 0
    iou = tally.counts.scores()["iou"]
    return {name: rounded(iou[k]) if there[k] else None for k, name in enumerate(names)}


def _spread(values: Sequence[float | None]) -> dict[str, float | int | None]:
    known = np.array([value for value in values if value is not None])
    if not known.size:
        return {"sites": 0, "mean": None, "std": None, "min": None, "max": None}
    return {
        "sites": int(known.size), "mean": rounded(known.mean()), "std": rounded(known.std()),
        "min": rounded(known.min()), "max": rounded(known.max()),
    }  # fmt: skip


def markdown(results: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    names = list(results["per_class"])
    lines = [
        f"# {results['preset']} on {results['data']}: {results['folds']} folds by group", "",
        f"Pooled predictions of {results['images']} held-out images at threshold 0.5; "
        f"mean IoU {cell(results['mean_iou'])}, mean calibration error "
        f"{cell(results['mean_ece'])}.",
        "Folds: " + ", ".join(f"{n}: {cell(iou)}" for n, iou in results["per_fold"].items()) + ".",
        "", "| class | IoU | Dice | precision | recall | sites | IoU over sites | least | most |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    if results["select"] == "best":
        lines.insert(3, "The held-out images chose the epoch of each fold, which flatters.")
    for name in names:
        row, spread = results["per_class"][name], results["spread"][name]
        scores = [cell(row[key]) for key in ("iou", "dice", "precision", "recall")]
        over = f"{cell(spread['mean'])} ± {cell(spread['std'])}"
        ends = [cell(spread["min"]), cell(spread["max"])]
        lines.append(f"| {name} | {' | '.join([*scores, str(spread['sites']), over, *ends])} |")
    lines += ["", f"| site | fold | images | mean IoU | {' | '.join(names)} |",
              "|---|---|---|---|" + "---|" * len(names)]  # fmt: skip
    for site, row in results["per_site"].items():
        cells = " | ".join(cell(row["iou"][name]) for name in names)
        lines.append(
            f"| {site} | {row['fold']} | {row['images']} | {cell(row['mean_iou'])} | {cells} |"
        )
    return "\n".join(lines)


def write_results(folder: Path, results: Mapping[str, Any]) -> None:
    write_json(folder / f"{NAME}.json", results)
    (folder / f"{NAME}.md").write_text(markdown(results) + "\n", encoding="utf-8")
    names = list(results["per_class"])
    with (folder / f"{NAME}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["site", "fold", "images", "mean_iou", *map(plain_cell, names)])
        whole = {"fold": "", "images": results["images"], "mean_iou": results["mean_iou"]}
        iou = {name: row["iou"] for name, row in results["per_class"].items()}
        for site, row in {**results["per_site"], "pooled": {**whole, "iou": iou}}.items():
            first = [plain_cell(site), row["fold"], row["images"], row["mean_iou"]]
            writer.writerow([*first, *(row["iou"][name] for name in names)])


_PARTS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "counts": (BinaryCounts, ("hit", "false", "missed")),
    "fused_counts": (BinaryCounts, ("hit", "false", "missed")),
    "boundary": (BoundaryCounts, ("claimed", "claimed_near", "true", "true_near")),
    "scores": (ScoreHistogram, ("negatives", "positives", "total")),
}
"""The counts that a `Tally` is made of, and their arrays."""


def write_tallies(path: Path, tallies: Mapping[str, Tally]) -> None:
    """Write the counts of each group as npz."""
    arrays: dict[str, np.ndarray] = {"groups": np.array(list(tallies))}
    for number, tally in enumerate(tallies.values()):
        arrays[f"{number}.images"] = np.array(tally.images)
        arrays[f"{number}.confusion"] = tally.confusion
        for part, (_kind, names) in _PARTS.items():
            for name in names:
                arrays[f"{number}.{part}.{name}"] = getattr(getattr(tally, part), name)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_tallies(path: Path) -> dict[str, Tally]:
    """Return the counts of each group that `write_tallies` wrote."""
    with np.load(path, allow_pickle=False) as saved:
        return {
            str(group): Tally(
                images=int(saved[f"{number}.images"]),
                confusion=saved[f"{number}.confusion"],
                **{
                    part: kind(*(saved[f"{number}.{part}.{name}"] for name in names))
                    for part, (kind, names) in _PARTS.items()
                },
            )
            for number, group in enumerate(saved["groups"])
        }
