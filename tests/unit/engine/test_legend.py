# SPDX-License-Identifier: GPL-2.0-or-later
"""Names and colours of a mask's values."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from unet_segmenter.engine.legend import attribute_table, colors, legend_of, qml_style
from unet_segmenter.engine.model_card import ModelClass

TREE = ModelClass(4, "tree & shrub", "#00FF10", 0)
ROAD = ModelClass(2, "road", "#808080", 1)


def named(*classes: ModelClass) -> list[tuple[int, str]]:
    return [(look.value, look.name) for look in legend_of(classes)]


def test_one_class_is_told_against_the_rest() -> None:
    assert named(TREE) == [(0, "not tree & shrub"), (1, "tree & shrub")]


def test_several_classes_come_in_order_of_value_with_the_unknown() -> None:
    assert named(TREE, ROAD) == [(0, "unknown"), (2, "road"), (4, "tree & shrub")]


def test_colours_are_those_of_the_classes() -> None:
    table = colors(legend_of((TREE, ROAD)))
    assert table[4] == (0, 255, 16, 255)
    assert table[2] == (128, 128, 128, 255)


def test_styles_and_tables_are_xml_with_every_name() -> None:
    looks = legend_of((TREE, ROAD))
    style = ET.fromstring(qml_style(looks).split("\n", 1)[1])
    labels = [e.get("label") for e in style.iter("paletteEntry")]
    assert labels == ["unknown", "road", "tree & shrub"]
    table = ET.fromstring(attribute_table(looks))
    categories = [e.text or "" for e in table.iter("Category")]
    assert categories == ["unknown", "", "road", "", "tree & shrub"]
    rows = [[f.text for f in row] for row in table.iter("Row")]
    assert rows[2] == ["4", "tree & shrub", "0", "255", "16"]
