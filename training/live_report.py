# SPDX-License-Identifier: GPL-2.0-or-later
"""The page that shows a training while it runs, and what came of it: report.html, one file.

It loads itself again every few seconds until the training is over. Beside it lie curves.png and a
sheet of the samples of every epoch.
"""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unet_segmenter.engine.progress import Progress

from .checkpoint import replace_file
from .evidence import Evidence, evidence_of
from .fit import FitState, in_words
from .live_page import PAGE, REFRESH, RESULT_MARK, mood, pill
from .plots import save_learning_curves
from .recipe import Recipe
from .run import encoder_of
from .sample_pictures import (
    NAMES,
    colored_mask,
    colored_probability,
    data_url,
    picture,
    save_sheet,
    thumbnail,
)
from .svg_chart import Line, line_chart
from .validation import Frames, Verdict, decided

SAMPLES = 4
REPORT = "report.html"


class LiveReport:
    """Writes the page after every epoch; a watcher of `fit`.

    Parameters
    ----------
    frames : Frames
        The validation frames, of which a few are shown.
    names : sequence of str
        Their names.
    folder : Path
        Of the run.
    """

    def __init__(
        self,
        recipe: Recipe,
        frames: Frames,
        names: Sequence[str],
        folder: Path,
        title: str,
        progress: Progress,
    ) -> None:
        self.recipe, self.folder, self.progress = recipe, folder, progress
        self.title = title or f"Training of {recipe.preset.name}"
        count = min(SAMPLES, len(frames))
        self.numbers = [int((n + 0.5) * len(frames) / count) for n in range(count)]
        self.frames, self.names = set(self.numbers), names
        known = {sample.name: sample for sample in recipe.dataset.samples}
        samples = [known[name] for name in names if name in known]
        self.all_frames = frames
        self.fixed: dict[int, tuple[Image.Image, Image.Image]] = {}
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.cells: dict[int, tuple[Image.Image, ...]] = {}
        self.evidence = evidence_of(
            recipe.dataset, samples, [cls.name for cls in recipe.dataset.classes],
            np.arange(256, dtype=np.uint8), recipe.dataset.answers,
        )  # fmt: skip
        for doubt in self.evidence.doubts("validation"):
            progress.log("warning", doubt)

    def epoch(self, state: FitState, verdict: Verdict) -> None:
        """Draw the samples anew, and write page and plots."""
        try:
            for number in self.numbers:
                self.cells[number] = self._cells(number, verdict)
            rows = [self.cells[number] for number in self.numbers]
            name = f"epoch_{len(state.history):03d}.png"
            save_sheet(rows, self.folder / "samples" / name)
            self._write(state)
        except OSError as error:  # a full disk must not end a training of hours
            self.progress.log("warning", f"the report could not be written: {error}")

    def end(self, state: FitState) -> None:
        """Write the page once more: it loads itself no longer."""
        if not state.history:
            return
        try:
            if self.cells or not (self.folder / REPORT).is_file():
                self._write(state)
            else:
                self._close(state)
        except OSError as error:
            self.progress.log("warning", f"the report could not be written: {error}")

    def _cells(self, number: int, verdict: Verdict) -> tuple[Image.Image, ...]:
        classes = self.recipe.dataset.classes
        if number not in self.fixed:
            image, mask = self.all_frames.framing.see(*self.all_frames.samples[number])
            # Halved, it is of another type, and its light would be stretched.
            answers = self.recipe.dataset.answers
            image = image.astype(self.recipe.dataset.data_type)
            self.fixed[number] = (
                thumbnail(picture(image)),
                thumbnail(colored_mask(mask, classes, answers), smooth=False),
            )  # fmt: skip
            self.shapes[number] = mask.shape
        height, width = self.shapes[number]
        probability = verdict.shown[number][:height, :width]
        mask = decided(probability, self.recipe.network.head)
        return (
            *self.fixed[number],
            thumbnail(colored_probability(probability, classes)),
            thumbnail(colored_mask(mask, classes), smooth=False),
        )

    def _write(self, state: FitState) -> None:
        save_learning_curves(state.history, self.recipe.dataset.classes, self.folder / "curves.png")
        page = self._page(state)
        path = self.folder / REPORT
        replace_file(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))

    def _close(self, state: FitState) -> None:
        """Let the page of an earlier call, with its pictures, tell the end: no epoch was added."""
        path = self.folder / REPORT
        page = path.read_text(encoding="utf-8").replace(REFRESH, "")
        page = page.replace(pill("running"), pill(state.status))
        replace_file(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))

    def _page(self, state: FitState) -> str:
        recipe, history, plan = self.recipe, state.history, state.plan
        running = state.status == "running"
        classes = recipe.dataset.classes
        loss = [
            Line("training", "#22272b", [row["loss"] for row in history], bold=True),
            Line("validation", "#c0392b", [row["val_loss"] for row in history], dashed=True),
        ]
        iou = [
            Line(cls.name, cls.color, [row[f"iou_{cls.value}"] for row in history])
            for cls in classes
        ]
        if len(classes) > 1:
            iou.append(Line("mean", "#22272b", [row["mean_iou"] for row in history], bold=True))
        expected = round(len(history) / max(state.done, 0.01)) if plan.open_end else plan.epochs
        last, best = expected if running else len(history), int(state.best["epoch"])
        return PAGE.substitute(
            refresh=REFRESH if running else "",
            result=2 * RESULT_MARK,
            doubts="".join(
                f'<p class="doubt">{html.escape(doubt)}.</p>'
                for doubt in self.evidence.doubts("validation")
            ),
            title=html.escape(self.title),
            pill=pill(state.status),
            mood=mood(state.status),
            lead=html.escape(self._lead(state)),
            done=f"{100 * state.done if running else 100:.1f}",
            tiles=_tiles(state),
            loss_chart=line_chart(loss, max(last, 2), "loss by epoch", mark=best),
            loss_key=_key(loss),
            iou_chart=line_chart(iou, max(last, 2), "IoU by epoch", (0.0, 1.0), best),
            iou_key=_key(iou),
            classes=_class_table(classes, history, state.best, self.evidence),
            epoch=len(history),
            samples=self._samples(),
            settings="".join(_row(name, value) for name, value in self._settings(state)),
        )

    def _lead(self, state: FitState) -> str:
        recipe = self.recipe
        told = f"{recipe.dataset.title}: {recipe.preset.title}."
        if recipe.spec.start:
            told += f" Started from {Path(recipe.spec.start).name}."
        told += f" The scores rest on {self.evidence}."
        if state.status != "running" and state.status != "finished":
            told += f" {state.status}"
        return told

    def _samples(self) -> str:
        if not self.cells:
            return '<p class="small">They are drawn with the next epoch.</p>'
        parts = ["".join(f"<b>{name}</b>" for name in NAMES)]
        for number in self.numbers:
            kinds = ("jpeg", "png", "jpeg", "png")
            parts += [
                f'<img alt="{name}" src="{data_url(cell, kind)}">'
                for name, cell, kind in zip(NAMES, self.cells[number], kinds, strict=True)
            ]
            parts.append(f"<em>{html.escape(self.names[number])}</em>")
        return f'<div class="rows">{"".join(parts)}</div>'

    def _settings(self, state: FitState) -> list[tuple[str, Any]]:
        recipe = self.recipe
        told = {"preset": recipe.preset.name, **asdict(recipe.network), **asdict(state.plan)}
        told |= {"framing": recipe.framing.kind, "scaling": recipe.scaling}
        told |= {
            "data set": recipe.dataset.folder,
            "encoder": encoder_of(recipe, self.folder) or "-",
        }
        told |= {"started from": recipe.spec.start or "-", "frozen": recipe.spec.freeze}
        return list(told.items())


