# SPDX-License-Identifier: GPL-2.0-or-later
"""From a data set's own classes to the ones to learn: grouping, ignoring, and clear refusals."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import numpy as np

from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.name_lists import (
    contains,
    join_names,
    raw_pair,
    split_list,
    unquoted,
)

from .answers import answer_rows, classes_named, code_answers, plain_answers, wholes_of
from .dataset import IGNORE, ClassInfo
from .errors import DatasetError

PRESETS: dict[str, tuple[str, ...]] = {
    "aeroscapes": (
        "vegetation#228b22",
        "background#b8a07e",
        "construction#d9822b",
        "obstacle#c0392b",
        "road#6c7a89",
        "sky#5dade2",
    ),
    "semantic-drone": ("grass", "vegetation", "tree"),
    "semantic-drone-six": (
        "vegetation#228b22=grass,vegetation,tree",
        "ground#b8a07e=dirt,gravel,rocks,bald-tree",
        "construction#d9822b=roof,wall,window,door",
        "obstacle#c0392b=fence,fence-pole,person,dog,car,bicycle,ar-marker,obstacle",
        "paved#6c7a89=paved-area",
        "water#5dade2=water,pool",
    ),
}
"""Class maps by name; the first two are what the shipped models learn."""


@dataclass(frozen=True)
class SourceClass:
    """A class as the data set has it: its id in the labels, its name and "#rrggbb".

    Where the data set gives no colour, ``has_color`` is false and the colour is ours.
    """

    id: int
    name: str
    color: str
    has_color: bool = True


@dataclass(frozen=True)
class ClassMap:
    """What each id of the data set becomes: a code, see `training.answers`.

    Attributes
    ----------
    classes : tuple of ClassInfo
        Ours, values 1 to K.
    value_of : mapping
        Our code of each id of the data set: 0 none of ours, 1 to K a class, up to 254 a partial
        label, 255 ignored.
    answers : ndarray, shape (256, K) int8
        What each code says of each class.
    """

    classes: tuple[ClassInfo, ...]
    value_of: Mapping[int, int]
    answers: np.ndarray = field(repr=False, compare=False)

    @property
    def names(self) -> list[str]:
        """Names of our classes."""
        return [cls.name for cls in self.classes]

    def apply(self, labels: np.ndarray, where: object) -> np.ndarray:
        """Return labels (H, W) of ids as (H, W) uint8 of our values; negative ids are ignored.

        Parameters
        ----------
        where : object
            The file, for the message.

        Raises
        ------
        DatasetError
            If the mask has colours instead of ids, or an id that the data set does not list.
        """
        if labels.ndim != 2:
            raise DatasetError(
                f"{where}: the mask has {labels.shape[-1]} bands; one band of class ids is wanted"
            )
        if not np.issubdtype(labels.dtype, np.integer):
            raise DatasetError(f"{where}: the mask holds {labels.dtype}, whole numbers are wanted")
        if labels.dtype == np.uint8:
            return self._look_up(labels, self._table(255), where)
        highest = max(self.value_of, default=0)
        if highest >= 1 << 20:
            raise DatasetError(f"class id {highest} is too large; ids below 1,048,576 are taken")
        clipped = np.where(labels < 0, highest + 1, np.minimum(labels, highest + 2))
        table = self._table(highest + 2)
        table[highest + 1] = IGNORE
        return self._look_up(labels, table, where, clipped)

    def _table(self, last: int) -> np.ndarray:
        table = np.full(last + 1, -1, np.int16)
        for source, value in self.value_of.items():
            table[source] = value
        return table

    def _look_up(
        self, labels: np.ndarray, table: np.ndarray, where: object, index: np.ndarray | None = None
    ) -> np.ndarray:
        found = table[labels if index is None else index]
        unknown = found < 0
        if unknown.any():
            ids = np.unique(labels[unknown])
            told = ", ".join(map(str, ids[:5])) + (", ..." if ids.size > 5 else "")
            raise DatasetError(
                f"{where}: unknown id {told} in {unknown.mean():.2%} of the pixels; known are "
                f"{_ranges(self.value_of)}. Add it to the class list, or to the ids to ignore"
            )
        return found.astype(np.uint8)


def class_map(
    groups: Sequence[str], source: Sequence[SourceClass], ignore: Sequence[str] = ()
) -> ClassMap:
    """Return the class map that texts describe.

    Parameters
    ----------
    groups : sequence of str
        Our classes in the order of their values, each "name=member,member" or, where it has the
        name of its one member, "name"; "name#rrggbb=..." gives a colour. Members are names or
        ids of the data set's classes.
    source : sequence of SourceClass
        The data set's classes. Those in no group become 0: none of ours.
    ignore : sequence of str
        Names or ids that become 255; ids need not be in ``source``.

    Raises
    ------
    JobError
        If a text is malformed, a name unknown, or a class in two groups.
    """
    value_of = {cls.id: 0 for cls in source}
    owner: dict[int, str] = {}
    for text in ignore:
        number = int(text) if text.strip().isdigit() else _id_of(text.strip(), source)
        value_of[number], owner[number] = IGNORE, "the ignored classes"
    classes = []
    for value, text in enumerate(groups, 1):
        name, color, members = _parsed(text, [cls.name for cls in source])
        ids = [_id_of(member, source) for member in members]
        for number in ids:
            if number in owner:
                twice = next(cls.name for cls in source if cls.id == number)
                raise JobError(
                    f"class {twice!r} is both in {name!r} and in {owner[number]!r}; "
                    "a pixel can have one class only"
                )
            value_of[number], owner[number] = value, name
        color = color or next(cls.color for cls in source if cls.id == ids[0])
        classes.append(ClassInfo(value, name, color))
    names = [cls.name for cls in classes]
    if not names:
        raise JobError("no classes are named; give at least one, such as vegetation=tree,grass")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise JobError(f"class {repeated[0]!r} is named twice")
    if len(names) >= IGNORE:
        raise JobError(f"{len(names)} classes; a mask holds at most {IGNORE - 1}")
    return ClassMap(tuple(classes), value_of, plain_answers(len(classes)))


def label_class_map(
    labels: Mapping[int, tuple[tuple[str, ...], tuple[str, ...]]], groups: Sequence[str] = ()
) -> ClassMap:
    """Return the class map of a label table.

    Parameters
    ----------
    labels : mapping
        What each value of the masks is and is not; see `training.answers.read_label_table`.
    groups : sequence of str
        The classes to learn, each "name" or "name#rrggbb"; empty for all that some value is, in
        the table's order. One that values only are not can be learned in a mix with other sets.

    Raises
    ------
    JobError
        If a class is malformed, or one that the table does not mention.
    DatasetError
        If a value is said not to be a class that no value is.
    """
    from .palette import color_of  # which imports this module

    known = classes_named(labels)
    mentioned = {name for both in labels.values() for part in both for name in part}
    classes: list[ClassInfo] = []
    for number, text in enumerate(groups or known, 1):
        name, color, members = _parsed(text, known)
        if members != [name]:
            raise JobError(
                f"{text!r}: with a label table a class has no members; the table says which "
                f"values are {name!r}"
            )
        if name not in mentioned:
            raise JobError(f"the label table says nothing of {name!r}; it has {', '.join(known)}")
        classes.append(ClassInfo(number, name, color or color_of(number - 1)))
    names = [cls.name for cls in classes]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise JobError(f"class {repeated[0]!r} is named twice")
    rows = answer_rows(labels, names)
    codes, table = code_answers(list(rows.values()), len(names))
    whole_of = wholes_of(list(rows.values()), names)
    classes = [replace(cls, part_of=whole_of.get(cls.name)) for cls in classes]
    return ClassMap(tuple(classes), dict(zip(rows, codes, strict=True)), table)


def _parsed(text: str, known: Sequence[str]) -> tuple[str, str, list[str]]:
    """Return name, colour or "", and members of ``name#rrggbb=member,member``."""
    if text in known:  # whatever signs it holds
        return text, "", [text]
    left, right = raw_pair(text)
    head = right if left is None else left
    colored = re.fullmatch(r"(.*?)\s*(#[0-9A-Fa-f]{6})", head, re.DOTALL)
    name, color = (unquoted(colored[1]), colored[2]) if colored else (unquoted(head), "")
    if not name or (left is not None and not right) or contains(head, ","):
        raise JobError(f"{text!r} is no class; write it as name=member,member")
    listed = split_list(right, empty=True)
    members = [name] if left is None else [unquoted(member) for member in listed]
    if not all(members):
        raise JobError(f"{text!r} names an empty member; write it as name=member,member")
    return name, color.lower(), members


def _id_of(text: str, source: Sequence[SourceClass]) -> int:
    for cls in source:
        if text == cls.name:
            return cls.id
    for cls in source:
        if text.casefold() == cls.name.casefold() or text == str(cls.id):
            return cls.id
    names = [cls.name for cls in source]
    close = get_close_matches(text, names, 3, 0.6)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    raise JobError(f"the data set has no class {text!r}; {hint}it has {join_names(names)}")


def _ranges(ids: Mapping[int, int]) -> str:
    """Return "0 to 11" or a list of ids."""
    known = sorted(ids)
    if known == list(range(known[0], known[-1] + 1)):
        return f"{known[0]} to {known[-1]}"
    return ", ".join(map(str, known))
