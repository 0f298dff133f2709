# SPDX-License-Identifier: GPL-2.0-or-later
"""Class lists in csv files, and masks of colours turned into ids by exact colour."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .classes import SourceClass
from .errors import DatasetError
from .text_lists import read_text

_WHEEL = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b",
    "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
)  # fmt: skip

_USUAL = {
    "vegetation": "#4c9a2a", "tree": "#0b5d1e", "trees": "#0b5d1e", "grass": "#8bc34a",
    "road": "#6c7a89", "building": "#d9572b", "water": "#2e86c1", "bare": "#d9b382",
}  # fmt: skip
"""Colours in which people look for these classes on a map."""


def read_palette(path: Path) -> tuple[SourceClass, ...]:
    """Return the classes that a csv lists, one a row: id = row number unless there is a column id.

    The first row names the columns, in any case, with commas, semicolons or spaces between:
    name (or class), and r, g, b (or red, green, blue) or color; id, if there is one. Without
    colours the masks must hold ids.

    Raises
    ------
    DatasetError
        If a column is missing, a colour or id malformed, or one of them there twice.
    """
    rows = [_cells(line) for line in read_text(path).splitlines() if line.strip()]
    columns = _columns(rows[0] if rows else [], path)
    classes = []
    for number, cells in enumerate(rows[1:]):
        if len(cells) < len(rows[0]):
            raise DatasetError(
                f"{path}: row {number + 2} has {len(cells)} cells, the first row {len(rows[0])}"
            )
        try:
            classes.append(_class_of(cells, columns, number))
        except ValueError as error:
            raise DatasetError(f"{path}: row {number + 2}: {error}") from error
    if not classes:
        raise DatasetError(f"{path}: lists no class")
    for what in ("id", "name", "color"):
        found = [getattr(cls, what) for cls in classes]
        if len(set(found)) < len(found):
            twice = next(value for value in found if found.count(value) > 1)
            raise DatasetError(f"{path}: the {what} {twice!r} is there twice")
    return tuple(classes)


def ids_of_colors(mask: np.ndarray, classes: Sequence[SourceClass], path: Path) -> np.ndarray:
    """Return the ids (H, W) of a mask of colours (H, W, 3) uint8; alpha is not looked at.

    Raises
    ------
    DatasetError
        If a pixel has a colour that is no class's: named with the file and its share, since a
        mask that was resized smoothly or stored with loss has many of them.
    """
    if mask.ndim != 3 or mask.shape[-1] not in (3, 4) or mask.dtype != np.uint8:
        bands = mask.shape[-1] if mask.ndim == 3 else 1
        raise DatasetError(
            f"{path}: the mask has {bands} bands of {mask.dtype}; one of ids, or three of colours "
            "in 8 bits are wanted"
        )
    packed = mask[..., 0].astype(np.int32)
    for band in (1, 2):
        packed <<= 8
        packed |= mask[..., band]
    colors = np.array([int(cls.color[1:], 16) for cls in classes])
    order = np.argsort(colors)
    index = np.searchsorted(colors[order], packed)
    np.minimum(index, colors.size - 1, out=index)
    unknown = colors[order][index] != packed
    if unknown.any():
        found, counts = np.unique(packed[unknown], return_counts=True)
        most = int(found[counts.argmax()])
        told = f"({most >> 16}, {most >> 8 & 255}, {most & 255})"
        others = f" and {found.size - 1} other unknown colours" if found.size > 1 else ""
        raise DatasetError(
            f"{path}: colour {told}{others} in {unknown.mean():.2%} of the pixels is no class's; "
            "add it to the class list, or get masks that were stored without loss"
        )
    ids = np.array([cls.id for cls in classes])
    kind = np.uint8 if ids.min() >= 0 and ids.max() <= 255 else np.int32
    return ids.astype(kind)[order][index]


def ids_of_indices(
    mask: np.ndarray, palette: np.ndarray, classes: Sequence[SourceClass], path: Path
) -> np.ndarray:
    """Return the ids (H, W) of an indexed mask (H, W), whose colours are ``palette`` (N, 3) uint8.

    Its indices are the ids where those in use have the colours of the classes of these ids, and
    where the class list gives no colours. Else its colours tell the classes.

    Raises
    ------
    DatasetError
        If a pixel has a colour that is no class's, or an index beyond the palette.
    """
    if not all(cls.has_color for cls in classes):
        return mask
    used = np.unique(mask)
    if used[-1] >= len(palette):
        raise DatasetError(
            f"{path}: index {used[-1]} is beyond its palette of {len(palette)} colours; save the "
            "mask as a grey picture of ids, or with its colours"
        )
    color_of_id = {cls.id: cls.color for cls in classes}
    colors = ["#{:02x}{:02x}{:02x}".format(*palette[index].tolist()) for index in used]
    if [color_of_id.get(int(index)) for index in used] == colors:
        return mask
    try:
        return ids_of_colors(palette[mask], classes, path)
    except DatasetError as error:
        raise DatasetError(
            f"{error}. The mask is an indexed picture: if its indices are the ids, leave the "
            "colours out of the class list"
        ) from error


def _cells(line: str) -> list[str]:
    separator = next((mark for mark in ",;\t" if mark in line), None)
    return [cell.strip() for cell in line.split(separator)]


def _columns(header: Sequence[str], path: Path) -> dict[str, int]:
    """Return the place of each column that is known."""
    known = {
        "class": "name", "classname": "name", "class_name": "name", "label": "name",
        "red": "r", "green": "g", "blue": "b", "colour": "color", "value": "id",
    }  # fmt: skip
    names = [re.sub(r"\s+", "", cell.lower()) for cell in header]
    columns = {known.get(name, name): place for place, name in enumerate(names)}
    colored = {"r", "g", "b"} <= columns.keys() or "color" in columns
    if "name" not in columns or not (colored or "id" in columns):
        raise DatasetError(
            f"{path}: the first row must name the columns: name and r, g, b (or color), or id and "
            f"name; it has {', '.join(header) or 'nothing'}"
        )
    return columns


def _class_of(cells: Sequence[str], columns: dict[str, int], number: int) -> SourceClass:
    if "r" in columns:
        parts = [_whole(cells[columns[band]], band) for band in "rgb"]
        if not all(0 <= part <= 255 for part in parts):
            raise ValueError(f"{parts} is no colour: 0 to 255 each")
        color = "#{:02x}{:02x}{:02x}".format(*parts)
    elif "color" in columns:
        color = cells[columns["color"]].lower()
        if not re.fullmatch("#[0-9a-f]{6}", color):
            raise ValueError(f"{color!r} is no colour: #rrggbb")
    else:
        color = color_of(number)
    identity = _whole(cells[columns["id"]], "id") if "id" in columns else number
    if identity < 0:
        raise ValueError(f"id {identity} is negative")
    has_color = "r" in columns or "color" in columns
    return SourceClass(identity, cells[columns["name"]], color, has_color)


def _whole(cell: str, column: str) -> int:
    try:
        return int(cell)
    except ValueError:
        raise ValueError(f"{column} {cell!r} is no whole number") from None


def color_of(number: int, name: str = "") -> str:
    """Return a colour for a class that has none; no two numbers without a name have the same.

    A class whose name is a usual one has the colour that is usual for it.
    """
    if usual := _USUAL.get(name.casefold()):
        return usual
    base = int(_WHEEL[number % len(_WHEEL)][1:], 16)
    return f"#{(base + 0x0B1D35 * (number // len(_WHEEL))) % (1 << 24):06x}"
