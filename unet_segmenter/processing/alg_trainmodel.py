# SPDX-License-Identifier: GPL-2.0-or-later
"""From a prepared data set to a model of the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputHtml,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
)

from ..engine.errors import InputError, JobError, RuntimeMissingError
from ..engine.name_lists import join_names
from ..engine.training_choices import AUTO, NONE, describe_dataset, or_none, yes_or_no
from . import settings
from . import training_parameters as its
from .area_of_interest import write_polygons
from .base_algorithm import EngineAlgorithm
from .label_layer import LabelLayer
from .layer_choices import layer_choices
from .parameters import class_entries, class_names, is_given, raster_path
from .worker_run import run_in_worker

_HELP = """
<p>Give an image and the polygons that you drew on it: blocks of the image are kept out of the
training, to validate and to test on, and their outlines are written beside the report, so that a
map can be judged there. Or give a data set that <i>Prepare a data set</i> made. Probabilities are
corrected and thresholds chosen on the validation images; the scores are those of the test images,
which decided nothing. The result is a model that <i>Segment an image</i> takes: weights to map with
and to train further, and a card with all that is to be known of it.</p>
<p>A page with curves and sample masks grows while it trains; its place is in the log, and the first
pictures come after half a minute. Every epoch is a line in the log, with the time that is left in
the progress.</p>
<p><b>Cancel</b> keeps the best weights so far and says where. The same run, with the same
parameters, goes on from there. It stops after the step under way: seconds, or half a minute with
large crops on a small computer.</p>
<p>It runs on the processor, and on a graphics card where TensorFlow finds one. Starting from a
model or from ImageNet's weights needs minutes to hours, starting from nothing much more.</p>
<p>The packages for it are more than mapping needs: run <i>Set up the environment</i> with
<i>Packages for training</i>.</p>
"""

# Parameter -> field of `TrainSpec`, for numbers that may be left to the preset.
_WHOLE = {
    its.EPOCHS: "epochs",
    its.STEPS: "steps",
    its.BATCH: "batch",
    its.SIZE: "size",
    its.SEED: "seed",
    its.WIDTH: "width",
    its.DEPTH: "depth",
    its.PATIENCE: "patience",
}
_REAL = {its.LEARNING_RATE: "rate", its.AVERAGING: "averaging", its.MINUTES: "minutes"}
_CHOICES = {
    its.LOSS: "loss",
    its.OPTIMIZER: "optimizer",
    its.SCHEDULE: "schedule",
    its.PRECISION: "precision",
}
_TEXTS = {
    its.ENCODER: "encoder",
    its.MODEL_TITLE: "title",
    its.DESCRIPTION: "description",
    its.LICENSE: "license",
    its.CITATION: "citation",
}


class TrainModelAlgorithm(EngineAlgorithm):
    """Turns its parameters into a training that a worker process does."""

    NAME = "trainmodel"
    TITLE = "Train a model"
    SUMMARY_LINE = "Trains a U-Net on your image and polygons, or on a prepared data set."
    HELP = _HELP
    GROUP = "Training"
    TAGS = (
        *("training", "transfer learning", "fine-tuning", "hot start", "deep learning", "u-net"),
        *("neural network", "tensorflow", "keras", "semantic segmentation"),
    )

    def __init__(self) -> None:
        super().__init__()
        self._made: Path | None = None
        self._image = ""
        self._labels = LabelLayer(self, its.POLYGONS, its.FIELD, field_needed=False)

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        its.declare(self)
        self.addOutput(QgsProcessingOutputHtml("REPORT", "Report"))
        self.addOutput(QgsProcessingOutputString("MODEL_NAME", "Name of the model"))
        self.addOutput(
            QgsProcessingOutputNumber("MEAN_IOU", "Mean IoU on the images held out, 0 to 1")
        )

    def canExecute(self) -> tuple[bool, str]:
        problem = settings.why_not_train()
        return not problem, problem

    def check(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        self._check_source(parameters, context)
        self._start(parameters, context)
        for name in (its.ENCODER, its.START_FILE):
            if name != its.ENCODER or parameters.get(name) != its.NO_ENCODER:
                self._existing(parameters, name, context)
        self._name(parameters, context)

    def prepare(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        problem = settings.why_not_train()
        if problem:
            raise RuntimeMissingError(problem)
        self._check_source(parameters, context)
        if is_given(parameters, its.IMAGE):
            layer = self.parameterAsRasterLayer(parameters, its.IMAGE, context)
            self._image, self.crs = raster_path(layer, its.IMAGE), layer.crs()

    def work(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        values = self._values(parameters, context)
        if self._image:
            values |= self._image_values(parameters, context, feedback)
        result = run_in_worker("train", values, feedback)
        self._made = Path(result["model_folder"])
        return {
            its.OUTPUT: result["model_folder"],
            "REPORT": result["report"],
            "MODEL_NAME": self._made.name,
            "MEAN_IOU": result["metrics"].get("mean_iou"),
        }

    def postProcessAlgorithm(
        self, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Let 'Segment an image' offer the model, where it lies in a folder of the library."""
        if self._made is not None and self._made.parent in settings.library().folders:
            provider = QgsApplication.processingRegistry().providerById("unet_segmenter")
            if provider is not None:
                provider.refreshAlgorithms()
        return {}

    def _values(self, parameters: dict[str, Any], context: QgsProcessingContext) -> dict[str, Any]:
        """The parameters in the words of `TrainSpec`."""

        def text(name: str) -> str:
            return str(self.parameterAsString(parameters, name, context) or "").strip()

        def choice(name: str) -> str:
            return str(self.parameterAsEnumString(parameters, name, context))

        def flag(name: str) -> bool:
            return bool(self.parameterAsBool(parameters, name, context))

        values: dict[str, Any] = {
            "dataset": text(its.DATASET),
            "output": str(self._output(parameters, context)),
            "preset": or_none(choice(its.PRESET)) or "",
            "classes": list(class_names(self, parameters, its.CLASSES, context)),
            "head": choice(its.HEAD),
            "start": self._start(parameters, context),
            "freeze": text(its.FREEZE) or "none",
            "dropout": self.parameterAsDouble(parameters, its.DROPOUT, context),
            "half": flag(its.HALF) or None,  # a dialog says no for a box that was not ticked
            "augment": yes_or_no(choice(its.AUGMENT), its.AUGMENT),
            "class_weights": list(class_entries(self, parameters, its.CLASS_WEIGHTS, context)),
            "calibration": choice(its.CALIBRATION),
            "threshold": choice(its.THRESHOLD),
            "all_samples": flag(its.ALL_SAMPLES),
            "tensorboard": flag(its.TENSORBOARD),
        }
        values |= {field: text(name) for name, field in _TEXTS.items()}
        values |= {field: or_none(choice(name)) for name, field in _CHOICES.items()}
        for name, field in {**_WHOLE, **_REAL}.items():
            if is_given(parameters, name):
                number = self.parameterAsDouble(parameters, name, context)
                values[field] = int(number) if name in _WHOLE else number
        if its.MINUTES not in parameters and not is_given(parameters, its.EPOCHS):
            values["minutes"] = self.parameterAsDouble(parameters, its.MINUTES, context)
        return values

    def _image_values(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        """What is labelled in the image."""
        how = self.source_values(parameters, context)
        labels, field = self._labels.as_file(parameters, self.crs, context, feedback)
        areas = ""
        bands: list[int] = []
        if is_given(parameters, its.AREAS):
            source = self.parameterAsSource(parameters, its.AREAS, context)
            areas = write_polygons(source, self.crs, context, feedback, name=its.AREAS)
        if is_given(parameters, its.BANDS):
            bands = [int(band) for band in self.parameterAsInts(parameters, its.BANDS, context)]
        return {
            "image": self._image,
            "polygons": labels,
            "field": field or "",
            "samples": self.parameterAsEnumString(parameters, its.SAMPLES, context) or AUTO,
            "areas": areas,
            "bands": bands,
            "nodata": how["nodata"],
            "crs": how["crs"] or "",
        }

    def _check_source(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        image, dataset = (is_given(parameters, name) for name in (its.IMAGE, its.DATASET))
        if image == dataset:
            raise InputError(
                "Give an IMAGE with its POLYGONS, or a prepared DATASET"
                + (", not both." if image else ".")
            )
        if dataset:
            self._check_classes(parameters, context)
            return
        if not is_given(parameters, its.POLYGONS):
            raise InputError("IMAGE needs POLYGONS that say what is what in it.")
        layer = self.parameterAsRasterLayer(parameters, its.IMAGE, context)
        self.choices = layer_choices(layer, its.IMAGE, raster_path(layer, its.IMAGE))
        self._labels.check(parameters, context)

    def _check_classes(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        folder = Path(self.parameterAsFile(parameters, its.DATASET, context))
        known = [one["name"] for one in describe_dataset(folder)["classes"]]
        for name in class_names(self, parameters, its.CLASSES, context):
            if name not in known:
                raise InputError(
                    f"CLASSES: the data set has no class {name!r}; it has {join_names(known)}."
                )

    def _start(self, parameters: dict[str, Any], context: QgsProcessingContext) -> str:
        """Path of the model to start from; "auto" for the default, or an empty text for none."""
        if is_given(parameters, its.START_FILE):
            return str(self._existing(parameters, its.START_FILE, context))
        name = self.parameterAsEnumString(parameters, its.START, context)
        if not name or name == NONE:
            return ""
        if name == AUTO:
            return AUTO
        return str(settings.library().load(name).folder)

    def _existing(
        self, parameters: dict[str, Any], name: str, context: QgsProcessingContext
    ) -> Path | None:
        if not is_given(parameters, name):
            return None
        path = Path(self.parameterAsFile(parameters, name, context))
        if not path.exists():
            raise InputError(f"{name}: there is no file or folder {path}.")
        return path.absolute()

    def _name(self, parameters: dict[str, Any], context: QgsProcessingContext) -> str:
        name = str(self.parameterAsString(parameters, its.NAME, context) or "").strip()
        if name in (".", "..") or any(letter in name for letter in '/\\:*?"<>|'):
            raise JobError(f"NAME {name!r} is no name of a folder; use letters and digits.")
        return name

    def _output(self, parameters: dict[str, Any], context: QgsProcessingContext) -> Path:
        """Folder of the model."""
        folder = Path(self.parameterAsString(parameters, its.OUTPUT, context)).absolute()
        return folder / self._name(parameters, context)
