# SPDX-License-Identifier: GPL-2.0-or-later
"""Several models over one raster, fused and refined."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from ..engine.crf_settings import CrfSettings
from ..engine.errors import JobError, ModelError
from ..engine.job import PRECISIONS, RUNTIMES
from ..engine.landcover_job import CRF_CHOICES, MAX_MAJORITY_RADIUS
from ..engine.model_library import DEFAULT_MODEL
from ..engine.refine_job import UNKNOWN as UNKNOWN_CHOICES
from ..engine.spec_texts import names
from . import settings
from .alg_refine import CRF_NUMBERS
from .area_of_interest import write_polygons
from .compat import DOUBLE, INTEGER, VECTOR_POLYGON
from .fusion_parameters import FusionAlgorithm
from .parameters import (
    NODATA_HELP,
    class_names,
    is_given,
    model_card,
    nodata_parameter,
    static_enum,
)
from .worker_run import run_in_worker

INPUT = "INPUT"
MODELS = "MODELS"
MODEL_FILES = "MODEL_FILES"
CLASSES = "CLASSES"
BANDS = "BANDS"
EXTENT = "EXTENT"
AOI = "AOI"
CRF = "CRF"
MAJORITY_RADIUS = "MAJORITY_RADIUS"
UNKNOWN = "UNKNOWN"
SWITCH_SHARE = "SWITCH_SHARE"
RUNTIME = "RUNTIME"
PRECISION = "PRECISION"
TTA = "TTA"

_HELP = """
<p>Runs several models, each of which may map one class against the rest, or one model with several
classes; decides for one class a pixel; and, if you ask for it, refines the map by a dense CRF,
which moves boundaries to where the image has them, and by a majority filter. All of it happens
block by block in one pass, so the map needs no more memory for a larger image and has no
seams. It equals <i>Segment an image</i>, <i>Fuse probabilities</i>, the CRF and the majority filter
run one after the other.</p>
<p>Where no class is probable enough the pixel is unknown, 0. Classes of one name are one class,
whichever model maps them: the highest of their probabilities counts. Models with the same weights
are run once.</p>
<p>A run that was interrupted goes on where it stopped when you start it again with the same
parameters and the same output. The calculation runs outside QGIS, in the environment that the
algorithm <i>Set up the environment</i> makes. Nothing leaves your computer.</p>
"""


class LandcoverAlgorithm(FusionAlgorithm):
    """Turns its parameters into a land-cover run that a worker process does."""

    NAME = "landcover"
    TITLE = "Map land cover"
    SUMMARY_LINE = "Maps land cover in a drone or aerial image with several U-Nets in one pass."
    HELP = _HELP
    RASTERS = (INPUT,)
    HONOURS_CHOICES = True
    TAGS = (
        *("land cover", "classification", "multiclass", "one-vs-rest", "crf", "majority filter"),
        *("deep learning", "u-net", "semantic segmentation", "drone", "uav", "aerial"),
    )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        self._add_what()
        self.add_rules()
        self._add_refinement()
        self._add_how()
        self.add_advanced()
        self.add_outputs()
        self.addOutput(
            QgsProcessingOutputNumber("CHANGED_SHARE", "Share that CRF and filter changed, 0 to 1")
        )
        self.addOutput(QgsProcessingOutputString("RUNTIME_USED", "Runtime that was used"))
        self.addOutput(QgsProcessingOutputString("PRECISION_USED", "Precision that was used"))

    def _add_what(self) -> None:
        self.add(
            QgsProcessingParameterRasterLayer(INPUT, "Image"),
            "The image to map: any raster file that GDAL opens.",
        )
        names = settings.library().names()
        default = [DEFAULT_MODEL] if DEFAULT_MODEL in names else names[:1]
        self.add(
            QgsProcessingParameterEnum(MODELS, "Models", names, True, default, True, True),
            "Models of the library, by name. Each adds its classes.",
        )
        self.add(
            QgsProcessingParameterString(
                MODEL_FILES, "Model files or folders, separated by semicolons", None, False, True
            ),
            "Models that are not in the library: their folders, or ONNX or Keras files. They come "
            "after MODELS.",
        )
        self.add(
            QgsProcessingParameterString(
                CLASSES, "Classes, separated by commas (empty: all)", None, False, True
            ),
            "Names of the classes to map, whichever model maps them.",
        )
        self.add(
            QgsProcessingParameterString(
                BANDS, "Bands in the models' order (empty: the first ones)", None, False, True
            ),
            "Bands of the image for all models, such as 3,2,1; or a list a model, separated by "
            "semicolons, such as 1,2,3; 4,3,2.",
        )
        self.add(nodata_parameter(), NODATA_HELP)
        self.add(
            QgsProcessingParameterExtent(EXTENT, "Extent (empty: the whole image)", None, True),
            "Maps only this part, in any CRS. It is widened to whole pixels of the image.",
        )
        self.add(
            QgsProcessingParameterFeatureSource(
                AOI, "Area of interest", [VECTOR_POLYGON], None, True
            ),
            "Polygons: pixels whose centre lies outside them have no data in the map.",
        )

    def _add_refinement(self) -> None:
        choices = "; ".join(f"{name}: {text}" for name, text in CRF_CHOICES.items())
        self.add(
            static_enum(CRF, "Refinement by a dense CRF", list(CRF_CHOICES), "models"),
            f"Moves boundaries to where the image has them and removes specks. Slower. {choices}.",
        )
        self.add(
            QgsProcessingParameterNumber(
                MAJORITY_RADIUS, "Radius of the majority filter in pixels", INTEGER, 0, True, 0,
                MAX_MAJORITY_RADIUS,
            ),
            "Gives each pixel the most frequent class of the disk around it, at last. 0 for none.",
        )  # fmt: skip
        told = "; ".join(f"{name}: {text}" for name, text in UNKNOWN_CHOICES.items())
        self.add(
            static_enum(UNKNOWN, "CRF: the unknown", list(UNKNOWN_CHOICES), "keep"),
            f"Where the CRF starts from classes. {told}. With argmax and an unknown threshold the "
            "unknown is a class like others.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterNumber(
                SWITCH_SHARE, "Change of a class to warn of", DOUBLE, 0.5, True, 0.001
            ),
            "Share of its pixels that a class may lose or gain by CRF and filter before a warning "
            "is given.",
            advanced=True,
        )
        for name, (kind, title, help_text, _) in CRF_NUMBERS.items():
            default = getattr(CrfSettings, name.lower())
            title = f"CRF: {title[0].lower()}{title[1:]}"
            self.add(
                QgsProcessingParameterNumber(name, title, kind, default, True, 0),
                help_text,
                advanced=True,
            )

    def _add_how(self) -> None:
        self.add(
            static_enum(RUNTIME, "Runtime", list(RUNTIMES), "auto"),
            "The library that runs the models. auto takes the fastest that is installed.",
        )
        self.add(
            static_enum(PRECISION, "Precision", list(PRECISIONS), "auto"),
            "The numbers that the models calculate with. auto takes bf16 where the processor is "
            "fast at it and the model was measured to give the same masks.",
        )
        self.add(
            QgsProcessingParameterBoolean(TTA, "Test-time augmentation (four times slower)", False),
            "Averages the models' answers to the image and its mirror images.",
        )

    def check(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        self.check_rules(parameters, context)
        self._check_classes(parameters, context)
        super().check(parameters, context)

    def work(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        bands = self.parameterAsString(parameters, BANDS, context)
        values = {
            "input": self.paths[INPUT],
            "models": self._models(parameters, context),
            "classes": list(class_names(self, parameters, CLASSES, context)),
            "bands": [part for part in re.split(r"\s*;\s*", bands.strip()) if part],
            **self.source_values(parameters, context),
            "extent": self._extent(parameters, context),
            "aoi": self._area(parameters, context, feedback),
            "crf": self.parameterAsEnumString(parameters, CRF, context),
            **{name.lower(): self._number(parameters, name, context) for name in CRF_NUMBERS},
            "unknown": self.parameterAsEnumString(parameters, UNKNOWN, context),
            "switch_share": self.parameterAsDouble(parameters, SWITCH_SHARE, context),
            "majority_radius": self.parameterAsInt(parameters, MAJORITY_RADIUS, context),
            "runtime": self.parameterAsEnumString(parameters, RUNTIME, context),
            "precision": self.parameterAsEnumString(parameters, PRECISION, context),
            "tta": self.parameterAsBool(parameters, TTA, context),
            **self.fusion_values(parameters, context),
        }
        result = run_in_worker("landcover", values, feedback)
        return {
            **self.fusion_results(result, context),
            "CHANGED_SHARE": result["changed_share"],
            "RUNTIME_USED": result["runtime"],
            "PRECISION_USED": result["precision"],
        }

    def _models(self, parameters: dict[str, Any], context: QgsProcessingContext) -> list[str]:
        """Names and paths of the models; MODELS has its default only where no file is given."""
        text = self.parameterAsString(parameters, MODEL_FILES, context)
        files = [part for part in re.split(r"\s*[;\n]\s*", text.strip()) if part]
        for path in files:
            if not Path(path).exists():
                raise ModelError(f"MODEL_FILES: there is no file or folder {path}.")
        wanted = not files or is_given(parameters, MODELS)
        names = self._names(parameters, context) if wanted else []
        known = settings.library().names()
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ModelError(
                f"There is no model {unknown[0]!r} in the library; it has: "
                f"{', '.join(known) or 'none'}."
            )
        models = [*names, *(str(Path(path).absolute()) for path in files)]
        if not models:
            raise ModelError("Choose MODELS of the library, or give MODEL_FILES.")
        return models

    def _names(self, parameters: dict[str, Any], context: QgsProcessingContext) -> list[str]:
        """Texts of MODELS, also where one is none of the options."""
        value = parameters.get(MODELS)
        if isinstance(value, str):
            return list(names(value))
        if isinstance(value, (list, tuple)):
            return [str(item) for item in value]
        return list(self.parameterAsEnumStrings(parameters, MODELS, context))

    def _check_classes(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        cards = [model_card(model) for model in self._models(parameters, context)]
        if not all(cards):
            return  # an ONNX file without a card, which only the engine can read
        known = sorted({c.name for card in cards if card for c in card.classes})
        wanted = class_names(self, parameters, CLASSES, context)
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise JobError(
                f"None of the models has a class {unknown[0]!r}; they have {', '.join(known)}."
            )

    def _number(
        self, parameters: dict[str, Any], name: str, context: QgsProcessingContext
    ) -> float:
        kind = CRF_NUMBERS[name][0]
        if parameters.get(name) is None:
            return getattr(CrfSettings, name.lower())
        if kind == INTEGER:
            return self.parameterAsInt(parameters, name, context)
        return self.parameterAsDouble(parameters, name, context)

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
