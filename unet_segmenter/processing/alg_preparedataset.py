# SPDX-License-Identifier: GPL-2.0-or-later
"""From labelled images to a data set that can be trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputFile,
    QgsProcessingOutputHtml,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
)

from ..engine import spec_texts
from ..engine.errors import InputError
from ..engine.name_lists import join_names
from ..engine.training_choices import AUTO, READERS
from . import dataset_parameters as its
from .area_of_interest import write_polygons
from .base_algorithm import EngineAlgorithm
from .label_layer import LabelLayer
from .layer_choices import layer_choices
from .parameters import is_given, raster_path
from .worker_run import run_in_worker

_HELP = """
<p>Makes the folder that <i>Train a model</i> takes: images and masks in pairs, a split into
training, validation and test, a sheet of samples with masks drawn over them, and a report.</p>
<p><b>raster</b>: an image such as your orthophoto, with polygons or a class raster; it is cut into
chips. <b>folders</b>: images and masks of the same names. <b>aeroscapes</b> and
<b>semantic-drone</b>: those data sets in their published layouts.</p>
<p>What a model scores is worth something only where it has not been trained, so neighbours stay
together: blocks of a raster, frames of a sequence or site, clusters of similar images. How much
training and validation still share is measured, and given in the report.</p>
<p>Masks are never blended: where images are scaled, masks take the nearest pixel.</p>
"""


class PrepareDatasetAlgorithm(EngineAlgorithm):
    """Turns its parameters into a preparation that a worker process does."""

    NAME = "preparedataset"
    TITLE = "Prepare a data set"
    SUMMARY_LINE = "Makes a data set for training from labelled images, with a split that is fair."
    HELP = _HELP
    GROUP = "Training"
    TAGS = (
        *("training", "data set", "chips", "tiles", "labels", "masks", "split", "deep learning"),
        *("aeroscapes", "semantic drone", "polygons", "orthophoto"),
    )

    def __init__(self) -> None:
        super().__init__()
        self._raster = ""
        self._labels = LabelLayer(self, its.LABELS, its.FIELD, field_needed=False)

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        its.declare(self)
        self._add_outputs()

    def _add_outputs(self) -> None:
        self.addOutput(QgsProcessingOutputHtml("REPORT", "Report"))
        self.addOutput(QgsProcessingOutputFile("SHEET", "Sheet of samples with their masks"))
        self.addOutput(QgsProcessingOutputString("CLASS_NAMES", "Classes, in the model's order"))
        for name, title in (
            ("SAMPLES", "Samples"),
            ("TRAIN", "Samples to train on"),
            ("VALIDATION", "Samples to validate on"),
            ("TEST", "Samples to test on"),
            ("LEAK_SHARE", "Share of validation and test with a look-alike in training, 0 to 1"),
        ):
            self.addOutput(QgsProcessingOutputNumber(name, title))

    def check(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        self._check_source(parameters, context)
        spec_texts.fractions(self.parameterAsString(parameters, its.FRACTIONS, context))
        spec_texts.size(self.parameterAsString(parameters, its.SIZE, context))
        super().check(parameters, context)

    def _check_source(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        source = self.parameterAsEnumString(parameters, its.SOURCE, context)
        if source == its.GEO:
            for name, what in (
                (its.RASTER, "an image"),
                (its.LABELS, "polygons or a class raster"),
            ):
                if not is_given(parameters, name):
                    raise InputError(f"SOURCE raster needs {what} in {name}.")
            layer = self.parameterAsRasterLayer(parameters, its.RASTER, context)
            path = raster_path(layer, its.RASTER)
            self.choices = layer_choices(layer, its.RASTER, path)
            self._labels.check(parameters, context)
            return
        if not is_given(parameters, its.DATA):
            raise InputError(f"SOURCE {source} needs the folder of the data set in {its.DATA}.")
        folder = Path(self.parameterAsFile(parameters, its.DATA, context))
        if not folder.is_dir():
            raise InputError(f"{its.DATA}: there is no folder {folder}.")

    def prepare(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        super().prepare(parameters, context)
        self._check_source(parameters, context)
        if self.parameterAsEnumString(parameters, its.SOURCE, context) == its.GEO:
            layer = self.parameterAsRasterLayer(parameters, its.RASTER, context)
            self._raster, self.crs = raster_path(layer, its.RASTER), layer.crs()

    def work(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        values = self._values(parameters, context)
        if values["reader"] == "geo":
            values |= self._geo_values(parameters, context, feedback)
        result = run_in_worker("prepare", values, feedback)
        feedback.pushInfo(f"Check the report before you train: {result['report']}")
        return {
            its.OUTPUT: result["folder"],
            "REPORT": result["report"],
            "SHEET": result["sheet"],
            "CLASS_NAMES": join_names(result["classes"], ","),
            "SAMPLES": result["samples"],
            **{side.upper(): count for side, count in result["sides"].items()},
            "LEAK_SHARE": result["leak"].get("share"),
        }

    def _values(self, parameters: dict[str, Any], context: QgsProcessingContext) -> dict[str, Any]:
        """What all sources share, in the words of `PrepareSpec`."""

        def text(name: str) -> str:
            return str(self.parameterAsString(parameters, name, context) or "").strip()

        def number(name: str) -> float:
            return float(self.parameterAsDouble(parameters, name, context))

        source = self.parameterAsEnumString(parameters, its.SOURCE, context)
        split = self.parameterAsEnumString(parameters, its.SPLIT, context)
        return {
            "reader": READERS[source],
            "source": text(its.DATA),
            "output": self.parameterAsString(parameters, its.OUTPUT, context),
            "labels": text(its.MASKS) if source == "folders" else "",
            "palette": text(its.PALETTE),
            "label_table": text(its.LABEL_TABLE),
            "only": text(its.ONLY),
            "classes": list(spec_texts.class_groups(text(its.CLASSES))),
            "ignore": list(spec_texts.names(text(its.IGNORE))),
            "split": "" if split == AUTO else split,
            "fractions": list(spec_texts.fractions(text(its.FRACTIONS))),
            "lists": list(spec_texts.words(text(its.LISTS))),
            "groups": text(its.GROUPS),
            "scale": number(its.SCALE),
            "size": list(spec_texts.size(text(its.SIZE))),
            "min_labelled": number(its.MIN_LABELLED),
            "min_positive": number(its.MIN_POSITIVE),
            "seed": int(number(its.SEED)),
            "gsd": number(its.GSD) if is_given(parameters, its.GSD) else None,
            "title": text(its.DATASET_TITLE),
            "license": text(its.LICENSE),
            "citation": text(its.CITATION),
            "overwrite": self.parameterAsBool(parameters, its.OVERWRITE, context),
        }

    def _geo_values(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        """What a raster with labels has beyond that."""

        def whole(name: str) -> int:
            return int(self.parameterAsInt(parameters, name, context))

        source = self.source_values(parameters, context)
        labels, field = self._labels.as_file(parameters, self.crs, context, feedback)
        areas = ""
        if is_given(parameters, its.AREAS):
            drawn = self.parameterAsSource(parameters, its.AREAS, context)
            areas = write_polygons(drawn, self.crs, context, feedback, name=its.AREAS)
        bands = (
            self.parameterAsInts(parameters, its.BANDS, context)
            if is_given(parameters, its.BANDS)
            else []
        )
        return {
            "source": self._raster,
            "labels": labels,
            "field": field or "",
            "areas": areas,
            "samples": self.parameterAsEnumString(parameters, its.SAMPLES, context) or AUTO,
            "bands": [int(band) for band in bands],
            "nodata": source["nodata"],
            "crs": source["crs"] or "",
            "chip": whole(its.CHIP_SIZE),
            "overlap": whole(its.OVERLAP),
            "block": whole(its.SPLIT_BLOCK) if is_given(parameters, its.SPLIT_BLOCK) else 0,
            "gap": whole(its.GAP),
        }
