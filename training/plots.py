# SPDX-License-Identifier: GPL-2.0-or-later
"""Learning curves as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .dataset import ClassInfo

History = Sequence[Mapping[str, float]]


def save_learning_curves(history: History, classes: Sequence[ClassInfo], path: Path) -> Path:
    """Plot loss and validation IoU by epoch, of the rows of a run's history.csv."""
    plt = _pyplot()
    epochs = [row["epoch"] for row in history]
    best = max(history, key=lambda row: row["score"])["epoch"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    left.plot(epochs, [row["loss"] for row in history], color="#222222", label="training")
    left.plot(
        epochs, [row["val_loss"] for row in history], color="#c0392b", ls="--", label="validation"
    )
    left.set(xlabel="epoch", ylabel="loss")
    left.legend(fontsize="small")
    for cls in classes:
        values = [row[f"iou_{cls.value}"] for row in history]
        right.plot(epochs, values, color=cls.color, label=cls.name)
    if len(classes) > 1:
        means = [row["mean_iou"] for row in history]
        right.plot(epochs, means, color="#222222", lw=2.4, label="mean")
    right.set(xlabel="epoch", ylabel="validation IoU, one-vs-rest", ylim=(0, 1))
    right.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    for axes in (left, right):
        axes.axvline(best, color="#999999", lw=1, ls=":")
        axes.grid(alpha=0.3)
    return _save(figure, path)


def save_comparison(curves: Mapping[str, History], title: str, path: Path) -> Path:
    """Plot the mean validation IoU by epoch of several runs, by name."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    colors = {"cold": "#2e6fb7", "warm": "#e0a100", "hot": "#c0392b"}
    for name, history in curves.items():
        epochs, values = ([row[key] for row in history] for key in ("epoch", "mean_iou"))
        best = max(history, key=lambda row: row["mean_iou"])
        label = f"{name}: best {best['mean_iou']:.3f} in epoch {int(best['epoch'])}"
        axes.plot(epochs, values, marker="o", ms=3, color=colors.get(name), label=label)
    axes.set(xlabel="epoch", ylabel="mean validation IoU", ylim=(0, 1), title=title)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return _save(figure, path)


def _pyplot():
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def _save(figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    _pyplot().close(figure)
    return path
