# SPDX-License-Identifier: GPL-2.0-or-later
"""What a prepared data set says of itself: dataset.json, samples.csv and the lists."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .answers import partial_labels
from .classes import ClassMap
from .dataset import FORMAT, FORMAT_VERSION, IGNORE, SPLITS
from .datasets import Reader
from .encoder_lite import MEAN
from .prepare_sample import Record
from .prepare_spec import PrepareSpec
from .prepare_split import Split

ROOM = 0.25
"""How far beyond the images' own values those of other scenes may lie, as a share of them."""

_FIELDS = ("name", "split", "group", "image", "mask", "height", "width")


def describe_dataset(
    spec: PrepareSpec, reader: Reader, mapping: ClassMap, kept: Sequence[Record], split: Split
) -> dict[str, Any]:
    """Return what dataset.json holds, but for leak and balance."""
    first = kept[0]
    taught = [record for record in kept if split.side_of[record.name] == "train"]
    gsd = spec.gsd or reader.gsd
    bands = reader.bands if len(reader.bands) == first.bands else _band_names(first.bands)
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "title": spec.title or reader.title,
        "classes": [asdict(cls) for cls in mapping.classes],
        "partial_labels": partial_labels(mapping.answers, mapping.names),
        "bands": list(bands),
        "data_type": first.data_type,
        "value_range": value_range(
            first.data_type, min(r.lowest for r in kept), max(r.highest for r in kept)
        ),
        # Samples that were brought to one size may differ in it.
        "gsd": None if gsd is None else gsd / float(np.median([r.zoom for r in kept])),
        "rim": reader.rim if spec.rim is None else spec.rim,
        "license": spec.license or reader.license,
        "citation": spec.citation or reader.citation,
        "url": reader.url,
        "sources": _sources(spec, reader, mapping),
        "labelled": getattr(reader, "labelled", "everything"),
        "split": {"method": split.method, "seed": spec.seed, "notes": list(split.notes)},
        "scaling": _scaling(taught),
    }


def value_range(data_type: str, lowest: float, highest: float) -> list[float]:
    """Return the values that images of the kind may have: those seen, with room for other light.

    Of bytes all that there are. Where no value is negative, values begin at 0. All others may lie
    a quarter of the largest magnitude beyond what was seen, but for the limits of whole numbers.
    """
    if data_type == "uint8":
        return [0, 255]
    room = ROOM * max(abs(lowest), abs(highest))
    low, high = (0.0 if lowest >= 0 else lowest - room), highest + room
    if np.issubdtype(data_type, np.integer):
        limits = np.iinfo(data_type)
        low, high = max(np.floor(low), limits.min), min(np.ceil(high), limits.max)
    else:
        # Such as the type holds, so that a value at the limit lies within it.
        low, high = np.array([low, high]).astype(data_type)
    return [float(low), float(high) if high > low else float(low) + 1]


def nodata_fill(data_type: str, mean: Sequence[float]) -> np.ndarray:
    """Return the value (B,) that nodata holds in the samples: the mean by which they are scaled.

    For a map, nodata becomes 0 after scaling. Bytes are scaled for the pretrained networks, with
    one mean whatever the images; other types by the training images' ``mean``.
    """
    fill = np.full(len(mean), MEAN[0]) if data_type == "uint8" else np.asarray(mean, np.float64)
    return np.rint(fill) if np.issubdtype(data_type, np.integer) else fill


def _sources(spec: PrepareSpec, reader: Reader, mapping: ClassMap) -> list[dict[str, Any]]:
    """Say where the samples come from and what became of the classes; no path of this machine."""
    names = {cls.value: cls.name for cls in mapping.classes} | {0: None, 255: "ignored"}
    grouped = {
        cls.name: names.get(value := mapping.value_of.get(cls.id, 0), f"partial label {value}")
        for cls in reader.classes
    }
    chips = {"chip": spec.chip, "overlap": spec.overlap} if spec.reader == "geo" else {}
    return [
        {
            "reader": spec.reader,
            "name": Path(spec.source).name,
            "classes": grouped,
            "scale": spec.scale,
            "size": list(spec.size),
            **chips,
        }
    ]


def _band_names(count: int) -> tuple[str, ...]:
    if count in (3, 4):
        return ("red", "green", "blue", "nir")[:count]
    return tuple(f"band {number}" for number in range(1, count + 1))


def _scaling(records: Sequence[Record]) -> dict[str, list[float]]:
    count = sum(record.known for record in records)
    mean = sum(record.total for record in records) / count
    variance = np.maximum(sum(record.squares for record in records) / count - mean**2, 0)
    stddev = np.where(variance > 0, np.sqrt(variance), 1.0)  # a constant band is only shifted
    return {"mean": np.round(mean, 6).tolist(), "stddev": np.round(stddev, 6).tolist()}


def write_samples(folder: Path, kept: Sequence[Record], split: Split, mapping: ClassMap) -> None:
    """Write samples.csv and the lists of each side."""
    order = sorted(kept, key=lambda record: (SPLITS.index(split.side_of[record.name]), record.name))
    partial = [label["value"] for label in partial_labels(mapping.answers, mapping.names)]
    codes = [*range(len(mapping.classes) + 1), *partial, IGNORE]
    counted = [*(f"px_{code}" for code in codes[:-1]), "px_ignore"]
    with (folder / "samples.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*_FIELDS, *counted])
        for record in order:
            side, group = split.side_of[record.name], split.group_of[record.name]
            place = record.image, record.mask, record.height, record.width
            writer.writerow([record.name, side, group, *place, *record.pixels[codes].tolist()])
    for side in SPLITS:
        lines = [f"{record.name}\n" for record in order if split.side_of[record.name] == side]
        (folder / "splits" / f"{side}.txt").write_text("".join(lines), encoding="utf-8")
