# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares a class raster with a reference: another raster, or polygons with a class field."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import JobError
from .metrics import BOUNDARY_TOLERANCE
from .model_card import NODATA_VALUE
from .progress import Progress


@dataclass(frozen=True)
class EvaluateJob:
    """One comparison of one raster with its reference.

    Parameters
    ----------
    input : str
        The class raster to judge: one band of whole numbers 0-255.
    reference : str
        What is true: a class raster, or a layer of polygons.
    field : str, optional
        Field of the polygons that holds the class, as a value or as a name; must be given for
        polygons, and only for them. What no polygon covers does not count.
    band, reference_band : int
        Band, from 1, of the input and of a reference raster.
    align : bool
        Warp a reference raster on another grid to the input's by nearest neighbour, instead of
        refusing it.
    aoi : str, optional
        A polygon layer; only pixels whose centre lies inside count.
    class_names : tuple of str
        Names, each "value=name"; or, without "=", of the values 1, 2 ... in order. They come
        before the names that the rasters bring.
    ignore : tuple of int
        Values of the reference that do not count, beside its nodata.
    tolerance : int
        Distance in px at which two boundaries still meet.
    html, csv, json : str, optional
        Files to write: the report, a row a class, all numbers.
    """

    input: str
    reference: str
    field: str | None = None
    band: int = 1
    reference_band: int = 1
    align: bool = False
    aoi: str | None = None
    class_names: tuple[str, ...] = ()
    ignore: tuple[int, ...] = ()
    tolerance: int = BOUNDARY_TOLERANCE
    html: str | None = None
    csv: str | None = None
    json: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no run could honour."""
        for name in ("input", "reference"):
            if not getattr(self, name):
                raise JobError(f"No {name} is given; name one.")
        if self.band < 1 or self.reference_band < 1:
            raise JobError("Bands count from 1.")
        if not 0 <= self.tolerance <= 50:
            raise JobError(f"The tolerance must lie from 0 to 50 px, but it is {self.tolerance}.")
        if any(not 0 <= value <= NODATA_VALUE for value in self.ignore):
            raise JobError(f"Values to ignore lie from 0 to 255, but {list(self.ignore)} is given.")
        self.names()
        self._check_outputs()

    def _check_outputs(self) -> None:
        outputs = [Path(path).resolve() for path in self.outputs().values()]
        if len(set(outputs)) != len(outputs):
            raise JobError("Two outputs have the same path; give each its own.")
        for path in (self.input, self.reference, self.aoi):
            if path and Path(path).resolve() in outputs:
                raise JobError(f"The output {path} is an input; choose another name.")

    def outputs(self) -> dict[str, str]:
        """Path of each file asked for, by output name."""
        named = {"HTML": self.html, "CSV": self.csv, "JSON": self.json}
        return {name: path for name, path in named.items() if path}

    def names(self) -> dict[int, str]:
        """The class names given, by value."""
        named: dict[int, str] = {}
        for place, text in enumerate(self.class_names, 1):
            left, equals, right = text.partition("=")
            value, name = (left.strip(), right.strip()) if equals else (str(place), text.strip())
            if not (value.isdecimal() and int(value) < NODATA_VALUE and name):
                raise JobError(
                    f"The class name {text!r} is malformed; write value=name, such as 1=vegetation."
                )
            if int(value) in named:
                raise JobError(f"The value {value} is named twice; name it once.")
            named[int(value)] = name
        return named

    def to_json(self) -> dict[str, Any]:
        """The job as plain JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> EvaluateJob:
        """Make a job from what `to_json` gave.

        Raises
        ------
        JobError
            If a field is unknown, missing, or of the wrong kind.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(content) - known)
        if unknown:
            raise JobError(f"The job has unknown fields: {', '.join(unknown)}.")
        content = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
        try:
            return cls(**content)
        except TypeError as error:
            raise JobError(f"The job is incomplete or malformed: {error}.") from error


def run_evaluate(job: EvaluateJob, progress: Progress) -> dict[str, Any]:
    """Compare; see the module. Not written yet."""
    raise NotImplementedError
