# SPDX-License-Identifier: GPL-2.0-or-later
"""What each value of a mask says of each class: yes, no, or nothing.

A one-vs-rest head asks one binary question a class, and a label need not answer all of them: "not
water" leaves vegetation open, and "vegetation" may leave open whether it is a tree. Masks of a
prepared data set therefore hold *codes*:

=============  ====================================================
code           what it says
=============  ====================================================
0              none of the classes
1 to K         the class of that number, and none of the others
K + 1 to 254   a partial label: its answers are listed in dataset.json
255            nothing at all
=============  ====================================================

An *answer table* gives the answers of all codes: (256, K) int8 of `YES`, `NO` and `OPEN`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DatasetError

OPEN, NO, YES = -1, 0, 1
UNLABELLED = 255
"""Code of pixels that are ignored in training and in scores."""
ALL_OTHERS = "*"
"""In the column is_not: every class that the column is does not name."""
_SEPARATOR = ";"


def plain_answers(classes: int) -> np.ndarray:
    """Return the answer table (256, K) of masks without partial labels."""
    table = np.full((256, classes), OPEN, np.int8)
    table[: classes + 1] = NO
    table[np.arange(1, classes + 1), np.arange(classes)] = YES
    return table


def code_answers(rows: Sequence[np.ndarray], classes: int) -> tuple[list[int], np.ndarray]:
    """Give each row of answers its code; equal rows get the same one.

    Parameters
    ----------
    rows : sequence of ndarray, shape (K,) int8
        Answers of the labels to be coded.
    classes : int
        K.

    Returns
    -------
    codes : list of int
        The code of each row.
    table : ndarray, shape (256, K) int8
        The answer table of all codes.

    Raises
    ------
    DatasetError
        If there are more partial labels than codes.
    """
    table = plain_answers(classes)
    code_of = {table[code].tobytes(): code for code in (UNLABELLED, *range(classes + 1))}
    codes = []
    for row in rows:
        key = np.asarray(row, np.int8).tobytes()
        if key not in code_of:
            code = len(code_of) - 1  # 255 is one of those that there are
            if code >= UNLABELLED:
                raise DatasetError(
                    f"more than {UNLABELLED - classes - 1} different partial labels; "
                    "a mask has no codes for them: drop classes or labels"
                )
            code_of[key], table[code] = code, row
        codes.append(code_of[key])
    return codes, table


def is_plain(table: np.ndarray) -> bool:
    """Return whether no code of an answer table is a partial label."""
    return bool(np.array_equal(table, plain_answers(table.shape[1])))


def partial_labels(table: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the partial labels of an answer table as dataset.json lists them."""
    return [
        {
            "value": code,
            "is": [name for name, answer in zip(names, table[code], strict=True) if answer == YES],
            "is_not": [name for name, a in zip(names, table[code], strict=True) if a == NO],
        }
        for code in range(len(names) + 1, UNLABELLED)
        if (table[code] != OPEN).any()
    ]


def answers_of(listed: Sequence[Mapping[str, Any]], names: Sequence[str]) -> np.ndarray:
    """Return the answer table of partial labels as `partial_labels` lists them.

    Raises
    ------
    ValueError
        If a value is no code for a partial label, or a class is unknown.
    """
    table = plain_answers(len(names))
    for label in listed:
        code = label["value"]
        if not len(names) < code < UNLABELLED:
            raise ValueError(f"a partial label has the value {code}")
        for key, answer in (("is", YES), ("is_not", NO)):
            for name in label[key]:
                table[code, list(names).index(name)] = answer
    return table


def positive_pixels(counts: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return the pixels (K,) that are of each class, of the pixels (256,) of each code."""
    return counts @ (table == YES)


def negative_pixels(counts: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return the pixels (K,) known not to be of each class, of the pixels (256,) of each code."""
    return counts @ (table == NO)


def is_part_of(table: np.ndarray, part: int, whole: int) -> bool:
    """Return whether no label is one class and is not another, as no tree is no vegetation.

    Parameters
    ----------
    table : ndarray, shape (N, K) int8
        Answers of the labels that occur.
    part, whole : int
        Channels of the classes.
    """
    return not (table[table[:, part] == YES, whole] != YES).any()


def wholes_of(rows: Sequence[np.ndarray], names: Sequence[str]) -> dict[str, str]:
    """Return the class that contains each class that is part of one.

    A class is part of another if every label that is the one is the other, too, and some label
    is the other alone. A part has no parts: of nested classes only the outermost contains.

    Parameters
    ----------
    rows : sequence of ndarray, shape (K,) int8
        Answers of all labels.
    names : sequence of str
        Names of the K classes.
    """
    table = np.array(rows, np.int8).reshape(-1, len(names))
    labels = (table == YES).sum(axis=0)
    found = {}
    for part in np.flatnonzero(labels):
        wholes = [
            k for k in range(len(names)) if labels[k] > labels[part] and is_part_of(table, part, k)
        ]
        if wholes:
            found[names[part]] = names[max(wholes, key=lambda k: labels[k])]
    return found


def read_label_table(path: Path | str) -> dict[int, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Read what each value of a data set's masks says.

    Parameters
    ----------
    path : path-like
        csv with the columns value, is and is_not. The last two name classes, separated by
        semicolons; ``*`` in is_not means every class that the row's is does not name. A class
        in neither is left open. Other columns are not read.

    Returns
    -------
    dict of int to (tuple of str, tuple of str)
        By value: the classes that it is, and those that it is not.

    Raises
    ------
    DatasetError
        If the file cannot be read, or a row makes no sense.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read as a csv file ({error})") from error
    found: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for number, row in enumerate(rows, 2):
        where = f"{path}, line {number}"
        if not {"value", "is", "is_not"} <= row.keys():
            raise DatasetError(f"{path}: the columns value, is and is_not are needed")
        text = (row["value"] or "").strip()
        if not text.isdecimal() or int(text) > 255:
            raise DatasetError(f"{where}: {text!r} is no value of a mask, 0 to 255")
        value = int(text)
        if value in found:
            raise DatasetError(f"{where}: the value {value} is listed twice")
        positive, negative = _names(row["is"]), _names(row["is_not"])
        if both := set(positive) & set(negative):
            raise DatasetError(f"{where}: says both that it is {min(both)} and that it is not")
        found[value] = positive, negative
    if not found:
        raise DatasetError(f"{path}: lists no value")
    return found


def _names(cell: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (cell or "").split(_SEPARATOR) if name.strip())


def classes_named(labels: Mapping[int, tuple[tuple[str, ...], tuple[str, ...]]]) -> list[str]:
    """Return the classes that some value is, in the order in which they are first named."""
    names = [name for positive, _negative in labels.values() for name in positive]
    return list(dict.fromkeys(names))


def answer_rows(
    labels: Mapping[int, tuple[tuple[str, ...], tuple[str, ...]]], names: Sequence[str]
) -> dict[int, np.ndarray]:
    """Return the answers (K,) of each value for the named classes.

    Raises
    ------
    DatasetError
        If a value is said not to be a class that no value is, and that is not named.
    """
    known = [*dict.fromkeys([*classes_named(labels), *names])]
    rows = {}
    for value, (positive, negative) in labels.items():
        if unknown := [n for n in negative if n not in known and n != ALL_OTHERS]:
            raise DatasetError(
                f"the value {value} is not {unknown[0]!r}, but no value is that class; "
                f"the label table has {', '.join(known)}"
            )
        default = NO if ALL_OTHERS in negative else OPEN
        rows[value] = np.array(
            [YES if n in positive else NO if n in negative else default for n in names], np.int8
        )
    return rows
