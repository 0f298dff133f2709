# SPDX-License-Identifier: GPL-2.0-or-later
"""What to compare (`EvaluateJob`) and what came of it (`EvaluateResult`), as JSON both ways."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import JobError
from .json_values import JsonJob, JsonValues
from .metrics import BOUNDARY_TOLERANCE
from .model_card import NODATA_VALUE
from .name_lists import split_pair
from .output_paths import check_paths
from .rasters.options import check_nodata


@dataclass(frozen=True)
class EvaluateJob(JsonJob):
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
    nodata : tuple of float
        Values of the input that are no class, beside the file's own nodata.
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
    nodata: tuple[float, ...] = ()

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
        check_nodata(self.nodata)
        check_paths(self.outputs(), (self.input, self.reference, self.aoi))

    def outputs(self) -> dict[str, str]:
        """Path of each file asked for, by output name."""
        named = {"HTML": self.html, "CSV": self.csv, "JSON": self.json}
        return {name: path for name, path in named.items() if path}

    def names(self) -> dict[int, str]:
        """The class names given, by value."""
        named: dict[int, str] = {}
        for place, text in enumerate(self.class_names, 1):
            value, name = split_pair(text)
            value = str(place) if value is None else value
            if not (value.isdecimal() and int(value) < NODATA_VALUE and name):
                raise JobError(
                    f"The class name {text!r} is malformed; write value=name, such as 1=vegetation."
                )
            if int(value) in named:
                raise JobError(f"The value {value} is named twice; name it once.")
            named[int(value)] = name
        return named


@dataclass(frozen=True)
class ClassScores:
    """How well one class was found; None where a score is not defined.

    Parameters
    ----------
    value, name, color
        The class.
    iou, dice, precision, recall, f1, boundary_f1 : float, optional
        Scores, 0-1; that of the boundary within the tolerance.
    true_pixels, claimed_pixels, unmapped_pixels : int
        Pixels of the class in the reference, in the input, and in the reference where the input
        has nodata; these do not count in the scores.
    """

    value: int
    name: str
    color: str
    iou: float | None
    dice: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    boundary_f1: float | None
    true_pixels: int
    claimed_pixels: int
    unmapped_pixels: int


@dataclass(frozen=True)
class EvaluateResult(JsonValues):
    """How far the raster agrees with its reference; None where a number is not defined.

    Parameters
    ----------
    pixels, unmapped_pixels : int
        Pixels that were compared, and those of the reference where the input has nodata.
    mean_iou, mean_dice, mean_boundary_f1 : float, optional
        Over the classes that the reference holds.
    overall_accuracy, frequency_weighted_iou, mcc : float, optional
        Of all classes together.
    classes : tuple of ClassScores
        Those that the input or the reference holds, by value.
    confusion : tuple of tuple of int
        Pixels by truth (row) and claim (column), in the order of the classes.
    outputs : dict
        Path by name (HTML, CSV, JSON) of what was written.
    warnings : tuple of str
        What the reader of the numbers should know.
    """

    pixels: int
    unmapped_pixels: int
    mean_iou: float | None
    mean_dice: float | None
    mean_boundary_f1: float | None
    overall_accuracy: float | None
    frequency_weighted_iou: float | None
    mcc: float | None
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    tolerance: int
    outputs: dict[str, str]
    warnings: tuple[str, ...] = ()
