# SPDX-License-Identifier: GPL-2.0-or-later
"""Make resources/graphical_models/landcoverpolygons.model3 with QGIS's own classes.

Run in the environment with PyQGIS after the algorithms of the chain changed:

    QT_QPA_PLATFORM=offscreen .build/qgis/bin/python scripts/make_graphical_model.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)
from qgis.PyQt.QtCore import QPointF, QSizeF

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from unet_segmenter.engine.model_library import DEFAULT_MODEL  # noqa: E402

TARGET = ROOT / "resources" / "graphical_models" / "landcoverpolygons.model3"
Source = QgsProcessingModelChildParameterSource
Given = QgsProcessingModelChildParameterSource.fromModelParameter
Made = QgsProcessingModelChildParameterSource.fromChildOutput

PARAMETERS: tuple[QgsProcessingParameterDefinition, ...] = (
    QgsProcessingParameterRasterLayer("image", "Image"),
    QgsProcessingParameterString("model", "Name of the model", DEFAULT_MODEL),
    QgsProcessingParameterNumber(
        "unknown_threshold", "Probability below which a pixel is unknown",
        QgsProcessingParameterNumber.Double, 0.2, False, 0.0, 1.0,
    ),
    QgsProcessingParameterNumber(
        "min_area", "Smallest polygon (square metres; pixels without a CRS)",
        QgsProcessingParameterNumber.Double, 0.0, False, 0.0,
    ),
)  # fmt: skip

# Step: what it is given. A name alone is a parameter of the model, a pair an output of a step.
STEPS: dict[str, dict[str, str | tuple[str, str]]] = {
    "segment": {"INPUT": "image", "MODEL": "model"},
    "fuse": {"INPUTS": ("segment", "PROBABILITY"), "UNKNOWN_THRESHOLD": "unknown_threshold"},
    "refine": {"INPUT": "image", "PROBABILITY": ("fuse", "PROBABILITY")},
    "vectorize": {
        "INPUT": ("refine", "OUTPUT"), "CONFIDENCE": ("fuse", "CONFIDENCE"), "MIN_AREA": "min_area",
    },
}  # fmt: skip

OUTPUTS = {"map": ("refine", "OUTPUT", "Map"), "polygons": ("vectorize", "OUTPUT", "Polygons")}


def build() -> QgsProcessingModelAlgorithm:
    """The model: segment, fuse, refine, vectorize."""
    model = QgsProcessingModelAlgorithm("Land-cover polygons of an image", "Models")
    for row, definition in enumerate(PARAMETERS):
        component = QgsProcessingModelParameter(definition.name())
        component.setPosition(QPointF(150, 80 + 110 * row))
        component.setSize(QSizeF(260, 50))
        model.addModelParameter(definition, component)
    for column, (name, inputs) in enumerate(STEPS.items()):
        step = QgsProcessingModelChildAlgorithm(f"unet_segmenter:{name}")
        step.setChildId(name)
        step.setDescription(step.algorithm().displayName())
        step.setPosition(QPointF(480 + 190 * column, 80 + 120 * column))
        for parameter, source in inputs.items():
            given = Given(source) if isinstance(source, str) else Made(*source)
            step.addParameterSources(parameter, [given])
        for definition in step.algorithm().parameterDefinitions():
            # The designer calls a step invalid that leaves what is not optional to its default.
            optional = definition.flags() & QgsProcessingParameterDefinition.FlagOptional
            if definition.name() not in inputs and not optional and not definition.isDestination():
                source = Source.fromStaticValue(definition.defaultValue())
                step.addParameterSources(definition.name(), [source])
        step.setModelOutputs(
            {
                key: _output(*rest, place=step.position() + QPointF(330, 0))
                for key, rest in OUTPUTS.items()
                if rest[0] == name
            }
        )
        model.addChildAlgorithm(step)
    return model


def _output(step: str, output: str, description: str, place: QPointF) -> QgsProcessingModelOutput:
    found = QgsProcessingModelOutput(description, description)
    found.setChildId(step)
    found.setChildOutputName(output)
    found.setPosition(place)
    return found


def main() -> int:
    """Write the model; return the exit code."""
    sys.path.insert(0, str(ROOT))
    from unet_segmenter.processing.provider import UnetSegmenterProvider

    application = QgsApplication([], False)
    application.initQgis()
    provider = UnetSegmenterProvider()  # PyQt loses what no name holds
    QgsApplication.processingRegistry().addProvider(provider)
    TARGET.parent.mkdir(exist_ok=True)
    if not build().toFile(str(TARGET)):
        print(f"{TARGET} could not be written", file=sys.stderr)
        return 1
    print(TARGET)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
