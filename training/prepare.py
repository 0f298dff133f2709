# SPDX-License-Identifier: GPL-2.0-or-later
"""From source images to a prepared data set: classes, sizes, a split that does not leak, a report.

The folder appears under its name only when it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from unet_segmenter.engine.errors import Cancelled, OutputError
from unet_segmenter.engine.input_state import check_unchanged, source_state
from unet_segmenter.engine.progress import Level, Progress

from .answers import read_label_table
from .balance import balance_of, count_polygons, doubts, refuse_absent
from .classes import PRESETS, ClassMap, class_map, label_class_map
from .contact_sheet import draw_contact_sheet
from .dataset import SPLITS, Dataset
from .dataset_report import write_report
from .datasets import Reader
from .datasets.open_reader import open_reader
from .describe_dataset import describe_dataset, nodata_fill, write_samples
from .errors import DatasetError
from .images import read_image
from .leak import MOST_IMAGES, Leak, measure_leak, measure_overlap
from .prepare_sample import Record, fill_nodata, make_sample
from .prepare_spec import PrepareSpec
from .prepare_split import Split, make_split, method_of
from .text_lists import read_names


def prepare(spec: PrepareSpec, progress: Progress) -> Dataset:
    """Write the prepared data set that ``spec`` asks for, and return it.

    Raises
    ------
    JobError
        If the spec names what the data set does not have.
    DatasetError
        If a file is absent, damaged or does not fit, or a split would be empty.
    OutputError
        If the folder cannot be written.
    Cancelled
        If the user stops; nothing is left then.
    """
    target = Path(spec.output)
    _refuse_to_overwrite(target, spec.overwrite)
    reader = open_reader(spec, progress)
    inputs = source_state(reader.files() if hasattr(reader, "files") else ())
    mapping = _class_map(spec, reader)
    names = _names(spec, reader)
    stages = 3 if method_of(spec, reader) == "clusters" else 1  # they see each image twice more
    progress = _Share(progress, stages * len(names) + MOST_IMAGES + 1)
    temporary = target.absolute().with_name(f".{target.name}.{os.getpid()}.part")
    try:
        for folder in ("images", "masks", "splits"):
            (temporary / folder).mkdir(parents=True)
        records = _make_samples(spec, reader, mapping, names, temporary, progress)
        later = replace(progress, before=len(names))
        split = make_split(spec, reader, records, temporary, later)
        if empty := len(names) - len(records):
            words = f"{empty} of {len(names)} samples were left out as empty"
            split = replace(split, notes=(*split.notes, words))
        _fill(spec, reader, mapping, records, split, temporary, progress)
        _refuse_to_overwrite(target, spec.overwrite)
        check_unchanged(inputs)
        _put_in_place(temporary, target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Dataset.open(target)


@dataclass(frozen=True)
class _Share:
    """A `Progress` in which each stage counts on from the one before, up to one total."""

    whole: Progress
    total: int
    before: int = 0

    def advance(self, done: int, total: int, message: str | None = None) -> None:
        self.whole.advance(min(self.before + done, self.total), self.total, message)

    def log(self, level: Level, message: str) -> None:
        self.whole.log(level, message)

    def cancelled(self) -> bool:
        return self.whole.cancelled()


def _fill(
    spec: PrepareSpec,
    reader: Reader,
    mapping: ClassMap,
    records: Sequence[Record],
    split: Split,
    folder: Path,
    progress: _Share,
) -> None:
    """Write everything but the samples."""
    kept = [record for record in records if record.name in split.side_of]
    for record in records:
        if record.name not in split.side_of:
            (folder / record.image).unlink()
            (folder / record.mask).unlink()
    balance = balance_of(kept, split.side_of, mapping)
    count_polygons(balance, kept, split.side_of, mapping, reader)
    refuse_absent(balance, mapping)
    for doubt in doubts(balance, mapping.names):
        progress.log("warning", doubt)
    leak = _leak(spec, kept, split, folder, progress)
    if leak.warning:
        progress.log("warning", leak.warning)
    description = describe_dataset(spec, reader, mapping, kept, split)
    fill = nodata_fill(description["data_type"], description["scaling"]["mean"])
    for record in kept:
        fill_nodata(record, reader, folder, fill)
    description["split"]["leak"] = leak.to_dict()
    description["balance"] = balance
    text = json.dumps(description, indent=1)
    (folder / "dataset.json").write_text(text, encoding="utf-8")
    write_samples(folder, kept, split, mapping)
    if hasattr(reader, "grid"):
        _write_blocks(reader, kept, split, folder)
    dataset = Dataset.open(folder)
    progress.advance(progress.total - 1, progress.total, "drawing the contact sheet")
    draw_contact_sheet(dataset, folder / "contact_sheet.png")
    write_report(dataset, folder / "report.html")


def _write_blocks(reader: Reader, kept: Sequence[Record], split: Split, folder: Path) -> None:
    """Write the outlines of all chips, and of those of the test side, beside the samples."""
    from .block_file import BLOCKS, TEST_BLOCKS, write_blocks

    for file, sides in ((BLOCKS, SPLITS), (TEST_BLOCKS, ("test",))):
        names = [record.name for record in kept if split.side_of[record.name] in sides]
        if names:
            write_blocks(
                folder / file, [reader.block_grid(name) for name in names],
                [split.group_of[name] for name in names], [split.side_of[name] for name in names],
            )  # fmt: skip


def _leak(
    spec: PrepareSpec, kept: Sequence[Record], split: Split, folder: Path, progress: _Share
) -> Leak:
    looks = {record.name: record.look for record in kept}
    leak = measure_leak(looks, split.side_of)
    if spec.reader == "geo" or find_spec("skimage") is None:
        return leak  # chips are apart on the ground; without scikit-image there are no keypoints
    from .clusters import find_keypoints

    files = {record.name: folder / record.image for record in kept}
    before = progress.total - MOST_IMAGES - 1

    def tell(done: int) -> None:
        if progress.cancelled():
            raise Cancelled("preparing was stopped; nothing was written")
        progress.advance(before + done, progress.total, "comparing the sides of the split")

    return measure_overlap(
        leak, looks, split.side_of, lambda name: find_keypoints(read_image(files[name])), tell
    )


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
            progress.advance(done, len(names), "reading samples")
            if record is not None:
                _check_alike(record, records)
                records.append(record)
    finally:
        pool.shutdown(cancel_futures=True)
    if empty := len(names) - len(records):
        progress.log(
            "info",
            f"{empty} of {len(names)} samples were left out as empty: without a labelled pixel, or "
            "below the limits asked",
        )
    if not records:
        raise DatasetError(
            f"{spec.source}: all {len(names)} samples are empty: without a labelled pixel, or "
            "below the limits asked"
        )
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
    if spec.label_table:
        return label_class_map(read_label_table(spec.label_table), spec.classes)
    _check_defaults(spec, reader)
    groups = spec.classes or reader.default_classes
    if len(groups) == 1 and groups[0] in PRESETS:
        groups = PRESETS[groups[0]]
    if spec.ignore:
        return class_map(groups, reader.classes, spec.ignore)
    asked = class_map(groups, reader.classes)
    used = {cls.name for cls in reader.classes if asked.value_of[cls.id]}
    ignored = [name for name in reader.default_ignore if name not in used]
    return class_map(groups, reader.classes, ignored)


def _check_defaults(spec: PrepareSpec, reader: Reader) -> None:
    """Refuse a class list that lacks what is learned or ignored where nothing else is asked for."""
    class_list = getattr(reader, "class_list", None)
    if class_list is None:
        return
    listed = {cls.name.casefold() for cls in reader.classes}
    asked = (
        ("classes", "learned", spec.classes, reader.default_classes),
        ("ignore", "ignored", spec.ignore, reader.default_ignore),
    )
    for flag, what, given, defaults in asked:
        if not given and (missing := [name for name in defaults if name not in listed]):
            raise DatasetError(
                f"{class_list}: lists no class {missing[0]!r}, which is {what} by default; add it, "
                f"or name the classes yourself (--{flag})"
            )


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
