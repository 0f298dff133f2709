# SPDX-License-Identifier: GPL-2.0-or-later
"""The provider and its algorithms as QGIS sees them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from qgis.core import QgsApplication, QgsProcessingParameterDefinition
from qgis.gui import QgsGui, QgsProcessingGui

import unet_segmenter
from unet_segmenter.plugin import UnetSegmenterPlugin
from unet_segmenter.processing.provider import ALGORITHMS
from unet_segmenter.version import plugin_version

IDS = [
    "segment",
    "landcover",
    "fuse",
    "refine",
    "majorityfilter",
    "evaluate",
    "vectorize",
    "preparedataset",
    "trainmodel",
    "modelinfo",
    "checkenvironment",
    "setupenvironment",
]
GROUPS = {
    "preparedataset": "Training",
    "trainmodel": "Training",
    "checkenvironment": "Environment",
    "setupenvironment": "Environment",
}


def test_the_provider_offers_the_algorithms_under_their_public_ids(provider):
    assert provider.name() == "U-Net Segmenter"
    assert {a.id() for a in provider.algorithms()} == {
        f"unet_segmenter:{name}" for name in [*IDS, "landcoverpolygons"]
    }
    assert [a.NAME for a in ALGORITHMS] == IDS
    assert plugin_version() in provider.longName()
    assert re.fullmatch(r"\d+\.\d+\.\d+", plugin_version())


def test_unloading_takes_the_provider_away_and_twice_does_no_harm(qgis_app):
    plugin = unet_segmenter.classFactory(None)
    plugin.initGui()
    plugin.initProcessing()
    registry = QgsApplication.processingRegistry()
    assert registry.providerById("unet_segmenter") is not None
    plugin.unload()
    plugin.unload()
    assert registry.providerById("unet_segmenter") is None


@pytest.mark.parametrize("name", IDS)
def test_an_algorithm_tells_what_it_does(provider, name):
    algorithm = provider.algorithm(name)
    assert algorithm.displayName()[0].isupper()
    assert algorithm.shortDescription().endswith(".")
    assert len(algorithm.shortHelpString()) > 200
    assert algorithm.tags()
    assert algorithm.group() == GROUPS.get(name, "Segmentation")
    assert algorithm.groupId() == algorithm.group().lower()


@pytest.mark.parametrize("name", [*IDS, None])
def test_every_icon_is_drawn(provider, name):
    owner = provider.algorithm(name) if name else provider
    assert Path(owner.svgIconPath()).is_file()
    image = owner.icon().pixmap(24, 24).toImage()
    colors = {image.pixel(x, y) for x in range(24) for y in range(24)}
    assert len(colors) > 10


@pytest.mark.parametrize("name", IDS)
def test_every_parameter_and_output_is_described(provider, name):
    algorithm = provider.algorithm(name)
    for parameter in algorithm.parameterDefinitions():
        assert parameter.name() == parameter.name().upper()
        assert parameter.description()
        assert parameter.help().endswith("."), parameter.name()
    for output in algorithm.outputDefinitions():
        assert output.description(), output.name()


@pytest.mark.parametrize("name", IDS)
def test_an_algorithm_is_created_anew_for_each_run(provider, name):
    algorithm = provider.algorithm(name)
    other = algorithm.create({})
    assert other is not algorithm
    assert other.id() == algorithm.id()


def test_segment_has_the_parameters_that_are_promised(provider):
    algorithm = provider.algorithm("segment")
    optional = QgsProcessingParameterDefinition.FlagOptional
    advanced = QgsProcessingParameterDefinition.FlagAdvanced
    found = [
        (p.name(), p.type(), bool(p.flags() & optional), bool(p.flags() & advanced))
        for p in algorithm.parameterDefinitions()
    ]
    assert found == [
        ("INPUT", "raster", False, False),
        ("MODEL", "enum", True, False),
        ("MODEL_FILE", "file", True, False),
        ("CLASSES", "string", True, False),
        ("BANDS", "band", True, False),
        ("NODATA", "string", True, False),
        ("EXTENT", "extent", True, False),
        ("AOI", "source", True, False),
        ("THRESHOLD", "number", True, False),
        ("RUNTIME", "enum", False, False),
        ("PRECISION", "enum", False, False),
        ("TTA", "boolean", False, False),
        ("BLOCK_SIZE", "number", True, True),
        ("BATCH", "number", True, True),
        ("PROBABILITY_TYPE", "enum", False, True),
        ("OUTPUT", "rasterDestination", False, False),
        ("PROBABILITY", "rasterDestination", True, False),
        ("CONFIDENCE", "rasterDestination", True, False),
        ("SUMMARY", "fileDestination", True, False),
    ]


def test_segment_has_defaults_that_suit_without_a_thought(provider):
    algorithm = provider.algorithm("segment")
    defaults = {p.name(): p.defaultValue() for p in algorithm.parameterDefinitions()}
    assert defaults["RUNTIME"] == defaults["PRECISION"] == "auto"
    assert defaults["PROBABILITY_TYPE"] == "uint8"
    assert defaults["TTA"] is False
    for name in ("CLASSES", "BANDS", "EXTENT", "AOI", "THRESHOLD", "BLOCK_SIZE", "BATCH"):
        assert defaults[name] is None, name
    by_default = {
        p.name(): p.createByDefault() for p in algorithm.destinationParameterDefinitions()
    }
    assert by_default == {
        "OUTPUT": True,
        "PROBABILITY": False,
        "CONFIDENCE": False,
        "SUMMARY": True,
    }


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("RUNTIME", ["auto", "openvino", "onnxruntime", "tensorflow"]),
        ("PRECISION", ["auto", "f32", "bf16"]),
        ("PROBABILITY_TYPE", ["uint8", "float32"]),
    ],
)
def test_choices_are_texts_not_numbers(provider, name, options):
    parameter = provider.algorithm("segment").parameterDefinition(name)
    assert parameter.usesStaticStrings()
    assert parameter.options() == options


def test_the_choice_of_models_is_the_library_with_the_user_s_folder(provider):
    parameter = provider.algorithm("segment").parameterDefinition("MODEL")
    assert parameter.usesStaticStrings()
    assert "toy" in parameter.options()
    assert parameter.defaultValue() in parameter.options()
    help_text = provider.algorithm("segment").parameterDefinition("CLASSES").help()
    assert "toy has: vegetation, road, slow." in help_text


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        (
            "segment",
            "OUTPUT PROBABILITY CONFIDENCE SUMMARY PIXELS NODATA_PIXELS BLOCKS SECONDS "
            "RUNTIME_USED PRECISION_USED",
        ),
        (
            "modelinfo",
            "OUTPUT NAME VERSION TITLE LICENSE CITATION CLASSES BANDS FOLDER CLASS_COUNT HALO "
            "DIVISOR INTACT",
        ),
        (
            "majorityfilter",
            "OUTPUT CHANGED_SHARE CHANGED_PIXELS TOO_SMALL_PIXELS PIXELS NODATA_PIXELS",
        ),
        ("vectorize", "OUTPUT POLYGONS LEFT_OUT"),
        ("evaluate", "HTML CSV JSON MEAN_IOU OVERALL_ACCURACY FW_IOU MCC PIXELS"),
        (
            "preparedataset",
            "OUTPUT REPORT SHEET CLASS_NAMES SAMPLES TRAIN VALIDATION TEST LEAK_SHARE",
        ),
        ("trainmodel", "OUTPUT REPORT MODEL_NAME MEAN_IOU"),
        (
            "checkenvironment",
            "OUTPUT READY PYTHON PYTHON_VERSION STATE MESSAGE TRAINING TRAINING_MESSAGE",
        ),
        ("setupenvironment", "PYTHON PYTHON_VERSION TRAINING MESSAGE"),
    ],
)
def test_outputs_are_declared(provider, name, outputs):
    assert {o.name() for o in provider.algorithm(name).outputDefinitions()} == set(outputs.split())


def test_the_plugin_can_be_started_without_a_window(qgis_app):
    plugin = UnetSegmenterPlugin(None)
    plugin.initGui()
    plugin.unload()


@pytest.mark.parametrize("name", IDS)
def test_a_dialog_that_is_left_alone_gives_what_a_script_leaves_out(provider, name, context):
    """A dialog fills in every value; a check box knows no third state."""
    registry = QgsGui.processingGuiRegistry()
    for parameter in provider.algorithm(name).parameterDefinitions():
        if parameter.type() == "boolean":
            assert parameter.defaultValue() is not None, parameter.name()
        if parameter.type() not in ("boolean", "enum", "number", "string"):
            continue
        wrapper = registry.createParameterWidgetWrapper(parameter, QgsProcessingGui.Standard)
        widget = wrapper.createWrappedWidget(context)
        wrapper.setParameterValue(parameter.defaultValue(), context)
        shown, default = wrapper.parameterValue(), parameter.defaultValue()
        assert (shown or None) == (default or None), parameter.name()
        widget.deleteLater()
