# SPDX-License-Identifier: GPL-2.0-or-later
"""A land-cover map by several models (`LandcoverJob`), and what came of it, as JSON both ways."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .crf_settings import CrfSettings
from .errors import JobError
from .fuse_job import (
    DEFAULT_METHOD,
    FuseResult,
    check_fusion_choice,
    named_outputs,
)
from .job import PRECISIONS, RUNTIMES
from .json_values import JsonJob
from .output_paths import check_paths
from .rasters.options import SourceOptions, check_nodata
from .refine_job import UNKNOWN, ClassChange

MAX_MAJORITY_RADIUS = 100

# Whether a dense CRF refines the map -> what it means, in a line.
CRF_CHOICES: dict[str, str] = {
    "models": "as the models' cards say: only where each was measured to gain by it",
    "no": "the map is left as it was fused",
    "default": "a dense CRF refines it",
}


@dataclass(frozen=True)
class LandcoverJob(JsonJob):
    """One land-cover map of one raster: models, their fusion, and its refinement in one pass.

    Parameters
    ----------
    input : str
        Any raster that GDAL opens.
    output : str
        The class raster to write: uint8, 0 = unknown, 255 = nodata.
    models : tuple of str
        Names from the model library, or paths of model folders or files.
    classes : tuple of str
        Names of the classes wanted, whichever model tells them; empty means all.
    bands : tuple of str
        Bands of the input (from 1) in the order of the models' bands: one list for all models,
        as ("3", "2", "1"), or one a model, as ("1,2,3", "4,3,2"); empty means the first ones.
    nodata : tuple of float
        Values that are no data, beside the file's own; see `rasters.options.SourceOptions`.
    crs : str, optional
        CRS of the input as WKT or "EPSG:n", where its file has none, or a wrong one.
    extent : tuple of float, optional
        xmin, ymin, xmax, ymax in the input's CRS; it is snapped outwards to the input's grid.
    aoi : str, optional
        A polygon layer; pixels whose centre lies outside become nodata.
    method, priority, thresholds, unknown_threshold
        How probabilities are fused; see `FuseJob`.
    crf : str
        A key of `CRF_CHOICES`: whether a dense CRF refines the fused classes by the image. It
        starts from the probabilities where the method is argmax, else from the classes.
    sxy, srgb, compat, sxy_gaussian, compat_gaussian, iterations, gt_prob
        Its parameters; see `CrfSettings`.
    unknown : str
        What becomes of the unknown where the CRF starts from classes: a key of
        `refine_job.UNKNOWN`.
    majority_radius : int
        Radius in px of the majority filter that comes last; 0 for none.
    switch_share : float
        Share of its pixels that a class may lose or gain by CRF and filter before a warning
        tells it.
    runtime, precision, tta
        How the models run; see `JobSpec`.
    block_size : int, optional
        Side in px of the square that a block writes.
    halo : int, optional
        Context in px around a block for each model; None takes the models' measured halos.
    probability, confidence, conflict, entropy : str, optional
        Rasters of the fusion, before it is refined; see `FuseJob`.
    probability_type : str
        "uint8" or "float32": the type of these, and that in which models hand theirs over.
    summary : str, optional
        HTML report to write; a quick look PNG comes beside it.
    resume : bool
        Take up the finished blocks of an interrupted run of the same job.
    """

    input: str
    output: str
    models: tuple[str, ...]
    classes: tuple[str, ...] = ()
    bands: tuple[str, ...] = ()
    extent: tuple[float, float, float, float] | None = None
    aoi: str | None = None
    method: str = DEFAULT_METHOD
    priority: tuple[str, ...] = ()
    thresholds: tuple[str, ...] = ()
    unknown_threshold: float | None = None
    crf: str = "models"
    sxy: float = CrfSettings.sxy
    srgb: float = CrfSettings.srgb
    compat: float = CrfSettings.compat
    sxy_gaussian: float = CrfSettings.sxy_gaussian
    compat_gaussian: float = CrfSettings.compat_gaussian
    iterations: int = CrfSettings.iterations
    gt_prob: float = CrfSettings.gt_prob
    unknown: str = "keep"
    majority_radius: int = 0
    switch_share: float = 0.5
    runtime: str = "auto"
    precision: str = "auto"
    tta: bool = False
    block_size: int | None = None
    halo: int | None = None
    probability: str | None = None
    confidence: str | None = None
    conflict: str | None = None
    entropy: str | None = None
    probability_type: str = "uint8"
    summary: str | None = None
    resume: bool = True
    nodata: tuple[float, ...] = ()
    crs: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no run could honour."""
        for name in ("input", "output", "models"):
            if not getattr(self, name):
                raise JobError(f"No {name} is given; name one.")
        for name in ("models", "classes"):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                raise JobError(f"{name.upper()} names one twice; name each once.")
        for what, value, allowed in (
            ("runtime", self.runtime, RUNTIMES),
            ("precision", self.precision, PRECISIONS),
            ("treatment of the unknown", self.unknown, tuple(UNKNOWN)),
            ("choice of a CRF", self.crf, tuple(CRF_CHOICES)),
        ):
            if value not in allowed:
                raise JobError(
                    f"The {what} must be one of {', '.join(allowed)}, but it is {value!r}."
                )
        check_fusion_choice(self)
        self._check_numbers()
        check_paths(self.outputs(), (self.input, self.aoi))
        check_nodata(self.nodata)
        self.band_lists()
        self.crf_settings()

    def _check_numbers(self) -> None:
        if self.block_size is not None and self.block_size < 1:
            raise JobError(f"block size must be 1 or more, but it is {self.block_size}.")
        if self.halo is not None and self.halo < 0:
            raise JobError(f"The halo must be 0 or more, but it is {self.halo}.")
        if not 0 <= self.majority_radius <= MAX_MAJORITY_RADIUS:
            raise JobError(
                f"The majority radius must lie from 0 to {MAX_MAJORITY_RADIUS} px, but it is "
                f"{self.majority_radius}."
            )
        if not self.switch_share > 0:
            raise JobError(f"SWITCH_SHARE must be more than 0, but it is {self.switch_share}.")
        if self.extent is not None:
            xmin, ymin, xmax, ymax = self.extent
            if not all(map(math.isfinite, self.extent)) or xmin >= xmax or ymin >= ymax:
                raise JobError(f"The extent is empty: xmin, ymin, xmax, ymax = {self.extent}.")

    def crf_settings(self) -> CrfSettings | None:
        """The parameters of the CRF; None without one, or where the models' cards decide."""
        settings = CrfSettings(
            sxy=self.sxy,
            srgb=self.srgb,
            compat=self.compat,
            sxy_gaussian=self.sxy_gaussian,
            compat_gaussian=self.compat_gaussian,
            iterations=self.iterations,
            gt_prob=self.gt_prob,
        )
        return settings if self.crf == "default" else None

    def source_options(self) -> SourceOptions:
        """How the input is to be read."""
        named = {band for bands in self.band_lists() for band in bands}
        return SourceOptions(self.nodata, self.crs, tuple(sorted(named)))

    def band_lists(self) -> tuple[tuple[int, ...], ...]:
        """Bands of each model; an empty list takes the first ones.

        Raises
        ------
        JobError
            If they are no bands, or the lists are not as many as the models.
        """
        lists = [[part.strip() for part in str(text).split(",")] for text in self.bands]
        if lists and all(len(found) == 1 for found in lists):
            lists = [[found[0] for found in lists]]  # one list, written one by one
        if not all(part.isdecimal() and int(part) > 0 for found in lists for part in found):
            raise JobError(
                f"BANDS {list(self.bands)} must be numbers from 1, one list for all models, or "
                "one a model, each separated by commas."
            )
        if len(lists) not in (0, 1, len(self.models)):
            raise JobError(
                f"BANDS has {len(lists)} lists for {len(self.models)} models; give one for all, "
                "or one each."
            )
        bands = [tuple(map(int, found)) for found in lists] or [()]
        return tuple(bands * len(self.models) if len(bands) == 1 else bands)

    def outputs(self) -> dict[str, str]:
        """Path of each file asked for, by output name."""
        return named_outputs(self)


