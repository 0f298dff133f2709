# SPDX-License-Identifier: GPL-2.0-or-later
"""One model over one raster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingUtils,
)

from ..engine.errors import SegmenterError
from ..engine.job import PRECISIONS, PROBABILITY_TYPES, RUNTIMES, JobResult, JobSpec
from ..runners.worker_process import WorkerProcess
from . import settings
from .area_of_interest import write_polygons
from .base_algorithm import EngineAlgorithm
from .compat import DOUBLE, INTEGER, VECTOR_POLYGON
from .feedback import FeedbackProgress
from .parameters import (
    MODEL_FILE_HELP,
    MODEL_HELP,
    NODATA_HELP,
    check_bands,
    class_names,
    is_given,
    model_card,
    model_enum,
    model_file,
    model_reference,
    nodata_parameter,
    static_enum,
    without_unused_model,
)
from .style import MaskStyle, ShareStyle, style_on_load

INPUT = "INPUT"
CLASSES = "CLASSES"
BANDS = "BANDS"
EXTENT = "EXTENT"
AOI = "AOI"
THRESHOLD = "THRESHOLD"
RUNTIME = "RUNTIME"
PRECISION = "PRECISION"
TTA = "TTA"
BLOCK_SIZE = "BLOCK_SIZE"
BATCH = "BATCH"
PROBABILITY_TYPE = "PROBABILITY_TYPE"
OUTPUT = "OUTPUT"
PROBABILITY = "PROBABILITY"
CONFIDENCE = "CONFIDENCE"
SUMMARY = "SUMMARY"

_HELP = """
<p>The map has the grid of the input: its CRS, its size, its geotransform. With several classes a
pixel holds the number of its class, and 0 where no class reaches its threshold; with one class
it holds 1 for the class and 0 for the rest. Pixels without data are 255.</p>
<p>The image is cut into blocks that overlap by the context that the model needs, so the map has no
seams and needs no more memory for a larger image. A run that was interrupted goes on where it
stopped when you start it again with the same parameters and the same output.</p>
<p>The calculation runs outside QGIS, in the environment that the algorithm
<i>Set up the environment</i> makes. Nothing leaves your computer.</p>
<p>A model sees what it was trained for. Run <i>Model information</i> to read which classes,
bands and ground sampling distances that are, and how well it did.</p>
"""


class SegmentAlgorithm(EngineAlgorithm):
    """Turns its parameters into a `JobSpec` and lets a worker process do it."""

    NAME = "segment"
    TITLE = "Segment an image"
    SUMMARY_LINE = (
        "Maps land cover, such as vegetation or roads, in a drone or aerial image with a U-Net."
    )
    HELP = _HELP
    RASTERS = (INPUT,)
    HONOURS_CHOICES = True
    TAGS = (
        *("land cover", "vegetation", "classification", "semantic segmentation", "deep learning"),
        *("u-net", "neural network", "mask", "drone", "uav", "aerial", "orthophoto", "onnx"),
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self._add_what()
        self._add_where()
        self._add_how()
        self._add_outputs()

    def _add_what(self) -> None:
        self.add(
            QgsProcessingParameterRasterLayer(INPUT, "Image"),
            "The image to map: any raster file that GDAL opens. Web services are not files: save "
            "the part that you need first.",
        )
        self.add(model_enum(), MODEL_HELP)
        self.add(model_file(), MODEL_FILE_HELP)
        self.add(
            QgsProcessingParameterString(
                CLASSES, "Classes, separated by commas (empty: all)", None, False, True
            ),
            f"Names of the classes to map. One class gives a binary mask. {_classes_of_models()}",
        )
        self.add(
            QgsProcessingParameterBand(
                BANDS, "Bands in the model's order (empty: the first ones)", None, INPUT, True, True
            ),
            "The bands of the image that hold what the model expects, in the model's order, such "
            "as red, green, blue. Empty takes the first ones.",
        )

    def _add_where(self) -> None:
        self.add(nodata_parameter(), NODATA_HELP)
        self.add(
            QgsProcessingParameterExtent(EXTENT, "Extent (empty: the whole image)", None, True),
            "Maps only this part, in any CRS. It is widened to whole pixels of the image.",
        )
        self.add(
            QgsProcessingParameterFeatureSource(
                AOI, "Area of interest", [VECTOR_POLYGON], None, True
            ),
            "Polygons: pixels whose centre lies outside them have no data in the map, and blocks "
            "outside them are not calculated.",
        )

    def _add_how(self) -> None:
        self.add(
            QgsProcessingParameterNumber(
                THRESHOLD, "Threshold (empty: the model's)", DOUBLE, None, True, 0.0, 1.0
            ),
            "The probability, 0 to 1, from which a pixel belongs to a class. Higher gives fewer, "
            "surer pixels. Empty takes the one that suits the model best.",
        )
        self.add(
            static_enum(RUNTIME, "Runtime", list(RUNTIMES), "auto"),
            "The library that runs the model. auto takes the fastest that is installed.",
        )
        self.add(
            static_enum(PRECISION, "Precision", list(PRECISIONS), "auto"),
            "The numbers that the model calculates with. auto takes bf16 where the processor is "
            "fast at it and the model was measured to give the same masks, and f32 elsewhere.",
        )
        self.add(
            QgsProcessingParameterBoolean(TTA, "Test-time augmentation (four times slower)", False),
            "Averages the model's answers to the image and its mirror images. Often a little "
            "better, always four times slower.",
        )
        self.add(
            QgsProcessingParameterNumber(
                BLOCK_SIZE, "Block size in pixels", INTEGER, None, True, 16
            ),
            "The side of the squares that the image is cut into. Smaller needs less memory, "
            "larger is faster. Empty suits most computers. The map is the same.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(BATCH, "Blocks in one batch", INTEGER, None, True, 1),
            "How many blocks the model is given at once. Only graphics cards gain by more than "
            "one. The map is the same.",
            advanced=True,
        )
        self.add(
            static_enum(
                PROBABILITY_TYPE, "Type of the probabilities", list(PROBABILITY_TYPES), "uint8"
            ),
            "uint8 stores probabilities and confidences in steps of 1/254 in one byte, with the "
            "scale in the file; float32 stores them as they are in four.",
            advanced=True,
        )

    def _add_outputs(self) -> None:
        self.add(
            QgsProcessingParameterRasterDestination(OUTPUT, "Mask"),
            "The map: a GeoTIFF of class numbers with the model's colours and class names.",
        )
        self.add(
            QgsProcessingParameterRasterDestination(
                PROBABILITY, "Probabilities", None, True, False
            ),
            "The probability of each class, 0 to 1, in a band a class.",
        )
        self.add(
            QgsProcessingParameterRasterDestination(CONFIDENCE, "Confidence", None, True, False),
            "How far each pixel's decision is from another one, 0 to 1.",
        )
        self.add(
            QgsProcessingParameterFileDestination(
                SUMMARY, "Summary", "HTML files (*.html *.HTML)", None, True, True
            ),
            "A page with the area of each class, a quick look, the parameters and the warnings.",
        )
        self.addOutput(QgsProcessingOutputNumber("PIXELS", "Pixels of the map"))
        self.addOutput(QgsProcessingOutputNumber("NODATA_PIXELS", "Pixels without data"))
        self.addOutput(QgsProcessingOutputNumber("BLOCKS", "Blocks"))
        self.addOutput(QgsProcessingOutputNumber("SECONDS", "Duration in seconds"))
        self.addOutput(QgsProcessingOutputString("RUNTIME_USED", "Runtime that was used"))
        self.addOutput(QgsProcessingOutputString("PRECISION_USED", "Precision that was used"))

    def checkParameterValues(
        self, parameters: dict[str, Any], context: QgsProcessingContext
    ) -> tuple[bool, str]:
        return super().checkParameterValues(without_unused_model(parameters), context)

    def check(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        card = model_card(model_reference(self, parameters, context))
        if card:
            card.select(class_names(self, parameters, CLASSES, context))
            check_bands(self._bands(parameters, context), card)
        super().check(parameters, context)

    def work(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        job = self._job(parameters, context, feedback)
        python = settings.environment().require()
        worker = WorkerProcess(python, job, variables=settings.worker_variables())
        result: JobResult = worker.run(FeedbackProgress(feedback))
        _style(result, context)
        return {
            **{name: path for name, path in result.outputs.items() if name in job.outputs()},
            "PIXELS": result.pixels,
            "NODATA_PIXELS": result.nodata_pixels,
            "BLOCKS": result.blocks,
            "SECONDS": round(result.seconds, 3),
            "RUNTIME_USED": result.runtime,
            "PRECISION_USED": result.precision,
        }

    def _job(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> JobSpec:
        """The job that the parameters describe."""

        def number(name: str) -> float | None:
            given = is_given(parameters, name)
            return self.parameterAsDouble(parameters, name, context) if given else None

        block_size, batch = number(BLOCK_SIZE), number(BATCH)
        source = self.source_values(parameters, context)
        output = self.parameterAsOutputLayer(parameters, OUTPUT, context)
        return JobSpec(
            input=self.paths[INPUT],
            output=output,
            model=model_reference(self, parameters, context),
            classes=class_names(self, parameters, CLASSES, context),
            bands=tuple(self._bands(parameters, context)),
            nodata=tuple(source["nodata"]),
            crs=source["crs"],
            extent=self._extent(parameters, context),
            aoi=self._area(parameters, context, feedback),
            threshold=number(THRESHOLD),
            runtime=self.parameterAsEnumString(parameters, RUNTIME, context),
            precision=self.parameterAsEnumString(parameters, PRECISION, context),
            tta=self.parameterAsBool(parameters, TTA, context),
            block_size=None if block_size is None else int(block_size),
            batch=None if batch is None else int(batch),
            probability=self._raster(parameters, PROBABILITY, context),
            probability_type=self.parameterAsEnumString(parameters, PROBABILITY_TYPE, context),
            confidence=self._raster(parameters, CONFIDENCE, context),
            summary=self.parameterAsFileOutput(parameters, SUMMARY, context) or None,
            resume=not _is_temporary(output),
        )

    def _bands(self, parameters: dict[str, Any], context: QgsProcessingContext) -> list[int]:
        if not is_given(parameters, BANDS):
            return []
        return [int(band) for band in self.parameterAsInts(parameters, BANDS, context)]

    def _extent(
        self, parameters: dict[str, Any], context: QgsProcessingContext
    ) -> tuple[float, float, float, float] | None:
        if not is_given(parameters, EXTENT):
            return None
        box = self.parameterAsExtent(parameters, EXTENT, context, self.crs)
        return box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()

    def _area(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> str | None:
        if not is_given(parameters, AOI):
            return None
        source = self.parameterAsSource(parameters, AOI, context)
        if source is None:
            raise QgsProcessingException(self.invalidSourceError(parameters, AOI))
        return write_polygons(source, self.crs, context, feedback)

    def _raster(
        self, parameters: dict[str, Any], name: str, context: QgsProcessingContext
    ) -> str | None:
        if not is_given(parameters, name):
            return None
        return self.parameterAsOutputLayer(parameters, name, context) or None


def _style(result: JobResult, context: QgsProcessingContext) -> None:
    """Let the results be styled as they are loaded."""
    outputs = result.outputs
    style_on_load(context, outputs[OUTPUT], MaskStyle(result.areas))
    if PROBABILITY in outputs:
        first = next((c.color for c in result.areas if c.value != 0), None)
        style_on_load(context, outputs[PROBABILITY], ShareStyle(first))
    if CONFIDENCE in outputs:
        style_on_load(context, outputs[CONFIDENCE], ShareStyle())


def _is_temporary(path: str) -> bool:
    """Whether Processing chose the path: no later run can have the same, so none can resume."""
    return Path(QgsProcessingUtils.tempFolder()) in Path(path).parents


def _classes_of_models() -> str:
    """Which classes the models of the library have."""
    library = settings.library()
    told = []
    for name in library.names():
        try:
            classes = library.load(name).classes
        except SegmenterError:
            continue
        told.append(f"{name} has: {', '.join(c.name for c in classes)}.")
    return " ".join(told)