def _tiles(state: FitState) -> str:
    row, best, history = state.history[-1], state.best, state.history
    spent = sum(row["train_s"] + row["validation_s"] for row in history)
    skipped = int(sum(row["skipped"] for row in history))
    tiles = [
        ("epoch", state.of_epochs, f"{in_words(spent)} so far"),
        (
            "best mean IoU", f"{best['mean_iou']:.3f}",
            f"epoch {int(best['epoch'])}, now {row['mean_iou']:.3f}",
        ),
        ("loss", f"{row['loss']:.3f}", f"validation {row['val_loss']:.3f}"),
        ("learning rate", f"{row['rate']:.2g}", f"{skipped} steps left out"),
    ]  # fmt: skip
    if state.status == "running":
        at = time.strftime("%H:%M", time.localtime(time.time() + state.seconds_left))
        tiles.append(("time left", in_words(state.seconds_left), f"until about {at}"))
    return "".join(
        f'<div class="card"><div class="small">{name}</div><div class="big">{value}</div>'
        f'<div class="small">{note}</div></div>'
        for name, value, note in tiles
    )


def _class_table(
    classes: Sequence[Any], history: Sequence[Any], best: Any, evidence: Evidence
) -> str:
    rows = [
        f'<tr><td><span class="swatch" style="background:{cls.color}"></span>'
        f'{html.escape(cls.name)}</td><td class="number">{_score(best[f"iou_{cls.value}"])}</td>'
        f'<td class="number">{_score(history[-1][f"iou_{cls.value}"])}</td>'
        f'<td class="number">{evidence.px[cls.name]:,}</td>'
        f'<td class="number">{evidence.not_px[cls.name]:,}</td></tr>'
        for cls in classes
    ]
    return (
        f'<table><tr><th>Class</th><th class="number">IoU, best epoch ({int(best["epoch"])})</th>'
        '<th class="number">IoU, last epoch</th><th class="number">pixels of it</th>'
        f'<th class="number">pixels of others</th></tr>{"".join(rows)}</table>'
    )


def _key(lines: Sequence[Line]) -> str:
    return "".join(
        f'<span class="key"><i style="background:{line.color}"></i>{html.escape(line.name)}</span>'
        for line in lines
    )


def _score(value: float) -> str:
    return f"{value:.3f}" if value == value else "-"  # NaN is not itself


def _row(name: str, value: Any) -> str:
    return f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>"
