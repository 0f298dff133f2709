# SPDX-License-Identifier: GPL-2.0-or-later
"""What a card says of itself: name, title, licence, citation and sources, from its data set."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Any

from unet_segmenter.engine.errors import JobError

from .dataset import Dataset

GSD_SLACK = 2.0
"""A model is said to be for ground sampling distances from half to twice that of its data."""


@dataclass(frozen=True)
class Identity:
    """How a model is named, credited and licensed.

    Attributes
    ----------
    sources : tuple of dict
        Each "title", "url", "license", "citation", as far as known.
    gsd_range : tuple of float, optional
        Ground sampling distances that it is for, m.
    """

    name: str
    title: str = ""
    version: str = "1.0.0"
    description: str = ""
    license: str = "unknown"
    citation: str = ""
    sources: tuple[dict[str, str], ...] = ()
    gsd_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w][\w.-]*", self.name):
            raise JobError(
                f"a model's name is of letters, digits, '-', '_' and '.', not {self.name!r}"
            )
        if self.gsd_range is not None and not 0 < self.gsd_range[0] <= self.gsd_range[1]:
            raise JobError(f"the ground sampling distances {self.gsd_range} are no range")

    @classmethod
    def of(cls, dataset: Dataset, name: str, **changes: Any) -> Identity:
        """Return what the data set tells, with ``changes`` that are not None.

        A model may be given away only as its data allow, so the licence is the data's unless
        another is named.
        """
        told = dataset.details
        span = told.get("gsd_span") or (dataset.gsd and (dataset.gsd, dataset.gsd))
        identity = cls(
            name=name,
            title=f"{dataset.title}: {', '.join(one.name for one in dataset.classes)}",
            license=told.get("license") or "unknown",
            citation=told.get("citation") or "",
            sources=_sources(dataset),
            gsd_range=None if not span else (span[0] / GSD_SLACK, span[1] * GSD_SLACK),
        )
        known = {one.name for one in fields(cls)}
        if unknown := set(changes) - known:
            raise JobError(f"a card's identity has no {', '.join(sorted(unknown))}")
        return replace(identity, **{k: v for k, v in changes.items() if v is not None})

    def to_card(self) -> dict[str, Any]:
        """Return the card's entries, but for the range of ground sampling distances."""
        return {
            "name": self.name, "version": self.version, "title": self.title or self.name,
            "description": self.description, "license": self.license, "citation": self.citation,
            "sources": list(self.sources),
        }  # fmt: skip


def _sources(dataset: Dataset) -> tuple[dict[str, str], ...]:
    """Return what the data set names as its sources by title; else the data set itself."""
    told = dataset.details
    named = [
        dict(one) if isinstance(one, dict) else {"title": str(one)}
        for one in told.get("sources") or ()
    ]
    if titled := tuple(one for one in named if one.get("title")):
        return titled
    itself = {
        "title": dataset.title,
        **{key: str(told[key]) for key in ("url", "license", "citation") if told.get(key)},
    }
    return (itself,)
