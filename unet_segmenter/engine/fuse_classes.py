# SPDX-License-Identifier: GPL-2.0-or-later
"""Which classes a fusion has: from what bands or models tell, and what the user says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol, TypeVar

from .errors import JobError
from .fuse import places_of_wholes
from .fuse_job import named_thresholds, unknown_text
from .fuse_methods import COURSE_LARGEST_SUM, FusionRules
from .legend import UNKNOWN_COLOR, ClassLook
from .model_card import NODATA_VALUE, UNKNOWN_VALUE
from .name_lists import join_names
from .raster_items import pairs_text
from .reference import PALETTE

DEFAULT_THRESHOLD = 0.5
UNKNOWN_NAME = "unknown"
_ALIASES_TOLD = 3

Item = TypeVar("Item")


class FusionChoice(Protocol):
    """What a job that fuses says of it; see `FuseJob`."""

    @property
    def method(self) -> str: ...  # noqa: D102
    @property
    def priority(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def thresholds(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def unknown_threshold(self) -> float | None: ...  # noqa: D102


@dataclass(frozen=True)
class ClassSource:
    """One band or channel that tells the probability of a class; None where it says nothing.

    Parameters
    ----------
    name : str
        Name of the class.
    value : int, optional
        Its value in maps.
    color : str, optional
        "#rrggbb".
    threshold : float, optional
        Probability from which it claims a pixel.
    part_of : str, optional
        Name of the class that contains it.
    """

    name: str
    value: int | None = None
    color: str | None = None
    threshold: float | None = None
    part_of: str | None = None


@dataclass(frozen=True)
class FusedClass:
    """One class of the map."""

    value: int
    name: str
    color: str
    threshold: float


@dataclass(frozen=True)
class Fusion:
    """The classes of a fusion, and how it decides among them.

    Parameters
    ----------
    classes : tuple of FusedClass
        In the order in which they were first told; the unknown is none of them.
    groups : tuple of tuple of int
        Sources of each class.
    rules : FusionRules
        The method and its numbers, in the order of the classes.
    warnings : tuple of str
        What the reader of the map should know.
    """

    classes: tuple[FusedClass, ...]
    groups: tuple[tuple[int, ...], ...]
    rules: FusionRules
    warnings: tuple[str, ...]

    def looks(self) -> tuple[ClassLook, ...]:
        """What the map's values mean, by value: the classes, 0, and sums that are no class."""
        looks = {c.value: ClassLook(c.value, c.name, c.color) for c in self.classes}
        looks[UNKNOWN_VALUE] = ClassLook(UNKNOWN_VALUE, UNKNOWN_NAME, UNKNOWN_COLOR)
        for value in map_values(self.rules):
            color = PALETTE[value % len(PALETTE)]
            looks.setdefault(value, ClassLook(value, f"sum {value}, no class", color))
        return tuple(looks[value] for value in sorted(looks))

    @property
    def has_unknown_band(self) -> bool:
        """Whether "unknown" has a probability of its own."""
        return self.rules.may_be_unknown and len(self.classes) > 1

    def band_names(self) -> tuple[str, ...]:
        """Names of the bands of the renormalised probabilities."""
        names = tuple(c.name for c in self.classes)
        return (*names, UNKNOWN_NAME) if self.has_unknown_band else names

    def band_values(self) -> tuple[int, ...]:
        """Values of the classes of these bands in the map."""
        values = self.rules.values
        return (*values, UNKNOWN_VALUE) if self.has_unknown_band else values

    def tags(self) -> dict[str, str]:
        """How it was decided, for a raster's metadata."""
        bands = zip(self.band_values(), self.band_names())
        # Of a single class the map tells that one decided from which on it was claimed.
        limits = self.rules.limits if len(self.classes) == 1 else self.rules.thresholds
        names = [c.name for c in self.classes]
        return {
            "METHOD": self.rules.method,
            "CLASSES": pairs_text(bands),
            "COLORS": pairs_text((c.name, c.color) for c in self.classes),
            "THRESHOLDS": pairs_text(zip(names, map(repr, limits))),
            "PRIORITY": join_names((self.classes[k].name for k in self.rules.order), ","),
            "UNKNOWN_THRESHOLD": unknown_text(self.rules.unknown_threshold),
        }


