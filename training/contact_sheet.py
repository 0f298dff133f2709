# SPDX-License-Identifier: GPL-2.0-or-later
"""A picture to look at the data with: samples, their masks laid over them, and a legend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .answers import YES, plain_answers
from .dataset import IGNORE, SPLITS, ClassInfo, Dataset, Sample
from .errors import DatasetError
from .images import as_rgb

_COLUMNS = 3
_ROWS = 4
_CELL = 320  # width of an image, px
_GAP = 14
_FONT = 15
_OPACITY = 0.55
_SIDE_COLORS = {"train": "#1f6f43", "validation": "#1d5fa8", "test": "#a83c1d"}


def draw_contact_sheet(dataset: Dataset, path: Path, seed: int = 0) -> None:
    """Draw up to 12 samples of all sides, each beside its mask, into a PNG file."""
    samples = pick_samples(dataset, _COLUMNS * _ROWS, seed)
    pairs = [_pair(*dataset.read(sample), dataset) for sample in samples]
    height = max(pair.height for pair in pairs)
    rows = -(-len(pairs) // _COLUMNS)
    font, bold = ImageFont.load_default(_FONT), ImageFont.load_default(_FONT + 7)
    wide = _COLUMNS * (2 * _CELL + _GAP) + _GAP
    legend = _legend(dataset.classes, font, wide - 2 * _GAP)
    top = _GAP + 34 + legend.height + _GAP
    step = height + _FONT + 10 + _GAP
    canvas = Image.new("RGB", (wide, top + rows * step), "white")
    pen = ImageDraw.Draw(canvas)
    sizes = ", ".join(
        f"{len(dataset.split(side))} {side}" for side in SPLITS if dataset.split(side)
    )
    pen.text((_GAP, _GAP), f"{dataset.title}: {sizes}", fill="#1a1a1a", font=bold)
    canvas.paste(legend, (_GAP, _GAP + 34))
    for number, (sample, pair) in enumerate(zip(samples, pairs, strict=True)):
        row, column = divmod(number, _COLUMNS)
        x, y = _GAP + column * (2 * _CELL + _GAP), top + row * step
        pen.text((x, y), sample.split, fill=_SIDE_COLORS[sample.split], font=font)
        shift = font.getlength(sample.split + "   ")
        group = f"  ({sample.group})" if sample.group and sample.group != sample.name else ""
        pen.text((x + shift, y), f"{sample.name}{group}", fill="#333333", font=font)
        canvas.paste(pair, (x, y + _FONT + 6))
    canvas.save(path, optimize=True)


def draw_pairs(dataset: Dataset, pairs: Sequence[tuple[str, str, str]], path: Path) -> None:
    """Draw pairs of samples (held out, training, what to say of them) into a PNG file."""
    by_name = {sample.name: sample for sample in dataset.samples}
    font = ImageFont.load_default(_FONT)
    drawn = []
    for held_out, trained, said in pairs:
        both = [
            _fitted(as_rgb(dataset.read(by_name[name])[0]), _CELL) for name in (held_out, trained)
        ]
        cell = Image.new("RGB", (2 * _CELL, max(b.height for b in both) + _FONT + 8), "white")
        words = f"{held_out}  and  {trained}   {said}"
        ImageDraw.Draw(cell).text((0, 0), words, fill="#333333", font=font)
        for place, picture in enumerate(both):
            cell.paste(picture, (place * _CELL, _FONT + 6))
        drawn.append(cell)
    step = max(cell.height for cell in drawn) + _GAP
    rows = -(-len(drawn) // _COLUMNS)
    canvas = Image.new("RGB", (_COLUMNS * (2 * _CELL + _GAP), rows * step), "white")
    for number, cell in enumerate(drawn):
        row, column = divmod(number, _COLUMNS)
        canvas.paste(cell, (column * (2 * _CELL + _GAP), row * step))
    canvas.save(path, optimize=True)


def pick_samples(dataset: Dataset, count: int, seed: int = 0) -> list[Sample]:
    """Return up to ``count`` samples, from all sides and as many groups as there is room for."""
    rng = np.random.default_rng(seed)
    sides = [side for side in SPLITS if dataset.split(side)]
    picked: list[Sample] = []
    for number, side in enumerate(sides):
        members = list(dataset.split(side))
        room = (count - len(picked)) // (len(sides) - number)
        order = [members[i] for i in rng.permutation(len(members))]
        seen: dict[str, int] = {}
        turns = []
        for sample in order:  # first one of each group, then the second ones ...
            turns.append((seen.get(sample.group, 0), len(turns), sample))
            seen[sample.group] = seen.get(sample.group, 0) + 1
        picked += [sample for _turn, _place, sample in sorted(turns, key=lambda t: t[:2])[:room]]
    return sorted(picked, key=lambda sample: (SPLITS.index(sample.split), sample.name))


def overlay(
    image: np.ndarray,
    mask: np.ndarray,
    classes: Sequence[ClassInfo],
    answers: np.ndarray | None = None,
    opacity: float = _OPACITY,
) -> np.ndarray:
    """Return rgb (H, W, 3) uint8 with the mask's colours laid over it; unknown pixels hatched.

    A partial label has the colour of the last class that it is, so "vegetation, and a tree" that
    of tree; one that only says what is not there is hatched faintly.

    Parameters
    ----------
    answers : ndarray, shape (256, K) int8, optional
        What each value of the mask says of each class; by default none is a partial label.
    """
    answers = plain_answers(len(classes)) if answers is None else answers
    color = np.zeros((256, 3), np.float32)
    share = np.zeros((256, 1), np.float32)
    for number, cls in enumerate(classes):
        color[answers[:, number] == YES] = cls.rgb
        share[answers[:, number] == YES] = opacity
    unclear = ~(answers == YES).any(axis=1)
    unclear[0] = False
    color[unclear], share[unclear] = 255, 0.7
    mixed = image * (1 - share[mask]) + color[mask] * share[mask]
    row, column = np.indices(mask.shape, sparse=True)
    stripes = (row + column) % 10 < 2
    mixed[unclear[mask] & stripes] = (190, 190, 190)
    mixed[(mask == IGNORE) & stripes] = (120, 120, 120)
    return mixed.astype(np.uint8)


def _pair(image: np.ndarray, mask: np.ndarray, dataset: Dataset) -> Image.Image:
    if mask.shape != image.shape[:2]:
        raise DatasetError(f"mask {mask.shape} and image {image.shape} differ in size")
    picture = np.asarray(_fitted(as_rgb(image), _CELL))
    height, width = picture.shape[:2]
    labels = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    pair = Image.new("RGB", (2 * width + 2, height), "white")
    pair.paste(Image.fromarray(picture), (0, 0))
    pair.paste(
        Image.fromarray(overlay(picture, labels, dataset.classes, dataset.answers)), (width + 2, 0)
    )
    return pair


def _fitted(rgb: np.ndarray, cell: int) -> Image.Image:
    """Return rgb (H, W, 3) as wide as a cell, less a line between two."""
    picture = Image.fromarray(np.ascontiguousarray(rgb))
    width = cell - 2
    size = width, max(1, round(picture.height * width / picture.width))
    smooth = Image.Resampling.LANCZOS if width < picture.width else Image.Resampling.NEAREST
    return picture.resize(size, smooth)


def _legend(classes: Sequence[ClassInfo], font: ImageFont.FreeTypeFont, width: int) -> Image.Image:
    entries = [(cls.name, cls.color) for cls in classes]
    entries += [("none of these", "#ffffff"), ("ignored", "#d8d8d8")]
    places, x, y = [], 0.0, 0
    for name, color in entries:
        length = _FONT + 6 + font.getlength(name) + 22
        if x and x + length > width:
            x, y = 0.0, y + _FONT + 9
        places.append((x, y, name, color))
        x += length
    legend = Image.new("RGB", (width, y + _FONT + 9), "white")
    pen = ImageDraw.Draw(legend)
    for x, y, name, color in places:
        pen.rectangle((x, y + 2, x + _FONT, y + 2 + _FONT), fill=color, outline="#555555")
        pen.text((x + _FONT + 6, y), name, fill="#222222", font=font)
    return legend
