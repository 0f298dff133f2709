# SPDX-License-Identifier: GPL-2.0-or-later
"""From source images to a prepared data set: classes, sizes, a split that does not leak, a report.

The folder appears under its name only when it is whole.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from unet_segmenter.engine.errors import Cancelled
from unet_segmenter.engine.progress import Progress

from .balance import balance_of, warn_of_absent
from .classes import PRESETS, ClassMap, class_map
from .contact_sheet import draw_contact_sheet
from .dataset import FORMAT, FORMAT_VERSION, SPLITS, Dataset
from .dataset_report import write_report
from .datasets import Reader
from .datasets.open_reader import open_reader
from .errors import DatasetError
from .leak import measure_leak
from .prepare_sample import Record, make_sample
from .prepare_spec import PrepareSpec
from .prepare_split import Split, make_split
from .text_lists import read_names

_FIELDS = ("name", "split", "group", "image", "mask", "height", "width")


def prepare(spec: PrepareSpec, progress: Progress) -> Dataset:
    """Write the prepared data set that ``spec`` asks for, and return it.

    Raises
    ------
    JobError
        If the spec names what the data set does not have.
    DatasetError
        If a file is absent, damaged or does not fit, or a split would be empty.
    Cancelled
        If the user stops; nothing is left then.
    """
    target = Path(spec.output)
    _refuse_to_overwrite(target, spec.overwrite)
    reader = open_reader(spec, progress)
    mapping = _class_map(spec, reader)
    names = _names(spec, reader)
    temporary = target.absolute().with_name(f".{target.name}.{os.getpid()}.part")
    try:
        for folder in ("images", "masks", "splits"):
            (temporary / folder).mkdir(parents=True)
        records = _make_samples(spec, reader, mapping, names, temporary, progress)
        split = make_split(spec, reader, records, temporary, progress)
        _fill(spec, reader, mapping, records, split, temporary, progress)
        _refuse_to_overwrite(target, spec.overwrite)
        _put_in_place(temporary, target)
    except OSError as error:
        raise DatasetError(f"{target}: cannot be written ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Dataset.open(target)


def _fill(
    spec: PrepareSpec,
    reader: Reader,
    mapping: ClassMap,
    records: Sequence[Record],
    split: Split,
    folder: Path,
    progress: Progress,
) -> None:
    """Write everything but the samples."""
    kept = [record for record in records if record.name in split.side_of]
    for record in records:
        if record.name not in split.side_of:
            (folder / record.image).unlink()
            (folder / record.mask).unlink()
    balance = balance_of(kept, split.side_of, mapping.classes)
    warn_of_absent(balance, mapping.classes, progress)
    leak = measure_leak({record.name: record.look for record in kept}, split.side_of)
    if leak.warning:
        progress.log("warning", leak.warning)
    description = _description(spec, reader, mapping, kept, split)
    description["split"]["leak"] = leak.to_dict()
    description["balance"] = balance
    text = json.dumps(description, indent=1)
    (folder / "dataset.json").write_text(text, encoding="utf-8")
    _write_samples(folder, kept, split, len(mapping.classes))
    dataset = Dataset.open(folder)
    progress.advance(len(records), len(records) + 1, "drawing the contact sheet")
    draw_contact_sheet(dataset, folder / "contact_sheet.png")
    write_report(dataset, folder / "report.html")


def _make_samples(
    spec: PrepareSpec,
    reader: Reader,
    mapping: ClassMap,
    names: Sequence[str],
    folder: Path,
    progress: Progress,
) -> list[Record]:
    """Write images and masks; return the records of those that are not empty."""
    least = (spec.min_labelled, spec.min_positive)

    def make(name: str) -> Record | None:
        return make_sample(reader, name, mapping, folder, spec.scale, spec.size, least)

    records: list[Record] = []
    pool = ThreadPoolExecutor(1 if spec.reader == "geo" else min(4, os.cpu_count() or 1))
    try:
        for done, record in enumerate(pool.map(make, names)):
            if progress.cancelled():
                raise Cancelled("preparing was stopped; nothing was written")
            progress.advance(done, len(names) + 1, "reading samples")
            if record is not None:
                _check_alike(record, records)
                records.append(record)
    finally:
        pool.shutdown(cancel_futures=True)
    if empty := len(names) - len(records):
        progress.log("info", f"{empty} of {len(names)} samples were left out as empty")
    if not records:
        raise DatasetError(f"{spec.source}: all {len(names)} samples are empty by the limits asked")
    return records


def _check_alike(record: Record, earlier: Sequence[Record]) -> None:
    if earlier:
        first = earlier[0]
        for what in ("bands", "data_type"):
            if getattr(record, what) != getattr(first, what):
                raise DatasetError(
                    f"{record.name}: its image has {what.replace('_', ' ')} "
                    f"{getattr(record, what)}, that of {first.name} {getattr(first, what)}; "
                    "all images of a data set must be alike"
                )


def _class_map(spec: PrepareSpec, reader: Reader) -> ClassMap:
    groups = spec.classes or reader.default_classes
    if len(groups) == 1 and groups[0] in PRESETS:
        groups = PRESETS[groups[0]]
    if spec.ignore:
        return class_map(groups, reader.classes, spec.ignore)
    asked = class_map(groups, reader.classes)
    used = {cls.name for cls in reader.classes if asked.value_of[cls.id]}
    ignored = [name for name in reader.default_ignore if name not in used]
    return class_map(groups, reader.classes, ignored)


def _names(spec: PrepareSpec, reader: Reader) -> list[str]:
    names = reader.names()
    if spec.only:
        only = read_names(spec.only)
        if missing := [name for name in only if name not in set(names)]:
            raise DatasetError(
                f"{spec.only}: {missing[0]!r} is no sample of {spec.source}"
                + (f" ({len(missing)} such names)" if len(missing) > 1 else "")
            )
        wanted = set(only)
        names = [name for name in names if name in wanted]
    elif spec.split in ("", "lists") and spec.lists:
        listed = {name for text in spec.lists for name in read_names(text.partition("=")[2])}
        names = [name for name in names if name in listed] or names
    if not names:
        raise DatasetError(f"{spec.source}: holds no sample")
    return names


def _description(
    spec: PrepareSpec, reader: Reader, mapping: ClassMap, kept: Sequence[Record], split: Split
) -> dict[str, Any]:
    first = kept[0]
    taught = [record for record in kept if split.side_of[record.name] == "train"]
    lowest, highest = min(r.lowest for r in kept), max(r.highest for r in kept)
    is_byte = first.data_type == "uint8"
    gsd = spec.gsd or reader.gsd
    bands = reader.bands if len(reader.bands) == first.bands else _band_names(first.bands)
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "title": spec.title or reader.title,
        "classes": [asdict(cls) for cls in mapping.classes],
        "bands": list(bands),
        "data_type": first.data_type,
        "value_range": [0, 255]
        if is_byte
        else [lowest, highest if highest > lowest else lowest + 1],
        "gsd": None if gsd is None else gsd / spec.scale,
        "rim": reader.rim if spec.rim is None else spec.rim,
        "license": spec.license or reader.license,
        "citation": spec.citation or reader.citation,
        "sources": _sources(spec, reader, mapping),
        "split": {"method": split.method, "seed": spec.seed, "notes": list(split.notes)},
        "scaling": _scaling(taught),
    }


def _sources(spec: PrepareSpec, reader: Reader, mapping: ClassMap) -> list[dict[str, Any]]:
    """Say where the samples come from and what became of the classes; no path of this machine."""
    names = {cls.value: cls.name for cls in mapping.classes} | {0: None, 255: "ignored"}
    grouped = {cls.name: names[mapping.value_of[cls.id]] for cls in reader.classes}
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
    count = sum(record.height * record.width for record in records)
    mean = sum(record.total for record in records) / count
    variance = np.maximum(sum(record.squares for record in records) / count - mean**2, 0)
    stddev = np.where(variance > 0, np.sqrt(variance), 1.0)  # a constant band is only shifted
    return {"mean": np.round(mean, 6).tolist(), "stddev": np.round(stddev, 6).tolist()}


def _write_samples(folder: Path, kept: Sequence[Record], split: Split, classes: int) -> None:
    order = sorted(kept, key=lambda record: (SPLITS.index(split.side_of[record.name]), record.name))
    counted = [*(f"px_{value}" for value in range(classes + 1)), "px_ignore"]
    with (folder / "samples.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*_FIELDS, *counted])
        for record in order:
            side, group = split.side_of[record.name], split.group_of[record.name]
            place = record.image, record.mask, record.height, record.width
            writer.writerow([record.name, side, group, *place, *record.pixels.tolist()])
    for side in SPLITS:
        lines = [f"{record.name}\n" for record in order if split.side_of[record.name] == side]
        (folder / "splits" / f"{side}.txt").write_text("".join(lines), encoding="utf-8")


def _refuse_to_overwrite(target: Path, allowed: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / "dataset.json").is_file():
        raise DatasetError(
            f"{target}: is there and holds no prepared data set; name another folder"
        )
    if not allowed:
        raise DatasetError(
            f"{target}: holds a prepared data set; ask to overwrite it, or name another folder"
        )


def _put_in_place(temporary: Path, target: Path) -> None:
    old = temporary.with_suffix(".old")
    if target.exists():
        target.rename(old)
    try:
        temporary.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