def plan_fusion(sources: Sequence[ClassSource], choice: FusionChoice) -> Fusion:
    """Settle the classes of a map.

    Sources of one name are one class. Values that the sources name stay where no two classes
    share one; else all classes are numbered from 1.

    Parameters
    ----------
    sources : sequence of ClassSource
        All bands or channels, in order.
    choice : FusionChoice
        What the user says.

    Raises
    ------
    JobError
        If a class is named that no source tells.
    """
    groups: dict[str, list[int]] = {}
    for place, source in enumerate(sources):
        groups.setdefault(source.name, []).append(place)
    if len(groups) >= NODATA_VALUE:
        raise JobError(f"A map holds 254 classes at most, but {len(groups)} are given.")
    warnings = []
    values, renumbered = _values(groups, sources)
    if renumbered:
        told = ", ".join(f"{value}={name}" for name, value in values.items())
        warnings.append(f"The inputs give several classes one value; the map has {told}.")
    several = [name for name, places in groups.items() if len(places) > 1]
    if several:
        warnings.append(
            f"Several inputs have {', '.join(several)}; the highest of their probabilities counts."
        )
    limits = _thresholds(groups, sources, choice)
    classes = tuple(
        FusedClass(
            values[name],
            name,
            _first(sources[k].color for k in places) or PALETTE[values[name] % len(PALETTE)],
            limits[name],
        )
        for name, places in groups.items()
    )
    names = [c.name for c in classes]
    _refuse_unknown("PRIORITY", choice.priority, names)
    whole_of = {name: _first(sources[k].part_of for k in groups[name]) for name in names}
    rules = FusionRules(
        choice.method,
        tuple(c.value for c in classes),
        tuple(c.threshold for c in classes),
        tuple(names.index(name) for name in choice.priority),
        choice.unknown_threshold,
        _wholes(whole_of),
    )
    if choice.method == "course_sum":
        warnings.append(_alias_warning(classes))
    return Fusion(classes, tuple(map(tuple, groups.values())), rules, tuple(warnings))


def _values(
    groups: dict[str, list[int]], sources: Sequence[ClassSource]
) -> tuple[dict[str, int], bool]:
    """Value by class name, and whether those that the sources name had to be given up."""
    known = {
        name: {v for k in places if (v := sources[k].value) is not None}
        for name, places in groups.items()
    }
    named = [value for values in known.values() for value in values]
    fits = all(len(values) <= 1 for values in known.values())
    if not fits or len(set(named)) != len(named) or UNKNOWN_VALUE in named:
        return {name: value for value, name in enumerate(groups, 1)}, True
    free = (value for value in range(1, NODATA_VALUE) if value not in named)
    return {name: min(values) if values else next(free) for name, values in known.items()}, False


def _thresholds(
    groups: dict[str, list[int]], sources: Sequence[ClassSource], choice: FusionChoice
) -> dict[str, float]:
    given = named_thresholds(choice.thresholds)
    _refuse_unknown("THRESHOLDS", tuple(name for name in given if name), list(groups))
    limits = {}
    for name, places in groups.items():
        limit = given.get(name, given.get(None))
        if limit is None and choice.method != "course_sum":  # the course knew no threshold but 0.5
            limit = _first(sources[k].threshold for k in places)
        limits[name] = DEFAULT_THRESHOLD if limit is None else limit
    return limits


def _wholes(whole_of: dict[str, str | None]) -> tuple[int | None, ...]:
    """Place of the class that contains each class; models may contradict each other."""
    wholes = places_of_wholes(whole_of)
    for name, whole in zip(whole_of, wholes):
        if whole is not None and wholes[whole] is not None:
            raise JobError(
                f"The models contradict each other: {name} is part of {whole_of[name]}, which is "
                f"part of {whole_of[str(whole_of[name])]}. Leave one of the three out by CLASSES."
            )
    return wholes if any(whole is not None for whole in wholes) else ()


def _alias_warning(classes: Sequence[FusedClass]) -> str:
    names = {c.value: c.name for c in classes}
    aliases = [
        f"{a.name} + {b.name} reads as {names.get(a.value + b.value, 'no class')}"
        for a, b in combinations(classes, 2)
        if a.value + b.value <= COURSE_LARGEST_SUM
    ]
    aliases.sort(key=lambda text: text.endswith("no class"))
    example = f" Here {'; '.join(aliases[:_ALIASES_TOLD])}." if aliases else ""
    return (
        "The method course_sum adds the numbers of all classes that claim a pixel, so overlaps "
        f"read as other classes, and sums over {COURSE_LARGEST_SUM} as unknown.{example} Use it "
        "only to reproduce the course's maps."
    )


def map_values(rules: FusionRules) -> tuple[int, ...]:
    """All values that a map may have, sorted: the classes, 0, and sums that are no class."""
    sums = _sums(rules.values) if rules.method == "course_sum" else []
    return tuple(sorted({UNKNOWN_VALUE, *rules.values, *sums}))


def _sums(values: Sequence[int]) -> list[int]:
    """Sums of two or more values that the method course_sum keeps."""
    found = {0}
    for value in values:
        found |= {total + value for total in found}
        found = {total for total in found if total <= COURSE_LARGEST_SUM}
    return sorted(found - {UNKNOWN_VALUE})


def _refuse_unknown(what: str, wanted: Sequence[str], names: Sequence[str]) -> None:
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise JobError(
            f"{what} names {', '.join(map(repr, unknown))}, which no input has; the classes are "
            f"{join_names(names)}."
        )


def _first(items: Iterable[Item | None]) -> Item | None:
    """The first item that is not None, or None."""
    return next((item for item in items if item is not None), None)