@dataclass(frozen=True)
class LandcoverResult(FuseResult):
    """What a land-cover run made: a `FuseResult`, and how.

    Parameters
    ----------
    models : tuple of str
        Name and version of each model.
    model_sha256 : tuple of str
        Hash of the file that was run of each model.
    runtime, precision : str
        What predicted.
    networks : int
        Networks that were run: models with the same weights count as one.
    changed_share : float
        Share of the pixels with data whose class CRF and majority filter changed, 0-1.
    changes : tuple of ClassChange
        Every class before and after them; empty without either.
    """

    models: tuple[str, ...] = ()
    model_sha256: tuple[str, ...] = ()
    runtime: str = ""
    precision: str = ""
    networks: int = 0
    changed_share: float = 0.0
    changes: tuple[ClassChange, ...] = ()

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> LandcoverResult:
        """Make a result from what `to_json` gave."""
        found = FuseResult.from_json(
            {k: v for k, v in content.items() if k in FuseResult.__dataclass_fields__}
        )
        own = {k: content[k] for k in ("runtime", "precision", "networks", "changed_share")}
        changes = tuple(ClassChange(**change) for change in content["changes"])
        lists: dict[str, Any] = {k: tuple(content[k]) for k in ("models", "model_sha256")}
        return cls(**vars(found), **own, **lists, changes=changes)
